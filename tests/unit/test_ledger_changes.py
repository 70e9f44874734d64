"""The log's leaves: each kind hashes apart, and reads back as itself or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from bittensor.keyfiles import Keypair
from pydantic import ValidationError

from ledger.canonical import parse_strict
from ledger.changes import BatchHeader, Bond, Change, StakeOf, change_body, change_leaf, entry_of, kind_of, read_change
from ledger.database import sqlite_url
from ledger.store import LedgerCorrupt, LedgerStore
from ledger.view import LedgerView
from orchestra.chain import verify_signature
from orchestra.ledger_node import LedgerNode
from orchestra.protocol import LedgerChanges, LedgerLeaf
from tests.builders import entry

ALICE = Keypair.create_from_uri("//Alice")
HASH = "0x" + "11" * 32
BOND = Bond(
    proposal=HASH,
    substance="0x" + "22" * 32,
    about="schema_update",
    entry="desearch",
    proposer=ALICE.ss58_address,
    outcome="false",
    anchor=120,
    revealed=125,
    at_stake="100000",
    lost="50000",
)
HEADER = BatchHeader(
    window=2,
    block=200,
    beacon=HASH,
    leader=ALICE.ss58_address,
    parent=LedgerView([]).version,
    certificates=(HASH,),
    validators=(StakeOf(hotkey=ALICE.ss58_address, stake="1000"),),
)
LOG: tuple[Change, ...] = (entry("desearch", netuid=22), HEADER, BOND)


@pytest.mark.parametrize(
    ("change", "kind", "about", "leaf"),
    [
        (LOG[0], "entry", "desearch", "0xb000f50b31ac1f7e9616752d646e8cd56997360d3ad15898095f9a573195ce56"),
        (HEADER, "batch", "", "0x99a455ed9f9b8031ba837c430c5b248d50b2cc036dddc1ebb1ba7e4d9735834a"),
        (BOND, "bond", "desearch", "0xabf4663e858b7c118bc39326c6b0605ef6e076c3a1d7d5d4141add97b95a8f93"),
    ],
    ids=["entry", "batch", "bond"],
)
def test_a_leaf_is_pinned(change: Change, kind: str, about: str, leaf: str) -> None:
    assert (kind_of(change), entry_of(change), change_leaf(change)) == (kind, about, leaf)
    assert read_change(kind, parse_strict(change_body(change))) == change


def test_a_body_is_not_read_as_another_kind() -> None:
    for change in LOG:
        body = parse_strict(change_body(change))
        for kind in {"entry", "bond", "batch"} - {kind_of(change)}:
            with pytest.raises(ValidationError):
                read_change(kind, body)
        with pytest.raises(ValueError, match="too old"):
            read_change("vote", body)


def test_validators_of_a_batch_are_in_order_and_once() -> None:
    with pytest.raises(ValidationError, match="ordered by hotkey"):
        BatchHeader.model_validate(HEADER.model_dump() | {"validators": HEADER.validators * 2})


async def test_a_log_of_all_kinds_is_stored_served_and_followed(tmp_path: Path) -> None:
    leader = await LedgerNode.open(sqlite_url(tmp_path / "leader"))
    follower = await LedgerNode.open(sqlite_url(tmp_path / "follower"))
    await leader.commit(LOG, block=200)

    class Served:
        async def changes_since(self, size: int) -> LedgerChanges:
            return LedgerChanges.from_wire(leader.changes_since(size, ALICE).to_wire(), max_bytes=1 << 24)

    await follower.follow(Served(), committer=ALICE.ss58_address, verify=verify_signature, block=201)
    assert follower.log == leader.log == LOG
    assert follower.view.version == LedgerView(LOG).version
    assert list(follower.view.entries) == ["desearch"]
    for node in (leader, follower):
        await node.close()
    async with await LedgerStore.open(sqlite_url(tmp_path / "follower")) as store:
        assert await store.changes(0) == LOG
        assert await store.changes(1, limit=1) == (HEADER,)


async def test_a_row_of_another_kind_is_noticed(tmp_path: Path) -> None:
    async with await LedgerStore.open(sqlite_url(tmp_path / "ledger")) as store:
        await store.append(LOG, onto=0, block=200)
    with sqlite3.connect(tmp_path / "ledger") as connection:
        connection.execute("UPDATE ledger_changes SET kind = 'bond' WHERE idx = 0")
    async with await LedgerStore.open(sqlite_url(tmp_path / "ledger")) as store:
        with pytest.raises(LedgerCorrupt, match="index 0"):
            await store.view()


def test_a_leaf_on_the_wire_says_its_kind() -> None:
    for index, change in enumerate(LOG):
        leaf = LedgerLeaf(index=index, kind=kind_of(change), body=change)
        assert LedgerLeaf.model_validate(leaf.model_dump(mode="json")) == leaf
        with pytest.raises(ValidationError, match="this is no"):
            LedgerLeaf(index=index, kind="bond" if change is not BOND else "entry", body=change)
