"""The local chain's parts, each alone: what is signed, addresses, genesis files, disk, pool."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestra.chain.keys import dev_signer, verify_signature
from orchestra.devnet.chain import errors, node, store, views
from orchestra.devnet.chain.address import is_address
from orchestra.devnet.chain.errors import PoolError
from orchestra.devnet.chain.extrinsic import Extrinsic, Malformed, payload, signature_bytes
from orchestra.devnet.chain.genesis import Genesis, build
from orchestra.devnet.chain.items import ALL, Subtensor
from orchestra.devnet.chain.node import Discarded, Node, NoSuchBlock, Settings
from orchestra.devnet.chain.runtime import Runtime
from orchestra.devnet.chain.state import State
from orchestra.devnet.chain.store import Store, WrongChain
from orchestra.devnet.chain.views import Unknown
from tests.chainproc import TAO, one_subnet, ss58
from tests.localchain import PureChain, signature_is_fine

ALICE, BOB = ss58("//Alice"), ss58("//Bob")
GENESIS_HASH = "0x" + "11" * 32
TRANSFER = Extrinsic("Balances", "transfer_keep_alive", {"dest": BOB, "value": 5}, ALICE, 3, 7, 64, "0x" + "22" * 64)

# What is signed -------------------------------------------------------------------------------------------------------


def test_golden_payload_and_hash() -> None:
    signed = payload(GENESIS_HASH, "Balances", "transfer_keep_alive", {"dest": BOB, "value": 5}, ALICE, 3, 7, 64)
    assert signed == (
        b'{"birth":7,"call":{"function":"transfer_keep_alive","module":"Balances","params":{"dest":'
        b'"5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty","value":5}},"domain":"orchestra-local-extrinsic/1",'
        b'"genesis":"0x1111111111111111111111111111111111111111111111111111111111111111","nonce":3,"period":64,'
        b'"signer":"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"}'
    )
    assert TRANSFER.hash == "0xa2641992ec4429a2144b70615eb8e382166ed7d5228674f8f124af86b809cbdc"
    assert Genesis(name="golden").hash == "0x2afadcbb0272aa0e17667115ac3d3998c5d830523d4c391a6972cc98c4ab10b3"


FIELDS: list[tuple[str, Any]] = [
    ("module", "Sudo"), ("function", "transfer_all"), ("params", {"dest": BOB, "value": 6}), ("signer", BOB),
    ("nonce", 4), ("birth", 8), ("period", 65),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_field_is_signed(name: str, value: Any) -> None:
    runtime = Runtime(GENESIS_HASH, verify_signature)
    key = dev_signer("//Alice")
    unsigned = {
        field: getattr(TRANSFER, field)
        for field in ("module", "function", "params", "signer", "nonce", "birth", "period")
    }
    signed = replace(TRANSFER, signature="0x" + key.sign(payload(GENESIS_HASH, **unsigned)).hex())
    state = PureChain().state
    for changed, broken in ((signed, False), (replace(signed, **{name: value}), True)):
        with pytest.raises(PoolError) as caught:
            runtime.validate(state, changed)
        refused = caught.value.message
        assert (refused != errors.FUTURE) is broken, refused  # the nonce is ahead: an intact signature gets that far


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": -1}, {"nonce": 2**32}, {"nonce": True}, {"nonce": "3"}, {"birth": -1}, {"period": 0},
        {"period": 4097}, {"params": []}, {"signature": None}, {"extra": 1}, {"params": {"x": "y" * 70_000}},
    ],
    ids=str,
)  # fmt: skip
def test_a_malformed_extrinsic_is_refused(change: dict[str, Any]) -> None:
    assert Extrinsic.from_json(TRANSFER.to_json()) == TRANSFER
    with pytest.raises(Malformed):
        Extrinsic.from_json({**TRANSFER.to_json(), **change})


@pytest.mark.parametrize("text", ["", "0x", "22" * 64, "0x" + "2" * 127, "0x" + "zz" * 64, "0x" + "22" * 65])
def test_a_signature_is_64_bytes_of_hex_or_nothing(text: str) -> None:
    assert signature_bytes(replace(TRANSFER, signature=text)) == b""


def test_addresses() -> None:
    assert is_address(ALICE)
    assert is_address("5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM")
    for wrong in ("", ALICE[:-1], ALICE + "1", ALICE[:-1] + "X", ALICE.replace("5G", "6G", 1), "0" * 48, "z" * 48):
        assert not is_address(wrong), wrong
    polkadot = "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"
    assert not is_address(polkadot)


# Genesis --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"accounts": {"nobody": 1}},
        {"accounts": {ALICE: -1}},
        {"acounts": {}},
        {"subnets": [{"netuid": 2, "owner_coldkey": ALICE, "owner_hotkey": BOB, "hyperparameters": {"tempoo": 1}}]},
        {"subnets": [{"netuid": 0, "owner_coldkey": ALICE, "owner_hotkey": BOB}]},
        {"chain": {"fee": "much"}},
    ],
    ids=str,
)
def test_a_genesis_file_is_checked(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Genesis.model_validate(document)


def seated(*pairs: tuple[str, str], **rules: Any) -> dict[str, Any]:
    neurons = [{"hotkey": ss58(hot), "coldkey": ss58(cold)} for hot, cold in pairs]
    return {"netuid": 2, "owner_coldkey": ALICE, "owner_hotkey": BOB, "neurons": neurons, "hyperparameters": rules}


@pytest.mark.parametrize(
    ("subnets", "rule"),
    [
        ([seated(("//a", "//x"), ("//a", "//x"))], "HotKeyAlreadyRegisteredInSubNet"),
        ([seated(("//a", "//x"), ("//Bob", "//x"))], "NonAssociatedColdKey"),
        ([seated(("//a", "//x"), ("//b", "//x"), max_allowed_uids=1)], "NoNeuronIdAvailable"),
        ([seated(), seated()], "netuid 2 twice"),
    ],
)
def test_a_genesis_keeps_the_chains_rules(subnets: list[dict[str, Any]], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        build(Genesis.model_validate({"subnets": subnets}))


def test_a_genesis_may_write_rao_as_text() -> None:
    assert Genesis.model_validate({"accounts": {ALICE: "1000"}}).accounts[ALICE] == 1000


# Disk -----------------------------------------------------------------------------------------------------------------


def open_store(directory: Path, **options: Any) -> Store:
    return Store(directory / "chain.sqlite", Genesis.model_validate(one_subnet(tempo=3)), **options)


def grow(opened: Store, blocks: int) -> None:
    runtime = Runtime(opened.genesis_hash, signature_is_fine)
    for _ in range(blocks):
        opened.commit(runtime.build(State(opened.history, opened.number), opened.hash, [], 1000 * (opened.number + 1)))


def test_only_retained_versions_stay(tmp_path: Path) -> None:
    opened = open_store(tmp_path)
    grow(opened, 1100)
    rows = opened._db.execute("SELECT count(*) FROM storage WHERE item = 'Number'").fetchone()[0]
    assert rows <= store.STATE_BLOCKS + store.PRUNE_EVERY + 1
    assert State(opened.history, opened.horizon).get(ALL["System", "Number"]) == opened.horizon
    opened.close()


def test_a_database_belongs_to_its_genesis(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with pytest.raises(WrongChain):
        Store(tmp_path / "chain.sqlite", Genesis(name="another"))


def test_the_database_is_durable_and_exclusive(tmp_path: Path) -> None:
    opened = open_store(tmp_path)
    assert opened._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert opened._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        open_store(tmp_path)
    opened.close()


def test_transactions_are_announced(tmp_path: Path) -> None:
    marks: list[bool] = []
    opened = open_store(tmp_path, in_transaction=marks.append)
    grow(opened, 2)
    assert marks == [True, False] * 2
    opened.close()


def test_a_block_that_does_not_commit_is_not_there(tmp_path: Path) -> None:
    opened = open_store(tmp_path)
    grow(opened, 1)
    block = Runtime(opened.genesis_hash, signature_is_fine).build(State(opened.history, 1), opened.hash, [], 5000)
    with pytest.raises(sqlite3.IntegrityError):
        opened.commit(replace(block, number=1))
    assert (opened.number, State(opened.history, 2).get(ALL["System", "Number"])) == (1, 1)
    opened.close()


# Pool -----------------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.ms = 10**12

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def manual(tmp_path: Path) -> Any:
    opened = open_store(tmp_path)
    yield Node(opened, signature_is_fine, Settings(block_time=0, instant=False), Clock())
    opened.close()


def transfer(nonce: int, value: int = TAO, signer: str = ALICE, birth: int = 0) -> Extrinsic:
    return Extrinsic(
        "Balances", "transfer_keep_alive", {"dest": BOB, "value": value}, signer, nonce, birth, 8, "0x" + "00" * 64
    )


async def test_the_pool_takes_each_nonce_once_and_in_order(manual: Node) -> None:
    first = await manual.submit(transfer(0))
    assert await manual.submit(transfer(0)) == first
    with pytest.raises(PoolError, match="Priority is too low"):
        await manual.submit(transfer(0, value=2 * TAO))
    with pytest.raises(PoolError, match="future"):
        await manual.submit(transfer(2))
    second = await manual.submit(transfer(1))
    assert await manual.wait_included(first, False, 0) == ("pending", None)
    await manual.produce()
    for extrinsic_hash, index in ((first, 1), (second, 2)):
        status, found = await manual.wait_included(extrinsic_hash, False, 0)
        assert (status, found is not None and found.outcome.index) == ("included", index)
    with pytest.raises(PoolError, match="outdated"):
        await manual.submit(transfer(1, value=7))


async def test_what_became_invalid_in_the_pool_is_dropped(manual: Node) -> None:
    everything = await manual.submit(transfer(0, value=10_000 * TAO - 200_000))
    broke = await manual.submit(transfer(1))
    await manual.produce()
    assert (await manual.wait_included(everything, False, 0))[0] == "included"
    assert await manual.wait_included(broke, False, 5) == ("dropped", None)
    assert manual.queued(ALICE) == 0


async def test_the_pool_is_bounded(manual: Node) -> None:
    manual._pool |= {str(number): transfer(number, signer=BOB) for number in range(node.MAX_POOL)}
    with pytest.raises(PoolError, match="exhaust"):
        await manual.submit(transfer(0))


async def test_waiters_hear_of_a_block(manual: Node) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(manual.wait_block(2, 30))
        await manual.step(2)
    assert waiting.result() == 2


async def test_reads_name_what_is_missing(manual: Node) -> None:
    with pytest.raises(NoSuchBlock):
        manual.state("0x" + "99" * 32)
    old = manual.store.hash
    await manual.step(store.STATE_BLOCKS + 1)
    with pytest.raises(Discarded):
        manual.state(old)


async def test_a_stepped_clock_is_even_and_a_running_one_never_goes_back(manual: Node) -> None:
    await manual.step(3)
    assert manual.state().get(ALL["Timestamp", "Now"]) == Genesis().timestamp + 3000
    manual.settings.block_time = 1.0
    await manual.produce()
    assert manual.state().get(ALL["Timestamp", "Now"]) == Genesis().timestamp + 3001  # the wall clock is behind


async def test_a_chain_that_cannot_write_stops(manual: Node) -> None:
    manual.store.close()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_outcome(manual))
        await asyncio.sleep(0)
        with pytest.raises(sqlite3.Error):
            await manual.produce()
    assert isinstance(running.result(), sqlite3.Error)


async def _outcome(running: Node) -> BaseException | None:
    try:
        await running.run()
    except sqlite3.Error as error:
        return error


def test_unknown_items_are_named() -> None:
    with pytest.raises(Unknown, match=r"Local\.Spec"):
        views.query(PureChain().state, "Local", "Spec", [])
    assert views.query(PureChain().state, "SubtensorModule", "Tempo", [2]) == PureChain().get(Subtensor.Tempo, 2)
