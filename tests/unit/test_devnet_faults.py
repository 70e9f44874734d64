"""Faults are exact: what the control port says is what callers see, and the log says what was seen."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from ledger.canonical import sha256
from orchestra.devnet.subnets.faults import GARBAGE, MAX_CALLS, Control, Faults, Gate, control_app

BODY = b'{"fine":true}'


async def healthy(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await PlainTextResponse(BODY)(scope, receive, send)


def make(**how: Any) -> Faults:
    return Faults(lambda status: JSONResponse({"failed": status}, status), lambda _: "somebody", **how)


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://subnet.test")


def state(**fields: Any) -> Control:
    return Control.model_validate(fields)


async def test_without_faults_the_service_answers_and_is_logged() -> None:
    faults = make(clock=lambda: 1_700_000_000.5)
    async with client(faults.middleware(healthy)) as http:
        answer = await http.post("/x?a=1", content=b"question", headers={"X-Orchestra-Tag": "0xtag"})
    assert answer.content == BODY
    assert list(faults.calls) == [
        {
            "call": 1,
            "at_ms": 1_700_000_000_500,
            "method": "POST",
            "path": "/x",
            "query": "a=1",
            "caller": "somebody",
            "tag": "0xtag",
            "status": 200,
            "request_hash": sha256(b"question"),
            "response_hash": sha256(BODY),
        }
    ]


async def test_latency_is_slept_before_the_answer() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    faults = make(sleep=sleep)
    faults.set(state(latency_ms=5_000))
    async with client(faults.middleware(healthy)) as http:
        assert (await http.get("/")).content == BODY
    assert slept == [5.0]


async def outcomes(seed: int, calls: int = 40) -> list[int]:
    faults = make()
    faults.set(state(error_rate=0.5, error_status=503, seed=seed))
    async with client(faults.middleware(healthy)) as http:
        return [(await http.get("/")).status_code for _ in range(calls)]


async def test_which_calls_fail_follows_from_the_seed() -> None:
    first = await outcomes(1)
    assert first == await outcomes(1)
    assert first != await outcomes(2)
    assert set(first) == {200, 503}


@pytest.mark.parametrize(("rate", "status"), [(0.0, 200), (1.0, 429)])
async def test_never_and_always(rate: float, status: int) -> None:
    faults = make()
    faults.set(state(error_rate=rate, error_status=429))
    async with client(faults.middleware(healthy)) as http:
        assert {(await http.get("/")).status_code for _ in range(20)} == {status}


async def test_garbage_is_a_good_status_with_bytes_that_are_no_json() -> None:
    faults = make()
    faults.set(state(outage="garbage"))
    async with client(faults.middleware(healthy)) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.content) == (200, GARBAGE)
    assert answer.headers["content-type"] == "application/json"
    with pytest.raises(ValueError):
        answer.json()


async def test_a_hanging_call_goes_on_when_the_outage_ends() -> None:
    faults = make()
    faults.set(state(outage="hang"))
    async with client(faults.middleware(healthy)) as http:
        call = asyncio.create_task(http.get("/"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not call.done()
        faults.set(state())
        assert (await call).content == BODY


async def test_the_log_is_bounded_and_counts_on() -> None:
    faults = make()
    async with client(faults.middleware(healthy)) as http:
        for _ in range(MAX_CALLS + 5):
            await http.get("/")
    assert (faults.total, len(faults.calls), faults.calls[0]["call"]) == (MAX_CALLS + 5, MAX_CALLS, 6)


async def test_the_control_port_changes_what_it_is_told_to_and_shows_it() -> None:
    faults = make()
    gate = Gate(faults.middleware(healthy), "127.0.0.1", 0)
    async with client(control_app(faults, gate)) as http:
        assert (await http.post("/control", json={"latency_ms": 7, "schema": "drifted"})).json()["latency_ms"] == 7
        assert (await http.post("/control", json={"seed": 3})).json() == {
            "latency_ms": 7,
            "error_rate": 0.0,
            "error_status": 500,
            "outage": None,
            "schema": "drifted",
            "seed": 3,
        }
        assert faults.control.drifted
        assert (await http.get("/control")).json()["seed"] == 3
        assert (await http.delete("/control")).json()["schema"] is None
        assert (await http.get("/calls")).json() == {"total": 0, "calls": []}
    await gate.set_open(False)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"latency_ms": -1}', b'{"error_rate": 2}', b'{"outage": "fire"}', b'{"unknown": 1}']
)
async def test_the_control_port_refuses_what_it_does_not_know(body: bytes) -> None:
    faults = make()
    gate = Gate(healthy, "127.0.0.1", 0)
    async with client(control_app(faults, gate)) as http:
        assert (await http.post("/control", content=body)).status_code == 422
    assert faults.control == Control()


async def test_a_closed_gate_refuses_connections_and_opens_on_the_same_port() -> None:
    gate = Gate(healthy, "127.0.0.1", 0)
    address = await gate.set_open(True)
    async with httpx.AsyncClient() as http:
        assert (await http.get(address.url)).content == BODY
        await gate.set_open(False)
        with pytest.raises(httpx.ConnectError):
            await http.get(address.url)
        assert await gate.set_open(True) == address
        assert (await http.get(address.url)).content == BODY
    await gate.set_open(False)
