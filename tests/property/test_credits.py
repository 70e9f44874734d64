"""An outsider's account adds up whatever is done to it, in whatever order, across restarts."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.canonical import sha256
from ledger.database import sqlite_url
from ledger.proposals import Deprecation
from orchestra.governing.credits import CreditRefused, CreditStore, Room, Sponsored
from tests.databases import rows

WHO = ["5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"]
BOND = 100
ROOM = Room(since=0, of_one=10**6, in_all=10**6)

amounts = st.integers(BOND // 2, 3 * BOND)
numbers = st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("pay_in"), st.sampled_from(WHO), amounts, numbers),
    st.tuples(st.just("pay_back"), st.sampled_from(WHO), amounts, numbers),
    st.tuples(st.just("reserve"), st.sampled_from(WHO), numbers),
    st.tuples(st.just("settle"), st.sampled_from(WHO), numbers, st.integers(0, 2 * BOND)),
    st.tuples(st.just("restart")),
)


def made(who: str, number: int) -> Sponsored:
    proposal = Deprecation(proposer=who, entry="alpha", salt=sha256(b"%d" % number), base=sha256(b""))
    return Sponsored(proposal, "fixed", 1, signature="0x" + "00" * 64, bond=BOND)


class Books:
    """What the accounts should come to, kept apart from the store."""

    def __init__(self) -> None:
        self.free = Counter[str]()
        self.held = Counter[str]()
        self.lost = Counter[str]()
        self.done = set[tuple[str, object]]()

    def expect(self, step: tuple[Any, ...]) -> object:
        """What the store has to answer; None where it has to refuse."""
        match step:
            case ("pay_in" | "pay_back" as kind, who, amount, number):
                if (kind, number) in self.done:
                    return False
                if kind == "pay_back" and self.free[who] < amount:
                    return None
                self.done.add((kind, number))
                self.free[who] += amount if kind == "pay_in" else -amount
                return True
            case ("reserve", who, number):
                if ("reserve", (who, number)) in self.done:
                    return "known"
                if self.free[who] < BOND:
                    return "unpaid"
                self.done.add(("reserve", (who, number)))
                self.free[who] -= BOND
                self.held[who] += BOND
                return "reserved"
            case ("settle", who, number, lost):
                key = ("settle", (who, number))
                if ("reserve", key[1]) not in self.done or key in self.done:
                    return False
                self.done.add(key)
                self.held[who] -= BOND
                self.free[who] += BOND - min(lost, BOND)
                self.lost[who] += min(lost, BOND)
                return True
        raise AssertionError(step)


async def act(store: CreditStore, step: tuple[Any, ...]) -> object:
    match step:
        case ("pay_in" | "pay_back" as kind, who, amount, number):
            try:
                return await getattr(store, kind)(who, amount, f"payment {number}")
            except CreditRefused:
                return None
        case ("reserve", who, number):
            return await store.reserve(made(who, number), ROOM)
        case ("settle", who, number, lost):
            return await store.settle(made(who, number).digest, "false", 9, lost=lost)
    raise AssertionError(step)


async def play(url: str, played: list[tuple[Any, ...]]) -> None:
    books, store = Books(), await CreditStore.open(url)
    try:
        for step in played:
            if step == ("restart",):
                await store.close()
                store = await CreditStore.open(url)
                continue
            assert await act(store, step) == books.expect(step), step
            for who in WHO:
                account = await store.account(who)
                assert (account.free, account.held, account.lost) == (books.free[who], books.held[who], books.lost[who])
        open_ = Counter(each.proposal.proposer for each in await store.underway())
        assert {who: open_[who] * BOND for who in WHO} == {who: books.held[who] for who in WHO}
    finally:
        await store.close()
    summed = "SELECT address, kind, sum(amount), sum(lost) FROM movements GROUP BY address, kind"
    total = {(who, kind): (amount, lost) for who, kind, amount, lost in await rows(url, summed)}
    for who in WHO:
        paid, back, reserved, settled = (
            total.get((who, kind), (0, 0)) for kind in ("paid_in", "paid_back", "reserved", "settled")
        )
        assert paid[0] - back[0] - settled[1] == books.free[who] + books.held[who], "nothing appears, nothing is gone"
        assert reserved[0] - settled[0] == books.held[who]


@settings(max_examples=30)
@given(st.lists(steps, max_size=14))
def test_an_account_adds_up_whatever_happens(played: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(play(sqlite_url(Path(folder) / "credits.sqlite"), played))
