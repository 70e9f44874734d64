"""One question at a time, and one answer for all who were waiting for the next.

A validator asks the Ledger's committer for news at every block and whenever an answer names a version that it lacks. If
each of those questions waited for its own turn, a few miners that name such versions and a slow committer would hold up
the blocks themselves. An answer whose question was put before somebody asked tells him nothing, the next one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

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
