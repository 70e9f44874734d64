"""The running chain between its rules and its socket: the pool, the making of blocks, and who waits for what.

Blocks come on a timer (`block_time` > 0), by `step`, or, on a chain without a timer, whenever an extrinsic arrives, so
that a test need not step for every call. An extrinsic counts as included only after its block is committed. A pool
entry that a restart loses was never acknowledged; its sender learns so by asking again.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from orchestra.devnet.chain import errors
from orchestra.devnet.chain.errors import PoolError
from orchestra.devnet.chain.extrinsic import Extrinsic
from orchestra.devnet.chain.items import Timestamp
from orchestra.devnet.chain.runtime import Runtime, Verify
from orchestra.devnet.chain.state import State
from orchestra.devnet.chain.store import STATE_BLOCKS, Included, Store

MAX_POOL: Final = 4096
MAX_BLOCK: Final = 512
NOMINAL_SLOT_MS: Final = 1000
"""What a stepped chain gives as its block time, and by how much each of its blocks advances the chain's clock."""


class Discarded(LookupError):
    """The block is older than the retained state."""


class NoSuchBlock(LookupError):
    """No block has this number or hash."""


@dataclass
class Settings:
    """`block_time` in seconds, 0 for a stepped chain; `instant`: a stepped chain makes a block for every extrinsic;
    `finality_lag`: how many blocks the finalised head is behind."""

    block_time: float = 1.0
    instant: bool = True
    finality_lag: int = 0


class Node:
    def __init__(
        self,
        store: Store,
        verify: Verify,
        settings: Settings,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 10**6,
    ) -> None:
        self.store = store
        self.settings = settings
        self.runtime = Runtime(store.genesis_hash, verify)
        self._wall_ms = wall_ms
        self._pool: dict[str, Extrinsic] = {}
        self._advanced = asyncio.Condition()
        self._retimed = asyncio.Event()
        self._failure: sqlite3.Error | None = None

    # Reading ----------------------------------------------------------------------------------------------------------

    @property
    def slot_ms(self) -> int:
        return int(self.settings.block_time * 1000) or NOMINAL_SLOT_MS

    @property
    def finalized(self) -> int:
        return max(0, self.store.number - self.settings.finality_lag)

    def state(self, block_hash: str | None = None) -> State:
        """Storage at a block (the head by default). Raises NoSuchBlock or Discarded."""
        if block_hash is None or block_hash == self.store.hash:
            return State(self.store.history, self.store.number)
        number = self.store.number_of(block_hash)
        if number is None:
            raise NoSuchBlock(f"Block not found: {block_hash}")
        if number < self.store.horizon:
            raise Discarded(f"State discarded for {block_hash}: only the last {STATE_BLOCKS} blocks are kept")
        return State(self.store.history, number)

    def queued(self, signer: str) -> int:
        return sum(1 for extrinsic in self._pool.values() if extrinsic.signer == signer)

    # Submitting -------------------------------------------------------------------------------------------------------

    async def submit(self, extrinsic: Extrinsic) -> str:
        """Take an extrinsic into the pool and return its hash; the same one twice is taken once. Raises PoolError."""
        if extrinsic.hash in self._pool or self.store.included(extrinsic.hash) is not None:
            return extrinsic.hash
        if len(self._pool) >= MAX_POOL:
            raise PoolError(errors.POOL_FULL)
        queued = self.queued(extrinsic.signer)
        if any(e.signer == extrinsic.signer and e.nonce == extrinsic.nonce for e in self._pool.values()):
            raise PoolError(errors.PRIORITY)
        self.runtime.validate(self.state(), extrinsic, queued)
        self._pool[extrinsic.hash] = extrinsic
        if self.settings.block_time == 0 and self.settings.instant:
            await self.produce()
        return extrinsic.hash

    async def wait_included(self, extrinsic_hash: str, finalized: bool, seconds: float) -> tuple[str, Included | None]:
        """`("included", where)`, `("pending", None)` when the time is up, or `("dropped", None)` when nobody has it."""

        def settled() -> bool:
            found = self.store.included(extrinsic_hash)
            if found is None:
                return extrinsic_hash not in self._pool
            return not finalized or found.block <= self.finalized

        await self._until(settled, seconds)
        found = self.store.included(extrinsic_hash)
        if found is not None and settled():
            return "included", found
        return ("pending", None) if found or extrinsic_hash in self._pool else ("dropped", None)

    async def wait_block(self, number: int, seconds: float) -> int:
        """The head's number, once it has reached `number` or the time is up."""
        await self._until(lambda: self.store.number >= number, seconds)
        return self.store.number

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._advanced:
                await self._advanced.wait_for(condition)
        except TimeoutError:
            return

    # Making blocks ----------------------------------------------------------------------------------------------------

    async def produce(self) -> int:
        """Make one block of what the pool holds, commit it, and tell everybody who waits."""
        state = self.state()
        batch = list(self._pool.values())[:MAX_BLOCK]
        block = self.runtime.build(state, self.store.hash, batch, self._timestamp(state))
        try:
            self.store.commit(block)
        except sqlite3.Error as error:
            self._failure = error
            self._retimed.set()
            raise
        for extrinsic in batch:
            del self._pool[extrinsic.hash]
        async with self._advanced:
            self._advanced.notify_all()
        return block.number

    def _timestamp(self, state: State) -> int:
        earliest = state.get(Timestamp.Now) + (NOMINAL_SLOT_MS if self.settings.block_time == 0 else 1)
        return earliest if self.settings.block_time == 0 else max(earliest, self._wall_ms())

    async def step(self, count: int) -> int:
        for _ in range(count):
            await self.produce()
            await asyncio.sleep(0)
        return self.store.number

    def set_block_time(self, seconds: float) -> None:
        self.settings.block_time = seconds
        self._retimed.set()

    async def run(self) -> None:
        """Make blocks on time until cancelled. Raises what the disk raised: no commit, no chain."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._failure is None:
            interval = self.settings.block_time
            due = max(due + interval, loop.time())
            self._retimed.clear()
            try:
                async with asyncio.timeout_at(due if interval > 0 else None):
                    await self._retimed.wait()
                due = loop.time()
            except TimeoutError:
                await self.produce()
        raise self._failure


def describe(included: Included, events: list[dict[str, Any]]) -> dict[str, Any]:
    """An included extrinsic as the wire tells it."""
    outcome = included.outcome
    own = [event for event in events if event["extrinsic_idx"] == outcome.index]
    return {
        "block": included.block, "block_hash": included.block_hash, "index": outcome.index, "error": outcome.error,
        "fee": outcome.fee, "events": own,
    }  # fmt: skip
