"""What a validator's state machine must not forget, as one row: written before anything that follows from it leaves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text, delete, insert, select

from ledger.database import SqlStore, reading

MIGRATIONS = "orchestra.governing.migrations.governor"

metadata = MetaData()
governor = Table(
    "governor", metadata, Column("id", Integer, primary_key=True, autoincrement=False), Column("state", Text)
)


class GovernorStore(SqlStore):
    """The one row."""

    METADATA = metadata
    MIGRATIONS = MIGRATIONS

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
