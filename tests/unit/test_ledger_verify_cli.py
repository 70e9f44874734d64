"""`orchestra ledger verify` believes what it should, remembers it, and says in one line why it refuses."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ledger.canonical import parse_strict
from ledger.checkpoint import parse_checkpoint
from ledger.cosigning import CheckpointStore
from ledger.database import sqlite_url
from ledger.leaves import LogLeaf
from ledger.log import MerkleLog
from ledger.store import LedgerStore
from ledger.trusted import batch_sizes
from ledger.types import JSON
from orchestra.chain import Chain, dev_signer
from orchestra.cli import app
from orchestra.ledger_memory import default_path
from tests.chainproc import ChainProcess, one_subnet, running_chain
from tests.snapshots import ALICE, BOB, CAROL, DAVE, ORIGIN, checkpoint_of, leaves_of, signed, snapshot_of

LEAVES = leaves_of(6)
VALIDATORS = tuple(dev_signer(name) for name in ("//v0", "//v1"))


def now() -> int:
    return time.time_ns() // 1_000_000


class Case:
    """One person's files: a copy, a trusted checkpoint, and the memory between two commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copy, self.trusted = folder / "copy.jsonl", folder / "trusted"
        self.serves(LEAVES)
        self.trusts(LEAVES[:2], ALICE, BOB, CAROL)

    def serves(self, leaves: list[LogLeaf], *signers: Any, age_ms: int = 0) -> None:
        self.copy.write_bytes(snapshot_of(leaves, *signers or (ALICE, BOB, CAROL), time_ms=now() - age_ms))

    def trusts(self, leaves: list[LogLeaf], *signers: Any) -> None:
        self.trusted.write_bytes(signed(checkpoint_of(leaves), *signers, time_ms=now()))

    def verify(self, *options: str) -> Result:
        memory = () if "--remember" in options else ("--remember", str(self.folder / "memory"))
        return CliRunner().invoke(
            app, ["ledger", "verify", str(self.copy), "--trusted", str(self.trusted), *memory, *options]
        )

    def refused(self, code: str, *options: str) -> None:
        found = self.verify(*options)
        assert (found.exit_code, found.stdout) == (1, "")
        assert found.stderr.startswith(f"refused: {code}: ")
        assert found.stderr.count("\n") == 1
        told = self.verify(*options, "--json")
        assert told.exit_code == 1
        assert json.loads(told.stdout) == {
            "believed": False,
            "code": code,
            "reason": found.stderr.partition(f"{code}: ")[2].strip(),
        }


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_a_copy_that_continues_the_trusted_checkpoint_is_believed(case: Case) -> None:
    found = case.verify("--max-age", "1h")
    assert found.exit_code == 0, found.stderr
    assert f"believed: {checkpoint_of(LEAVES).version} of {ORIGIN}" in found.stdout
    assert "3 of the 3 keys of the trusted checkpoint; stake not checked" in found.stdout
    assert f"continues {checkpoint_of(LEAVES[:2]).version}" in found.stdout
    told = json.loads(case.verify("--json").stdout)
    assert (told["believed"], told["ledger_version"]) == (True, checkpoint_of(LEAVES).version)
    assert told["stake"] == {"from": "not checked", "block": None}
    assert told["on_chain"] is None


def test_without_a_chain_only_keys_of_the_trusted_checkpoint_count(case: Case) -> None:
    case.serves(LEAVES, ALICE, BOB, DAVE)
    case.refused("not_enough_stake")
    case.trusts(LEAVES[:2], DAVE)
    assert "1 of the 1 keys" in case.verify().stdout


def test_a_stakes_file_weighs_the_signers(case: Case, tmp_path: Path) -> None:
    stakes = tmp_path / "stakes.json"
    stakes.write_text(json.dumps({ALICE.ss58_address: "10", DAVE.ss58_address: "90"}))
    case.serves(LEAVES, ALICE, DAVE)
    assert "2 hotkeys with 100.0 % of the stake as the file says" in case.verify("--stakes", str(stakes)).stdout
    case.serves(LEAVES, ALICE, BOB, CAROL)
    case.refused("not_enough_stake", "--stakes", str(stakes))
    stakes.write_text(json.dumps({ALICE.ss58_address: 10}))
    assert case.verify("--stakes", str(stakes)).exit_code == 2


def test_an_old_copy_is_stale_however_it_is_presented(case: Case) -> None:
    case.serves(LEAVES, age_ms=3_700_000)
    assert case.verify().exit_code == 0
    case.refused("stale", "--max-age", "1h")
    assert case.verify("--max-age", "2h").exit_code == 0


def test_what_was_believed_is_remembered_and_nothing_smaller_is_believed_again(case: Case) -> None:
    assert case.verify().exit_code == 0
    case.serves(LEAVES[:4])
    case.refused("rollback")
    case.serves([*LEAVES[:5], LEAVES[0]])
    case.refused("split_view")
    case.serves([*LEAVES[:5], LEAVES[0], LEAVES[1]])
    case.refused("inconsistent")
    case.serves([*LEAVES, LEAVES[0]])
    assert case.verify().exit_code == 0
    case.serves(LEAVES)
    case.refused("rollback")


def test_a_refused_copy_is_not_remembered(case: Case) -> None:
    case.serves(leaves_of(9), DAVE)
    case.refused("not_enough_stake")
    case.serves(LEAVES)
    assert case.verify().exit_code == 0


def test_the_memory_has_a_place_of_its_own_for_every_log(case: Case) -> None:
    path = default_path(ORIGIN)
    path.unlink(missing_ok=True)
    arguments = ["ledger", "verify", str(case.copy), "--trusted", str(case.trusted)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert parse_checkpoint(path.read_bytes())[0] == checkpoint_of(LEAVES)
    path.unlink()


def test_a_changed_copy_is_refused_with_the_reason(case: Case) -> None:
    raw = case.copy.read_bytes()
    lines = raw.splitlines(keepends=True)
    for changed, code in (
        (b"".join([lines[0], lines[2], lines[1], *lines[3:]]), "wrong_root"),
        (b"".join([*lines[:3], *lines[4:]]), "truncated"),
        (raw.replace(b'"netuid":0', b'"netuid":7'), "wrong_root"),
        (raw[:-3], "truncated"),
        (b"", "truncated"),
    ):
        case.copy.write_bytes(changed)
        case.refused(code)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--max-age", "soon"), "is no time"),
        (("--trusted", "nothing-here"), "cannot read"),
        (("--stakes", "nothing-here"), "cannot read"),
        (("--stakes", "x", "--network", "test"), "not from both"),
        (("--network", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_checked_is_neither_believed_nor_refused(
    options: tuple[str, ...], reason: str, case: Case
) -> None:
    found = case.verify(*options)
    assert found.exit_code == 2
    assert reason in found.stderr
    assert found.stderr.count("\n") == 1
    told = case.verify(*options, "--json")
    assert told.exit_code == 2
    assert json.loads(told.stdout)["believed"] is None


def test_files_that_are_not_what_they_should_be_are_named(case: Case, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.write_bytes(b"no checkpoint")
    assert "memory is no checkpoint" in case.verify().stderr
    memory.write_bytes(signed(checkpoint_of(LEAVES, "another.example"), ALICE))
    assert "remembers 'another.example'" in case.verify().stderr
    memory.unlink()
    case.copy.unlink()
    assert case.verify().exit_code == 2
    case.trusted.write_bytes(signed(checkpoint_of(LEAVES), ALICE).replace(b"6\n", b"7\n", 1))
    assert "bad_signature" in case.verify().stderr


# from a node's databases ----------------------------------------------------------------------------------------------


async def fill(folder: Path, leaves: list[LogLeaf], upto: int) -> None:
    async with await LedgerStore.open(sqlite_url(folder / "ledger.sqlite")) as ledger:
        await ledger.append([leaf.change() for leaf in leaves], onto=0, block=1)
    async with await CheckpointStore.open(sqlite_url(folder / "checkpoints.sqlite")) as store:
        await store.sign(MerkleLog(leaf.hash for leaf in leaves[:upto]), ORIGIN, ALICE, now_ms=now())


def test_a_node_writes_the_copy_that_it_vouched_for(case: Case, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    asyncio.run(fill(data, LEAVES, 4))
    case.trusts(LEAVES[:2], ALICE)
    write = ["ledger", "snapshot", "--data", str(data), "--out", str(case.copy)]
    assert "exists" in CliRunner().invoke(app, write).stderr
    found = CliRunner().invoke(app, [*write, "--force"])
    assert found.stdout == f"4 changes of {ORIGIN} in {case.copy}\n", found.stderr
    assert f"believed: {checkpoint_of(LEAVES[:4]).version}" in case.verify().stdout


def test_a_node_without_a_ledger_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = CliRunner().invoke(app, ["ledger", "snapshot", "--data", str(tmp_path), "--out", str(out)])
    assert found.exit_code == 1
    assert "checkpoints.sqlite" in found.stderr
    assert not out.exists()


# with a chain ---------------------------------------------------------------------------------------------------------


async def commit(chain: ChainProcess, *texts: str) -> None:
    async with await Chain.open(f"orchestra-local:{chain.port}") as opened:
        for signer, text in zip(VALIDATORS, texts, strict=False):
            outcome = await opened.commit(signer, 2, text)
            assert outcome.ok, outcome


def headers() -> dict[int, JSON]:
    return {index: parse_strict(leaf.body) for index, leaf in enumerate(LEAVES) if leaf.kind == "batch"}


def test_a_batch_is_known_by_the_digest_that_votes_name() -> None:
    """Every batch from its header to the next; where governance is there, it says the same digest."""
    log = MerkleLog(leaf.hash for leaf in LEAVES)
    sizes = batch_sizes(headers(), log)
    assert sorted(sizes.values()) == [5, 6]
    assert batch_sizes({}, log) == {}
    assert next(iter(sizes)) == "0xe6aac2a07007667b572cc2701cd24c1cac30b05b459d7b40e85004ddc0c270c7"
    statements = pytest.importorskip("ledger.statements")
    for index, (digest, size) in zip(headers(), sizes.items(), strict=True):
        header = LEAVES[index].change()
        seal = statements.Seal(
            signer=ALICE.ss58_address,
            window=index,
            header=statements.header_digest(header),
            version=f"{size}:{log.root(size)}",
        )
        assert seal.digest == digest


async def test_a_chain_weighs_the_signers_and_shows_what_they_committed_to(case: Case, tmp_path: Path) -> None:
    """v0 and v1 hold all the stake of the subnet; each signs, and each commits to another state of this log."""
    case.trusts(LEAVES[:2], ALICE)
    case.serves(LEAVES, *VALIDATORS)
    root = checkpoint_of(LEAVES)
    async with running_chain(tmp_path / "chain", one_subnet()) as chain:
        options = ("--network", f"orchestra-local:{chain.port}", "--netuid", "2")
        found = await asyncio.to_thread(case.verify, *options)
        assert found.exit_code == 0, found.stderr
        assert "2 hotkeys with 100.0 % of the stake at block" in found.stdout
        assert "100.0 % of stake has committed to nothing" in found.stdout

        log = MerkleLog(leaf.hash for leaf in LEAVES)
        first = next(batch for batch, size in batch_sizes(headers(), log).items() if size == 5)
        await commit(chain, f"o1|{root.size}:{root.root}|", f"o1|1:{'0x' + '11' * 32}|2:{first}")
        told = json.loads((await asyncio.to_thread(case.verify, *options, "--json")).stdout)
        stakes = told["on_chain"]
        assert told["stake"]["from"] == "chain"
        assert int(stakes["total"]) == int(stakes["this"]) + int(stakes["earlier"]) > int(stakes["this"]) > 0
        assert int(stakes["earlier"]) > 0, "the batch that ends before the last header"

        other = f"o1|{root.size}:{'0x' + '22' * 32}|"
        await commit(chain, other, "something else")
        told = json.loads((await asyncio.to_thread(case.verify, *options, "--json")).stdout)["on_chain"]
        assert (told["this"], told["earlier"]) == ("0", "0")
        assert int(told["unknown"]) > 0
        assert int(told["silent"]) > 0

        case.serves(LEAVES, ALICE, BOB, CAROL)
        await asyncio.to_thread(case.refused, "not_enough_stake", *options)
