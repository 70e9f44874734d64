"""Time as the engine sees it: the running event loop's, so that a loop with virtual time makes every run virtual.

Timeouts are `asyncio.timeout`, which reads `loop.time()`; a clock that disagreed with the loop would let a deadline
pass on one and not on the other. So the one implementation asks the loop, and tests exchange the loop.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Clock(Protocol):
    """`now` in seconds, monotonic, on the running loop's time line."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float, /) -> None: ...


class LoopClock:
    """The running event loop's time."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float, /) -> None:
        await asyncio.sleep(seconds)
