"""Short write transactions that many wait for: one after the other, each with as little around it as the engine allows.

On SQLite a statement takes microseconds and handing it to aiosqlite's thread and back takes a hundred, for each of the
half-dozen steps of a transaction; so here the whole transaction is handed over at once, and the disk is not waited for.
What was committed survives a kill of the process; a loss of power may take back the last moments. PostgreSQL, which
waits for the network anyway, does as it always does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ledger.database import Marker, tune

T = TypeVar("T")


class Writer:
    """Owner of one connection to a database that is up to date (`open_engine`); `run` one at a time, then `close`."""

    def __init__(self, url: str, *, marker: Marker | None = None) -> None:
        parsed = make_url(url)
        self.dialect = parsed.get_backend_name()
        self._shared: AsyncEngine | None = None
        if self.dialect == "sqlite":
            self._own = create_engine(parsed.set(drivername="sqlite"), connect_args={"check_same_thread": False})
            tune(self._own, marker, power_safe=False)
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        else:
            self._shared = create_async_engine(parsed, pool_size=1, max_overflow=0, pool_pre_ping=True)
            tune(self._shared.sync_engine, marker)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, in one transaction that is committed when this returns and undone when it raises."""
        if self._shared is not None:
            async with self._shared.begin() as connection:
                return await connection.run_sync(work)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[Connection], T]) -> T:
        with self._own.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.dispose()
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, self._own.dispose)
        self._thread.shutdown(wait=False)
