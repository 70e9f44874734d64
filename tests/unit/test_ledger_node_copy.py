"""What a running node vouches for is served as it comes, and never worse than what was served before."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from ledger.checkpoint import parse_checkpoint
from ledger.cosigning import CheckpointStore
from ledger.leaves import LogLeaf
from ledger.log import MerkleLog
from ledger.serving.edition import NOTHING_ATTACHED
from ledger.serving.node_copy import PATIENCE_S, NodeCopy
from ledger.store import LedgerStore
from orchestra.chain.keys import verify_signature
from tests.builders import bond
from tests.snapshots import ALICE, BOB, CAROL, NOW, ORIGIN, STAKES, believe, checkpoint_of, leaves_of, signed

LEAVES = [*leaves_of(6), LogLeaf.from_change(bond("subnet-1", 1))]


class CountingStore(LedgerStore):
    """Counts the leaves that were read."""

    read = 0

    async def leaves(self, since: int, limit: int) -> tuple[LogLeaf, ...]:
        found = await super().leaves(since, limit)
        self.read += len(found)
        return found


@dataclass
class Node:
    """A node's two databases, and what is served of them; its clock stands still unless told."""

    ledger: CountingStore
    checkpoints: CheckpointStore
    now_s: float = 0.0
    size: int = 0
    copy: NodeCopy = field(init=False)

    def __post_init__(self) -> None:
        self.copy = NodeCopy(self.checkpoints, self.ledger, lambda: self.now_s)

    async def commit(self, upto: int) -> None:
        await self.ledger.append([each.change() for each in LEAVES[self.size : upto]], onto=self.size, block=1)
        self.size = upto

    async def sign(self, size: int, *others: object, time_ms: int = NOW) -> None:
        await self.checkpoints.sign(MerkleLog(each.hash for each in LEAVES[:size]), ORIGIN, ALICE, now_ms=time_ms)
        if others:
            note = signed(checkpoint_of(LEAVES[:size]), *others, time_ms=time_ms)
            await self.checkpoints.countersign(note, allowed=STAKES, verify=verify_signature, now_ms=NOW)

    async def served(self) -> int:
        """Of how many leaves checkpoint and snapshot are, which must go together."""
        attached = await self.copy()
        assert attached.snapshot is not None
        found = believe(attached.snapshot)
        assert found.note == attached.checkpoint
        return found.checkpoint.size


@pytest.fixture
async def node(url: str) -> AsyncIterator[Node]:
    async with await CountingStore.open(url) as ledger, await CheckpointStore.open(url) as checkpoints:
        yield Node(ledger, checkpoints)


async def test_a_log_that_grows_is_served_as_far_as_it_is_vouched_for_and_read_once(node: Node) -> None:
    assert await node.copy() == NOTHING_ATTACHED
    for size in (2, 3, 7):
        await node.commit(size)
        await node.sign(size, BOB, CAROL)
        assert await node.served() == size
    assert await node.copy() is await node.copy(), "made once"
    await node.sign(7, BOB, CAROL, time_ms=NOW + 1)
    assert await node.served() == 7
    assert node.ledger.read == 7


async def test_a_checkpoint_that_fewer_signed_waits_for_the_others_but_not_for_ever(node: Node) -> None:
    await node.commit(2)
    await node.sign(2, BOB, CAROL)
    assert await node.served() == 2
    for size in (3, 4):
        await node.commit(size)
        await node.sign(size)
        assert await node.served() == 2, "ALICE alone"
    await node.sign(4, BOB, CAROL)
    assert await node.served() == 4
    for size in (5, 6):  # every next one starts from nothing again
        await node.commit(size)
        await node.sign(size, BOB)
        assert await node.served() == 4
        node.now_s += PATIENCE_S / 2
    assert await node.served() == 6, "CAROL has gone"
    await node.commit(7)
    await node.sign(7, BOB)
    assert await node.served() == 7


async def test_a_checkpoint_of_more_than_the_log_holds_waits_for_it(node: Node) -> None:
    await node.commit(2)
    await node.sign(3, BOB)
    assert await node.copy() == NOTHING_ATTACHED
    await node.commit(3)
    assert await node.served() == 3


async def test_what_is_not_the_log_that_was_signed_is_not_served(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    await node.commit(3)
    await node.sign(3, BOB)
    assert await node.served() == 3
    await node.checkpoints.believe(signed(checkpoint_of([*LEAVES[:3], LEAVES[0]]), ALICE, BOB))
    await node.commit(4)
    with caplog.at_level(logging.WARNING):
        assert [await node.served(), await node.served()] == [3, 3]
    assert caplog.text.count("is not the one that was signed") == 1
    await node.commit(5)
    await node.checkpoints.believe(signed(checkpoint_of(LEAVES[:5]), ALICE, BOB))
    assert await node.served() == 5


async def test_two_logs_in_one_folder_are_nobodys(node: Node) -> None:
    await node.commit(2)
    await node.sign(2)
    await node.checkpoints.believe(signed(checkpoint_of(LEAVES[:1], "another.example"), BOB))
    assert await node.copy() == NOTHING_ATTACHED


async def test_a_log_too_large_for_memory_leaves_the_checkpoint(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.copy.most_bytes = sum(len(each.body) for each in LEAVES[:3])
    await node.commit(3)
    await node.sign(3, BOB)
    assert await node.served() == 3
    for size in (5, 7):
        await node.commit(size)
        await node.sign(size, BOB)
        note, snapshot = await node.copy()
        assert snapshot is None
        assert note is not None
        assert parse_checkpoint(note)[0].size == size
    assert caplog.text.count("no snapshot is served") == 1
    assert node.ledger.read == 5
