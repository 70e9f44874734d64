"""The committed Ledger on disk: an append-only table of changes, from which everything else follows.

The table is the log that checkpoints and proofs are about, so nothing is ever updated or deleted; the current entries
and `ledger_version` are computed from it (`ledger.view`). SQLite by default, PostgreSQL by URL, one SQL code path. One
writer: an append names the version it builds on, and is refused when another got there first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.canonical import parse_strict
from ledger.changes import MAX_ENTRY_BYTES, Change, change_body, change_leaf, entry_of, kind_of, read_change
from ledger.database import SqlStore, reading
from ledger.leaves import LogLeaf
from ledger.view import LedgerView

MIGRATIONS = "ledger.migrations.changes"

metadata = MetaData()
changes = Table(
    "ledger_changes",
    metadata,
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("entry", String(64), nullable=False),
    Column("leaf", String(66), nullable=False),
    Column("body", Text, nullable=False),
    Column("block", BigInteger, nullable=False),
    Index("ix_ledger_changes_entry", "entry", "idx"),
)


class LedgerConflict(RuntimeError):
    """The log has moved on since the version this change was built on: read it again, then decide again."""


class LedgerCorrupt(RuntimeError):
    """The table does not hash to what it says. Delete the file and bootstrap again from a validator."""


class LedgerStore(SqlStore):
    """The log, as it is on disk."""

    METADATA = metadata
    MIGRATIONS = MIGRATIONS

    async def view(self) -> LedgerView:
        """The whole committed Ledger.

        Raises:
            LedgerCorrupt: an index is missing, or a stored leaf is not the hash of its body.
        """
        return LedgerView(await self.changes(0))

    async def changes(self, since: int, limit: int | None = None) -> tuple[Change, ...]:
        """Committed changes from log index `since` on, in order."""
        query = select(changes).where(changes.c.idx >= since).order_by(changes.c.idx).limit(limit)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return tuple(_read(row, since + offset) for offset, row in enumerate(rows))

    async def leaves(self, since: int, limit: int) -> tuple[LogLeaf, ...]:
        """As `changes`, in the bytes that are stored: nothing is checked, whoever makes a tree of them will see."""
        query = select(changes.c.kind, changes.c.body).where(changes.c.idx >= since).order_by(changes.c.idx)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query.limit(limit))).all()
        return tuple(LogLeaf(row.kind, row.body.encode()) for row in rows)

    async def dated(self) -> tuple[tuple[Change, int], ...]:
        """Every committed change with the block at which this node appended it."""
        async with reading(self._engine) as connection:
            rows = (await connection.execute(select(changes).order_by(changes.c.idx))).all()
        return tuple((_read(row, index), row.block) for index, row in enumerate(rows))

    async def append(self, added: Sequence[Change], *, onto: int, block: int) -> None:
        """Commit changes as log indices `onto`, `onto + 1`, ...

        Raises:
            LedgerConflict: the log does not end at `onto`.
        """
        try:
            async with self._engine.begin() as connection:
                await self._require_size(connection, onto)
                if added:
                    rows = [_row(onto + offset, change, block) for offset, change in enumerate(added)]
                    await connection.execute(insert(changes), rows)
        except IntegrityError:
            raise LedgerConflict(f"log index {onto} is taken: another writer committed first") from None

    async def _require_size(self, connection: AsyncConnection, onto: int) -> None:
        size = (await connection.execute(select(func.count()).select_from(changes))).scalar_one()
        if size != onto:
            raise LedgerConflict(f"the log holds {size} changes, this one was built on {onto}")


def _row(index: int, change: Change, block: int) -> dict[str, Any]:
    body = change_body(change)
    if len(body) > MAX_ENTRY_BYTES:
        raise ValueError(f"{kind_of(change)} {entry_of(change)} takes {len(body)} bytes, at most {MAX_ENTRY_BYTES}")
    return {
        "idx": index,
        "kind": kind_of(change),
        "entry": entry_of(change),
        "leaf": change_leaf(change),
        "body": body.decode(),
        "block": block,
    }


def _read(row: Any, index: int) -> Change:
    if row.idx != index:
        raise LedgerCorrupt(f"log index {index} is missing")
    try:
        change = read_change(row.kind, parse_strict(row.body.encode(), max_bytes=MAX_ENTRY_BYTES))
    except ValueError as error:
        raise LedgerCorrupt(f"log index {index} cannot be read: {str(error)[:200]}") from None
    if change_leaf(change) != row.leaf:
        raise LedgerCorrupt(f"log index {index} ({row.kind} {row.entry}) does not hash to its leaf")
    return change
