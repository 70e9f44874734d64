"""Setting weights through the chain facade: the one implementation of `WeightChain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ledger.types import Signer
from orchestra.chain import Chain, ChainError, TxOutcome

QUANTUM = 0.001
VERSION_KEY = 100
"""0.1.0 as major * 10000 + minor * 100 + patch: what the subnet's weights_version is compared with."""


@dataclass(frozen=True, slots=True)
class ChainWeights:
    """Weights of one validator on one subnet."""

    chain: Chain
    signer: Signer
    netuid: int

    async def last_update(self) -> int | None:
        """The block of our last accepted weights; None when we are not registered, or nobody can say now."""
        me = (await self.chain.metagraph(self.netuid)).by_hotkey(self.signer.ss58_address)
        return me.last_update if me else None

    async def holds(self, weights: Mapping[str, float], mechid: int) -> bool:
        """Are these our weights on chain now? Shares are compared to a thousandth; hotkeys that left are left out."""
        uids = {each.hotkey: each.uid for each in (await self.chain.metagraph(self.netuid)).neurons}
        row = (await self.chain.weights(self.netuid, mechid)).get(uids.get(self.signer.ss58_address, -1), {})
        wanted = {uids[hotkey]: share for hotkey, share in weights.items() if hotkey in uids}
        whole = sum(wanted.values())
        return bool(row) and all(abs(row.get(uid, 0.0) - share / whole) < QUANTUM for uid, share in wanted.items())

    async def mechanisms(self) -> int:
        return (await self.chain.hyperparameters(self.netuid)).mechanism_count

    async def submit(self, weights: Mapping[str, float], mechid: int) -> TxOutcome:
        """Submit once. Trouble with the connection is an outcome too: whether it arrived shows at the next attempt."""
        try:
            return await self.chain.set_weights(
                self.signer, self.netuid, weights, mechid=mechid, version_key=VERSION_KEY
            )
        except ChainError as error:
            return TxOutcome(False, "connection", str(error), None, None)
