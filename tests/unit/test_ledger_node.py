"""A follower ends where the committer is, and refuses everything that is not an extension of what it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from bittensor.keyfiles import Keypair

from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from ledger.log import MerkleLog
from ledger.types import Signer
from orchestra.chain import verify_signature
from orchestra.ledger_node import LedgerNode, LedgerRefused, read_seed
from orchestra.protocol import LedgerChanges
from tests.builders import entry
from tests.snapshots import adopt, leaves_of

COMMITTER: Signer = Keypair.create_from_uri("//Committer")
OTHER: Signer = Keypair.create_from_uri("//Other")
SEED = (entry("desearch", netuid=22), entry("chutes", netuid=64))


class Served:
    """Serves one node's changes, as its committer would or as a liar does."""

    def __init__(self, node: LedgerNode, signer: Signer = COMMITTER) -> None:
        self.node, self.signer = node, signer

    async def changes_since(self, size: int) -> LedgerChanges:
        return LedgerChanges.from_wire(self.node.changes_since(size, self.signer).to_wire(), max_bytes=1 << 24)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[tuple[LedgerNode, LedgerNode]]:
    async with AsyncExitStack() as stack:
        opened: list[LedgerNode] = []
        for name in ("leader", "follower"):
            node = await LedgerNode.open(sqlite_url(tmp_path / name), seed=SEED)
            stack.push_async_callback(node.close)
            opened.append(node)
        yield opened[0], opened[1]


async def follow(follower: LedgerNode, source: Served) -> None:
    await follower.follow(source, committer=COMMITTER.ss58_address, verify=verify_signature, block=9)


async def test_a_follower_ends_at_the_committers_version(nodes: tuple[LedgerNode, LedgerNode], tmp_path: Path) -> None:
    leader, follower = nodes
    before = leader.view.version
    for number in range(3):
        await leader.commit([SEED[0].model_copy(update={"notes": f"change {number}"})], block=number)
    await follow(follower, Served(leader))
    assert follower.view.version == leader.view.version != before
    reopened = await LedgerNode.open(sqlite_url(tmp_path / "follower"))
    assert reopened.view.version == leader.view.version
    await reopened.close()


async def test_every_earlier_version_can_be_read_again(nodes: tuple[LedgerNode, LedgerNode]) -> None:
    leader, _ = nodes
    versions = [leader.view.version]
    for number in range(12):
        versions.append((await leader.commit([entry(f"s{number}", netuid=number)], block=number)).version)
    for size, version in enumerate(versions, start=len(SEED)):
        view = leader.at(version)
        assert view is not None
        assert view.size == size
    assert leader.at(f"2:{'0x' + '00' * 32}") is None
    assert leader.at(versions[-1].replace("14:", "15:")) is None


async def test_the_leaves_of_a_log_hash_to_its_version(nodes: tuple[LedgerNode, LedgerNode]) -> None:
    leader, _ = nodes
    await adopt(leader, leaves_of(4))
    assert MerkleLog(leaf.hash for leaf in leader.leaves(6)).version == leader.view.version
    assert leader.leaves(6)[2:] == tuple(leaves_of(4))
    with pytest.raises(IndexError):
        leader.leaves(7)


async def test_changes_by_another_hotkey_are_refused(nodes: tuple[LedgerNode, LedgerNode]) -> None:
    leader, follower = nodes
    await leader.commit([entry("new", netuid=9)], block=1)
    with pytest.raises(LedgerRefused, match="not signed"):
        await follow(follower, Served(leader, OTHER))
    assert follower.view.size == len(SEED)


async def test_a_leaf_changed_on_the_way_is_refused(nodes: tuple[LedgerNode, LedgerNode]) -> None:
    leader, follower = nodes
    await leader.commit([entry("new", netuid=9)], block=1)

    class Tampering(Served):
        async def changes_since(self, size: int) -> LedgerChanges:
            honest = await super().changes_since(size)
            leaf = honest.leaves[0]
            changed: SubnetEntry = leaf.body.model_copy(update={"netuid": 10})
            return honest.model_copy(update={"leaves": (leaf.model_copy(update={"body": changed}),)})

    with pytest.raises(LedgerRefused, match="histories differ"):
        await follow(follower, Tampering(leader))


async def test_another_history_is_refused(nodes: tuple[LedgerNode, LedgerNode], tmp_path: Path) -> None:
    _, follower = nodes
    stranger = await LedgerNode.open(sqlite_url(tmp_path / "stranger"), seed=SEED[::-1])
    await stranger.commit([entry("new", netuid=9)], block=1)
    with pytest.raises(LedgerRefused, match="histories differ"):
        await follow(follower, Served(stranger))
    await stranger.close()


def test_a_seed_file_that_is_not_a_list_is_refused() -> None:
    with pytest.raises(ValueError, match="list of entries"):
        read_seed(b"{}")
