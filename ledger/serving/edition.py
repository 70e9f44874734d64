"""One committed version of the Ledger as the API serves it, and the reader that follows a database.

An edition is immutable and replaced when the log grows. Of each change it holds where it stands and what it is about;
entries as they are now are parsed, earlier ones are read when asked for. So 100,000 changes open in a second. Leaves of
the log need not be changes of entries: everything is found by its index in the log.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.canonical import leaf_hash
from ledger.database import reading
from ledger.entry import SubnetEntry
from ledger.log import MerkleLog
from ledger.store import LedgerCorrupt, changes
from ledger.types import Hash
from ledger.view import OperationRef

ENTRY = "entry"
_ROWS_AT_ONCE = 500

Bodies = Callable[[Sequence[int]], Awaitable[Mapping[int, bytes]]]
"""The stored JSON of changes, by their index in the log."""


@dataclass(frozen=True, slots=True)
class Change:
    """One leaf of the log: where it stands, what kind it is, which entry it is about, when it was committed."""

    index: int
    kind: str
    entry: str
    block: int


class Attachments(NamedTuple):
    """The latest signed checkpoint and the latest snapshot, as bytes; None for what there is not."""

    checkpoint: bytes | None = None
    snapshot: bytes | None = None


NOTHING_ATTACHED = Attachments()
Attach = Callable[[], Awaitable[Attachments]]
"""What is there to attach now. A checkpoint of a running node is of no more leaves than its log has by then."""


async def nothing_attached() -> Attachments:
    return NOTHING_ATTACHED


@dataclass(frozen=True)
class Edition:
    """The Ledger at one size of its log.

    `log`, `changes` and `by_entry` may have grown since; only the first `size` leaves count. What is attached may be of
    an earlier size: proofs are given for any.
    """

    size: int
    entries: Mapping[str, SubnetEntry]
    log: MerkleLog
    changes: Sequence[Change]
    by_entry: Mapping[str, Sequence[int]]
    bodies: Bodies
    attached: Attachments = NOTHING_ATTACHED

    @cached_property
    def root(self) -> Hash:
        return self.log.root(self.size)

    @cached_property
    def version(self) -> str:
        """`<size>:<root>`, the `ledger_version`."""
        return f"{self.size}:{self.root}"

    def history(self, entry_id: str) -> list[Change]:
        """Every change of an entry, oldest first."""
        return [self.changes[at] for at in self.by_entry.get(entry_id, ()) if at < self.size]

    def operations(self, capability: str) -> tuple[OperationRef, ...]:
        """Operations that serve a capability (role `task`, entry not deprecated), by name."""
        return self._by_capability.get(capability, ())

    @cached_property
    def _by_capability(self) -> Mapping[str, tuple[OperationRef, ...]]:
        found: dict[str, list[OperationRef]] = {}
        for entry in self.entries.values():
            for operation in entry.operations:
                if operation.role == "task" and entry.status != "deprecated":
                    found.setdefault(operation.capability, []).append(OperationRef(entry, operation))
        return {name: tuple(sorted(refs, key=lambda ref: ref.name)) for name, refs in found.items()}


@dataclass
class EditionReader:
    """Follows the table of committed changes: `refresh` reads what is new, `edition` is the Ledger as of then."""

    engine: AsyncEngine
    attachments: Attach = nothing_attached
    edition: Edition | None = None
    _log: MerkleLog = field(default_factory=MerkleLog)
    _changes: list[Change] = field(default_factory=list[Change])
    _by_entry: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    _touched: dict[str, int] = field(default_factory=dict[str, int])
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def refresh(self) -> Edition:
        """Read what was committed since, and return the edition in force.

        Raises:
            ledger.store.LedgerCorrupt: an index is missing, or an entry does not hash to its leaf.
        """
        async with self._one_at_a_time:
            return await self._refresh()

    async def _refresh(self) -> Edition:
        attached = await self.attachments()  # before the leaves: a checkpoint that comes now is for the next time
        query = select(changes.c.idx, changes.c.kind, changes.c.entry, changes.c.leaf, changes.c.block)
        async with reading(self.engine) as connection:
            rows = await connection.execute(query.where(changes.c.idx >= self._log.size).order_by(changes.c.idx))
            with collecting_nothing():
                self._add(rows.all())
        known = self.edition
        if known is None or (known.size, known.attached) != (self._log.size, attached):
            known = self.edition = await self._publish(attached)
            self._touched.clear()
        return known

    def _add(self, rows: Sequence[Any]) -> None:
        """Append leaves, and note the entries they are about with the last index of each until they are published."""
        if not self._changes:
            self._log = MerkleLog(row.leaf for row in rows)
        for index, kind, entry, leaf, block in rows:
            if index != len(self._changes):
                raise LedgerCorrupt(f"log index {len(self._changes)} is missing")
            if index == self._log.size:
                self._log.append(leaf)
            self._changes.append(Change(index, kind, entry, block))
            if kind == ENTRY:
                self._by_entry.setdefault(entry, []).append(index)
                self._touched[entry] = index

    async def _publish(self, attached: Attachments) -> Edition:
        entries = dict(self.edition.entries) if self.edition else {}
        bodies = await self.bodies(list(self._touched.values()))
        with collecting_nothing():
            for entry_id, index in self._touched.items():
                if entry_leaf(bodies[index]) != self._log.leaf(index):
                    raise LedgerCorrupt(f"log index {index} ({entry_id}) does not hash to its leaf")
                entries[entry_id] = SubnetEntry.model_validate_json(bodies[index])
        return Edition(
            size=self._log.size,
            entries=MappingProxyType(entries),
            log=self._log,
            changes=self._changes,
            by_entry=self._by_entry,
            bodies=self.bodies,
            attached=attached,
        )

    async def bodies(self, indices: Sequence[int]) -> Mapping[int, bytes]:
        """See `Bodies`."""
        found: dict[int, bytes] = {}
        async with reading(self.engine) as connection:
            for at in range(0, len(indices), _ROWS_AT_ONCE):
                some = changes.c.idx.in_(indices[at : at + _ROWS_AT_ONCE])
                rows = await connection.execute(select(changes.c.idx, changes.c.body).where(some))
                found |= {row.idx: row.body.encode() for row in rows}
        return found


@contextmanager
def collecting_nothing() -> Generator[None]:
    """No garbage collection meanwhile: among millions of new objects that all stay it takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def entry_leaf(body: bytes) -> Hash:
    """The log leaf of an entry in its canonical form, as `ledger.changes.change_leaf` hashes it."""
    return leaf_hash(b'{"body":' + body + b',"kind":"entry"}')
