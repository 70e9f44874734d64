"""What a validator signs about the log, and the checkpoint that comes of it.

A signature says "this log continues every one I signed before", so what was signed is written down before a signature
leaves: a validator that was killed, restored from an old backup of its Ledger or fed another history refuses to sign
instead of vouching for two. Kept apart from the Ledger's own file, which may be deleted and fetched again; this one may
not. Beside it stands the newest checkpoint with everybody's signatures on it, which is what a copy begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.checkpoint import (
    MAX_CLOCK_SKEW_MS,
    Checkpoint,
    cosign,
    holds,
    parse_checkpoint,
    signed_at,
    write_checkpoint,
)
from ledger.database import SqlStore, reading
from ledger.log import MerkleLog
from ledger.signed_note import MAX_SIGNATURES, NoteSignature
from ledger.types import Signer, Verify

MIGRATIONS = "ledger.migrations.checkpoints"

metadata = MetaData()
signed = Table(
    "ledger_signed",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("hotkey", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", String(66), nullable=False),
)
newest = Table(
    "ledger_checkpoint",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)


class CosignRefused(RuntimeError):
    """This log does not continue what this key signed before. `code`: `rollback`, `split_view` or `inconsistent`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class CheckpointStore(SqlStore):
    """Checkpoints that were signed or believed here."""

    METADATA = metadata
    MIGRATIONS = MIGRATIONS

    async def note(self, origin: str) -> bytes | None:
        """The newest checkpoint that was signed or kept here."""
        async with reading(self._engine) as connection:
            return await _note(connection, origin)

    async def notes(self) -> tuple[bytes, ...]:
        """The newest checkpoint of every log that is known here: one, but for somebody who moved networks."""
        async with reading(self._engine) as connection:
            found = (await connection.execute(select(newest.c.note).order_by(newest.c.origin))).scalars()
            return tuple(note.encode() for note in found)

    async def sign(self, log: MerkleLog, origin: str, signer: Signer, *, now_ms: int) -> bytes:
        """Vouch for the log as it is, and return the checkpoint with every signature known under it.

        Raises:
            CosignRefused: the log does not continue what this key signed before; nothing was signed.
        """
        checkpoint = Checkpoint(origin, log.size, log.root())
        async with self._engine.begin() as connection:
            await _record(connection, checkpoint, log, signer.ss58_address)
        line = cosign(checkpoint, signer, time_ms=now_ms)
        note = await self._merge(checkpoint, [line], lambda kept: True, instead_of=signer.ss58_address)
        assert note is not None
        return note

    async def countersign(self, note: bytes, *, allowed: Container[str], verify: Verify, now_ms: int) -> bytes | None:
        """Take over what others signed under the checkpoint that is kept here, and return what is kept then.

        Only true signatures of `allowed` hotkeys are taken, none for another checkpoint, and none from the future,
        which would count for nobody and stand in the way of the next.

        Raises:
            ledger.signed_note.NoteRefused: not a checkpoint.
        """
        checkpoint, parsed = parse_checkpoint(note)
        due = [each for each in parsed.signatures if signed_at(each) <= now_ms + MAX_CLOCK_SKEW_MS]
        true = [each for each in due if each.name in allowed and holds(each, parsed.text, verify)]
        if not true:
            return await self.note(checkpoint.origin)
        return await self._merge(checkpoint, true, lambda kept: kept == checkpoint)

    async def believe(self, verified: bytes) -> None:
        """Remember a checkpoint that was verified, unless a larger one is kept."""
        checkpoint, parsed = parse_checkpoint(verified)
        await self._merge(checkpoint, parsed.signatures, lambda kept: kept is None or kept.size <= checkpoint.size)

    async def _merge(
        self,
        checkpoint: Checkpoint,
        signatures: Iterable[NoteSignature],
        may_replace: Callable[[Checkpoint | None], bool],
        instead_of: str = "",
    ) -> bytes | None:
        """Keep this checkpoint with these signatures and those already under it (but for those of the hotkey
        `instead_of`), or leave what is kept.
        """
        async with self._engine.begin() as connection:
            kept = await _note(connection, checkpoint.origin)
            before, parsed = (None, None) if kept is None else parse_checkpoint(kept)
            if not may_replace(before):
                return kept
            under = parsed.signatures if parsed and before == checkpoint else ()
            others = [line for line in under if line.name != instead_of]
            note = write_checkpoint(checkpoint, _newest([*others, *signatures]))
            row = {"origin": checkpoint.origin, "size": checkpoint.size, "note": note.decode()}
            await _put(connection, newest, {"origin": checkpoint.origin}, row, exists=kept is not None)
            return note


async def _record(connection: AsyncConnection, checkpoint: Checkpoint, log: MerkleLog, hotkey: str) -> None:
    key = {"origin": checkpoint.origin, "hotkey": hotkey}
    query = select(signed).where(signed.c.origin == checkpoint.origin, signed.c.hotkey == hotkey).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is not None:
        _require_continuation(row.size, row.root, log)
    values = key | {"size": checkpoint.size, "root": checkpoint.root}
    await _put(connection, signed, key, values, exists=row is not None)


def _require_continuation(size: int, root: str, log: MerkleLog) -> None:
    if log.size < size:
        raise CosignRefused("rollback", f"{log.size} changes, but {size} were signed for before")
    if log.root(size) != root:
        code = "split_view" if log.size == size else "inconsistent"
        raise CosignRefused(code, f"not the history of the {size} changes signed for before")


async def _put(
    connection: AsyncConnection, table: Table, key: dict[str, str], row: dict[str, Any], *, exists: bool
) -> None:
    if not exists:
        await connection.execute(insert(table), row)
        return
    statement = update(table).values(row)
    for name, value in key.items():
        statement = statement.where(table.c[name] == value)
    await connection.execute(statement)


async def _note(connection: AsyncConnection, origin: str) -> bytes | None:
    found = (await connection.execute(select(newest.c.note).where(newest.c.origin == origin))).scalar_one_or_none()
    return None if found is None else found.encode()


def _newest(signatures: Iterable[NoteSignature]) -> list[NoteSignature]:
    """One line a key, its latest; as many as a note may hold."""
    latest: dict[str, NoteSignature] = {}
    for each in signatures:
        if each.name not in latest or signed_at(each) >= signed_at(latest[each.name]):
            latest[each.name] = each
    return sorted(latest.values(), key=signed_at, reverse=True)[:MAX_SIGNATURES]
