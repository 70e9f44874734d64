"""Every lookup is counted once, before it is answered, never beyond the quota; on both engines, also between two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.accounts import Account
from ledger.database import open_engine
from ledger.metering import RECEIPT_MS, Counted, Meter, MeteringFailed, _admit, _Waiting
from ledger.serving.tables import DAY_MS, MIGRATIONS, metadata
from ledger.serving.tiers import TIERS, Tier
from ledger.writer import Writer
from tests.databases import execute, rows

JANUARY_MS = 1_767_225_600_000
LEAP_FEBRUARY_MS = 1_835_481_599_999
SMALL = Tier("developer", per_minute=1, monthly=5, full=True, webhooks=0)
ADA = Account("ada", "Ada", TIERS["production"], 0)
BOB = Account("bob", "Bob", SMALL, 0)


class Wall:
    def __init__(self) -> None:
        self.now_ms = JANUARY_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
async def writer(url: str) -> AsyncIterator[Writer]:
    await (await open_engine(url, metadata, migrations=MIGRATIONS)).dispose()
    opened = Writer(url)
    yield opened
    await opened.close()


async def usage(url: str) -> dict[tuple[str, int], int]:
    return {(key, month): count for key, month, count in await rows(url, "SELECT * FROM api_usage")}


async def test_each_lookup_counts_in_its_month(writer: Writer, url: str) -> None:
    wall = Wall()
    async with Meter(writer, wall=wall) as meter:
        assert await meter.count(ADA) == Counted(True, 1)
        assert await meter.count(ADA) == Counted(True, 2)
        assert await meter.count(BOB) == Counted(True, 1)
        wall.now_ms -= 1
        assert await meter.count(ADA) == Counted(True, 1)
        wall.now_ms = LEAP_FEBRUARY_MS
        assert await meter.count(ADA) == Counted(True, 1)
    counts = {("ada", 202601): 2, ("bob", 202601): 1, ("ada", 202512): 1, ("ada", 202802): 1}
    assert await usage(url) == counts


async def test_many_at_once_share_commits_and_none_is_lost(writer: Writer, url: str) -> None:
    begun: list[bool] = []
    marked = Writer(url, marker=begun.append)
    async with Meter(marked, wall=Wall()) as meter:
        await asyncio.gather(*(meter.count(ADA if n % 2 else BOB) for n in range(10)))
    await marked.close()
    assert begun == [True, False]
    assert await usage(url) == {("ada", 202601): 5, ("bob", 202601): 5}


async def test_the_quota_is_exact_and_a_refusal_counts_nothing(writer: Writer, url: str) -> None:
    async with Meter(writer, wall=Wall()) as meter:
        said = await asyncio.gather(*(meter.count(BOB) for _ in range(9)))
        assert [each.admitted for each in said] == [True] * 5 + [False] * 4
        assert await meter.count(BOB) == Counted(False, 5)
        assert await meter.count(ADA) == Counted(True, 1)
    assert (await usage(url))["bob", 202601] == 5


async def test_the_quota_is_exact_between_two_servers(writer: Writer, url: str) -> None:
    other_writer = Writer(url)
    async with Meter(writer, wall=Wall()) as one, Meter(other_writer, wall=Wall()) as other:
        said = await asyncio.gather(*(meter.count(BOB, f"{n}") for n in range(6) for meter in (one, other)))
    await other_writer.close()
    assert sum(each.admitted for each in said) == 10, "both servers were asked the same six, and five were counted"
    assert await usage(url) == {("bob", 202601): 5}


async def test_a_request_that_is_named_again_is_no_database_again(writer: Writer, url: str) -> None:
    async with Meter(writer, wall=Wall()) as meter:
        assert await meter.count(BOB, "a") == Counted(True, 1)
        assert await meter.count(BOB, "a") == Counted(True, 1)
        said = await asyncio.gather(*(meter.count(BOB, name) for name in ("b", "b", "a", "c")))
        assert {each.used for each in said} == {3}
        assert await meter.count(ADA, "a") == Counted(True, 1), "a name belongs to its key"
    async with Meter(writer, wall=Wall()) as meter:
        assert await meter.count(BOB, "b") == Counted(True, 3), "also after a restart"


async def test_a_request_refused_by_the_quota_has_no_receipt(writer: Writer, url: str) -> None:
    wall = Wall()
    async with Meter(writer, wall=wall) as meter:
        said = await asyncio.gather(*(meter.count(BOB, f"{n}") for n in range(7)))
        assert sum(each.admitted for each in said) == 5
        refused = [f"{n}" for n in range(7) if not said[n].admitted]
        assert await meter.count(BOB, refused[0]) == Counted(False, 5)
        assert (await meter.count(BOB, "0")).admitted, "what was paid may be repeated"
        wall.now_ms += 32 * DAY_MS
        assert await meter.count(BOB, refused[0]) == Counted(True, 1)


async def test_receipts_are_forgotten_in_time(writer: Writer, url: str) -> None:
    wall = Wall()
    async with Meter(writer, wall=wall) as meter:
        await meter.count(ADA, "old")
    wall.now_ms += RECEIPT_MS + 1
    async with Meter(writer, wall=wall) as meter:
        await meter.count(ADA, "new")
    assert await rows(url, "SELECT request FROM api_receipts") == [("new",)]


async def test_a_count_that_cannot_be_committed_is_refused(writer: Writer, url: str) -> None:
    async with Meter(writer, wall=Wall()) as meter:
        await execute(url, "ALTER TABLE api_usage RENAME TO hidden")
        with pytest.raises(MeteringFailed, match="database failed"):
            await meter.count(ADA)
        await execute(url, "ALTER TABLE hidden RENAME TO api_usage")
        assert await meter.count(ADA) == Counted(True, 1)
    with pytest.raises(MeteringFailed, match="closed"):
        await meter.count(ADA)


@given(
    names=st.lists(st.one_of(st.none(), st.sampled_from("abcd")), max_size=12),
    receipted=st.sets(st.sampled_from("abcd")),
    left=st.integers(0, 8),
)
def test_what_is_admitted_is_what_one_after_the_other_would_be(
    names: list[str | None], receipted: set[str], left: int
) -> None:
    loop = asyncio.new_event_loop()
    try:
        group = [_Waiting(BOB, name, 202601, loop.create_future()) for name in names]
        admitted, counted = _admit(group, set("abcd") - receipted, left)
    finally:
        loop.close()
    known, rest, expected = set(receipted), left, list[bool]()
    for name in names:
        free = name is not None and name in known
        expected.append(free or rest > 0)
        if not free and rest > 0:
            rest -= 1
            known |= {name} if name else set()
    assert admitted == expected
    assert counted == left - rest
