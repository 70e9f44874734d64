"""How a node follows a governed Ledger: by what enough stake signed, with leaves from anybody, whoever lies or lags."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.cosigning import CheckpointStore
from ledger.database import sqlite_url
from neurons.following import ASKED, MOST_ASKED, follow_council
from orchestra.chain.types import BlockRef, Metagraph
from orchestra.chain.watch import Sight
from orchestra.ledger_node import MAX_CHANGES_PER_MESSAGE, LedgerNode, LedgerRefused, leaves_between
from orchestra.peers import PeerFailed
from orchestra.protocol import LedgerChanges
from tests.builders import entry
from tests.fakes.validation import TAO, block_hash, neuron
from tests.snapshots import ALICE, BOB, CAROL, DAVE, ORIGIN, adopt, checkpoint_of, leaves_of, signed

LEAVES = leaves_of(9)


@dataclass
class Validator:
    """A peer that vouches for the first `size` leaves with these signatures, and serves `leaves`."""

    signer: Any
    node: LedgerNode
    size: int = 9
    signers: tuple[Any, ...] = (ALICE, BOB, CAROL)
    note: bytes | PeerFailed | None = None
    tamper: Any = None
    asked: int = 0

    @property
    def hotkey(self) -> str:
        return self.signer.ss58_address

    async def checkpoint(self) -> bytes:
        self.asked += 1
        if isinstance(self.note, PeerFailed):
            raise self.note
        if self.note is not None:
            return self.note
        return signed(checkpoint_of(LEAVES[: self.size]), *self.signers, time_ms=time.time_ns() // 10**6)

    async def changes_since(self, size: int) -> LedgerChanges:
        true = self.node.changes_since(size, self.signer)
        leaves = self.tamper(true.leaves) if self.tamper else true.leaves
        return LedgerChanges.model_construct(**{**dict(true), "leaves": tuple(leaves)})


@dataclass
class Follower:
    """A `Neuron` as far as following needs one."""

    ledger: LedgerNode
    checkpoints: CheckpointStore
    peers: list[Validator]
    stakes: dict[str, int]
    origin: str = ORIGIN
    probe: None = None
    settings: Any = field(default_factory=lambda: _Settings())

    def validators(self) -> list[Validator]:
        return list(self.peers)

    async def follow(self) -> str:
        rows = tuple(neuron(uid, hotkey, stake_rao=stake) for uid, (hotkey, stake) in enumerate(self.stakes.items()))
        members = Metagraph(2, BlockRef(7, block_hash(7)), 10, rows)
        return await follow_council(self, Sight(members, 0.0))  # type: ignore[arg-type]


@dataclass
class _Settings:
    netuid: int = 2
    validator_min_stake_rao: int = 0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Follower]:
    async with AsyncExitStack() as stack:
        nodes: list[LedgerNode] = []
        for name in ("leader", "follower"):
            nodes.append(await LedgerNode.open(sqlite_url(tmp_path / name)))
            stack.push_async_callback(nodes[-1].close)
        await adopt(nodes[0], LEAVES)
        await adopt(nodes[1], LEAVES[:3])
        store = await stack.enter_async_context(await CheckpointStore.open(sqlite_url(tmp_path / "checkpoints")))
        stakes = {ALICE.ss58_address: 40 * TAO, BOB.ss58_address: 30 * TAO, CAROL.ss58_address: 30 * TAO}
        peers = [Validator(each, nodes[0]) for each in (ALICE, BOB, CAROL)]
        yield Follower(nodes[1], store, peers, stakes)


async def test_a_follower_goes_where_enough_stake_is_and_remembers_it(world: Follower) -> None:
    assert await world.follow() == ""
    assert world.ledger.view.version == checkpoint_of(LEAVES).version
    kept = await world.checkpoints.note(ORIGIN)
    assert kept is not None
    assert kept.startswith(checkpoint_of(LEAVES).text.encode())
    assert sum(each.asked for each in world.peers) == 1


async def test_signatures_that_are_still_gathered_are_no_trouble_and_no_reason(world: Follower) -> None:
    for peer in world.peers:
        peer.signers = (CAROL,)
    assert await world.follow() == ""
    assert world.ledger.view.size == 3


async def test_a_stranger_signs_for_nobody(world: Follower) -> None:
    for peer in world.peers:
        peer.signers = (CAROL, DAVE)
    assert await world.follow() == ""
    assert world.ledger.view.size == 3


async def test_one_that_lags_does_not_hold_a_follower_back(world: Follower) -> None:
    lagging, *_ = world.peers
    lagging.size = 2
    for _ in range(10):
        assert await world.follow() == ""
        assert world.ledger.view.size == 9, "whoever was asked first"
        await _back_to(world, 3)


async def _back_to(world: Follower, size: int) -> None:
    world.ledger._adopt(world.ledger.log[:size], type(world.ledger.view)(world.ledger.log[:size]))
    from sqlalchemy import text

    async with world.ledger._store._engine.begin() as connection:
        await connection.execute(text(f"DELETE FROM ledger_changes WHERE idx >= {size}"))


@pytest.mark.parametrize(
    "tamper",
    [
        lambda leaves: leaves[::-1],
        lambda leaves: leaves[:-1],
        lambda leaves: [*leaves[:-1], leaves[-2]],
        lambda leaves: [],
        lambda leaves: [leaves[0].model_copy(update={"body": entry("evil", netuid=3)}), *leaves[1:]],
    ],
    ids=["another order", "one less", "another last", "nothing", "another first"],
)
async def test_a_liar_is_named_and_the_next_one_is_asked(world: Follower, tamper: Any) -> None:
    for peer in world.peers:
        peer.tamper = tamper
    trouble = await world.follow()
    assert trouble.startswith("the Ledger stays at size 3: ")
    assert all(peer.hotkey in trouble for peer in world.peers)
    assert world.ledger.view.size == 3
    world.peers[1].tamper = None
    assert await world.follow() == ""
    assert world.ledger.view.size == 9


@pytest.mark.parametrize(
    "note",
    [b"", b"\xff" * 200, b"no note", signed(checkpoint_of(LEAVES, "another/log"), ALICE, BOB, CAROL),
     PeerFailed("timeout", "/v1/ledger/checkpoint")],
)  # fmt: skip
async def test_what_is_no_checkpoint_of_ours_is_passed_over(world: Follower, note: Any) -> None:
    for peer in world.peers[:2]:
        peer.note = note
    assert await world.follow() == ""
    assert world.ledger.view.size == 9
    world.peers[2].note = note
    assert (await world.follow()).count("; ") == 2


async def test_a_signed_split_is_refused(world: Follower) -> None:
    other = [*LEAVES[:2], *leaves_of(5)[3:4]]
    for peer in world.peers:
        peer.note = signed(checkpoint_of(other), ALICE, BOB, CAROL, time_ms=time.time_ns() // 10**6)
    assert "says otherwise than this node's log" in await world.follow()


async def test_nobody_to_ask_and_nobody_with_stake_are_said(world: Follower) -> None:
    world.stakes = dict.fromkeys(world.stakes, 0)
    assert "stays at size 3" in await world.follow()
    world.peers = []
    assert "no validator serves" in await world.follow()


async def test_only_so_many_are_asked(world: Follower) -> None:
    assert await world.follow() == ""
    world.peers = [Validator(ALICE, world.peers[0].node) for _ in range(20)]
    assert await world.follow() == ""
    assert sum(each.asked for each in world.peers) == ASKED
    world.peers = [Validator(ALICE, world.peers[0].node, note=PeerFailed("timeout", "x")) for _ in range(20)]
    assert await world.follow() != ""
    assert sum(each.asked for each in world.peers) == MOST_ASKED


# leaves


class Source:
    """Full messages of one log, or what it is told to do to them."""

    def __init__(self, node: LedgerNode, most: int = MAX_CHANGES_PER_MESSAGE) -> None:
        self.node, self.most, self.asked = node, most, list[int]()

    async def changes_since(self, size: int) -> LedgerChanges:
        self.asked.append(size)
        found = self.node.changes_since(size, ALICE)
        return found.model_copy(update={"leaves": found.leaves[: self.most]})


async def test_more_than_a_message_is_fetched_in_full_messages(tmp_path: Path) -> None:
    node = await LedgerNode.open(sqlite_url(tmp_path / "long"))
    many = [entry(f"e{number}", netuid=number) for number in range(MAX_CHANGES_PER_MESSAGE + 20)]
    await node.commit(many, block=1)
    source = Source(node)
    assert await leaves_between(source, 5, len(many) - 3) == many[5:-3]
    assert source.asked == [5, 5 + MAX_CHANGES_PER_MESSAGE]
    dribbling = Source(node, most=1)
    with pytest.raises(LedgerRefused):
        await leaves_between(dribbling, 5, len(many))
    assert dribbling.asked == [5], "not once for each leaf"
    with pytest.raises(LedgerRefused, match=f"no more than {len(many)}"):
        await leaves_between(source, 0, len(many) + 1)
    await node.close()


async def test_a_checkpoint_that_is_ours_or_older_changes_nothing(world: Follower) -> None:
    source = Source(world.peers[0].node)
    for size in (0, 2, 3):
        view = await world.ledger.follow_to(source, checkpoint_of(LEAVES[:size]), block=1)
        assert view.size == 3
    assert source.asked == []


async def test_versions_of_an_entry_come_newest_first(tmp_path: Path) -> None:
    old, new = entry("a", netuid=1), entry("a", netuid=1, notes="new")
    node = await LedgerNode.open(sqlite_url(tmp_path / "log"), seed=(old, entry("b", netuid=2), new))
    assert list(node.versions("a")) == [new, old]
    assert list(node.versions("c")) == []
    await node.close()
