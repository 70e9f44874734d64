"""The store keeps exactly what was committed, in order, and notices when it does not."""

from __future__ import annotations

import pytest

from ledger.entry import SubnetEntry
from ledger.store import LedgerConflict, LedgerCorrupt, LedgerStore
from ledger.view import LedgerView
from tests.builders import entry, operation
from tests.databases import execute


async def test_an_empty_ledger_has_the_version_of_nothing(url: str) -> None:
    async with await LedgerStore.open(url) as store:
        view = await store.view()
    assert view.version == "0:0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


async def test_what_was_committed_is_there_after_reopening(url: str) -> None:
    first, second = entry("desearch", netuid=22), entry("chutes", netuid=64)
    async with await LedgerStore.open(url) as store:
        await store.append([first, second], onto=0, block=7)
        committed = await store.view()
    async with await LedgerStore.open(url) as store:
        again = await store.view()
        assert await store.changes(1) == (second,)
    assert again.version == committed.version == LedgerView([first, second]).version
    assert dict(again.entries) == {"desearch": first, "chutes": second}


async def test_a_later_change_replaces_the_entry_and_keeps_the_history(url: str) -> None:
    old = entry("desearch", netuid=22)
    new = old.model_copy(update={"status": "deprecated"})
    async with await LedgerStore.open(url) as store:
        await store.append([old], onto=0, block=1)
        await store.append([new], onto=1, block=2)
        view = await store.view()
        assert await store.changes(0) == (old, new)
    assert view.entry("desearch") == new
    assert view.operations("web_search") == ()


async def test_two_writers_on_the_same_version_one_is_refused(url: str) -> None:
    async with await LedgerStore.open(url) as one, await LedgerStore.open(url) as two:
        await one.append([entry("desearch", netuid=22)], onto=0, block=1)
        with pytest.raises(LedgerConflict):
            await two.append([entry("chutes", netuid=64)], onto=0, block=1)
        assert (await two.view()).size == 1


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE ledger_changes SET body = replace(body, 'desearch', 'research') WHERE idx = 0",
        "DELETE FROM ledger_changes WHERE idx = 0",
    ],
)
async def test_a_changed_or_dropped_row_is_noticed(url: str, tamper: str) -> None:
    async with await LedgerStore.open(url) as store:
        await store.append([entry("desearch", netuid=22), entry("chutes", netuid=64)], onto=0, block=1)
    await execute(url, tamper)
    async with await LedgerStore.open(url) as store:
        with pytest.raises(LedgerCorrupt):
            await store.view()


async def test_an_entry_that_names_an_operation_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        SubnetEntry.model_validate(
            entry("desearch", netuid=22).model_dump() | {"operations": [operation("a"), operation("a")]}
        )


def test_the_version_of_a_fixed_ledger_is_pinned() -> None:
    view = LedgerView([entry("desearch", netuid=22)])
    assert view.version == "1:0xb000f50b31ac1f7e9616752d646e8cd56997360d3ad15898095f9a573195ce56"
