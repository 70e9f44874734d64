"""Kills processes of a working network at drawn moments and checks in their own databases that nothing went missing.

What was committed before a kill must be there after it, once and unchanged: score events and weight attempts of the
validator, evidence of the miner, blocks of the chain. The databases are read beside the processes, read-only.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.chain import Chain, ChainError
from orchestra.devnet.network import NETUID, LocalNetwork
from tests.waiting import until

LONGEST_PAUSE_S = 1.5
TARGETS = ("validator-1", "miner-1", "chain")


@dataclass
class KillReport:
    """How many kills, how many inside a write transaction (of the processes that say so), and what went missing."""

    kills: dict[str, int] = field(default_factory=dict[str, int])
    inside_transaction: int = 0
    rows_checked: int = 0
    lost: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Table:
    """Rows that are written once: `key` names one, `rows` reads all with everything that must not change."""

    database: str
    query: str


TABLES: dict[str, tuple[Table, ...]] = {
    "validator-1": (
        Table("validation", "SELECT event_id, hotkey, kind, block, refuted, components, reasons FROM score_events"),
        Table("validation", "SELECT tempo || '/' || mechid, vector, block FROM weight_attempts WHERE state = 'set'"),
        Table("validation", "SELECT tempo, hex(secret) FROM challenge_seeds"),
        Table("ledger", "SELECT idx, entry, leaf, body FROM ledger_changes"),
    ),
    "miner-1": (
        Table("evidence", "SELECT challenge_id, validator, stored_ms FROM bundles"),
        Table("evidence", "SELECT challenge_id || '/' || step, hex(request), hex(response) FROM steps"),
        Table("ledger", "SELECT idx, entry, leaf, body FROM ledger_changes"),
    ),
}
"""What must survive."""

YOUNG_NS, REMEMBERED_NS = 20 * 10**9, 60 * 10**9
"""A nonce is forgotten by age after a minute, so those younger than this must survive a restart of the test."""


def snapshot(data: Path, tables: tuple[Table, ...]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Every row by (query, key) as committed now."""
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for table in tables:
        path = data / f"{table.database}.sqlite"
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            for row in connection.execute(table.query):
                assert (table.query, str(row[0])) not in found, f"{row[0]} occurs twice in {table.database}"
                found[table.query, str(row[0])] = tuple(row)
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


async def chain_state(network: LocalNetwork) -> dict[int, str]:
    """The hashes of the last blocks, once the chain answers."""

    async def read() -> dict[int, str] | None:
        try:
            async with await Chain.open(network.network, call_deadline_s=5.0) as chain:
                head = (await chain.head()).number
                return {number: await chain.block_hash(number) for number in range(max(0, head - 8), head + 1)}
        except ChainError:
            return None

    return await until("the chain to answer", read)


async def kill_rounds(network: LocalNetwork, rounds: int, seed: int, pipes: Mapping[str, int]) -> KillReport:
    """Kill one process a round, in turn, and start it again on its own data while challenges go on.

    `pipes`: by process, the reading end of what it reports its transactions to.
    """
    dice, report = random.Random(seed), KillReport()
    for number in range(rounds):
        name = TARGETS[number % len(TARGETS)]
        await asyncio.sleep(dice.uniform(0, LONGEST_PAUSE_S))
        before = await _committed(network, name, YOUNG_NS)
        await network.processes.children[name].kill()
        report.kills[name] = report.kills.get(name, 0) + 1
        report.inside_transaction += name in pipes and _drain(pipes[name]).endswith(b"B")
        await network.processes.restart(name)
        after = await _committed(network, name, REMEMBERED_NS)
        report.rows_checked += len(before)
        report.lost += [f"{name}: {key}" for key, row in before.items() if after.get(key) != row]
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


async def still_works(network: LocalNetwork) -> None:
    """After all kills: a block later there are new events, and weights are still set for this tempo or the next."""
    data = network.layout.data("validator-1")
    known = len(snapshot(data, TABLES["validator-1"][:1]))

    async def more() -> bool | None:
        return len(snapshot(data, TABLES["validator-1"][:1])) > known or None

    await until("challenges after the kills", more)
    async with await Chain.open(network.network) as chain:
        members = await chain.metagraph(NETUID)
        assert members.by_hotkey(network.address("validator-1")) is not None


def flat(report: KillReport) -> dict[str, float]:
    """The report as figures."""
    return {
        "kills": sum(report.kills.values()),
        "kills_inside_a_transaction": report.inside_transaction,
        "rows_and_blocks_checked": report.rows_checked,
        "lost": len(report.lost),
    }
