"""One thing at a time: a question with one answer for all who were waiting for the next, work beside the blocks.

A validator asks the Ledger's committer for news at every block and whenever an answer names a version that it lacks. If
each of those questions waited for its own turn, a few miners that name such versions and a slow committer would hold up
the blocks themselves. An answer whose question was put before somebody asked tells him nothing, the next one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class InTurn(Generic[T]):
    """Whoever calls gets an answer to a question that began after the call: at most two of them are waited for."""

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _begun: int = 0
    _answered: int = 0
    _answer: T | None = None

    async def __call__(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer. What `ask` raises goes to the caller whose turn it was; the next one asks again."""
        known = self._begun
        async with self._lock:
            if self._answered > known and self._answer is not None:
                return self._answer
            self._begun += 1
            mine = self._begun
            self._answer = answer = await ask()
            self._answered = mine
            return answer


@dataclass(slots=True)
class OneAtATime:
    """Work that runs beside the blocks, in a group that ends with it: while it runs, it is not begun again."""

    group: asyncio.TaskGroup
    _task: asyncio.Task[None] | None = None

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin it unless the last one still runs."""
        if self._task is None or self._task.done():
            self._task = self.group.create_task(work())
