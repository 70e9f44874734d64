"""Replay protection that survives a restart: accepted nonces in SQLite, committed before the request is served.

One writer task owns the connection and commits whatever has gathered since its last commit as one transaction, so that
32 concurrent requests cost one commit, not 32. A nonce is a UTC timestamp in nanoseconds, so the table's key is its own
expiry index and forgetting is one range delete. WAL with `synchronous=NORMAL` keeps a committed nonce through a kill of
the process; after a loss of power the freshness window has passed anyway. The store fails closed: when it is full of
fresh nonces or the database fails, the request is refused.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import aiosqlite

_CREATE = """
CREATE TABLE IF NOT EXISTS nonces (nonce_ns INTEGER NOT NULL, hotkey TEXT NOT NULL, PRIMARY KEY (nonce_ns, hotkey))
WITHOUT ROWID, STRICT
"""
_INSERT = """
INSERT INTO nonces (nonce_ns, hotkey)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?) WHERE true
"""
_INSERT_NEW = _INSERT + " ON CONFLICT DO NOTHING RETURNING nonce_ns, hotkey"

_LARGEST_BATCH = 256

_Key = tuple[int, str]


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
        self._forgotten_ns: int | None = None
        self._waiting: dict[_Key, asyncio.Future[bool]] = {}
        self._wake = asyncio.Event()
        self._connection: aiosqlite.Connection | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def retention_s(self) -> float:
        return self._retention_s

    async def __aenter__(self) -> Self:
        """Raises `NonceStoreFailed` when the file cannot be opened or is not ours."""
        try:
            opened = await asyncio.to_thread(self._open)
        except sqlite3.Error as error:
            raise NonceStoreFailed(f"cannot open the nonce database {self._path} ({error})") from error
        # aiosqlite leaves its thread behind when its own connect fails, so it is handed an open connection.
        connection = await aiosqlite.Connection(lambda: opened, iter_chunk_size=64)
        self._connection = connection
        self._writer = asyncio.create_task(self._write(connection), name="nonce-writer")
        return self

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=self._timeout_s, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_CREATE)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, writer = self._connection, self._writer
        self._connection = self._writer = None
        assert connection is not None
        assert writer is not None
        writer.cancel()
        try:
            await asyncio.wait([writer])
        finally:
            self._settle(dict(self._waiting), NonceStoreFailed("the nonce store is closed"))
            await connection.close()
        if not writer.cancelled() and (crash := writer.exception()) is not None:
            raise crash

    async def accept(self, hotkey: str, nonce_ns: int) -> bool:
        """See `NonceStore.accept`; returns after the commit.

        Raises:
            NonceStoreFull: `capacity` fresh nonces are held already.
            NonceStoreFailed: the database failed, is closed, or took longer than `timeout_s`.
        """
        if self._writer is None or self._writer.done():
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

    async def _write(self, connection: aiosqlite.Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._gather()
            batch = dict(self._waiting)
            try:
                room = await self._room(connection, len(batch))
                taken = list(batch)[:room]
                fresh = await self._insert(connection, taken)
            except sqlite3.Error as error:
                self._settle(batch, NonceStoreFailed(f"the nonce database failed ({error})"))
                continue
            self._settle({key: batch.pop(key) for key in taken}, fresh)
            self._settle(batch, NonceStoreFull("full of fresh nonces"))

    async def _gather(self) -> None:
        """Let requests that are ready join this commit: wait while each turn of the event loop brings another."""
        known = 0
        while known < len(self._waiting) < _LARGEST_BATCH:
            known = len(self._waiting)
            await asyncio.sleep(0)

    async def _room(self, connection: aiosqlite.Connection, wanted: int) -> int:
        """How many of `wanted` nonces fit, after forgetting what is stale when that is due or needed."""
        last = self._forgotten_ns
        due = last is None or self._clock_ns() - last > self._retention_s * 1e9 / 4
        if due or self._count + wanted > self._capacity:
            await self._forget(connection)
        return max(0, min(wanted, self._capacity - self._count))

    async def _insert(self, connection: aiosqlite.Connection, keys: list[_Key]) -> set[_Key]:
        """Record the keys in one statement, which is one transaction, and return those that were new.

        The usual batch has no replay in it and takes the statement without results: each row that SQLite returns is
        another wait for the interpreter's lock, which the event loop holds.
        """
        if not keys:
            return set()
        batch = (json.dumps(keys),)
        try:
            await connection.execute_fetchall(_INSERT, batch)
            fresh = set(keys)
        except sqlite3.IntegrityError:
            rows = await connection.execute_fetchall(_INSERT_NEW, batch)
            fresh = {(int(row[0]), str(row[1])) for row in rows}
        self._count += len(fresh)
        return fresh

    async def _forget(self, connection: aiosqlite.Connection) -> None:
        """Delete what has gone stale, and count what is left."""
        now = self._clock_ns()
        await connection.execute("DELETE FROM nonces WHERE nonce_ns < ?", (now - int(self._retention_s * 1e9),))
        rows = list(await connection.execute_fetchall("SELECT count(*) FROM nonces"))
        self._count = int(rows[0][0])
        self._forgotten_ns = now

    def _settle(self, batch: dict[_Key, asyncio.Future[bool]], outcome: set[_Key] | NonceStoreError) -> None:
        for key, verdict in batch.items():
            self._waiting.pop(key, None)
            if verdict.done():
                continue
            if isinstance(outcome, NonceStoreError):
                verdict.set_exception(type(outcome)(*outcome.args))
            else:
                verdict.set_result(key in outcome)
