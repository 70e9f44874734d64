"""How every table of ours is reached: SQLAlchemy Core, SQLite by default, PostgreSQL by URL.

SQLite gets what a server would: WAL, full sync (what was acknowledged survives a kill), a patient lock, and
transactions that take the write lock at once instead of failing half-way. Readers say that they only read. Opening a
database also upgrades it (`ledger.upgrade`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from sqlalchemy import Engine, MetaData, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ledger.upgrade import upgrader

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
}


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


def database_url(text: str) -> str:
    """A URL as people write it (`postgresql://user@host/name`, `sqlite:///file`) with the driver that we use.

    Raises:
        ValueError: not such a URL; the message shows no password.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError("not a database URL: write sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    driver = _DRIVERS.get(url.drivername, url.drivername)
    if driver not in _DRIVERS.values():
        raise ValueError(f"no database of ours: {url.drivername[:40]!r}; use sqlite or postgresql")
    return url.set(drivername=driver).render_as_string(hide_password=False)


Marker = Callable[[bool], None]
"""Told True when a write transaction begins and False when it is over and its connection given back, so after the
commit: how a test knows where a kill landed. One connection makes one transaction.
"""
_WRITES = "writes"
_WAL_TRIES = 200
_WAL_PAUSE_S = 0.01


async def open_engine(
    url: str, metadata: MetaData, *, migrations: str | None = None, marker: Marker | None = None
) -> AsyncEngine:
    """Connect and bring the tables up to date. The caller owns the engine and calls `dispose`.

    `migrations` is the package of the store's steps; without one the tables that are missing are created as declared.

    Raises:
        ledger.upgrade.DatabaseTooNew: a newer release has been here.
    """
    engine = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"))  # a server may have restarted
    tune(engine.sync_engine, marker)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrader(migrations) if migrations else metadata.create_all)
    except BaseException:
        await engine.dispose()
        raise
    return engine


class SqlStore:
    """What every store of ours is: the owner of one database's connections. Use as an async context manager, or `open`
    and `close`. A store names its tables and the package of its migrations, where it has any.
    """

    METADATA: ClassVar[MetaData]
    MIGRATIONS: ClassVar[str | None] = None

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str, *, marker: Marker | None = None) -> Self:
        """Connect and bring the tables up to date. `url` is SQLAlchemy's: `sqlite+aiosqlite:///PATH` or PostgreSQL's.
        `marker` hears of every write transaction.

        Raises:
            ledger.upgrade.DatabaseTooNew: a newer release has been here.
        """
        return cls(await open_engine(url, cls.METADATA, migrations=cls.MIGRATIONS, marker=marker))

    async def close(self) -> None:
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def reading(engine: AsyncEngine) -> AsyncConnection:
    """A connection for reading only: `async with reading(engine) as connection`."""
    return engine.execution_options(read_only=True).connect()


async def insert_new(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert those rows of which no key is taken, and return how many that were."""
    if not rows:
        return 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(list(rows)).on_conflict_do_nothing()
    return (await connection.execute(statement)).rowcount


def tune(engine: Engine, marker: Marker | None = None, *, power_safe: bool = True) -> None:
    """Give an engine what all of ours have. Without `power_safe` a loss of power (not of the process) may take back
    the last commits: SQLite then does not wait for the disk."""
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine, "FULL" if power_safe else "NORMAL")
    if marker is not None:
        _mark_writes(engine, marker)


def _mark_writes(engine: Engine, marker: Marker) -> None:
    """The engine's own `commit` event comes before the commit; a connection is given back when it is over."""

    def began(connection: Any) -> None:
        if not connection.get_execution_options().get("read_only", False):
            connection.info[_WRITES] = True
            marker(True)

    def given_back(_connection: Any, record: Any) -> None:
        if record.info.pop(_WRITES, False):
            marker(False)

    event.listen(engine, "begin", began)
    event.listen(engine, "checkin", given_back)


def _write_ahead(cursor: Any) -> None:
    """Switch to WAL, which a file remembers. While others open a new file at the same moment SQLite refuses this at
    once, whatever patience it was told.
    """
    for _ in range(_WAL_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return
    cursor.execute("PRAGMA journal_mode=WAL")


def _tune_sqlite(engine: Engine, synchronous: str) -> None:
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=10000")
        _write_ahead(cursor)
        for pragma in (f"synchronous={synchronous}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def began(connection: Any) -> None:
        reads = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", began)
