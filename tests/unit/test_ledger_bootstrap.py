"""An empty node believes a signed copy whoever serves it, and one that was away fetches what it missed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoint import Trust
from ledger.cosigning import CheckpointStore
from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from ledger.leaves import LogLeaf
from orchestra.chain import verify_signature
from orchestra.chain.types import BlockRef, Metagraph
from orchestra.ledger_bootstrap import Bootstrap, BootstrapFailed, Bootstrapped, Probe, bring_up, whom_to_trust
from orchestra.ledger_node import LedgerNode
from orchestra.peers import PeerFailed
from orchestra.protocol import LedgerChanges
from tests.builders import entry
from tests.fakes.validation import neuron
from tests.snapshots import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    NOW,
    ORIGIN,
    TRUST,
    adopt,
    checkpoint_of,
    leaves_of,
    signed,
    snapshot_of,
)

LEAVES = [*leaves_of(6), LogLeaf.from_change(entry("subnet-0", netuid=0, status="deprecated"))]
HONEST = snapshot_of(LEAVES)


@dataclass
class Source:
    """Serves this as a copy, and counts who asks."""

    hotkey: str
    serves: bytes | PeerFailed
    asked: int = 0

    async def snapshot(self) -> bytes:
        self.asked += 1
        if isinstance(self.serves, PeerFailed):
            raise self.serves
        return self.serves


@dataclass
class Committer:
    """The changes of one node, signed by ALICE; `asked` are the sizes it was asked from."""

    node: LedgerNode
    asked: list[int] = field(default_factory=list[int])

    async def changes_since(self, size: int) -> LedgerChanges:
        self.asked.append(size)
        return LedgerChanges.from_wire(self.node.changes_since(size, ALICE).to_wire(), max_bytes=1 << 24)


@dataclass
class World:
    node: LedgerNode
    leader: LedgerNode
    checkpoints: CheckpointStore

    def bootstrap(self, trust: Trust = TRUST, **options: Any) -> Bootstrap:
        return Bootstrap(trust, verify_signature, lambda: NOW, self.checkpoints, random.Random(1), **options)

    async def fill(self, *sources: Source, **options: Any) -> Bootstrapped:
        return await self.bootstrap(**options).fill(self.node, sources, block=1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        nodes: list[LedgerNode] = []
        for name in ("node", "leader"):
            nodes.append(await LedgerNode.open(sqlite_url(tmp_path / name)))
            stack.push_async_callback(nodes[-1].close)
        store = await stack.enter_async_context(await CheckpointStore.open(sqlite_url(tmp_path / "checkpoints")))
        yield World(nodes[0], nodes[1], store)


async def test_an_empty_node_begins_with_a_copy(world: World) -> None:
    outcome = await world.fill(Source("any", HONEST))
    assert world.node.view.version == checkpoint_of(LEAVES).version
    assert (outcome.source, outcome.refused, outcome.verified.stake) == ("any", {}, 70)
    assert world.node.view.entries["subnet-0"].status == "deprecated"
    kept = await world.checkpoints.note(ORIGIN)
    assert kept is not None
    assert kept.startswith(checkpoint_of(LEAVES).text.encode())


async def test_a_lying_source_is_refused_with_the_reason_and_the_next_one_is_asked(world: World) -> None:
    liars = [
        Source("forger", snapshot_of(LEAVES, DAVE)),
        Source("changer", HONEST.replace(b'"netuid":1', b'"netuid":2')),
        Source("dropper", HONEST[: HONEST.index(b"\n") + 1]),
        Source("nobody", PeerFailed("unreachable", "away")),
        Source("joker", b"{}\n"),
    ]
    spare = Source("spare", HONEST)
    outcome = await world.fill(*liars, Source("honest", HONEST), spare)
    assert outcome.source == "honest"
    assert {who: why.partition(":")[0] for who, why in outcome.refused.items()} == {
        "forger": "not_enough_stake",
        "changer": "wrong_root",
        "dropper": "truncated",
        "nobody": "unreachable",
        "joker": "malformed",
    }
    assert world.node.view.version == checkpoint_of(LEAVES).version
    assert spare.asked == 0


async def test_where_everybody_lies_the_node_stays_empty_and_says_why(world: World) -> None:
    with pytest.raises(BootstrapFailed, match=r"one: not_enough_stake.*two: malformed") as failed:
        await world.fill(Source("one", snapshot_of(LEAVES, DAVE)), Source("two", b"{}\n"))
    assert failed.value.refused.keys() == {"one", "two"}
    assert world.node.view.size == 0
    assert await world.checkpoints.note(ORIGIN) is None


async def test_a_node_that_lost_its_ledger_does_not_begin_with_an_older_one(world: World) -> None:
    await world.checkpoints.believe(signed(checkpoint_of(LEAVES)))
    old = Source("old", snapshot_of(LEAVES[:4]))
    with pytest.raises(BootstrapFailed, match="rollback"):
        await world.fill(old)
    assert (await world.fill(old, Source("new", HONEST))).source == "new"


# probes ---------------------------------------------------------------------------------------------------------------


def probing(answer: Callable[[SubnetEntry], bool | None], seen: list[str]) -> Probe:
    async def probe(each: SubnetEntry) -> bool | None:
        seen.append(each.id)
        return answer(each)

    return probe


MANY = [LogLeaf.from_change(entry(f"s{number}", netuid=number)) for number in range(20)]
COPY_OF_MANY = snapshot_of([*MANY, LogLeaf.from_change(entry("empty", netuid=30, operations=()))])


async def test_a_sample_of_entries_is_probed_and_never_one_that_cannot_be(world: World) -> None:
    seen: list[str] = []
    await world.fill(Source("any", HONEST), probe=probing(lambda _: True, seen))
    assert sorted(seen) == ["subnet-1", "subnet-3", "subnet-4"], "0 is deprecated now, 2 and 5 are other changes"


async def test_a_copy_that_describes_nothing_that_is_there_is_refused(world: World) -> None:
    seen: list[str] = []
    with pytest.raises(BootstrapFailed, match="not_as_described: the live subnets are not what"):
        await world.fill(Source("any", COPY_OF_MANY), probe=probing(lambda _: False, seen))
    assert len(seen) == len(set(seen)) == 8
    assert world.node.view.size == 0


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: None,
        lambda each: each.netuid % 2 == 0 or None,
        lambda each: False if each.id == "s3" else None,
    ],
)
async def test_what_cannot_be_told_refuses_nobody(answer: Callable[[SubnetEntry], bool | None], world: World) -> None:
    assert (await world.fill(Source("any", COPY_OF_MANY), probe=probing(answer, []))).refused == {}


# following ------------------------------------------------------------------------------------------------------------


async def test_a_node_that_was_away_asks_for_changes_only(world: World) -> None:
    """It never asks for a copy, and gets nothing that it has."""
    await adopt(world.leader, LEAVES)
    await adopt(world.node, LEAVES[:3])
    source, committer = Source("any", HONEST), Committer(world.leader)
    outcome = await bring_up(
        world.node, [source], committer, bootstrap=world.bootstrap(), committer=ALICE.ss58_address, block=2
    )
    assert world.node.view.version == world.leader.view.version
    assert (outcome, source.asked, committer.asked) == (None, 0, [3])


async def test_an_empty_node_takes_a_copy_and_then_the_rest(world: World) -> None:
    later: LogLeaf = LogLeaf.from_change(entry("later", netuid=9))
    await adopt(world.leader, [*LEAVES, later])
    committer = Committer(world.leader)
    outcome = await bring_up(
        world.node,
        [Source("any", HONEST)],
        committer,
        bootstrap=world.bootstrap(),
        committer=ALICE.ss58_address,
        block=2,
    )
    assert isinstance(outcome, Bootstrapped)
    assert committer.asked == [len(LEAVES)]
    assert world.node.view.version == world.leader.view.version


async def test_without_a_copy_to_believe_the_log_is_read_from_its_beginning(world: World) -> None:
    await adopt(world.leader, LEAVES)
    committer = Committer(world.leader)
    outcome = await bring_up(
        world.node,
        [Source("liar", b"")],
        committer,
        bootstrap=world.bootstrap(),
        committer=ALICE.ss58_address,
        block=2,
    )
    assert isinstance(outcome, BootstrapFailed)
    assert (world.node.view.version, committer.asked) == (world.leader.view.version, [0])


# whose word -----------------------------------------------------------------------------------------------------------


def members(**stakes: int) -> Metagraph:
    rows = {"alice": ALICE, "bob": BOB, "carol": CAROL}
    neurons = tuple(
        neuron(uid, rows[name].ss58_address, stake_rao=stake) for uid, (name, stake) in enumerate(stakes.items())
    )
    return Metagraph(2, BlockRef(1, "0x"), 10, neurons)


async def test_a_committer_alone_suffices_where_the_operator_names_one(world: World) -> None:
    trust = whom_to_trust(ORIGIN, members(alice=1, bob=99), committer=ALICE.ss58_address)
    assert (await world.fill(Source("any", snapshot_of(LEAVES, ALICE)), trust=trust)).verified.total == 1


async def test_without_one_it_takes_two_thirds_of_the_stake(world: World) -> None:
    trust = whom_to_trust(ORIGIN, members(alice=40, bob=30, carol=30))
    with pytest.raises(BootstrapFailed, match="not_enough_stake"):
        await world.fill(Source("any", snapshot_of(LEAVES, ALICE)), trust=trust)
    assert (await world.fill(Source("any", HONEST), trust=trust)).verified.stake == 70
    with pytest.raises(ValueError, match="stakes"):
        whom_to_trust(ORIGIN, members(alice=0))
