"""What a validator vouches for and hands out: a fresh checkpoint of its Ledger, and copies that begin with it.

It signs when it is asked, at most once a minute for the same log, and asks the other validators for their signatures
under the same checkpoint, so that one file carries the word of many. When its own past forbids the signature
(`ledger.cosigning`), it hands out nothing: a copy without a signature helps nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Protocol

from ledger.checkpoint import parse_checkpoint, signed_at
from ledger.cosigning import CheckpointStore, CosignRefused
from ledger.log import MerkleLog
from ledger.signed_note import NoteRefused
from ledger.snapshot import write_snapshot
from ledger.types import Signer, Verify
from orchestra.ledger_node import LedgerNode
from orchestra.peers import PeerFailed

logger = logging.getLogger(__name__)

RESIGN_MS = 60_000
BLOCK_BYTES = 256 << 10


class NothingToVouchFor(Exception):
    """There is no checkpoint to hand out: an empty Ledger, or one that does not continue what was signed before."""


class CheckpointSource(Protocol):
    """Another validator."""

    @property
    def hotkey(self) -> str: ...

    async def checkpoint(self) -> bytes: ...


def ledger_origin(netuid: int, genesis: str) -> str:
    """The log's name: one for every subnet of every chain, whatever the chain is called here."""
    return f"orchestra/{genesis.removeprefix('0x')[:16]}/sn{netuid}"


class LedgerCopies:
    """One validator's checkpoints and copies of its Ledger. `now_ms` is UTC."""

    def __init__(
        self, node: LedgerNode, store: CheckpointStore, signer: Signer, origin: str, *, now_ms: Callable[[], int]
    ) -> None:
        self._node = node
        self._store = store
        self._signer = signer
        self._origin = origin
        self._now_ms = now_ms
        self._log = MerkleLog()
        self._lock = asyncio.Lock()

    async def checkpoint(self) -> bytes:
        """The Ledger as it is now, vouched for by us not longer than a minute ago.

        Raises:
            NothingToVouchFor: see there.
        """
        async with self._lock:
            note = await self._store.note(self._origin)
            if note is None or not self._is_fresh(note):
                note = await self._sign()
            return note

    async def snapshot(self) -> Iterator[bytes]:
        """A copy that begins with `checkpoint`, in blocks.

        Raises:
            NothingToVouchFor: see there.
        """
        note = await self.checkpoint()
        size = parse_checkpoint(note)[0].size
        return in_blocks(write_snapshot(note, self._node.leaves(size)))

    async def gather(self, others: Iterable[CheckpointSource], *, allowed: Container[str], verify: Verify) -> None:
        """Ask other validators, all at once, and keep what they signed under our checkpoint. Who does not answer, or
        is at another size, is asked again another time.
        """
        try:
            await self.checkpoint()
        except NothingToVouchFor as error:
            logger.warning("%s", error)
            return
        async with asyncio.TaskGroup() as group:
            for other in others:
                group.create_task(self._ask(other, allowed, verify))

    async def _ask(self, other: CheckpointSource, allowed: Container[str], verify: Verify) -> None:
        try:
            note = await other.checkpoint()
            await self._store.countersign(note, allowed=allowed, verify=verify, now_ms=self._now_ms())
        except (PeerFailed, NoteRefused) as error:
            logger.debug("no checkpoint from %s: %s", other.hotkey, error)

    def _is_fresh(self, note: bytes) -> bool:
        checkpoint, parsed = parse_checkpoint(note)
        ours = (signed_at(line) for line in parsed.signatures if line.name == self._signer.ss58_address)
        return checkpoint.version == self._node.view.version and 0 <= self._now_ms() - max(ours, default=0) < RESIGN_MS

    async def _sign(self) -> bytes:
        view = self._node.view
        for leaf in view.leaves[self._log.size :]:
            self._log.append(leaf)
        if not view.size:
            raise NothingToVouchFor("the Ledger is empty")
        try:
            return await self._store.sign(self._log, self._origin, self._signer, now_ms=self._now_ms())
        except CosignRefused as error:
            raise NothingToVouchFor(f"this Ledger does not continue what we signed before ({error})") from None


def in_blocks(lines: Iterable[bytes], size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The same bytes in pieces of at least `size`, but for the last: what is worth a write to a socket."""
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= size:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
