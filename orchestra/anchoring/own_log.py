"""What one hotkey fixes on chain: an append-only log of digests, of which the chain holds size and root (DESIGN §6).

The Commitments pallet has one slot for a hotkey, and a space limit. So seeds, proposals and whatever else must not be
changed later go into one Merkle log, and an envelope `o1|<size>:<root>|<vote>` that names its state vouches for all of
it. A digest is on disk before an envelope names it: a root on chain whose leaves are lost would prove nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.canonical import is_hash, leaf_hash
from ledger.database import Marker, SqlStore, reading
from ledger.log import MerkleLog
from ledger.types import Hash

MIGRATIONS = "orchestra.anchoring.migrations"

metadata = MetaData()
fixed = Table(
    "fixed",
    metadata,
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(66), nullable=False, unique=True),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a digest stands in a log of `size` leaves: what RFC 9162 needs to lead from it to `root`."""

    index: int
    size: int
    root: Hash
    path: tuple[Hash, ...]


class OwnLog(SqlStore):
    """One hotkey's log.

    A row is 100 bytes and a neuron adds a few an hour; nothing is ever forgotten, or older roots could not be shown.
    """

    METADATA = metadata
    MIGRATIONS = MIGRATIONS

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._log = MerkleLog()
        self._index: dict[str, int] = {}
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, *, marker: Marker | None = None) -> Self:
        """As every store, with the log read into memory."""
        log = await super().open(url, marker=marker)
        try:
            async with reading(log._engine) as connection:
                log._extend((await connection.execute(select(fixed.c.digest).order_by(fixed.c.idx))).scalars())
        except BaseException:
            await log.close()
            raise
        return log

    @property
    def version(self) -> str:
        """`<size>:<root>` of the log as it is on disk."""
        return self._log.version

    async def fix(self, *digests: str) -> None:
        """Append what is not in the log yet, durably when this returns.

        Raises:
            ValueError: not a digest.
        """
        if wrong := [each for each in digests if not is_hash(each)]:
            raise ValueError(f"not a digest: {wrong[0][:80]!r}")
        async with self._lock:
            fresh = [each for each in dict.fromkeys(digests) if each not in self._index]
            if not fresh:
                return
            rows = [{"idx": self._log.size + offset, "digest": each} for offset, each in enumerate(fresh)]
            async with self._engine.begin() as connection:
                await connection.execute(insert(fixed), rows)
            self._extend(fresh)

    def place(self, digest: str, version: str | None = None) -> Place | None:
        """Where `digest` stands in the log as it was at `version` (default: now); None when it was not in it, or when
        the log never had that version.
        """
        size, index = int((version or self.version).partition(":")[0]), self._index.get(digest)
        if index is None or not index < size <= self._log.size:
            return None
        root = self._log.root(size)
        if version not in (None, f"{size}:{root}"):
            return None
        return Place(index, size, root, self._log.inclusion_proof(index, size))

    def _extend(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._index[digest] = self._log.append(leaf_hash(digest.encode()))
