"""Bonds that outsiders prepaid: nothing is promised twice, nothing is rewritten, and what was settled stays settled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from ledger.canonical import sha256
from ledger.database import sqlite_url
from ledger.proposals import Anchor, Deprecation
from orchestra.chain import dev_signer
from orchestra.governing import credits
from orchestra.governing.credits import Account, CreditRefused, CreditStore, Room, Sponsored
from tests.databases import execute, rows

ADA, BEN = (dev_signer(f"//{name}").ss58_address for name in ("ada", "ben"))
BOND = 100_000
ROOM = Room(since=20, of_one=4, in_all=16)
ANCHOR = Anchor(hotkey=BEN, size=1, root=sha256(b""), index=0)


def made(number: int, who: str = ADA, block: int = 21) -> Sponsored:
    proposal = Deprecation(proposer=who, entry="alpha", salt=sha256(b"%d" % number), base=sha256(b""))
    return Sponsored(proposal, "fixed", block, signature="0x" + "11" * 64, bond=BOND)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "credits.sqlite")


@pytest.fixture
async def store(url: str) -> AsyncIterator[CreditStore]:
    async with await CreditStore.open(url) as opened:
        yield opened


async def test_of_many_at_once_no_more_are_reserved_than_were_paid_for(store: CreditStore) -> None:
    await store.pay_in(ADA, 3 * BOND - 1, "one")
    room = Room(since=20, of_one=99, in_all=99)
    said = await asyncio.gather(*(store.reserve(made(number), room) for number in range(8)))
    assert sorted(said) == ["reserved"] * 2 + ["unpaid"] * 6
    assert await store.account(ADA) == Account(ADA, free=BOND - 1, held=2 * BOND)
    assert len(await store.underway()) == 2


async def test_one_proposal_is_reserved_once_however_often_it_comes(store: CreditStore) -> None:
    await store.pay_in(ADA, 9 * BOND, "one")
    said = await asyncio.gather(*(store.reserve(made(1), ROOM) for _ in range(5)))
    assert sorted(said) == ["known"] * 4 + ["reserved"]
    assert await store.settle(made(1).digest, "false", 30, lost=BOND // 2)
    assert not await store.settle(made(1).digest, "expired", 31, lost=0)
    assert await store.reserve(made(1), ROOM) == "known"
    assert await store.account(ADA) == Account(ADA, free=9 * BOND - BOND // 2, lost=BOND // 2)


async def test_a_payment_is_booked_once_by_its_name(store: CreditStore) -> None:
    assert await store.pay_in(ADA, 7, "invoice 7")
    assert not await store.pay_in(BEN, 7, "invoice 7")
    assert await store.pay_back(ADA, 7, "invoice 7")
    assert await store.accounts() == (Account(ADA),)
    with pytest.raises(CreditRefused, match="0 rao free"):
        await store.pay_back(ADA, 1, "again")


@pytest.mark.parametrize("amount", [0, -1, credits.MOST_RAO + 1])
async def test_what_is_no_amount_is_refused(store: CreditStore, amount: int) -> None:
    with pytest.raises(CreditRefused):
        await store.pay_in(ADA, amount, "one")
    assert await store.accounts() == ()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE movements SET free = 999",
        "DELETE FROM movements",
        "INSERT INTO movements VALUES ('x', 1, 'paid_in', 'r', 5, 0, -5, 0)",
        "INSERT INTO movements VALUES ('x', 1, 'paid_in', 'r', 0, 0, 0, 0)",
        "INSERT INTO movements VALUES ('x', 1, 'settled', 'r', 5, 6, 0, 0)",
        "INSERT INTO movements VALUES ('x', 1, 'gift', 'r', 5, 0, 5, 0)",
        "INSERT INTO movements VALUES ('x', 1, 'paid_in', 'one', 5, 0, 5, 0)",
    ],
)
async def test_the_database_itself_refuses_what_would_not_add_up(store: CreditStore, url: str, statement: str) -> None:
    await store.pay_in(ADA, 7, "one")
    with pytest.raises(DBAPIError):
        await execute(url, statement)
    assert await store.accounts() == (Account(ADA, free=7),)


async def test_nobody_loses_more_than_was_put_up(store: CreditStore) -> None:
    await store.pay_in(ADA, BOND, "one")
    await store.reserve(made(1), ROOM)
    await store.settle(made(1).digest, "false", 30, lost=9 * BOND)
    assert await store.account(ADA) == Account(ADA, lost=BOND)


async def test_a_tempo_has_room_for_so_many_of_one_and_of_all(store: CreditStore) -> None:
    """Those that are fixed count though they were made in an earlier tempo: they will be anchored in this or later."""
    await store.pay_in(ADA, 99 * BOND, "one")
    await store.pay_in(BEN, 99 * BOND, "two")
    assert [await store.reserve(made(n, block=19), ROOM) for n in range(2)] == ["reserved"] * 2
    assert [await store.reserve(made(n), ROOM) for n in range(2, 5)] == ["reserved", "reserved", "full"]
    assert await store.reserve(made(9, BEN), Room(since=20, of_one=4, in_all=4)) == "full"
    assert await store.reserve(made(9, BEN), ROOM) == "reserved"
    await store.anchored(made(0).digest, ANCHOR, 22)
    await store.settle(made(0).digest, "accepted", 23, lost=0)
    assert await store.reserve(made(4), ROOM) == "full", "anchored in this tempo, whatever became of it"
    await store.settle(made(1).digest, "expired", 24, lost=0)
    assert await store.reserve(made(4), ROOM) == "reserved", "made in an earlier one and never anchored"


async def test_what_ended_is_not_moved_again(store: CreditStore) -> None:
    await store.pay_in(ADA, BOND, "one")
    await store.reserve(made(1), ROOM)
    await store.settle(made(1).digest, "expired", 30, lost=0)
    await store.anchored(made(1).digest, ANCHOR, 31)
    found = await store.find(made(1).digest)
    assert found is not None
    assert (found.state, found.block) == ("expired", 30)
    assert await store.find(sha256(b"never")) is None


async def test_old_texts_are_forgotten_and_no_outcome_is(store: CreditStore, url: str) -> None:
    many = credits.KEPT + 3
    ended = [f"('{sha256(b'%d' % n)}', '{ADA}', 'text', '', 1, 0, 'accepted', '', 1, 1, {n})" for n in range(many)]
    await execute(url, "INSERT INTO sponsored VALUES " + ", ".join(ended))
    await store.pay_in(ADA, BOND, "one")
    await store.reserve(made(1), ROOM)
    await store.settle(made(1).digest, "accepted", many, lost=0)
    kept = "SELECT count(*), sum(proposal != ''), min(CASE WHEN proposal != '' THEN block END) FROM sponsored"
    assert await rows(url, kept) == [(many + 1, credits.KEPT, 4)]
