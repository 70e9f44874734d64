"""Keeps a hotkey's slot of the Commitments pallet at the newest state of its log, and at its newest vote.

Whoever has something to fix adds it to the log, and looks at later blocks for an envelope that covers it; when and how
often the chain is written to is decided here alone, because the pallet takes about 31 commitments a tempo.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Protocol

from ledger.envelope import Envelope, read_envelope
from ledger.types import Signer
from orchestra.anchoring.own_log import OwnLog
from orchestra.chain.errors import ChainError
from orchestra.chain.types import Metagraph, TxOutcome

logger = logging.getLogger(__name__)

PATIENCE_BLOCKS = 2
"""How many blocks a commitment that the chain has taken may take to be seen before it is sent again."""

REFUSALS_A_TEMPO = 30
"""How often in a tempo the same commitment is offered to a chain that refuses it: as often as it would take some."""


class Commits(Protocol):
    """The chain as far as a slot needs it."""

    async def commit(self, wallet: Signer, netuid: int, data: str, /) -> TxOutcome: ...


@dataclass(slots=True)
class ChainSlot:
    """One hotkey's slot on one subnet. `vote` is the third part of the envelope, set by whoever votes."""

    log: OwnLog
    chain: Commits
    signer: Signer
    netuid: int
    vote: str = ""
    _sent: str = field(default="", init=False)
    _again_at: int = field(default=0, init=False)
    _trouble: str = field(default="", init=False)

    def shown(self, members: Metagraph) -> Envelope | None:
        """What the chain has for us at this block."""
        me = members.by_hotkey(self.signer.ss58_address)
        return read_envelope(me.commitment) if me else None

    def covers(self, members: Metagraph, digest: str) -> bool:
        """Does the chain, at this block, vouch for a digest of our log?"""
        shown = self.shown(members)
        return shown is not None and self.log.place(digest, shown.version) is not None

    async def keep(self, members: Metagraph) -> None:
        """Commit when the chain shows something else than what stands. A chain that refuses it, or gives no reply,
        holds up nothing else: that is logged once, and tried again some blocks later.
        """
        wanted, block = Envelope(self.log.version, self.vote), members.block.number
        if self.shown(members) == wanted or (wanted.version.startswith("0:") and not wanted.vote):
            return
        if self._sent == str(wanted) and block < self._again_at:
            return
        self._note(await self._commit(str(wanted)))
        pause = max(1, members.tempo // REFUSALS_A_TEMPO) if self._trouble else PATIENCE_BLOCKS + 1
        self._sent, self._again_at = str(wanted), block + pause

    async def _commit(self, data: str) -> str:
        """What went wrong, or nothing."""
        try:
            outcome = await self.chain.commit(self.signer, self.netuid, data)
        except ChainError as error:
            return f"our commitment got no reply ({error})"
        return "" if outcome.ok else f"the chain did not take our commitment ({outcome.code})"

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            logger.warning("%s: tried again", trouble)
        self._trouble = trouble
