"""Waiting for something real to happen: poll a condition, with a bound that says what it was waiting for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 90.0
POLL_S = 0.1


async def until(what: str, ready: Callable[[], Awaitable[T | None]], *, patience_s: float = PATIENCE_S) -> T:
    """The first answer of `ready` that is not None.

    Raises:
        AssertionError: it never came.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = await ready()
        if found is not None:
            return found
        await asyncio.sleep(POLL_S)
    raise AssertionError(f"waited {patience_s:g} s for {what}")
