"""The client's side of every hop, standard library only: it also runs under the peer's interpreter.

Lines `CONCURRENCY SECONDS` come in; each is answered by one JSON line with what was measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

Call = Callable[[], Awaitable[bool]]
"""One round trip; False when the server refused it, which is counted apart."""


async def obey(call: Call) -> None:
    """Measure as told until the input ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        concurrency, seconds = line.split()
        print(json.dumps(await measure(call, int(concurrency), float(seconds))), flush=True)


async def measure(call: Call, concurrency: int, seconds: float) -> dict[str, object]:
    """Closed loop: each of `concurrency` workers makes its next round trip when the last one is back."""
    times: list[float] = []
    refused = 0
    started = time.perf_counter()

    async def worker() -> None:
        nonlocal refused
        while (begun := time.perf_counter()) - started < seconds:
            if await call():
                times.append((time.perf_counter() - begun) * 1000)
            else:
                refused += 1

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return {"count": len(times), "refused": refused, "seconds": time.perf_counter() - started, "ms": sorted(times)}
