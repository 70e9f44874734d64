"""Where a miner keeps the raw bytes that its answers hash to, until nobody may ask for them any more.

An answer without its evidence earns nothing, so a bundle is on disk before the answer leaves; a restart keeps it. It is
shown to the validator whose challenge it was and to nobody else: organic objectives are private. One connection, one
owner, one lock: writes are single transactions, and the oldest bundles go by count, by age and by bytes in all.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import aiosqlite

from orchestra.proofs.seal import EvidenceBundle, StepBytes
from orchestra.protocol import MAX_EVIDENCE_BYTES, Evidence, EvidenceRequest, StepEvidence

MAX_BUNDLES = 20_000
MAX_AGE_MS = 3 * 24 * 3_600_000
MAX_TOTAL_BYTES = 2 << 30
_OVERHEAD = 64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bundles (
    challenge_id TEXT PRIMARY KEY, validator TEXT NOT NULL, stored_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS bundles_by_age ON bundles (stored_ms);
CREATE TABLE IF NOT EXISTS steps (
    challenge_id TEXT NOT NULL REFERENCES bundles ON DELETE CASCADE,
    step INTEGER NOT NULL, request BLOB NOT NULL, response BLOB,
    PRIMARY KEY (challenge_id, step)
) STRICT;
"""


class EvidenceMissing(LookupError):
    """No evidence of this challenge for this validator: never answered, another validator's, or past retention."""


class EvidenceExists(ValueError):
    """A challenge is answered once; its evidence is never replaced."""


class EvidenceStore(Protocol):
    """Where sealed evidence is kept."""

    async def has(self, challenge_id: str) -> bool:
        """Was this challenge answered (and not yet forgotten)?"""
        ...

    async def put(self, bundle: EvidenceBundle) -> None:
        """Keep a bundle, durably when this returns.

        Raises:
            EvidenceExists: there is one for this challenge.
        """
        ...

    async def reveal(self, request: EvidenceRequest, *, validator: str) -> Evidence:
        """The bytes of the asked steps in ascending order, as many as fit into one message, at least one. Steps that
        never were are left out.

        Raises:
            EvidenceMissing: nothing that this validator may see.
        """
        ...


class SqliteEvidence:
    """An `EvidenceStore` in one SQLite file. Use as an async context manager, or `open` and `close`.

    `now_ms` gives UTC milliseconds. At most `max_bundles` challenges are kept, none older than `max_age_ms`, of at most
    `max_bytes` in all; the newest is kept whatever its size. `marker` hears True and False around every write
    transaction.
    """

    def __init__(
        self,
        connection: aiosqlite.Connection,
        now_ms: Callable[[], int],
        max_bundles: int,
        max_age_ms: int,
        max_bytes: int,
        marker: Callable[[bool], None] | None,
    ) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._marker = marker
        self._max_bundles = max_bundles
        self._max_age_ms = max_age_ms
        self._max_bytes = max_bytes
        self._lock = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        now_ms: Callable[[], int],
        max_bundles: int = MAX_BUNDLES,
        max_age_ms: int = MAX_AGE_MS,
        max_bytes: int = MAX_TOTAL_BYTES,
        marker: Callable[[bool], None] | None = None,
    ) -> Self:
        """Open or create the file."""
        connection = await aiosqlite.connect(path, isolation_level=None)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
                await connection.execute(f"PRAGMA {pragma}")
            await connection.executescript(_SCHEMA)
            await _count_bytes(connection)
        except BaseException:
            await connection.close()
            raise
        return cls(connection, now_ms, max_bundles, max_age_ms, max_bytes, marker)

    async def close(self) -> None:
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def has(self, challenge_id: str) -> bool:
        query = "SELECT 1 FROM bundles WHERE challenge_id = ?"
        async with self._lock, self._connection.execute(query, (challenge_id,)) as rows:
            return await rows.fetchone() is not None

    async def put(self, bundle: EvidenceBundle) -> None:
        async with self._lock, self._writing():
            await self._insert(bundle)
            await self._forget()

    async def reveal(self, request: EvidenceRequest, *, validator: str) -> Evidence:
        async with self._lock:
            found = await self._read(request, validator)
        if not found:
            raise EvidenceMissing(request.challenge_id)
        return Evidence(challenge_id=request.challenge_id, steps=tuple(_that_fit(found)))

    @asynccontextmanager
    async def _writing(self) -> AsyncGenerator[None]:
        """One transaction: committed whole, or, on any exception and on cancellation, not at all."""
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
            self._mark(True)
            yield
            await self._connection.execute("COMMIT")
        except BaseException:
            with suppress(aiosqlite.OperationalError):  # a COMMIT that was on its way has ended the transaction
                await self._connection.execute("ROLLBACK")
            raise
        finally:
            self._mark(False)

    def _mark(self, active: bool) -> None:
        if self._marker is not None:
            self._marker(active)

    async def _insert(self, bundle: EvidenceBundle) -> None:
        try:
            await self._connection.execute(
                "INSERT INTO bundles (challenge_id, validator, stored_ms, bytes) VALUES (?, ?, ?, ?)",
                (bundle.challenge_id, bundle.validator, self._now_ms(), _size(bundle)),
            )
        except aiosqlite.IntegrityError:
            raise EvidenceExists(bundle.challenge_id) from None
        await self._connection.executemany(
            "INSERT INTO steps VALUES (?, ?, ?, ?)",
            [(bundle.challenge_id, step.step, step.request, step.response) for step in bundle.steps],
        )

    async def _forget(self) -> None:
        await self._connection.execute(
            "DELETE FROM bundles WHERE stored_ms < ? OR challenge_id IN ("
            "SELECT challenge_id FROM (SELECT challenge_id, row_number() OVER newest AS place, "
            "sum(bytes) OVER newest AS total FROM bundles WINDOW newest AS (ORDER BY stored_ms DESC, challenge_id)) "
            "WHERE place > ? OR (place > 1 AND total > ?))",
            (self._now_ms() - self._max_age_ms, self._max_bundles, self._max_bytes),
        )

    async def _read(self, request: EvidenceRequest, validator: str) -> list[StepBytes]:
        wanted = sorted(set(request.steps))
        marks = ",".join("?" * len(wanted))
        query = (
            "SELECT step, request, response FROM steps JOIN bundles USING (challenge_id) "  # noqa: S608 - marks only
            f"WHERE challenge_id = ? AND validator = ? AND stored_ms >= ? AND step IN ({marks}) ORDER BY step"
        )
        oldest = self._now_ms() - self._max_age_ms
        found: list[StepBytes] = []
        size = 0
        async with self._connection.execute(query, (request.challenge_id, validator, oldest, *wanted)) as rows:
            async for step, sent, received in rows:
                size += len(sent) + len(received or b"")
                if size > MAX_EVIDENCE_BYTES and found:
                    break
                found.append(StepBytes(step, sent, received))
        return found


async def _count_bytes(connection: aiosqlite.Connection) -> None:
    """Bring a file from before bundles knew their size up to date."""
    async with connection.execute("SELECT 1 FROM pragma_table_info('bundles') WHERE name = 'bytes'") as rows:
        if await rows.fetchone():
            return
    await connection.execute("BEGIN IMMEDIATE")
    await connection.execute("ALTER TABLE bundles ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0")
    await connection.execute(
        "UPDATE bundles SET bytes = (SELECT coalesce(sum(length(request) + coalesce(length(response), 0)), 0) "
        "FROM steps WHERE steps.challenge_id = bundles.challenge_id)"
    )
    await connection.execute("COMMIT")


def _size(bundle: EvidenceBundle) -> int:
    return sum(len(step.request) + len(step.response or b"") for step in bundle.steps)


def to_evidence(step: StepBytes) -> StepEvidence:
    """A step's bytes as they travel."""
    response = None if step.response is None else base64.b64encode(step.response).decode()
    return StepEvidence(step=step.step, request=base64.b64encode(step.request).decode(), response=response)


def _that_fit(found: Iterable[StepBytes]) -> Iterable[StepEvidence]:
    left = MAX_EVIDENCE_BYTES - 1024
    for index, step in enumerate(found):
        evidence = to_evidence(step)
        left -= len(evidence.request) + len(evidence.response or "") + _OVERHEAD
        if left < 0 and index:
            return
        yield evidence
