"""The state of a validator's seat is one row, replaced whole or not at all."""

from __future__ import annotations

from orchestra.governing.store import GovernorStore
from tests.databases import rows

BIG = {"block": 2**53, "note": "ü", "calls": [{"digest": f"0x{number:064x}"} for number in range(2_000)]}


async def test_what_was_kept_last_is_read_after_a_restart(url: str) -> None:
    async with await GovernorStore.open(url) as store:
        assert await store.read() is None
        await store.keep({"block": 1})
        await store.keep(BIG)
    async with await GovernorStore.open(url) as store:
        assert await store.read() == BIG
    assert await rows(url, "SELECT count(*) FROM governor") == [(1,)]


async def test_every_replacement_is_one_transaction(url: str) -> None:
    heard: list[bool] = []
    async with await GovernorStore.open(url, marker=heard.append) as store:
        heard.clear()
        await store.keep(BIG)
        await store.read()
    assert heard == [True, False]
