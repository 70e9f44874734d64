"""The checkpoint and the snapshot of a node that runs, from its own databases: nobody has to write files for them.

Leaves are read once and kept, because every further signature makes another file of the same leaves. A validator signs
first and gathers what the others sign then: what fewer vouch for than for what is served waits for them, so that
whoever asks in between is not handed what he cannot believe yet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.checkpoint import parse_checkpoint
from ledger.cosigning import CheckpointStore
from ledger.leaves import LogLeaf
from ledger.serving.edition import NOTHING_ATTACHED, Attachments
from ledger.snapshot import write_snapshot
from ledger.store import LedgerStore

MOST_BYTES = 256 << 20
"""Of a log kept in memory, once as leaves and once as the file; of a larger one only the checkpoint is served."""
PATIENCE_S = 300.0
"""How long newer checkpoints wait to be signed by as many as the one that is served."""
_LEAVES_AT_ONCE = 500

log = logging.getLogger(__name__)


@dataclass
class NodeCopy:
    """What a node vouches for, as it stands now. Both stores stay the caller's."""

    checkpoints: CheckpointStore
    ledger: LedgerStore
    clock: Callable[[], float] = time.monotonic
    most_bytes: int = MOST_BYTES
    _served: Attachments = NOTHING_ATTACHED
    _waiting_since: float | None = None
    _refused: bytes = b""
    _leaves: list[LogLeaf] = field(default_factory=list[LogLeaf], repr=False)
    _bytes: int = 0

    async def __call__(self) -> Attachments:
        notes = await self.checkpoints.notes()
        if len(notes) == 1 and notes[0] not in (self._served.checkpoint, self._refused):
            try:
                await self._consider(notes[0])
            except ValueError as error:
                log.warning(
                    "this node's Ledger is not the one that was signed, its checkpoint is not served: %s", error
                )
                self._refused = notes[0]
                self._forget()
        return self._served

    async def _consider(self, note: bytes) -> None:
        size = parse_checkpoint(note)[0].size
        if self._may_replace(note) and await self._read_to(size):
            chosen = self._leaves[:size] if self._bytes <= self.most_bytes else None
            self._served = Attachments(note, await asyncio.to_thread(_written, note, chosen))
            self._waiting_since = None

    def _may_replace(self, note: bytes) -> bool:
        if self._served.checkpoint is None:
            return True
        (before, signed), (now, signing) = parse_checkpoint(self._served.checkpoint), parse_checkpoint(note)
        if now == before or len(signing.signatures) >= len(signed.signatures):
            return True
        if self._waiting_since is None:
            self._waiting_since = self.clock()
        return self.clock() - self._waiting_since >= PATIENCE_S

    async def _read_to(self, size: int) -> bool:
        """Have the first `size` leaves in memory, unless they are too many for it; are they there at all?"""
        while len(self._leaves) < size and self._bytes <= self.most_bytes:
            have = len(self._leaves)
            fresh = await self.ledger.leaves(have, min(_LEAVES_AT_ONCE, size - have))
            if not fresh:
                return False
            self._leaves += fresh
            self._bytes += sum(len(each.body) for each in fresh)
            if self._bytes > self.most_bytes:
                log.warning("the log takes more than %d bytes: no snapshot is served any more", self.most_bytes)
                self._leaves.clear()
        return True

    def _forget(self) -> None:
        self._leaves.clear()
        self._bytes = 0


def _written(note: bytes, leaves: Sequence[LogLeaf] | None) -> bytes | None:
    return None if leaves is None else b"".join(write_snapshot(note, leaves))
