"""Kills processes of a working network at drawn moments and checks in their own databases that nothing went missing.

What was committed before a kill must be there after it and at the end, once and unchanged: challenges, score events,
seeds and weight attempts of the validator, evidence and nonces of the miner, blocks of the chain. The databases are
read beside the processes, read-only; the chain's own, which it locks, when it has ended (`lost_on_chain`).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.chain import Chain, ChainError
from orchestra.devnet.network import NETUID, LocalNetwork
from orchestra.validation.chain_weights import QUANTUM
from tests.waiting import until

LONGEST_PAUSE_S = 1.5
TARGETS = ("validator-1", "miner-1", "chain")


@dataclass
class KillReport:
    """How many kills, how many of them inside a write transaction, what was compared, and what went missing."""

    kills: Counter[str] = field(default_factory=Counter[str])
    inside_transaction: Counter[str] = field(default_factory=Counter[str])
    compared: Counter[str] = field(default_factory=Counter[str])
    lost: list[str] = field(default_factory=list[str])
    blocks: dict[int, str] = field(default_factory=dict[int, str])

    def compare(self, name: str, before: Mapping[Any, Any], after: Mapping[Any, Any]) -> None:
        """Everything in `before` must be in `after` as it was."""
        for key, row in before.items():
            self.compared[f"{name} {key[0]}"] += 1
            if after.get(key) != row:
                self.lost.append(f"{name}: {key}")


@dataclass(frozen=True)
class Table:
    """Rows that are written once: `query` reads all, key first, with everything that must not change."""

    name: str
    database: str
    query: str


TABLES: dict[str, tuple[Table, ...]] = {
    "validator-1": (
        Table(
            "scores",
            "validation",
            "SELECT event_id, hotkey, kind, block, refuted, components, reasons FROM score_events",
        ),
        Table(
            "challenges",
            "validation",
            "SELECT tempo || '/' || slot, challenge_id, miner, block, kind FROM issued_challenges",
        ),
        Table(
            "weights",
            "validation",
            "SELECT tempo || '/' || mechid, vector, block FROM weight_attempts WHERE state = 'set'",
        ),
        Table("seeds", "validation", "SELECT tempo, hex(secret) FROM challenge_seeds"),
        Table("ledger", "ledger", "SELECT idx, entry, leaf, body FROM ledger_changes"),
    ),
    "miner-1": (
        Table("answers", "evidence", "SELECT challenge_id, validator, stored_ms FROM bundles"),
        Table("evidence", "evidence", "SELECT challenge_id || '/' || step, hex(request), hex(response) FROM steps"),
        Table("ledger", "ledger", "SELECT idx, entry, leaf, body FROM ledger_changes"),
    ),
}
"""What must survive."""

KINDS = (
    {f"{name} {table.name}" for name, tables in TABLES.items() for table in tables}
    | {f"{name} nonces" for name in TABLES}
    | {"chain blocks"}
)
"""What a report must have compared something of."""

KEPT_ROUNDS = 60
"""What was seen in the last so many rounds is looked for at the end: a validator forgets after 200 tempos."""

YOUNG_NS, REMEMBERED_NS = 20 * 10**9, 60 * 10**9
"""A nonce is forgotten by age after a minute, so those younger than this must survive a restart of the test."""


def snapshot(data: Path, tables: tuple[Table, ...]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Every row by (table, key) as committed now."""
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for table in tables:
        path = data / f"{table.database}.sqlite"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            for row in connection.execute(table.query):
                assert (table.name, str(row[0])) not in found, f"{row[0]} occurs twice in {table.database}"
                found[table.name, str(row[0])] = tuple(row)
        finally:
            connection.close()
    return found


def nonces(data: Path, within_ns: int) -> dict[tuple[str, str], tuple[Any, ...]]:
    """The nonces that this neuron accepted lately and must still refuse after a restart."""
    connection = sqlite3.connect(f"file:{data / 'nonces.sqlite'}?mode=ro", uri=True, timeout=10)
    try:
        young = "SELECT nonce_ns, hotkey FROM nonces WHERE nonce_ns > ?"
        rows = connection.execute(young, (time.time_ns() - within_ns,)).fetchall()
    finally:
        connection.close()
    return {("nonces", f"{nonce_ns}/{hotkey}"): () for nonce_ns, hotkey in rows}


async def chain_state(network: LocalNetwork) -> dict[tuple[str, str], str]:
    """The hashes of the last blocks, once the chain answers."""

    async def read() -> dict[tuple[str, str], str] | None:
        try:
            async with await Chain.open(network.network, call_deadline_s=5.0) as chain:
                head = (await chain.head()).number
                last = range(max(0, head - 8), head + 1)
                return {("blocks", str(number)): await chain.block_hash(number) for number in last}
        except ChainError:
            return None

    return await until("the chain to answer", read)


async def kill_rounds(network: LocalNetwork, rounds: int, seed: int, pipes: Mapping[str, int]) -> KillReport:
    """Kill one process a round, in turn, and start it again on its own data while challenges go on.

    `pipes`: by process, the reading end of what it reports its transactions to.
    """
    dice, report = random.Random(seed), KillReport()
    seen: deque[tuple[str, dict[Any, Any]]] = deque(maxlen=KEPT_ROUNDS)
    for number in range(rounds):
        name = TARGETS[number % len(TARGETS)]
        await asyncio.sleep(dice.uniform(0, LONGEST_PAUSE_S))
        before = await _committed(network, name, YOUNG_NS)
        _drain(pipes[name])
        await network.processes.children[name].kill()
        report.kills[name] += 1
        report.inside_transaction[name] += _drain(pipes[name]).endswith(b"B")
        await network.processes.restart(name)
        after = await _committed(network, name, REMEMBERED_NS)
        report.compare(name, before, after)
        seen.append((name, {key: row for key, row in before.items() if key[0] != "nonces"}))
        report.blocks |= {int(key[1]): row for key, row in before.items() if key[0] == "blocks"}
    for name in TABLES:
        rows = {key: row for who, found in seen if who == name for key, row in found.items()}
        report.compare(name, rows, await _committed(network, name, REMEMBERED_NS))
    return report


async def _committed(network: LocalNetwork, name: str, within_ns: int) -> dict[Any, Any]:
    if name == "chain":
        return dict(await chain_state(network))
    data = network.layout.data(name)
    return {**snapshot(data, TABLES[name]), **nonces(data, within_ns)}


def _drain(pipe: int) -> bytes:
    """Everything that was written to a pipe so far."""
    os.set_blocking(pipe, False)
    heard = b""
    while True:
        try:
            part = os.read(pipe, 65536)
        except BlockingIOError:
            return heard
        if not part:
            return heard
        heard += part


async def still_works(network: LocalNetwork) -> dict[str, int]:
    """After all kills: new events come, and new weights. Returns the uids by hotkey."""
    data = network.layout.data("validator-1")
    known = Counter(name for name, _ in snapshot(data, TABLES["validator-1"]))

    async def more() -> bool | None:
        now = Counter(name for name, _ in snapshot(data, TABLES["validator-1"]))
        return (now["scores"] > known["scores"] and now["weights"] > known["weights"]) or None

    await until("scores and weights after the kills", more)
    async with await Chain.open(network.network) as chain:
        return {neuron.hotkey: neuron.uid for neuron in (await chain.metagraph(NETUID)).neurons}


@dataclass(frozen=True)
class Submission:
    """Weights that the chain took from one hotkey: share by uid."""

    block: int
    shares: dict[int, float]


def submissions(database: Path, hotkey: str) -> list[Submission]:
    """What is in the database of a chain that has ended. Its blocks must be one unbroken line, and every signer's
    extrinsics numbered without a gap or a repetition.
    """
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        parent = ""
        for number, (block_hash, header) in enumerate(
            connection.execute("SELECT hash, header FROM blocks ORDER BY number")
        ):
            fields = json.loads(header)
            assert (fields["number"], fields["parentHash"]) == (number, parent or fields["parentHash"])
            parent = block_hash
        rows = connection.execute("SELECT block, error, body FROM extrinsics ORDER BY block, position").fetchall()
    finally:
        connection.close()
    sent: Counter[str] = Counter()
    found: list[Submission] = []
    for block, error, text in rows:
        body = json.loads(text)
        assert body["nonce"] == sent[body["signer"]], f"{body['signer']} in block {block}"
        sent[body["signer"]] += 1
        if body["signer"] == hotkey and body["function"].endswith("_weights") and error is None:
            weights = dict(zip(body["params"]["dests"], body["params"]["weights"], strict=True))
            whole = sum(weights.values())
            found.append(Submission(block, {uid: weight / whole for uid, weight in weights.items() if weight}))
    return found


def lost_on_chain(network: LocalNetwork, uids: Mapping[str, int], blocks: Mapping[int, str]) -> list[str]:
    """What a chain that has ended does not hold any more, or holds twice: blocks that were seen, weights."""
    connection = sqlite3.connect(f"file:{network.layout.root / 'chain.sqlite'}?mode=ro", uri=True)
    try:
        held: dict[int, str] = dict(connection.execute("SELECT number, hash FROM blocks"))
    finally:
        connection.close()
    gone = [f"block {number}" for number, seen in blocks.items() if held.get(number) != seen]
    return gone + _weights_lost(network, uids)


def _weights_lost(network: LocalNetwork, uids: Mapping[str, int]) -> list[str]:
    """Where the chain, which has ended, and the first validator disagree: weights that one of them says were set are on
    the chain once, as they were meant, and nothing is there that nobody meant.
    """
    data = network.layout.data("validator-1")
    taken = submissions(network.layout.root / "chain.sqlite", network.address("validator-1"))
    connection = sqlite3.connect(f"file:{data / 'validation.sqlite'}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT block, state, vector FROM weight_attempts ORDER BY block").fetchall()
    finally:
        connection.close()
    begins = [block for block, _, _ in rows]
    wrong = [f"weights in block {each.block} that nobody meant" for each in taken if each.block < begins[0]]
    for (block, state, vector), end in zip(rows, [*begins[1:], math.inf], strict=True):
        here = [each for each in taken if block <= each.block < end]
        if len(here) > 1 or (state == "set" and not here):
            wrong.append(f"weights of block {block} ({state}) are {len(here)} times on the chain")
        meant = {uids[hotkey]: share for hotkey, share in json.loads(vector).items()}
        wrong += [
            f"weights of block {block} are others on the chain" for each in here if not _equal(each.shares, meant)
        ]
    return wrong


def _equal(one: Mapping[int, float], other: Mapping[int, float]) -> bool:
    return all(abs(one.get(uid, 0.0) - other.get(uid, 0.0)) < QUANTUM for uid in one.keys() | other.keys())


def flat(report: KillReport) -> dict[str, float]:
    """The report as figures."""
    return {
        "kills": report.kills.total(),
        "kills_inside_a_transaction": report.inside_transaction.total(),
        "rows_and_blocks_checked": report.compared.total(),
        "lost": len(report.lost),
    }
