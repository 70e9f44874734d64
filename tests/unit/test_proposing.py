"""A node's proposals over blocks and restarts: written down first, shown once the chain vouches, never twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.canonical import digest, sha256
from ledger.changes import Bond
from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from ledger.governance.rules import Rules
from ledger.proposals import Deprecation, MetricsUpdate, NewSubnet, SchemaUpdate, SignedProposal
from orchestra.anchoring import ChainSlot, OwnLog
from orchestra.chain import dev_signer, verify_signature
from orchestra.governing.drafts import KEPT, OPEN, Draft, DraftStore
from orchestra.governing.noticing import Noticed
from orchestra.governing.proposing import Proposer
from orchestra.ledger_node import LedgerNode
from tests.builders import entry, operation
from tests.fakes.attempts import calls
from tests.fakes.council import NETUID, BlockChain, FakePeer

ME, ALICE, BOB = (dev_signer(f"//{name}") for name in ("me", "alice", "bob"))
RULES = Rules(window=20, final_at=12, gather=2, resend=2, tempo=20, expiry=120, consent=400, false_within=400)
SEED = (
    entry("alpha", netuid=1, operations=(operation(output_schema={"type": "object", "required": ["data"]}),)),
    entry("beta", netuid=2),
)
MOVED = json.dumps({"hits": [{"title": "T", "url": "u", "snippet": "S"}]}).encode()


def new(body: SubnetEntry) -> dict[str, Any]:
    """The wish for a new entry."""
    return {"kind": "new_subnet", "entry": body.id, "body": body.model_dump(mode="json")}


class World:
    """One folder, one chain, two validators; `open` is a start of the node, and leaving it a stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain = BlockChain.of({ME.ss58_address: 0, ALICE.ss58_address: 10, BOB.ss58_address: 10})
        self.alice, self.bob = (FakePeer(each.ss58_address, self.taken) for each in (ALICE, BOB))
        self.noticed = Noticed(b"secret")
        self.answer = ""

    async def taken(self, body: Any) -> str:
        assert isinstance(body, SignedProposal)
        assert not body.trouble(verify_signature)
        shown = self.chain.blocks[-1][0].commitment
        assert shown is not None, "shown before the chain vouches for it"
        assert f"{body.anchor.size}:{body.anchor.root}" in shown
        return self.answer

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Node]:
        def url(name: str) -> str:
            return sqlite_url(self.folder / f"{name}.sqlite")

        async with AsyncExitStack() as stack:
            log = await stack.enter_async_context(await OwnLog.open(url("own")))
            store = await stack.enter_async_context(await DraftStore.open(url("drafts")))
            ledger = await LedgerNode.open(url("ledger"), seed=SEED)
            stack.push_async_callback(ledger.close)
            slot = ChainSlot(log, self.chain, ME, NETUID)
            proposer = Proposer(ME, RULES, ledger, slot, store, lambda: [self.alice, self.bob], self.noticed)  # type: ignore[list-item, return-value]
            yield Node(self, proposer)


class Node:
    """A node that is up."""

    def __init__(self, world: World, proposer: Proposer) -> None:
        self.world, self.proposer = world, proposer
        self.store, self.ledger = proposer.store, proposer.ledger

    async def block(self, number: int = 1) -> None:
        """What a miner does at every block."""
        for _ in range(number):
            members = self.world.chain.at(self.world.chain.mint())
            await self.proposer.on_block(members)
            await self.proposer.slot.keep(members)

    async def states(self) -> list[str]:
        return [each.state for each in await self.store.all()]

    async def settle(self, draft: Draft, outcome: Any, *added: SubnetEntry) -> None:
        bond = Bond(
            proposal=draft.digest,
            substance=draft.digest,
            about=draft.proposal.kind,
            entry=draft.proposal.entry,
            operation=draft.operation,
            proposer=ME.ss58_address,
            outcome=outcome,
            anchor=1,
            revealed=2,
            at_stake="100000",
            lost="50000" if outcome == "false" else "0",
        )
        await self.ledger.commit([bond, *added], block=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def drift(world: World, body: bytes = MOVED, entry_id: str = "alpha") -> None:
    world.noticed.answered(entry_id, "web_search", body, {})


async def test_from_a_strange_answer_to_what_validators_are_shown(world: World) -> None:
    async with world.open() as node:
        await node.block()
        assert await node.states() == []
        drift(world)
        await node.block()
        assert await node.states() == ["fixed"]
        await node.block()
        assert await node.states() == ["anchored"]
        await node.proposer.on_block(world.chain.at(len(world.chain.blocks) - 1))  # the same block again
        assert not world.alice.heard, "the block that vouches for it is not past yet"
        await node.block(5)
        (sent,) = world.alice.heard
        assert world.bob.heard == [sent], "shown once to each that takes it"
        assert isinstance(sent.proposal, SchemaUpdate)
        assert sent.proposal.response == "{results: hits[*].{title: title, url: url, snippet: snippet}}"


async def test_it_goes_on_after_a_restart_at_every_stage_and_nothing_is_said_twice(world: World) -> None:
    drift(world)
    for _ in range(6):
        async with world.open() as node:
            await node.block()
            drift(world)
    async with world.open() as node:
        (draft,) = await node.store.all()
        assert draft.state == "anchored"
        assert {each.digest for each in world.alice.heard} == {draft.digest}
        assert len(world.alice.heard) == 4, "who was stopped does not know who took it: the same one, again"
        await node.settle(draft, "accepted")
        await node.block()
        assert await node.states() == ["accepted"]
        world.alice.heard.clear()
    async with world.open() as node:
        await node.block(3)
        assert not world.alice.heard


async def test_a_stop_between_the_row_and_the_log_loses_nothing(world: World) -> None:
    async with world.open() as node:
        base = digest({"status": "active"})
        proposal = Deprecation(proposer=ME.ss58_address, entry="alpha", salt=sha256(b""), base=base)
        await node.store.add(Draft(proposal, "fixed", 0))
    async with world.open() as node:
        assert node.proposer.slot.log.version.startswith("0:")
        await node.block(3)
        assert [each.proposal for each in world.alice.heard] == [proposal]


async def test_what_settled_while_the_node_was_away_is_found(world: World) -> None:
    drift(world)
    async with world.open() as node:
        await node.block(3)
        (draft,) = await node.store.all()
        await node.settle(draft, "confirmation")
    async with world.open() as node:
        await node.block()
        assert await node.states() == ["confirmation"]


async def test_what_was_false_is_not_said_again(world: World) -> None:
    async with world.open() as node:
        drift(world)
        await node.block(3)
        (draft,) = await node.store.all()
        await node.settle(draft, "false")
        await node.block()
        for number in range(30):
            drift(world, json.dumps({"hits": [{"title": "T", "url": f"{number}", "snippet": "S"}]}).encode())
            await node.block()
        assert await node.states() == ["false"], "the same claim would lose a bond every few blocks"
        world.chain.mint(RULES.false_within)
        drift(world)
        await node.block()
        assert await node.states() == ["false", "fixed"]


async def test_an_expired_claim_needs_new_evidence(world: World) -> None:
    async with world.open() as node:
        drift(world)
        await node.block(4)
        world.chain.mint(RULES.expiry)
        await node.block(2)
        assert await node.states() == ["expired"]
        drift(world)
        await node.block()
        assert await node.states() == ["expired", "fixed"]


async def test_what_nobody_heard_of_is_dropped_when_the_ledger_moves_on(world: World) -> None:
    async with world.open() as node:
        drift(world)
        await node.block()
        changed = operation(output_schema={"type": "object"}, response="{results: hits[].{url: url}}")
        await node.ledger.commit([entry("alpha", netuid=1, operations=(changed,))], block=1)
        await node.block()
        assert (await node.states())[0] == "expired"


async def test_at_most_so_many_are_open_at_once(world: World) -> None:
    names = [f"e{number}" for number in range(RULES.proposals_per_coldkey + 3)]
    async with world.open() as node:
        await node.store.want([new(entry(name, netuid=10 + number)) for number, name in enumerate(names)])
        await node.block(5)
        assert await node.states() == ["anchored"] * RULES.proposals_per_coldkey
        for draft in await node.store.all():
            await node.settle(draft, "accepted")
        await node.block(2)
        assert len(await node.store.all(*OPEN)) == 3
        assert await node.store.wishes() == {}
        assert {type(each.proposal) for each in world.alice.heard} == {NewSubnet}


async def test_a_wish_that_cannot_be_fulfilled_is_dropped_and_does_not_end_the_node(world: World) -> None:
    async with world.open() as node:
        await node.store.want([new(entry("alpha", netuid=1)), new(entry("fine", netuid=77))])
        await node.block()
        assert [each.proposal.entry for each in await node.store.all()] == ["fine"]
        assert await node.store.wishes() == {}


async def test_a_dead_subnet_is_proposed_after_a_while(world: World) -> None:
    async with world.open() as node:
        for number in range(10):
            world.noticed.failed("alpha", b"%d" % number)
        world.noticed.answered("beta", "web_search", b"null", {})
        await node.block(RULES.tempo // 2)
        assert await node.states() == []
        await node.block(5)
        assert [type(each.proposal) for each in await node.store.all()] == [Deprecation]


async def test_what_is_slower_than_the_ledger_says_is_proposed_once_and_last_in_line(world: World) -> None:
    async with world.open() as node:
        world.noticed.take(calls("alpha", 400, 40))
        world.noticed.take(calls("beta", 400, 40))
        drift(world)
        await node.block(5)
        proposals = [each.proposal for each in await node.store.all()]
        assert {(type(each), each.entry) for each in proposals} == {(SchemaUpdate, "alpha"), (MetricsUpdate, "beta")}
        assert world.noticed.measured.claims(node.ledger.view) == [], "what led to a proposal is not counted again"
        world.noticed.take(calls("beta", 4000, 64))
        await node.block(3)
        assert len(await node.store.all()) == 2, "one at a time for one operation"
        for draft in await node.store.all():
            await node.settle(draft, "superseded")
        await node.block(2)
        assert len(await node.store.all()) == 2, "it takes new calls to say it again"
        world.noticed.take(calls("alpha", 400, 40))
        await node.block()
        (metrics,) = [each.proposal for each in await node.store.all("fixed")]
        assert isinstance(metrics, MetricsUpdate)
        assert (metrics.entry, metrics.metrics.latency_ms, metrics.sample) == ("alpha", 400, 40)


async def test_what_is_measured_waits_for_room(world: World) -> None:
    async with world.open() as node:
        names = [f"e{number}" for number in range(RULES.proposals_per_coldkey)]
        await node.store.want([new(entry(name, netuid=10 + number)) for number, name in enumerate(names)])
        world.noticed.take(calls("beta", 400, 40))
        await node.block(3)
        assert {type(each.proposal) for each in await node.store.all()} == {NewSubnet}
        for draft in await node.store.all():
            await node.settle(draft, "accepted")
        await node.block(2)
        assert [type(each.proposal) for each in await node.store.all(*OPEN)] == [MetricsUpdate]


async def test_who_refuses_is_asked_again_and_who_is_away_is_left_alone_for_a_while(world: World) -> None:
    world.answer = "not anchored in a finalised block that we saw"
    world.bob.away = True
    async with world.open() as node:
        drift(world)
        await node.block(6)
        assert len(world.alice.heard) == 4
        world.answer, world.bob.away = "", False
        await node.block(RULES.resend + 1)
        assert len(world.alice.heard) == 5
        assert len(world.bob.heard) == 1


async def test_a_validator_that_hangs_does_not_keep_the_others_waiting(world: World) -> None:
    world.alice.hangs = asyncio.Event()
    async with world.open() as node:
        drift(world)
        await node.block(2)
        turn = asyncio.create_task(node.block())
        while not world.bob.heard:
            await asyncio.sleep(0.001)
        assert not turn.done()
        world.alice.hangs.set()
        await turn
        assert world.alice.heard == world.bob.heard


async def test_the_store_keeps_what_is_open_and_the_newest_of_the_rest(url: str) -> None:
    async with await DraftStore.open(url) as store:
        made = [
            Draft(
                Deprecation(proposer=ME.ss58_address, entry="alpha", salt=sha256(b"%d" % n), base=sha256(b"")),
                "fixed",
                n,
            )
            for n in range(4)
        ]
        assert [await store.add(each) for each in made] == [True] * 4
        assert await store.add(made[0]) is False
        await store.move(made[1].digest, "false", block=9)
        assert [each.block for each in await store.all(*OPEN)] == [0, 2, 3]
        assert [each.digest for each in await store.all("false")] == [made[1].digest]
        assert KEPT >= 100
        await store.want([new(SEED[0])])
        (number,) = await store.wishes()
        assert await store.add(
            Draft(made[0].proposal.model_copy(update={"salt": sha256(b"x")}), "fixed", 1), instead_of=number
        )
        assert await store.wishes() == {}
