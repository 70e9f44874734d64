"""A key is shown once, stored as a hash, found until it is revoked; what it may do comes from its tier."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.accounts import REMEMBERED_S, Accounts
from ledger.database import open_engine
from ledger.serving.tables import MIGRATIONS, metadata
from ledger.serving.tiers import TIERS
from tests.databases import execute, rows
from tests.fakes.clock import VirtualClock

NOW_MS = 1_790_000_000_000


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    opened = await open_engine(url, metadata, migrations=MIGRATIONS)
    yield opened
    await opened.dispose()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def accounts(engine: AsyncEngine, clock: VirtualClock) -> Accounts:
    return Accounts(engine, clock=clock, wall=lambda: NOW_MS)


async def test_a_key_is_found_and_is_nowhere_in_the_database(accounts: Accounts, url: str) -> None:
    key, account = await accounts.issue("Ada", "developer")
    assert await accounts.find(key) == account
    assert account.tier is TIERS["developer"]
    (stored,) = await rows(url, "SELECT * FROM api_keys")
    assert key.rpartition("_")[2] not in "".join(map(str, stored))


async def test_what_is_nearly_a_key_is_none(accounts: Accounts) -> None:
    key, _ = await accounts.issue("Ada", "developer")
    for wrong in (key[:-1], key + "x", key.swapcase(), "", "orchestra_"):
        assert await accounts.find(wrong) is None


async def test_two_keys_of_one_owner_are_two(accounts: Accounts) -> None:
    first, second = await accounts.issue("Ada", "free"), await accounts.issue("Ada", "enterprise")
    assert first[0] != second[0]
    assert {each.id for each in await accounts.all()} == {first[1].id, second[1].id}


async def test_a_revoked_key_is_not_found_again(accounts: Accounts) -> None:
    key, account = await accounts.issue("Ada", "production")
    assert await accounts.find(key)
    assert await accounts.revoke(account.id)
    assert await accounts.find(key) is None
    assert not await accounts.revoke(account.id)
    assert not await accounts.revoke("nobody")
    assert [each.revoked_ms for each in await accounts.all()] == [NOW_MS]


async def test_a_revocation_elsewhere_takes_effect_within_seconds(
    accounts: Accounts, clock: VirtualClock, url: str
) -> None:
    key, account = await accounts.issue("Ada", "production")
    assert await accounts.find(key)
    await execute(url, "UPDATE api_keys SET revoked_ms = 1")
    clock.advance(REMEMBERED_S / 2)
    assert await accounts.find(key) == account, "remembered: no query"
    clock.advance(REMEMBERED_S / 2)
    assert await accounts.find(key) is None


@pytest.mark.parametrize("owner", ["", "x" * 129, "two\nlines"])
async def test_an_owner_that_cannot_be_shown_is_refused(accounts: Accounts, owner: str) -> None:
    with pytest.raises(ValueError, match="owner"):
        await accounts.issue(owner, "free")
