"""One choke point for money: the worst case is reserved before a call is sent, settled to what it cost after.

Single-threaded asyncio makes check-and-reserve atomic as long as nothing is awaited between the two. When only other
calls' reservations stand in the way, a reservation waits for them to settle: they mostly cost less than their worst.
"""

from __future__ import annotations

import asyncio
from collections import deque


class OverBudget(Exception):
    """What is left, everything in flight settled at nothing, cannot cover the worst case."""


class Budget:
    """At most `limit` rao; `spent + reserved <= limit` always, as long as no call costs more than its worst case."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        self.reserved = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self, worst: int) -> None:
        """Set `worst` rao aside.

        Raises:
            OverBudget: it can never be covered.
        """
        while self.spent + self.reserved + worst > self.limit:
            if self.spent + worst > self.limit:
                raise OverBudget(f"may cost {worst} rao, {self.limit - self.spent} left")
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self.reserved += worst

    def settle(self, worst: int, cost: int) -> None:
        """End a reservation of `worst` with what was really paid."""
        self.reserved -= worst
        self.spent += cost
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
