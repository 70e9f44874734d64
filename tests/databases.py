"""What tests do to a database behind a store's back, and how they look at one, on either engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Inspector, MetaData, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine


async def execute(url: str, *statements: str) -> None:
    """Run statements, each as it stands, in one transaction."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


async def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """What a query gives."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query))]
    finally:
        await engine.dispose()


async def create_all(url: str, metadata: MetaData) -> None:
    """The tables as declared, without any step taken: what there was before there were steps."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
    finally:
        await engine.dispose()


async def schema(url: str) -> dict[str, Any]:
    """Every table with its columns, keys and indexes, as the database describes them."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_schema)
    finally:
        await engine.dispose()


def _schema(connection: Connection) -> dict[str, Any]:
    look: Inspector = inspect(connection)
    assert isinstance(connection.engine, Engine)
    return {
        name: {
            "columns": [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in look.get_columns(name)],
            "primary key": look.get_pk_constraint(name)["constrained_columns"],
            "indexes": sorted((str(i["name"]), i["column_names"], bool(i["unique"])) for i in look.get_indexes(name)),
            "unique": sorted(map(str, look.get_unique_constraints(name))),
            "foreign keys": sorted(map(str, look.get_foreign_keys(name))),
            "checks": sorted(str(c["sqltext"]) for c in look.get_check_constraints(name)),
        }
        for name in look.get_table_names()
        if not name.startswith("migrated_")
    }
