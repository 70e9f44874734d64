"""Databases are upgraded when they are opened: from nothing, from before there were steps, and never backwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
from sqlalchemy import Connection, MetaData, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from ledger import cosigning, probe_history
from ledger import store as ledger_store
from ledger.database import database_url, open_engine, reading, tune
from ledger.serving import tables as api
from ledger.store import LedgerStore
from ledger.upgrade import DatabaseTooNew, version_table
from ledger.writer import Writer
from orchestra.anchoring import own_log
from orchestra.governing import drafts
from orchestra.governing import store as governor_store
from orchestra.transport import shared_nonces
from orchestra.validation import store as validation_store
from orchestra.validation.store import ValidationStore
from tests import postgres
from tests.builders import entry
from tests.databases import create_all, execute, rows, schema

OLDER = [
    (module.metadata, module.MIGRATIONS)
    for module in (ledger_store, validation_store, cosigning, probe_history, own_log, drafts, governor_store)
]
"""Stores that were there before there were steps."""
STORES = [*OLDER, (api.metadata, api.MIGRATIONS), (shared_nonces.metadata, shared_nonces.MIGRATIONS)]


def each(stores: list[tuple[MetaData, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("metadata", "migrations"), stores, ids=[name for _, name in stores])


async def opened(url: str, metadata: MetaData, migrations: str) -> None:
    engine = await open_engine(url, metadata, migrations=migrations)
    await engine.dispose()


@each(STORES)
async def test_the_steps_end_with_the_tables_as_declared(url: str, metadata: MetaData, migrations: str) -> None:
    await opened(url, metadata, migrations)
    stepped = await schema(url)
    await execute(url, *(f"DROP TABLE {name}" for name in stepped))
    await create_all(url, metadata)
    assert await schema(url) == stepped
    assert set(stepped) == set(metadata.tables)


@each(OLDER)
async def test_a_database_from_before_the_steps_is_adopted(url: str, metadata: MetaData, migrations: str) -> None:
    await create_all(url, metadata)
    before = await schema(url)
    await opened(url, metadata, migrations)
    await opened(url, metadata, migrations)
    assert await schema(url) == before
    assert len(await rows(url, f"SELECT version_num FROM {version_table(migrations)}")) == 1


async def test_what_was_stored_before_the_steps_is_kept(url: str) -> None:
    async with await LedgerStore.open(url) as store:
        await store.append([entry("desearch", netuid=22)], onto=0, block=7)
        committed = await store.view()
    await execute(url, f"DROP TABLE {version_table(ledger_store.MIGRATIONS)}")
    async with await LedgerStore.open(url) as store:
        assert (await store.view()).version == committed.version


async def test_those_who_open_together_take_each_step_once(url: str) -> None:
    stores = await asyncio.gather(*(LedgerStore.open(url) for _ in range(4)), ValidationStore.open(url))
    for store in stores:
        await store.close()
    assert set(await schema(url)) == {*ledger_store.metadata.tables, *validation_store.metadata.tables}


async def test_the_stores_of_one_node_may_share_a_database(url: str) -> None:
    for metadata, migrations in STORES:
        await opened(url, metadata, migrations)
    assert set(await schema(url)) == {table for metadata, _ in STORES for table in metadata.tables}


async def test_a_database_of_a_newer_release_is_left_alone(url: str) -> None:
    async with await LedgerStore.open(url):
        pass
    await execute(url, f"UPDATE {version_table(ledger_store.MIGRATIONS)} SET version_num = '9999'")
    with pytest.raises(DatabaseTooNew, match="at step 9999, this release knows up to 0"):
        await LedgerStore.open(url)


@pytest.mark.parametrize("with_writer", [False, True], ids=["engine", "writer"])
async def test_a_marker_is_told_of_the_end_when_everybody_else_sees_what_was_written(
    url: str, with_writer: bool
) -> None:
    heard: list[tuple[bool, int]] = []

    def mark(active: bool) -> None:
        with ThreadPoolExecutor(1) as elsewhere:
            seen = elsewhere.submit(lambda: asyncio.run(rows(url, "SELECT count(*) FROM fixed")))
            heard.append((active, seen.result()[0][0]))

    def write(connection: Connection, index: int) -> None:
        connection.execute(insert(own_log.fixed), [{"idx": index, "digest": "0x"}])

    await opened(url, own_log.metadata, own_log.MIGRATIONS)
    writer, engine = Writer(url, marker=mark), create_async_engine(url)
    tune(engine.sync_engine, mark)
    try:
        for index in (0, 1, 2):
            with suppress(IntegrityError):  # the second is refused: a digest stands there once
                if with_writer:
                    await writer.run(partial(write, index=index))
                else:
                    async with engine.begin() as connection:
                        await connection.run_sync(write, index)
        async with reading(engine) as connection:
            await connection.execute(select(own_log.fixed))
    finally:
        await writer.close()
        await engine.dispose()
    assert heard == [(True, 0), (False, 1), (True, 1), (False, 1), (True, 1), (False, 1)]


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_without_postgresql_it_is_said_how_to_get_it(
    required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRA_REQUIRE_ALL", required)
    with pytest.raises(outcome, match="apt-get install postgresql"), postgres.running(lambda: None):
        raise AssertionError("there is none to run")


@pytest.fixture
def postgres_url(postgres_server: Callable[[], postgres.Server]) -> str:
    return postgres_server().database()


async def test_a_connection_that_broke_is_replaced(postgres_url: str) -> None:
    async with await LedgerStore.open(postgres_url) as store:
        await store.view()
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        await execute(postgres_url, f"{others} AND datname = current_database()")
        assert (await store.view()).size == 0


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://me@db.example/ledger", "postgresql+asyncpg://me@db.example/ledger"),
        ("postgres://me:pw@db.example/ledger", "postgresql+asyncpg://me:pw@db.example/ledger"),
        ("postgresql+asyncpg://me@/ledger?host=/run/pg", "postgresql+asyncpg://me@/ledger?host=%2Frun%2Fpg"),
        ("sqlite:///a/b.sqlite", "sqlite+aiosqlite:///a/b.sqlite"),
        ("sqlite+aiosqlite:////a/b.sqlite", "sqlite+aiosqlite:////a/b.sqlite"),
    ],
)
def test_a_url_as_people_write_it(given: str, used: str) -> None:
    assert database_url(given) == used


@pytest.mark.parametrize("given", ["", "ledger.sqlite", "mysql://me:secret@db.example/x", "postgresql+psycopg2://a/b"])
def test_another_database_is_refused_without_its_password(given: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite.*postgresql") as caught:
        database_url(given)
    assert "secret" not in str(caught.value)
