"""How every table of ours is reached: SQLAlchemy Core, SQLite by default, PostgreSQL by URL.

SQLite gets what a server would: WAL, full sync (what was acknowledged survives a kill), a patient lock, and
transactions that take the write lock at once instead of failing half-way. Readers say that they only read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


Marker = Callable[[bool], None]
"""Told True when a write transaction begins and False when it has ended: how a test knows where a kill landed."""


async def open_engine(url: str, metadata: MetaData, *, marker: Marker | None = None) -> AsyncEngine:
    """Connect and create the tables that are missing. The caller owns the engine and calls `dispose`."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine)
    if marker is not None:
        _mark_writes(engine, marker)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
    except BaseException:
        await engine.dispose()
        raise
    return engine


def reading(engine: AsyncEngine) -> AsyncConnection:
    """A connection for reading only: `async with reading(engine) as connection`."""
    return engine.execution_options(read_only=True).connect()


def _mark_writes(engine: AsyncEngine, marker: Marker) -> None:
    def began(connection: Any) -> None:
        if not connection.get_execution_options().get("read_only", False):
            marker(True)

    def ended(connection: Any) -> None:
        if not connection.get_execution_options().get("read_only", False):
            marker(False)

    event.listen(engine.sync_engine, "begin", began)
    event.listen(engine.sync_engine, "commit", ended)
    event.listen(engine.sync_engine, "rollback", ended)


def _tune_sqlite(engine: AsyncEngine) -> None:
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def began(connection: Any) -> None:
        reads = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", began)
