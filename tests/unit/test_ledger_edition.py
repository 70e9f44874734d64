"""The reader follows the table of changes: nothing is lost to a failure, nothing is believed that does not hash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy.exc import OperationalError

from ledger.database import open_engine
from ledger.serving.edition import EditionReader
from ledger.store import MIGRATIONS, LedgerCorrupt, LedgerStore, metadata
from ledger.view import LedgerView
from tests.builders import entry
from tests.databases import execute
from tests.ledgerapi import entries


@dataclass
class Failing(EditionReader):
    """Cannot read the bodies the first `failures` times."""

    failures: int = 0

    async def bodies(self, indices: Sequence[int]) -> Mapping[int, bytes]:
        if self.failures:
            self.failures -= 1
            raise OperationalError("SELECT", {}, OSError("gone"))
        return await super().bodies(indices)


@pytest.fixture
async def store(url: str) -> AsyncIterator[LedgerStore]:
    async with await LedgerStore.open(url) as opened:
        await opened.append(entries(), onto=0, block=5)
        yield opened


@pytest.fixture
async def reader(url: str, store: LedgerStore) -> AsyncIterator[Failing]:
    engine = await open_engine(url, metadata, migrations=MIGRATIONS)
    yield Failing(engine)
    await engine.dispose()


async def test_an_edition_is_the_view_of_the_same_changes(reader: Failing) -> None:
    edition, view = await reader.refresh(), LedgerView(entries())
    assert (edition.version, dict(edition.entries)) == (view.version, dict(view.entries))
    assert edition.operations("web_search") == view.operations("web_search")
    assert [each.index for each in edition.history("desearch")] == [0, 3]
    assert await reader.refresh() is edition, "nothing changed"


async def test_an_edition_stays_as_it_was_when_the_log_grows(reader: Failing, store: LedgerStore) -> None:
    before = await reader.refresh()
    version, history = before.version, before.history("desearch")
    await store.append([entry("desearch", netuid=22), entry("newest", netuid=1)], onto=4, block=6)
    after = await reader.refresh()
    assert (before.version, before.history("desearch"), before.size) == (version, history, 4)
    assert "newest" not in before.entries
    assert (after.size, after.entries["newest"].netuid) == (6, 1)
    assert after.version == (await store.view()).version


async def test_what_could_not_be_read_is_read_later(reader: Failing, store: LedgerStore) -> None:
    await reader.refresh()
    await store.append([entry("newest", netuid=1)], onto=4, block=6)
    reader.failures = 1
    with pytest.raises(OperationalError):
        await reader.refresh()
    assert reader.edition is not None
    assert reader.edition.size == 4, "the last whole one stays in force"
    assert "newest" in (await reader.refresh()).entries


async def test_those_who_refresh_together_read_once(reader: Failing, store: LedgerStore) -> None:
    editions = await asyncio.gather(*(reader.refresh() for _ in range(3)))
    assert len({id(each) for each in editions}) == 1


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        ("UPDATE ledger_changes SET body = replace(body, 'Searches', 'Reads') WHERE idx = 3", "does not hash"),
        ("DELETE FROM ledger_changes WHERE idx = 1", "log index 1 is missing"),
    ],
)
async def test_a_changed_or_dropped_row_is_noticed(reader: Failing, url: str, tamper: str, said: str) -> None:
    await execute(url, tamper)
    with pytest.raises(LedgerCorrupt, match=said):
        await reader.refresh()
