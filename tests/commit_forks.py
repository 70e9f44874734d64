"""Commits batches to a Ledger until it is killed, as a validator's council does, and says what it has committed.

`python -m tests.commit_forks` forks a committer for each URL that it reads and answers with its pid, then `NUMBER
VERSION` for every batch that is in the log and known to the state that is kept after it, then `gone`. What the batches
are follows from their numbers, so whoever reads along knows what must be there.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
from functools import cache
from typing import Any

from ledger.canonical import sha256
from ledger.changes import BatchHeader, Change, StakeOf, change_leaf
from ledger.checkpoint import EMPTY_ROOT
from ledger.log import MerkleLog
from ledger.store import LedgerConflict, LedgerStore
from orchestra.governing.store import GovernorStore
from orchestra.settings import transaction_marker
from tests.builders import bond, entry

MOST_LEAVES = 1_000_000
LEADER = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@cache
def batch_of(number: int) -> tuple[Change, ...]:
    """A header, and one to eight entries and bonds."""
    dice = random.Random(number)
    header = BatchHeader(
        window=number,
        block=100 * number,
        beacon=sha256(b"%d" % number),
        leader=LEADER,
        parent=f"0:{EMPTY_ROOT}",
        certificates=(sha256(b"certificate %d" % number),),
        validators=(StakeOf(hotkey=LEADER, stake="40"),),
    )
    entries = [
        entry(f"e{each}", netuid=each, notes=str(number)) for each in dice.sample(range(9), dice.randrange(1, 5))
    ]
    return (header, *entries, *(bond(each.id, number) for each in entries))


def state_of(number: int, size: int) -> dict[str, Any]:
    """What is kept once batch `number` is in the log of `size` leaves."""
    return {"batches": number + 1, "size": size, "book": [sha256(b"%d" % each) for each in range(200)]}


async def commit_for_ever(url: str) -> None:
    """The council's order: the batch, or what a stop left of it, then the state that knows of it, then the word."""
    marker = transaction_marker()
    async with (
        await LedgerStore.open(url, marker=marker) as ledger,
        await GovernorStore.open(url, marker=marker) as store,
    ):
        state = await store.read() or {"batches": 0, "size": 0}
        log = MerkleLog(each.hash for each in await ledger.leaves(0, MOST_LEAVES))
        for number in itertools.count(state["batches"]):
            onto, batch = state["size"], batch_of(number)
            if not onto <= log.size <= onto + len(batch):
                raise LedgerConflict(f"the log holds {log.size} changes, batch {number} goes onto {onto}")
            fresh = batch[log.size - onto :]
            if fresh:
                await ledger.append(fresh, onto=log.size, block=number)
            for each in fresh:
                log.append(change_leaf(each))
            state = state_of(number, log.size)
            await store.keep(state)
            os.write(1, f"{number} {log.version}\n".encode())


def main() -> None:
    """Serve starts until stdin ends."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(commit_for_ever(line.strip()))
        os.write(1, b"%d\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"gone\n")


if __name__ == "__main__":
    main()
