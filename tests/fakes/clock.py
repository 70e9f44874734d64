"""Virtual time: an event loop that, instead of waiting for a timer, moves its clock to it. Nothing ever sleeps.

Everything that reads the loop's time is virtual with it: `asyncio.sleep`, `asyncio.timeout`, `call_later`, `LoopClock`.
A run of hours takes microseconds, gives the same order every time, and a deadline can be hit to the microsecond.
Sockets still work, but time jumps while they are waited for: use it for what talks to nobody.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = 1_000.0
"""Virtual time begins here, so that a bug that takes time for a duration shows."""


class Stuck(AssertionError):
    """Nothing is ready and no timer is set: the code under test waits for something that never comes."""


class _Selector(selectors.DefaultSelector):
    """Never blocks: a wait moves the clock by as much."""

    def __init__(self) -> None:
        super().__init__()
        self.now = EPOCH

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        if not ready and timeout:
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only by timers."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time. Fails when the coroutine leaves a task running."""

    async def supervised() -> T:
        result = await main
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left running: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(supervised())


class VirtualClock:
    """A clock for code that takes one, outside of a loop or beside it: it moves when told or slept on."""

    def __init__(self, now: float = EPOCH) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    __call__ = now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    async def sleep(self, seconds: float, /) -> None:
        self._now += max(seconds, 0.0)
        await asyncio.sleep(0)
