"""The fault matrix over real sockets: whatever is wrong with the first provider of a step, wherever in the run, the
alternative finishes it in time, and the failed attempts stand in the record with their class and cost.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from ledger.entry import Metrics, Price, SubnetEntry
from ledger.view import LedgerView
from orchestra.execution import LoopClock, Policy, Run, execute
from orchestra.planning.plan import Plan, Ref, Task
from orchestra.routing import NO_REPUTATION, Limits, route
from orchestra.subnets import Secret, Subnets
from orchestra.transport import OutboundClient
from tests.builders import entry, operation

pytestmark = pytest.mark.e2e

KEY = "sk-local-0123456789"
FEE = 1_000
LIMITS = Limits(deadline_ms=8_000, max_cost=100_000)
POLICY = Policy(patience_floor_ms=200, backoff_ms=10)

GOOD: dict[str, Any] = {
    "web_search": {"data": [{"title": "A", "link": "https://a.test", "snippet": "s"}]},
    "web_scraping": {"page": "the page"},
    "chat_completion": {"choices": [{"message": {"content": "the answer"}}]},
}
REQUEST = {
    "web_search": "{query: query}",
    "web_scraping": "{url: url}",
    "chat_completion": "{messages: [{content: text}]}",
}
RESPONSE = {
    "web_search": "{results: data[].{title: title, url: link, snippet: snippet}}",
    "web_scraping": "{text: page}",
    "chat_completion": "{text: choices[0].message.content}",
}
OUTPUT = {"web_search": "data", "web_scraping": "page", "chat_completion": "choices"}
STEPS = tuple(GOOD)


@dataclass
class Provider:
    """A small service that does three things over HTTP, and for one of them misbehaves as told."""

    name: str
    broken: str = ""
    fault: str = ""
    calls: Counter[str] = field(default_factory=Counter[str])
    port: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"detail": "Invalid or missing API key"}, status=401)
        capability = request.match_info["capability"]
        query = await request.json()
        assert query, "a call without arguments"
        self.calls[capability] += 1
        if capability == self.broken:
            return await self._misbehave(request)
        return web.json_response(GOOD[capability])

    async def _misbehave(self, request: web.Request) -> web.StreamResponse:
        match self.fault:
            case "slow":
                await asyncio.sleep(5)
                return web.json_response(GOOD[self.broken])
            case "garbage":
                return web.Response(body=b"\x00\xffnot json at all", content_type="application/json")
            case "wrong_schema":
                return web.json_response({"items": [1, 2, 3]})
            case "throttled":
                return web.json_response({"detail": "Too many requests"}, status=429, headers={"Retry-After": "60"})
            case "server_fault":
                return web.json_response({"detail": "Internal server error"}, status=500)
            case "no_credit":
                return web.json_response({"detail": "Insufficient balance"}, status=402)
            case "hangs_up":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case _:
                raise AssertionError(f"nobody taught it to be {self.fault}")


@asynccontextmanager
async def serving(provider: Provider) -> AsyncIterator[Provider]:
    app = web.Application()
    app.router.add_post("/{capability}", provider.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.port = runner.addresses[0][1]
        yield provider
    finally:
        await runner.cleanup()


def described(name: str, port: int, *, fee: int, capabilities: tuple[str, ...] = STEPS) -> SubnetEntry:
    return entry(
        name,
        netuid=1,
        operations=tuple(
            operation(
                capability,
                capability=capability,
                endpoint={
                    "base_url": f"http://127.0.0.1:{port}",
                    "method": "POST",
                    "path": f"/{capability}",
                    "arguments": "json_body",
                },
                auth={
                    "kind": "header",
                    "name": "Authorization",
                    "format": "Bearer {key}",
                    "secret": f"KEY_{name.upper()}",
                },
                input_schema={"type": "object", "minProperties": 1},
                output_schema={"type": "object", "required": [OUTPUT[capability]]},
                request=REQUEST[capability],
                response=RESPONSE[capability],
                price=Price(amount=f"0.{fee:09d}", currency="TAO"),
                metrics=Metrics(latency_ms=20, latency_p95_ms=60, reliability_permille=990),
            )
            for capability in capabilities
        ),
    )


PLAN = Plan(
    "o",
    (
        Task("s", "web_search", "search", {"query": "x"}, ("/a",)),
        Task("f", "web_scraping", "fetch", {"url": Ref("s", "results[0].url")}, ("/b",)),
        Task("c", "chat_completion", "sum up", {"instructions": "sum up", "text": [Ref("f", "text")]}, ("/c",)),
    ),
)
TASK_OF = {task.capability: task.id for task in PLAN.tasks}


async def run(*entries: SubnetEntry, keys: dict[str, str]) -> Run:
    secrets = {name: Secret(KEY, origin) for name, origin in keys.items()}
    async with OutboundClient(allow_loopback=True) as outbound:
        caller = Subnets(outbound, secrets=secrets, verify=lambda *_: False, allow_loopback=True)
        a_route = route(PLAN, LedgerView(entries), LIMITS, NO_REPUTATION, usable=caller.usable)
        return await execute(a_route, caller, limits=LIMITS, tag="0x" + "0" * 64, clock=LoopClock(), policy=POLICY)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


KIND_AND_COST = {
    "slow": ("timeout", FEE),
    "garbage": ("malformed", FEE),
    "wrong_schema": ("schema_mismatch", FEE),
    "throttled": ("throttled", 0),
    "server_fault": ("fault", 0),
    "no_credit": ("out_of_credit", 0),
    "hangs_up": ("unreachable", 0),
}


@pytest.mark.parametrize("broken", STEPS)
@pytest.mark.parametrize("fault", KIND_AND_COST)
async def test_the_alternative_finishes_the_run(fault: str, broken: str) -> None:
    async with serving(Provider("bad", broken, fault)) as bad, serving(Provider("spare")) as spare:
        done = await run(
            described("bad", bad.port, fee=FEE),
            described("spare", spare.port, fee=5 * FEE),
            keys={"KEY_BAD": f"http://127.0.0.1:{bad.port}", "KEY_SPARE": f"http://127.0.0.1:{spare.port}"},
        )
    assert {task_id: outcome.state for task_id, outcome in done.outcomes.items()} == {
        "s": "done",
        "f": "done",
        "c": "done",
    }
    kind, cost = KIND_AND_COST[fault]
    failed = [attempt for attempt in done.attempts if attempt.error is not None]
    assert failed
    assert {(a.entry, a.operation, a.error.kind, a.cost) for a in failed if a.error} == {("bad", broken, kind, cost)}
    answered = done.result(TASK_OF[broken])
    assert answered is not None
    assert answered.entry == "spare"
    assert done.elapsed_ms < LIMITS.deadline_ms
    assert done.cost == sum(attempt.cost for attempt in done.attempts) <= LIMITS.max_cost
    assert KEY not in repr(done)


@pytest.mark.parametrize("broken", STEPS)
async def test_a_provider_that_is_down_is_passed_over(broken: str) -> None:
    async with serving(Provider("spare")) as spare:
        port = free_port()
        done = await run(
            described("down", port, fee=FEE, capabilities=(broken,)),
            described("spare", spare.port, fee=5 * FEE),
            keys={"KEY_DOWN": f"http://127.0.0.1:{port}", "KEY_SPARE": f"http://127.0.0.1:{spare.port}"},
        )
    failed = [(a.entry, a.error.kind, a.cost) for a in done.attempts if a.error]
    assert failed == [("down", "unreachable", 0)]
    assert all(outcome.state == "done" for outcome in done.outcomes.values())


async def test_without_an_alternative_the_run_ends_with_a_cause_that_names_the_step() -> None:
    async with serving(Provider("bad", "web_scraping", "garbage")) as bad:
        done = await run(described("bad", bad.port, fee=FEE), keys={"KEY_BAD": f"http://127.0.0.1:{bad.port}"})
    assert done.outcomes["s"].state == "done"
    assert done.outcomes["f"].state == "failed"
    assert done.outcomes["f"].cause.startswith("bad/web_scraping: malformed:")
    assert done.outcomes["c"].cause == "needs 'f', which failed"
    assert [json.loads(attempt.request) for attempt in done.attempts] == [attempt.query for attempt in done.attempts]


async def test_two_down_one_slow_and_one_garbled_still_complete() -> None:
    async with (
        serving(Provider("slow", "web_search", "slow")) as slow,
        serving(Provider("garbled", "chat_completion", "garbage")) as garbled,
        serving(Provider("spare")) as spare,
    ):
        down = [free_port(), free_port()]
        done = await run(
            described("down1", down[0], fee=100, capabilities=("web_search",)),
            described("down2", down[1], fee=100, capabilities=("web_scraping",)),
            described("slow", slow.port, fee=200, capabilities=("web_search",)),
            described("garbled", garbled.port, fee=200, capabilities=("chat_completion",)),
            described("spare", spare.port, fee=FEE),
            keys={
                "KEY_DOWN1": f"http://127.0.0.1:{down[0]}",
                "KEY_DOWN2": f"http://127.0.0.1:{down[1]}",
                "KEY_SLOW": f"http://127.0.0.1:{slow.port}",
                "KEY_GARBLED": f"http://127.0.0.1:{garbled.port}",
                "KEY_SPARE": f"http://127.0.0.1:{spare.port}",
            },
        )
    assert all(outcome.state == "done" for outcome in done.outcomes.values())
    assert [(a.entry, a.error.kind if a.error else "ok", a.cost) for a in done.attempts] == [
        ("down1", "unreachable", 0),
        ("slow", "timeout", 200),
        ("spare", "ok", FEE),
        ("down2", "unreachable", 0),
        ("spare", "ok", FEE),
        ("garbled", "malformed", 200),
        ("spare", "ok", FEE),
    ]
