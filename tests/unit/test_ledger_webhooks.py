"""What changed is told once to each who listens, again until it is heard, and never beyond that; on both engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.database import open_engine, sqlite_url
from ledger.log import MerkleLog
from ledger.serving.edition import Change, Edition
from ledger.serving.tables import MIGRATIONS, metadata
from ledger.webhook_signature import is_genuine
from ledger.webhook_store import KEPT_MS, WebhookStore
from ledger.webhooks import BACKOFF_S, Answer, SendFailed, Webhooks
from tests.builders import entry
from tests.databases import rows
from tests.ledgerapi import Receiver, running_api

NOW_MS = 1_790_000_000_000
KEY = "ada"
URL = "https://hooks.example/x"


class Wall:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class World:
    store: WebhookStore
    receiver: Receiver
    wall: Wall
    webhooks: Webhooks

    async def listen(self, *entries: str, url: str = URL) -> tuple[str, str]:
        """Id and secret of a new webhook."""
        made = await self.store.add(KEY, url, entries, most=10)
        assert made is not None
        return made[1].id, made[0]

    async def say(self, *answers: Answer | SendFailed) -> None:
        self.receiver.script = list(answers)

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.receiver.heard]


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    opened = await open_engine(url, metadata, migrations=MIGRATIONS)
    yield opened
    await opened.dispose()


@pytest.fixture
def world(engine: AsyncEngine) -> World:
    receiver, wall = Receiver(), Wall()
    store = WebhookStore(engine, wall=wall)
    return World(store, receiver, wall, Webhooks(store, receiver, wall=wall, chance=lambda: 0.5))


def edition(*names: str) -> Edition:
    """An edition whose log changed these entries, in this order; `-` is a leaf of another kind."""
    log = MerkleLog(f"0x{n:064x}" for n in range(len(names)))
    changes = [Change(n, "bond" if name == "-" else "entry", name, 100 + n) for n, name in enumerate(names)]
    entries = {name: entry(name, netuid=7) for name in names if name != "-"}

    async def bodies(_: Any) -> dict[int, bytes]:
        raise AssertionError("not needed to announce")

    return Edition(len(names), entries, log, changes, {}, bodies)


async def test_who_listens_hears_what_changed_since_and_can_verify_it(world: World) -> None:
    assert await world.webhooks.announce(edition("a")) == 0
    _, secret = await world.listen()
    after = edition("a", "b", "-", "a")
    assert await world.webhooks.announce(after) == 1
    assert await world.webhooks.deliver_due() == 1
    ((url, headers, body),) = world.receiver.heard
    assert url == URL
    assert is_genuine(secret, headers, body, now_s=NOW_MS // 1000)
    assert headers["content-type"] == "application/json"
    said = json.loads(body)
    assert (said["type"], said["data"]["ledger_version"]) == ("ledger.changed", after.version)
    assert said["data"]["changes"] == [
        {"index": 1, "entry": "b", "netuid": 7, "status": "active", "block": 101},
        {"index": 3, "entry": "a", "netuid": 7, "status": "active", "block": 103},
    ]


async def test_nothing_is_announced_twice(world: World) -> None:
    await world.webhooks.announce(edition("a"))
    await world.listen()
    after = edition("a", "b")
    assert [await world.webhooks.announce(after) for _ in range(3)] == [1, 0, 0]
    assert await world.webhooks.deliver_due() == 1
    assert await world.webhooks.deliver_due() == 0


async def test_two_servers_announce_once_and_deliver_once(world: World, engine: AsyncEngine) -> None:
    await world.webhooks.announce(edition("a"))
    for number in range(4):
        await world.listen(url=f"{URL}{number}")
    other = Webhooks(WebhookStore(engine, wall=world.wall), world.receiver, wall=world.wall)
    after = edition("a", "b")
    assert sorted(await asyncio.gather(world.webhooks.announce(after), other.announce(after))) == [0, 4]
    attempts = await asyncio.gather(world.webhooks.deliver_due(), other.deliver_due())
    assert sum(attempts) + await other.deliver_due() + await world.webhooks.deliver_due() == 4
    assert sorted(url for url, _, _ in world.receiver.heard) == [f"{URL}{n}" for n in range(4)]


async def test_who_listens_for_one_entry_hears_of_no_other(world: World) -> None:
    await world.webhooks.announce(edition("a"))
    await world.listen("b")
    assert await world.webhooks.announce(edition("a", "c")) == 0
    assert await world.webhooks.announce(edition("a", "c", "b", "c")) == 1
    await world.webhooks.deliver_due()
    assert [each["entry"] for each in world.bodies()[0]["data"]["changes"]] == ["b"]


async def test_many_changes_come_in_several_messages(world: World) -> None:
    await world.webhooks.announce(edition())
    await world.listen()
    names = [f"e{n}" for n in range(1_001)]
    assert await world.webhooks.announce(edition(*names)) == 11
    for _ in range(11):
        assert await world.webhooks.deliver_due() == 1, "one message of a webhook at a time"
        world.wall.now_ms += 1
    told = [change["index"] for body in world.bodies() for change in body["data"]["changes"]]
    assert sorted(told) == list(range(1_001))
    assert len({headers["webhook-id"] for _, headers, _ in world.receiver.heard}) == 11


async def test_a_failure_is_tried_again_with_the_same_id_after_longer_pauses(world: World) -> None:
    await world.webhooks.announce(edition())
    webhook, secret = await world.listen()
    await world.webhooks.announce(edition("a"))
    await world.say(*[SendFailed("refused"), Answer(500), Answer(301)] * 4)
    for pause in BACKOFF_S:
        assert await world.webhooks.deliver_due() == 1
        world.wall.now_ms += pause * 1000 - 1
        assert await world.webhooks.deliver_due() == 0
        world.wall.now_ms += 1
    assert await world.webhooks.deliver_due() == 1
    world.wall.now_ms += 10**9
    assert await world.webhooks.deliver_due() == 0, "given up"
    heard = world.receiver.heard
    assert len({headers["webhook-id"] for _, headers, _ in heard}) == 1
    assert len({headers["webhook-timestamp"] for _, headers, _ in heard}) == len(heard), "signed for each attempt"
    assert all(is_genuine(secret, h, b, now_s=int(h["webhook-timestamp"])) for _, h, b in heard)
    (dead,) = await world.store.deliveries(KEY, webhook_id=webhook, state="dead")
    assert [each.attempt for each in dead.attempts] == list(range(1, len(BACKOFF_S) + 2))
    assert [(each.status, each.error) for each in dead.attempts[:3]] == [(0, "refused"), (500, ""), (301, "")]


async def test_a_dead_letter_can_be_revived_by_its_owner_alone(world: World) -> None:
    await world.webhooks.announce(edition())
    await world.listen()
    await world.webhooks.announce(edition("a"))
    await world.say(*[Answer(500)] * (len(BACKOFF_S) + 1))
    for pause in (*BACKOFF_S, 0):
        await world.webhooks.deliver_due()
        world.wall.now_ms += pause * 1000
    (dead,) = await world.store.deliveries(KEY, state="dead")
    assert not await world.store.revive("somebody else", dead.message)
    assert await world.store.revive(KEY, dead.message)
    assert not await world.store.revive(KEY, dead.message), "it is pending now"
    assert await world.webhooks.deliver_due() == 1
    (delivered,) = await world.store.deliveries(KEY, state="delivered")
    assert delivered.message == dead.message


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.8), (0.5, 1.0), (0.999_999, 1.2)])
async def test_pauses_are_spread_by_chance(engine: AsyncEngine, chance: float, factor: float) -> None:
    wall, receiver = Wall(), Receiver([Answer(500)])
    store = WebhookStore(engine, wall=wall)
    webhooks = Webhooks(store, receiver, wall=wall, chance=lambda: chance)
    await webhooks.announce(edition())
    await store.add(KEY, URL, (), most=1)
    await webhooks.announce(edition("a"))
    await webhooks.deliver_due()
    (pending,) = await store.deliveries(KEY, state="pending")
    assert pending.next_ms - NOW_MS == pytest.approx(BACKOFF_S[0] * 1000 * factor, abs=2)


async def test_a_receiver_that_says_when_is_obeyed(world: World) -> None:
    await world.webhooks.announce(edition())
    await world.listen()
    await world.webhooks.announce(edition("a"))
    await world.say(Answer(429, retry_after_s=90.0), Answer(503, retry_after_s=1e9))
    await world.webhooks.deliver_due()
    world.wall.now_ms += 89_999
    assert await world.webhooks.deliver_due() == 0
    world.wall.now_ms += 1
    assert await world.webhooks.deliver_due() == 1
    world.wall.now_ms += 24 * 3_600_000
    assert await world.webhooks.deliver_due() == 1, "a day at most"


async def test_a_receiver_that_is_gone_hears_no_more(world: World) -> None:
    await world.webhooks.announce(edition())
    await world.listen()
    await world.webhooks.announce(edition("a"))
    await world.say(Answer(410))
    await world.webhooks.deliver_due()
    assert [each.state for each in await world.store.of(KEY)] == ["gone"]
    assert await world.webhooks.announce(edition("a", "b")) == 0
    (dead,) = await world.store.deliveries(KEY, state="dead")
    assert not await world.store.revive(KEY, dead.message)


async def test_one_who_dies_with_a_delivery_in_hand_has_made_it_due_again(world: World) -> None:
    await world.webhooks.announce(edition())
    await world.listen()
    await world.webhooks.announce(edition("a"))
    (taken,) = await world.store.take(16, lease_ms=15_000)
    assert await world.webhooks.deliver_due() == 0, "somebody has it"
    world.wall.now_ms += 15_000
    assert await world.webhooks.deliver_due() == 1
    assert world.receiver.heard[0][1]["webhook-id"] == taken.message
    await world.store.settle(taken, "pending", status=0, error="late", next_ms=NOW_MS)
    assert await world.webhooks.deliver_due() == 0, "a late word of a first try does not undo the second"


async def test_what_was_removed_is_not_sent(world: World, url: str) -> None:
    await world.webhooks.announce(edition())
    webhook, _ = await world.listen()
    await world.webhooks.announce(edition("a"))
    assert await world.store.remove(KEY, webhook)
    assert await world.webhooks.deliver_due() == 0
    assert await rows(url, "SELECT * FROM webhook_deliveries") == []


async def test_what_ended_long_ago_is_forgotten(world: World, url: str) -> None:
    await world.webhooks.announce(edition())
    await world.listen()
    await world.webhooks.announce(edition("a"))
    await world.webhooks.deliver_due()
    world.wall.now_ms += KEPT_MS + 1
    await world.webhooks.announce(edition("a", "b"))
    assert [each.state for each in await world.store.deliveries(KEY)] == ["pending"]
    assert await rows(url, "SELECT * FROM webhook_attempts") == []


async def test_a_running_service_tells_by_itself(tmp_path: Path) -> None:
    async with running_api(sqlite_url(tmp_path / "api.sqlite")) as api:
        for number in range(2):
            body = {"url": f"https://a.example/{number}"}
            assert (await api.ask("/v1/webhooks", method="POST", body=body)).status == 201
        await api.commit(entry("newest", netuid=1))
        async with asyncio.timeout(20):
            while len(api.receiver.heard) < 2:
                await asyncio.sleep(0.01)
        states: list[str] = []
        async with asyncio.timeout(20):
            while states != ["delivered", "delivered"]:
                listed = await api.json("/v1/deliveries")
                states = [each["state"] for each in listed["deliveries"]]
    assert sorted(url for url, _, _ in api.receiver.heard) == ["https://a.example/0", "https://a.example/1"]
