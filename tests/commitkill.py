"""Kills whoever commits to a Ledger at drawn moments, starts it again, and looks at what it left.

What must hold after each kill. The log is a beginning of what was to be committed, leaf by leaf and batch by batch: no
half of a batch, nothing twice, nothing else. Every version that was ever acknowledged is recomputed from what is
stored. The state that is kept knows of every acknowledged batch and of none that is not in the log, and at most one
batch is in the log that it does not know of. A pipe that outlives the process tells whether a transaction was open.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ledger.changes import Change, change_leaf
from ledger.log import MerkleLog
from ledger.store import LedgerCorrupt, LedgerStore
from tests.commit_forks import batch_of, state_of
from tests.databases import rows
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[1]
LONGEST_ROUND_S = 0.4


@dataclass
class CommitKillReport:
    """Figures of a run. `finished_by_the_next`: batches that were in the log and unknown to the state."""

    kills: int = 0
    inside_transaction: int = 0
    finished_by_the_next: int = 0
    batches_acknowledged: int = 0
    leaves: int = 0
    wrong: list[str] = field(default_factory=list[str])


async def kill_rounds(url: str, rounds: int, seed: int) -> CommitKillReport:
    """`rounds` kills of one committer over one empty database."""
    dice, report = random.Random(seed), CommitKillReport()
    acknowledged, unknown = dict[int, str](), set[int]()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        async with _forks(writing) as forks:
            for _ in range(rounds):
                said = await _round(forks, url, dice.uniform(0, LONGEST_ROUND_S))
                report.inside_transaction += _ended_inside(reading)
                report.kills += 1
                if twice := acknowledged.keys() & said.keys():
                    report.wrong.append(f"acknowledged twice: {sorted(twice)}")
                acknowledged |= said
                await _settled(url)
                await _check(url, acknowledged, unknown, report)
    finally:
        os.close(reading)
        os.close(writing)
    report.batches_acknowledged, report.finished_by_the_next = len(acknowledged), len(unknown)
    return report


async def _round(forks: asyncio.subprocess.Process, url: str, moment_s: float) -> dict[int, str]:
    """Start, kill after `moment_s`, and return the version after each batch that was acknowledged."""
    assert forks.stdin is not None
    assert forks.stdout is not None
    forks.stdin.write(url.encode() + b"\n")
    line = (await forks.stdout.readline()).decode()
    said = dict[int, str]()
    while not line.strip().isdigit():  # it may be faster than its father
        said |= _acknowledged(line)
        line = (await forks.stdout.readline()).decode()
    await asyncio.sleep(moment_s)
    os.kill(int(line), signal.SIGKILL)
    while (line := (await forks.stdout.readline()).decode()) != "gone\n":
        said |= _acknowledged(line)
    return said


def _acknowledged(line: str) -> dict[int, str]:
    number, version = line.split()
    return {int(number): version}


def _ended_inside(pipe: int) -> bool:
    heard = b""
    while True:
        try:
            heard += os.read(pipe, 65536)
        except BlockingIOError:
            return heard.count(b"B") > heard.count(b"E")


async def _settled(url: str) -> None:
    """Until PostgreSQL, too, has noticed that its client is gone: a commit that was under way may still happen."""
    if not url.startswith("postgresql"):
        return
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

    async def alone() -> bool | None:
        return None if await rows(url, others) else True

    await until("the killed client's sessions to end", alone)


async def _check(url: str, acknowledged: dict[int, str], unknown: set[int], report: CommitKillReport) -> None:
    try:
        async with await LedgerStore.open(url) as store:
            stored = await store.changes(0)
    except LedgerCorrupt as error:
        report.wrong.append(str(error))
        return
    expected, ends = list[Change](), [0]
    while len(expected) < len(stored):
        expected += batch_of(len(ends) - 1)
        ends.append(len(expected))
    if list(stored) != expected:
        report.wrong.append(f"the log of {len(stored)} leaves is not the first {len(ends) - 1} batches")
    log = MerkleLog(map(change_leaf, stored))
    for number, version in acknowledged.items():
        size = int(version.partition(":")[0])
        if size > log.size or f"{size}:{log.root(size)}" != version or ends[number + 1] != size:
            report.wrong.append(f"batch {number} was acknowledged as {version}, and the log is {log.version}")
    report.wrong += await _wrong_state(url, ends, acknowledged, unknown)
    report.leaves = len(stored)


async def _wrong_state(url: str, ends: list[int], acknowledged: dict[int, str], unknown: set[int]) -> list[str]:
    tables = "sqlite_master WHERE name" if url.startswith("sqlite") else "pg_tables WHERE tablename"
    if not await rows(url, f"SELECT 1 FROM {tables} = 'governor'"):
        return ["the state is gone"] if acknowledged else []
    found = [json.loads(state) for (state,) in await rows(url, "SELECT state FROM governor")]
    known, committed = (found[0]["batches"] if found else 0), len(ends) - 1
    unknown |= set(range(known, committed))
    if len(found) > 1 or (found and found[0] != state_of(known - 1, ends[min(known, committed)])):
        return [f"{len(found)} states, the first after {known} of {committed} batches"]
    if not max(acknowledged, default=-1) + 1 <= known <= committed <= known + 1:
        return [f"the state knows {known} batches, {committed} are in the log, {len(acknowledged)} acknowledged"]
    return []


@asynccontextmanager
async def _forks(pipe: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.commit_forks",
        cwd=ROOT, env={**os.environ, "ORCHESTRA_TRANSACTION_FD": str(pipe)}, pass_fds=[pipe],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        await process.wait()
