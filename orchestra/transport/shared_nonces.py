"""Replay protection for a neuron that is served from several machines: accepted nonces in one database, by URL.

The key of the table decides who was first, also between machines. PostgreSQL gathers commits by itself, so a nonce is
one statement here; on one machine `SqliteNonceStore`, which gathers them in the process, is several times quicker. It
fails closed in the same way, and forgets by age alone. The count that `capacity` is compared with is this machine's
last look at the table plus what it added since.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.database import insert_new, open_engine
from orchestra.transport.nonces import NonceStoreFailed, NonceStoreFull

MIGRATIONS = "orchestra.transport.migrations"

metadata = MetaData()
shared_nonces = Table(
    "shared_nonces",
    metadata,
    Column("nonce_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("hotkey", String(64), primary_key=True),
)


class SharedNonceStore:
    """A `NonceStore` in one database, used as `async with SharedNonceStore(url) as nonces`. See `SqliteNonceStore`."""

    def __init__(
        self,
        url: str,
        *,
        retention_s: float = 60.0,
        capacity: int = 1_000_000,
        timeout_s: float = 2.0,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._url = url
        self._retention_s = retention_s
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._clock_ns = clock_ns
        self._engine: AsyncEngine | None = None
        self._taken = 0
        self._inserting = 0
        self._tidying = asyncio.Lock()
        self._tidied_ns = 0

    @property
    def retention_s(self) -> float:
        return self._retention_s

    async def __aenter__(self) -> Self:
        """Raises `NonceStoreFailed` when the database cannot be opened."""
        try:
            self._engine = await open_engine(self._url, metadata, migrations=MIGRATIONS)
        except (SQLAlchemyError, OSError) as error:
            raise NonceStoreFailed(f"cannot open the nonce database ({type(error).__name__})") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()

    async def accept(self, hotkey: str, nonce_ns: int) -> bool:
        """See `NonceStore.accept`; returns after the commit.

        Raises:
            NonceStoreFull: `capacity` fresh nonces are held already.
            NonceStoreFailed: the database failed, is closed, or took longer than `timeout_s`.
        """
        if self._engine is None:
            raise NonceStoreFailed("the nonce store is closed")
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._wants_tidying():
                    async with self._tidying:
                        if self._wants_tidying():  # whoever had the lock has perhaps done it
                            await self._tidy(self._engine)
                return await self._insert(self._engine, hotkey, nonce_ns)
        except TimeoutError:
            raise NonceStoreFailed(f"no commit within {self._timeout_s:g} s") from None
        except (SQLAlchemyError, OSError) as error:
            raise NonceStoreFailed(f"the nonce database failed ({type(error).__name__})") from None

    async def _insert(self, engine: AsyncEngine, hotkey: str, nonce_ns: int) -> bool:
        if self._taken >= self._capacity:
            raise NonceStoreFull("full of fresh nonces")
        self._taken += 1  # before the first wait, so that those at once do not all find the last place free
        self._inserting += 1
        fresh = False
        try:
            async with engine.begin() as connection:
                added = await insert_new(connection, shared_nonces, [{"nonce_ns": nonce_ns, "hotkey": hotkey}])
            fresh = added == 1
        finally:
            self._taken -= not fresh
            self._inserting -= 1
        return fresh

    def _wants_tidying(self) -> bool:
        is_old = self._clock_ns() - self._tidied_ns > self._retention_s * 1e9 / 4
        return is_old or self._taken >= self._capacity

    async def _tidy(self, engine: AsyncEngine) -> None:
        """Forget what is stale and count what is left; what is being inserted counts, whether it is there or not."""
        now = self._clock_ns()
        old = shared_nonces.c.nonce_ns < now - int(self._retention_s * 1e9)
        async with engine.begin() as connection:
            await connection.execute(delete(shared_nonces).where(old))
            count = select(func.count()).select_from(shared_nonces)
            self._taken = (await connection.execute(count)).scalar_one() + self._inserting
        self._tidied_ns = now
