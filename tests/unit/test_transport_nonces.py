"""A nonce is accepted once: across restarts, across processes, at capacity, and never when the database cannot say."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ledger.database import sqlite_url
from orchestra.transport import NonceStoreFailed, NonceStoreFull, SharedNonceStore, SqliteNonceStore
from tests import postgres
from tests.databases import execute, rows

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
NOW = 1_800_000_000_000_000_000
SECOND = 10**9


Open = Callable[..., Any]
"""Makes a store on one and the same place each time; takes the options that all stores have."""


@pytest.fixture(params=["file", "shared-sqlite", "shared-postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, postgres_server: Callable[[], postgres.Server]) -> Open:
    if request.param == "file":
        return partial(SqliteNonceStore, tmp_path / "n.sqlite")
    sqlite = request.param == "shared-sqlite"
    return partial(SharedNonceStore, sqlite_url(tmp_path / "s.sqlite") if sqlite else postgres_server().database())


class WallClock:
    def __init__(self) -> None:
        self.now_ns = NOW

    def __call__(self) -> int:
        return self.now_ns


async def test_once_and_across_a_restart(opened: Open) -> None:
    clock = WallClock()
    async with opened(clock_ns=clock) as store:
        assert await store.accept(HOTKEY, NOW)
        assert not await store.accept(HOTKEY, NOW)
        assert await store.accept(HOTKEY, NOW + 1)
        assert await store.accept("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty", NOW)
    async with opened(clock_ns=clock) as store:
        assert not await store.accept(HOTKEY, NOW)
        assert await store.accept(HOTKEY, NOW + 2)


async def test_of_many_at_once_exactly_one_wins(opened: Open) -> None:
    async with opened(clock_ns=WallClock()) as store:
        verdicts = await asyncio.gather(*(store.accept(HOTKEY, NOW + n % 7) for n in range(70)))
    assert sum(verdicts) == 7


async def test_two_machines_on_one_database_share_their_memory(opened: Open) -> None:
    clock = WallClock()
    async with opened(clock_ns=clock) as one, opened(clock_ns=clock) as other:
        assert await one.accept(HOTKEY, NOW)
        assert not await other.accept(HOTKEY, NOW)
        batch = await asyncio.gather(*(other.accept(HOTKEY, NOW + n) for n in range(4)))
        assert batch == [False, True, True, True]


async def test_concurrent_requests_share_a_commit(tmp_path: Path) -> None:
    path = tmp_path / "n.sqlite"
    async with SqliteNonceStore(path, clock_ns=WallClock()) as store:
        before = _changes(path)
        assert all(await asyncio.gather(*(store.accept(HOTKEY, NOW + n) for n in range(32))))
        assert _changes(path) - before == 1


def _changes(path: Path) -> int:
    """How many transactions the WAL holds: frames that end one carry the database's size."""
    frames = (Path(f"{path}-wal").read_bytes())[32:]
    page = 24 + 4096
    return sum(int.from_bytes(frames[at + 4 : at + 8], "big") != 0 for at in range(0, len(frames), page))


async def test_full_of_fresh_nonces_it_refuses_and_evicts_none(opened: Open) -> None:
    clock = WallClock()
    async with opened(capacity=3, retention_s=60, clock_ns=clock) as store:
        for n in range(3):
            assert await store.accept(HOTKEY, NOW + n)
        for _ in range(5):
            with pytest.raises(NonceStoreFull):
                await store.accept(HOTKEY, NOW + 10)
        clock.now_ns = NOW + 61 * SECOND
        assert await store.accept(HOTKEY, NOW + 10)


async def test_at_capacity_what_fits_is_taken(opened: Open) -> None:
    async with opened(capacity=3, clock_ns=WallClock()) as store:
        outcomes = await asyncio.gather(*(store.accept(HOTKEY, NOW + n) for n in range(3)), return_exceptions=True)
        assert outcomes == [True, True, True]
        more = await asyncio.gather(*(store.accept(HOTKEY, NOW + 3 + n) for n in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in more] == [NonceStoreFull] * 3


async def test_only_stale_nonces_are_forgotten(tmp_path: Path) -> None:
    clock = WallClock()
    path = tmp_path / "n.sqlite"
    async with SqliteNonceStore(path, retention_s=60, clock_ns=clock) as store:
        assert await store.accept(HOTKEY, NOW)
        assert await store.accept(HOTKEY, NOW + 40 * SECOND)
        clock.now_ns = NOW + 61 * SECOND
        assert await store.accept(HOTKEY, NOW + 60 * SECOND)
        assert not await store.accept(HOTKEY, NOW + 40 * SECOND)
    with sqlite3.connect(path) as connection:
        kept = [row[0] for row in connection.execute("SELECT nonce_ns FROM nonces ORDER BY 1")]
    connection.close()
    assert kept == [NOW + 40 * SECOND, NOW + 60 * SECOND]


async def test_a_broken_database_refuses_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "n.sqlite"
    async with SqliteNonceStore(path, clock_ns=WallClock()) as store:
        assert await store.accept(HOTKEY, NOW)
        _run(path, "ALTER TABLE nonces RENAME TO hidden")
        with pytest.raises(NonceStoreFailed, match="database failed"):
            await store.accept(HOTKEY, NOW + 1)
        with pytest.raises(NonceStoreFailed):
            await store.accept(HOTKEY, NOW)
        _run(path, "ALTER TABLE hidden RENAME TO nonces")
        assert await store.accept(HOTKEY, NOW + 1)
        assert not await store.accept(HOTKEY, NOW)


async def test_a_locked_database_refuses_in_time(tmp_path: Path) -> None:
    path = tmp_path / "n.sqlite"
    async with SqliteNonceStore(path, timeout_s=0.05, clock_ns=WallClock()) as store:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(NonceStoreFailed):
            await store.accept(HOTKEY, NOW)
        blocker.execute("ROLLBACK")
        blocker.close()


async def test_closed_it_refuses(opened: Open) -> None:
    store = opened()
    with pytest.raises(NonceStoreFailed):
        await store.accept(HOTKEY, NOW)
    async with store:
        pass
    with pytest.raises(NonceStoreFailed):
        await store.accept(HOTKEY, NOW)


async def test_a_path_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(NonceStoreFailed, match="cannot open"):
        async with SqliteNonceStore(tmp_path / "no" / "folder" / "n.sqlite"):
            pytest.fail("it opened")


async def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "n.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(NonceStoreFailed, match="cannot open"):
        async with SqliteNonceStore(tmp_path / "n.sqlite"):
            pytest.fail("it opened")


async def test_a_shared_store_forgets_only_what_is_stale(url: str) -> None:
    clock = WallClock()
    async with SharedNonceStore(url, retention_s=60, clock_ns=clock) as store:
        assert await store.accept(HOTKEY, NOW)
        assert await store.accept(HOTKEY, NOW + 40 * SECOND)
        clock.now_ns = NOW + 61 * SECOND
        assert await store.accept(HOTKEY, NOW + 60 * SECOND)
        assert not await store.accept(HOTKEY, NOW + 40 * SECOND)
    kept = [row[0] for row in await rows(url, "SELECT nonce_ns FROM shared_nonces ORDER BY 1")]
    assert kept == [NOW + 40 * SECOND, NOW + 60 * SECOND]


async def test_a_shared_store_whose_database_breaks_refuses_and_recovers(url: str) -> None:
    async with SharedNonceStore(url, clock_ns=WallClock()) as store:
        assert await store.accept(HOTKEY, NOW)
        await execute(url, "ALTER TABLE shared_nonces RENAME TO hidden")
        with pytest.raises(NonceStoreFailed, match="database failed"):
            await store.accept(HOTKEY, NOW + 1)
        await execute(url, "ALTER TABLE hidden RENAME TO shared_nonces")
        assert await store.accept(HOTKEY, NOW + 1)
        assert not await store.accept(HOTKEY, NOW)


async def test_a_shared_store_that_cannot_be_opened_says_so() -> None:
    with pytest.raises(NonceStoreFailed, match="cannot open"):
        async with SharedNonceStore("postgresql+asyncpg://127.0.0.1:1/none"):
            pytest.fail("it opened")


def _run(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
