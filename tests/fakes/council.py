"""What a council and a proposer talk to: a chain of blocks that is a list, and peers that are functions.

Each refuses what was not scripted. Stores, logs and keys are the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ledger.types import Signer
from orchestra.chain.types import BlockRef, Metagraph, Neuron, TxOutcome
from orchestra.peers import PeerFailed
from orchestra.protocol import LedgerChanges
from tests.fakes.validation import TAO, block_hash, neuron

NETUID = 2


@dataclass
class BlockChain:
    """Blocks that are made by `mint`, each with the slots as they then stood; every one is final at once. `gone` are
    blocks whose state the node has forgotten, `fails` the errors of the next reads.
    """

    neurons: dict[str, Neuron]
    tempo: int = 20
    owned: Mapping[int, str] = field(default_factory=dict[int, str])
    blocks: list[tuple[Neuron, ...]] = field(default_factory=list[tuple[Neuron, ...]])
    gone: dict[int, Exception] = field(default_factory=dict[int, Exception])
    fails: list[Exception] = field(default_factory=list[Exception])
    reads: list[int] = field(default_factory=list[int])

    @classmethod
    def of(cls, stakes: Mapping[str, int], **more: Any) -> BlockChain:
        """A subnet of these hotkeys; stakes in TAO, and a permit for each that has any."""
        rows = {hotkey: neuron(uid, hotkey, stake_rao=tao * TAO) for uid, (hotkey, tao) in enumerate(stakes.items())}
        return cls(rows, **more)

    def mint(self, number: int = 1) -> int:
        """So many blocks more; returns the number of the newest."""
        self.blocks += [tuple(self.neurons.values())] * number
        return len(self.blocks) - 1

    def at(self, number: int) -> Metagraph:
        return Metagraph(NETUID, BlockRef(number, block_hash(number)), self.tempo, self.blocks[number])

    async def finalized(self) -> BlockRef:
        if self.fails:
            raise self.fails.pop(0)
        number = len(self.blocks) - 1
        return BlockRef(number, block_hash(number))

    async def metagraph(self, netuid: int, *, block: int | None = None) -> Metagraph:
        assert (netuid, block is None) == (NETUID, False), "a council reads blocks by number"
        number = block or 0
        self.reads.append(number)
        if number in self.gone:
            raise self.gone[number]
        return self.at(number)

    async def owners(self, *, block: int) -> dict[int, str]:
        assert 0 <= block < len(self.blocks)
        return dict(self.owned)

    async def commit(self, wallet: Signer, netuid: int, data: str) -> TxOutcome:
        assert netuid == NETUID
        hotkey = wallet.ss58_address
        self.neurons[hotkey] = replace(self.neurons[hotkey], commitment=data)
        return TxOutcome(True, None, "", None, None)


@dataclass
class FakePeer:
    """A `Peer` as far as governance needs one; what nobody scripted is a failure of the test."""

    hotkey: str
    takes: Callable[[Any], Awaitable[str]] | None = None
    leaves: Callable[[int], Awaitable[LedgerChanges]] | None = None
    away: bool = False
    hangs: asyncio.Event | None = None
    heard: list[Any] = field(default_factory=list[Any])

    async def governance(self, body: Any) -> str:
        if self.hangs is not None:
            await self.hangs.wait()
        if self.away:
            raise PeerFailed("unreachable", "/v1/ledger/governance")
        self.heard.append(body)
        assert self.takes is not None, f"nobody scripted what {self.hotkey} says"
        return await self.takes(body)

    async def changes_since(self, size: int) -> LedgerChanges:
        if self.away:
            raise PeerFailed("unreachable", "/v1/ledger/changes")
        assert self.leaves is not None, f"nobody scripted the leaves of {self.hotkey}"
        return await self.leaves(size)
