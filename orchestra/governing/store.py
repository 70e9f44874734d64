"""What a validator's state machine must not forget, as one row: written before anything that follows from it leaves."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Column, Integer, MetaData, Table, Text, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.database import Marker, open_engine, reading

MIGRATIONS = "orchestra.governing.migrations.governor"

metadata = MetaData()
governor = Table(
    "governor", metadata, Column("id", Integer, primary_key=True, autoincrement=False), Column("state", Text)
)


class GovernorStore:
    """Owner of one database. Use as an async context manager, or `open` and `close`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str, *, marker: Marker | None = None) -> Self:
        return cls(await open_engine(url, metadata, migrations=MIGRATIONS, marker=marker))

    async def close(self) -> None:
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def read(self) -> dict[str, Any] | None:
        """What was kept last; None at the first start."""
        async with reading(self._engine) as connection:
            state = (await connection.execute(select(governor.c.state))).scalar()
        return None if state is None else json.loads(state)

    async def keep(self, state: dict[str, Any]) -> None:
        """Replace what is kept, durably when this returns."""
        text = await asyncio.to_thread(json.dumps, state)
        async with self._engine.begin() as connection:
            await connection.execute(delete(governor))
            await connection.execute(insert(governor), [{"id": 1, "state": text}])
