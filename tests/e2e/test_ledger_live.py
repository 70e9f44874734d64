"""A running node's Ledger, served by a process beside it: what it hands out can be checked by who believes nobody."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.changes import Change, change_leaf
from ledger.checkpoint import EntryProof, parse_checkpoint, verify_entry
from ledger.cosigning import CheckpointStore
from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from ledger.leaves import LogLeaf
from ledger.log import MerkleLog
from ledger.serving import tables
from ledger.snapshot import read_note
from ledger.store import LedgerStore, metadata
from orchestra.chain.keys import verify_signature
from orchestra.transport import OutboundClient
from tests.builders import bond, entry
from tests.databases import schema
from tests.e2e.test_ledger_serve import orchestra, serving
from tests.snapshots import ALICE, BOB, CAROL, ORIGIN, STAKES, TRUST, checkpoint_of, leaves_of, signed
from tests.waiting import until

pytestmark = pytest.mark.e2e

BATCHES: tuple[tuple[Change, ...], ...] = (
    tuple(leaf.change() for leaf in leaves_of(3)),
    (leaves_of(6)[5].change(), entry("subnet-1", netuid=1, notes="changed"), bond("subnet-1", 1)),
    (bond("subnet-0", 2, outcome="false", lost="50000"),),
    (leaves_of(9)[8].change(), entry("newest", netuid=9), bond("newest", 3, about="new_subnet", operation="")),
)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Node:
    """What a validator does to its databases: commit, sign, take over what others sign."""

    ledger: LedgerStore
    checkpoints: CheckpointStore
    log: list[LogLeaf] = field(default_factory=list[LogLeaf])

    async def commit(self, *added: Change) -> None:
        await self.ledger.append(added, onto=len(self.log), block=len(self.log))
        self.log += map(LogLeaf.from_change, added)

    async def vouch(self) -> str:
        """The version that ALICE signs first and the others after her."""
        await self.checkpoints.sign(MerkleLog(each.hash for each in self.log), ORIGIN, ALICE, now_ms=now_ms())
        checkpoint = checkpoint_of(self.log)
        note = signed(checkpoint, BOB, CAROL, time_ms=now_ms())
        await self.checkpoints.countersign(note, allowed=STAKES, verify=verify_signature, now_ms=now_ms())
        return checkpoint.version


@dataclass
class Outsider:
    """Asks the API, and checks with files of its own what it says."""

    folder: Path
    fetch: Callable[[str], Any]

    async def handed_out(self, version: str) -> None:
        async def look() -> bool | None:
            status, note = await self.fetch("/v1/checkpoint")
            return (status == 200 and parse_checkpoint(note)[0].version == version) or None

        await until(f"the checkpoint {version} to be served", look)

    async def believes_the_copy(self, version: str) -> None:
        _, copy = await self.fetch("/v1/snapshot")
        (self.folder / "copy.jsonl").write_bytes(copy)
        trusted = self.folder / "trusted"
        if not trusted.exists():
            with (self.folder / "copy.jsonl").open("rb") as file:
                trusted.write_bytes(read_note(file))
        arguments = ("--trusted", str(trusted), "--remember", str(self.folder / "memory"), "--max-age", "1h", "--json")
        found = json.loads(orchestra("verify", str(self.folder / "copy.jsonl"), *arguments))
        assert (found["believed"], found["ledger_version"], len(found["signers"])) == (True, version, 3)

    async def believes(self, name: str, version: str) -> SubnetEntry:
        """An entry, by the proof that the API gives for it."""
        _, page = await self.fetch(f"/v1/subnets/{name}")
        _, raw = await self.fetch(f"/v1/subnets/{name}/proof")
        shown, proof = SubnetEntry.model_validate(json.loads(page)["subnet"]), json.loads(raw)
        assert f"{proof['size']}:{proof['root']}" == version
        text = EntryProof(proof["index"], tuple(proof["path"]), proof["checkpoint"].encode()).encode()
        found = verify_entry(text, change_leaf(shown), TRUST, verify_signature, now_ms=now_ms())
        assert found.checkpoint.version == version
        return shown


async def test_what_a_running_node_vouches_for_is_served_as_its_log_grows(tmp_path: Path) -> None:
    folder, database = tmp_path / "node", f"sqlite:///{tmp_path / 'api.sqlite'}"
    folder.mkdir()
    key = orchestra("keys", "new", "Ada", "--tier", "production", "--database", database)
    async with (
        await LedgerStore.open(sqlite_url(folder / "ledger.sqlite")) as ledger,
        await CheckpointStore.open(sqlite_url(folder / "checkpoints.sqlite")) as checkpoints,
        OutboundClient(allow_loopback=True) as client,
        serving("--data", str(folder), "--database", database) as url,
    ):

        async def fetch(path: str) -> tuple[int, bytes]:
            answer = await client.request("GET", url + path, headers={"authorization": f"Bearer {key}"})
            return answer.status, answer.body

        node, ada = Node(ledger, checkpoints), Outsider(tmp_path, fetch)
        assert (await fetch("/v1/checkpoint"))[0] == (await fetch("/v1/snapshot"))[0] == 404, (
            "an empty log is no Ledger"
        )
        for batch in BATCHES:
            await node.commit(*batch)
            version = await node.vouch()
            await ada.handed_out(version)
            await ada.believes_the_copy(version)
            assert await ada.believes("subnet-0", version) == BATCHES[0][0]
        assert (await ada.believes("subnet-1", version)).notes == "changed"
        assert await ada.believes("newest", version) == BATCHES[3][1]

        await node.commit(entry("subnet-0", netuid=0, notes="not vouched for"))

        async def seen() -> bool | None:
            return b"not vouched for" in (await fetch("/v1/subnets/subnet-0"))[1] or None

        await until("the change to be served", seen)
        proof = json.loads((await fetch("/v1/subnets/subnet-0/proof"))[1])
        assert (proof["size"], proof["checkpoint"]) == (len(node.log), None)
        await ada.believes_the_copy(version)
        assert await ada.believes("newest", version) == BATCHES[3][1]
    assert set(await schema(sqlite_url(folder / "ledger.sqlite"))) == set(metadata.tables), "the node's own, as it was"
    assert set(await schema(sqlite_url(tmp_path / "api.sqlite"))) == set(tables.metadata.tables)
