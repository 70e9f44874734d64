"""Checkpoints and copies over a validator's signed routes, on real sockets: what a newcomer gets, and what it costs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ledger.checkpoint import Trust, parse_checkpoint
from ledger.cosigning import CheckpointStore
from ledger.database import sqlite_url
from ledger.leaves import LogLeaf
from ledger.types import Signer
from orchestra.chain import verify_signature
from orchestra.ledger_bootstrap import Bootstrap, Bootstrapped, bring_up
from orchestra.ledger_copies import LedgerCopies
from orchestra.ledger_node import LedgerNode
from orchestra.peers import Peer, PeerFailed
from orchestra.protocol import MAX_REQUEST_BYTES
from orchestra.transport import AllowedCallers, SignedClient, SignedRequests, serving
from orchestra.validation.api import MOST_COPIES_AT_ONCE, ValidatorServices, create_app
from tests.builders import entry
from tests.fakes.nonces import MemoryNonces
from tests.snapshots import ALICE, BOB, CAROL, DAVE, NOW, ORIGIN, STAKES, TRUST, adopt, leaves_of

pytestmark = pytest.mark.e2e

LEAVES = [*leaves_of(40), *(LogLeaf.from_change(entry(f"large-{n}", netuid=n, notes="x" * 4000)) for n in range(200))]


class Slow(LedgerCopies):
    """Waits, when it is told to, in the middle of handing out a copy."""

    hold: asyncio.Event | None = None
    handing_out: int = 0

    async def snapshot(self) -> Iterator[bytes]:
        self.handing_out += 1
        if self.hold is not None:
            await self.hold.wait()
        return await super().snapshot()


@dataclass
class Validator:
    """One validator that serves its Ledger to CAROL and the other validators."""

    signer: Signer
    node: LedgerNode
    store: CheckpointStore
    copies: Slow
    url: str = ""

    def seen_by(self, client: SignedClient) -> Peer:
        return Peer(self.signer.ss58_address, self.url, client)


class World:
    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder, self.stack = folder, stack

    async def node(self, name: str) -> LedgerNode:
        node = await LedgerNode.open(sqlite_url(self.folder / name))
        self.stack.push_async_callback(node.close)
        return node

    async def store(self, name: str) -> CheckpointStore:
        store = await CheckpointStore.open(sqlite_url(self.folder / f"{name}-checkpoints"))
        return await self.stack.enter_async_context(store)

    async def client(self, signer: Signer) -> SignedClient:
        return await self.stack.enter_async_context(SignedClient(signer, allow_loopback=True))

    async def validator(self, signer: Signer, name: str) -> Validator:
        node, store = await self.node(name), await self.store(name)
        copies = Slow(node, store, signer, ORIGIN, now_ms=lambda: NOW)
        found = Validator(signer, node, store, copies)
        unused = cast("Any", None)
        services = ValidatorServices(signer, node, copies, unused, unused, unused, unused)
        allowed = SignedRequests(
            self_hotkey=signer.ss58_address,
            nonces=MemoryNonces(),
            policy=AllowedCallers({each.ss58_address for each in (ALICE, BOB, CAROL)}),
            max_body=MAX_REQUEST_BYTES,
        )
        app = create_app(services, members=allowed, validators=allowed, governing=allowed, ready=lambda: True)
        found.url = (await self.stack.enter_async_context(serving(app))).url
        return found


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(folder, stack)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path) as found:
        yield found


async def test_a_newcomer_begins_with_a_copy_that_two_validators_signed_and_follows(world: World) -> None:
    alice, bob = await world.validator(ALICE, "alice"), await world.validator(BOB, "bob")
    for each in (alice, bob):
        await adopt(each.node, LEAVES)
    us = await world.client(ALICE)
    await alice.copies.gather([bob.seen_by(us)], allowed=STAKES.keys(), verify=verify_signature)

    miner, newcomer = await world.client(CAROL), await world.node("newcomer")
    bootstrap = Bootstrap(TRUST, verify_signature, lambda: NOW, await world.store("newcomer"), random.Random(1))

    async def up() -> Any:
        liar, honest = bob.seen_by(miner), alice.seen_by(miner)  # what BOB signed alone is not enough stake
        return await bring_up(
            newcomer, [liar, honest], honest, bootstrap=bootstrap, committer=ALICE.ss58_address, block=2
        )

    outcome = await up()
    assert isinstance(outcome, Bootstrapped)
    assert (outcome.source, outcome.verified.stake) == (ALICE.ss58_address, 70)
    assert outcome.refused[BOB.ss58_address].startswith("not_enough_stake")
    assert newcomer.view.version == alice.node.view.version

    await adopt(alice.node, LEAVES[:7])
    assert await up() is None
    assert newcomer.view.version == alice.node.view.version
    assert alice.copies.handing_out == 1, "who was away asks for changes only"


async def test_only_members_get_a_copy_and_everyone_of_them_the_same(world: World) -> None:
    alice = await world.validator(ALICE, "alice")
    await adopt(alice.node, LEAVES)
    stranger, member = await world.client(DAVE), await world.client(CAROL)
    for ask in (alice.seen_by(stranger).snapshot, alice.seen_by(stranger).checkpoint):
        with pytest.raises(PeerFailed) as refused:
            await ask()
        assert refused.value.code == "hotkey_unknown"
    peer = alice.seen_by(member)
    note = await peer.checkpoint()
    assert parse_checkpoint(note)[0].size == len(LEAVES)
    copies = [await peer.snapshot() for _ in range(2)]
    assert copies[0] == copies[1]
    assert len(copies[0]) > 800_000


async def test_a_validator_that_cannot_vouch_says_so(world: World) -> None:
    alice = await world.validator(ALICE, "alice")
    peer = alice.seen_by(await world.client(CAROL))
    for ask in (peer.snapshot, peer.checkpoint):
        with pytest.raises(PeerFailed) as refused:
            await ask()
        assert refused.value.code == "no_checkpoint"


async def test_so_many_copies_at_once_and_places_come_back(world: World) -> None:
    alice = await world.validator(ALICE, "alice")
    await adopt(alice.node, LEAVES[:5])
    peer = alice.seen_by(await world.client(CAROL))
    alice.copies.hold = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(peer.snapshot()) for _ in range(MOST_COPIES_AT_ONCE)]
        while alice.copies.handing_out < MOST_COPIES_AT_ONCE:
            await asyncio.sleep(0)
        with pytest.raises(PeerFailed) as refused:
            await peer.snapshot()
        assert refused.value.code == "busy"
        alice.copies.hold.set()
    assert len({task.result() for task in asked}) == 1
    for _ in range(MOST_COPIES_AT_ONCE + 1):
        await peer.snapshot()


async def test_the_committer_alone_is_enough_where_its_hotkey_is_the_setting(world: World) -> None:
    alice = await world.validator(ALICE, "alice")
    await adopt(alice.node, LEAVES)
    peer, newcomer = alice.seen_by(await world.client(CAROL)), await world.node("newcomer")
    trust = Trust(ORIGIN, {ALICE.ss58_address: 1})
    bootstrap = Bootstrap(trust, verify_signature, lambda: NOW, await world.store("newcomer"), random.Random(1))
    outcome = await bootstrap.fill(newcomer, [peer], block=1)
    assert outcome.verified.checkpoint.version == newcomer.view.version == alice.node.view.version
