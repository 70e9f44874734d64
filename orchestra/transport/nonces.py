"""Replay protection that survives a restart: accepted nonces in SQLite, committed before the request is served.

One writer task owns the connection and commits whatever is waiting as one transaction, so that 32 concurrent requests
cost one commit, not 32. An insert of a few rows into the WAL is a write to the page cache: it takes less (40 µs) than
handing it to a thread and back does, so it runs on the event loop, which serves a third more requests that way. What
can take longer, forgetting and checkpoints with their fsync, runs in a thread while the writer waits.

A nonce is a UTC timestamp in nanoseconds, so the table's key is its own expiry index. WAL with `synchronous=NORMAL`
keeps a committed nonce through a kill of the process; after a loss of power the freshness window has passed anyway.
The store fails closed: when it is full of fresh nonces or the database fails, the request is refused.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

_CREATE = """
CREATE TABLE IF NOT EXISTS nonces (nonce_ns INTEGER NOT NULL, hotkey TEXT NOT NULL, PRIMARY KEY (nonce_ns, hotkey))
WITHOUT ROWID, STRICT
"""
_INSERT = """
INSERT INTO nonces (nonce_ns, hotkey)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?) WHERE true
ON CONFLICT DO NOTHING RETURNING nonce_ns, hotkey
"""
_LARGEST_BATCH = 16
_COMMITS_PER_TIDY = 2000
_BUSY_PAUSE_S = 0.005

_Key = tuple[int, str]
T = TypeVar("T")


class NonceStoreError(Exception):
    """The store cannot say whether a nonce is fresh, so the request must be refused."""


class NonceStoreFull(NonceStoreError):
    """Full of fresh nonces: raise `capacity`, or lower the callers' rate limits."""


class NonceStoreFailed(NonceStoreError):
    """The database failed or did not answer in time: check the disk and the file's permissions."""


class NonceStore(Protocol):
    """Remembers accepted (hotkey, nonce) pairs for at least `retention_s`."""

    @property
    def retention_s(self) -> float: ...

    async def accept(self, hotkey: str, nonce_ns: int) -> bool:
        """True once, when the pair is durably recorded; False for a pair accepted before.

        Raises:
            NonceStoreError: it cannot tell, or cannot record.
        """
        ...


class SqliteNonceStore:
    """A `NonceStore` in one SQLite file, used as `async with SqliteNonceStore(path) as nonces`.

    At most `capacity` fresh nonces are held; `clock_ns` is UTC nanoseconds and must be the clock that checks freshness.
    `timeout_s` bounds the wait of one request for its commit.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        retention_s: float = 60.0,
        capacity: int = 1_000_000,
        timeout_s: float = 2.0,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = str(path)
        self._retention_s = retention_s
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._clock_ns = clock_ns
        self._count = 0
        self._commits = 0
        self._tidied_ns = 0
        self._waiting: dict[_Key, asyncio.Future[bool]] = {}
        self._wake = asyncio.Event()
        self._open = False
        self._writer: asyncio.Task[None] | None = None

    @property
    def retention_s(self) -> float:
        return self._retention_s

    async def __aenter__(self) -> Self:
        """Raises `NonceStoreFailed` when the file cannot be opened or is not ours."""
        try:
            connection = await asyncio.to_thread(self._connect)
        except sqlite3.Error as error:
            raise NonceStoreFailed(f"cannot open the nonce database {self._path} ({error})") from error
        self._open = True
        self._writer = asyncio.create_task(self._write(connection), name="nonce-writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._wake.set()
        assert self._writer is not None
        await self._writer

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=self._timeout_s, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute(_CREATE)
            self._tidy(connection)
            connection.execute("PRAGMA busy_timeout=0")  # the event loop does not wait for a lock: `_patiently` does
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    async def accept(self, hotkey: str, nonce_ns: int) -> bool:
        """See `NonceStore.accept`; returns after the commit.

        Raises:
            NonceStoreFull: `capacity` fresh nonces are held already.
            NonceStoreFailed: the database failed, is closed, or took longer than `timeout_s`.
        """
        if not self._open:
            raise NonceStoreFailed("the nonce store is closed")
        key = (nonce_ns, hotkey)
        if key in self._waiting:
            return False
        if len(self._waiting) >= self._capacity:
            raise NonceStoreFull
        verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[key] = verdict
        self._wake.set()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await verdict
        except TimeoutError:
            raise NonceStoreFailed(f"no commit within {self._timeout_s:g} s") from None

    async def _write(self, connection: sqlite3.Connection) -> None:
        try:
            while self._open:
                await self._wake.wait()
                self._wake.clear()
                await self._gather()
                await self._commit(connection, dict(self._waiting))
        finally:
            self._open = False
            self._settle(dict(self._waiting), NonceStoreFailed("the nonce store is closed"))
            connection.close()

    async def _gather(self) -> None:
        """Let requests that are ready join this commit: wait while each turn of the event loop brings another."""
        known = 0
        while known < len(self._waiting) < _LARGEST_BATCH:
            known = len(self._waiting)
            await asyncio.sleep(0)

    async def _commit(self, connection: sqlite3.Connection, batch: dict[_Key, asyncio.Future[bool]]) -> None:
        """Answer the batch: what fits is recorded in one transaction, the rest is refused."""
        try:
            if self._untidy(len(batch)):
                await self._patiently(lambda: asyncio.to_thread(self._tidy, connection))
            taken = list(batch)[: max(0, self._capacity - self._count)]
            fresh = await self._patiently(lambda: self._insert(connection, taken))
        except sqlite3.Error as error:
            self._settle(batch, NonceStoreFailed(f"the nonce database failed ({error})"))
            return
        self._settle({key: batch.pop(key) for key in taken}, fresh)
        self._settle(batch, NonceStoreFull("full of fresh nonces"))

    def _untidy(self, wanted: int) -> bool:
        return (
            self._count + wanted > self._capacity
            or self._commits >= _COMMITS_PER_TIDY
            or self._clock_ns() - self._tidied_ns > self._retention_s * 1e9 / 4
        )

    async def _patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Run a statement, again while another process holds the file, for at most `timeout_s`."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        while True:
            try:
                return await action()
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or not self._open or asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(_BUSY_PAUSE_S)

    async def _insert(self, connection: sqlite3.Connection, keys: list[_Key]) -> set[_Key]:
        """Record the keys in one statement, which is one transaction, and return those that were new."""
        if not keys:
            return set()
        rows = connection.execute(_INSERT, (json.dumps(keys),)).fetchall()
        self._count += len(rows)
        self._commits += 1
        return {(int(row[0]), str(row[1])) for row in rows}

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """Forget what is stale, count what is left, and move the WAL into the database."""
        now = self._clock_ns()
        connection.execute("DELETE FROM nonces WHERE nonce_ns < ?", (now - int(self._retention_s * 1e9),))
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        self._count = int(connection.execute("SELECT count(*) FROM nonces").fetchone()[0])
        self._commits = 0
        self._tidied_ns = now

    def _settle(self, batch: dict[_Key, asyncio.Future[bool]], outcome: set[_Key] | NonceStoreError) -> None:
        for key, verdict in batch.items():
            self._waiting.pop(key, None)
            if verdict.done():
                continue
            if isinstance(outcome, NonceStoreError):
                verdict.set_exception(type(outcome)(*outcome.args))
            else:
                verdict.set_result(key in outcome)
