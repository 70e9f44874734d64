"""What can go wrong with a service, on demand: latency, errors, outages, a changed schema. And a log of its calls.

The faults sit in front of the service as ASGI middleware and behind a listener that can be closed, so a client sees
what it would see from a broken subnet: a refused connection, silence, bytes that are no JSON. Which calls fail is a
function of the seed and the call's number, so a test can repeat it. A control app on a port of its own reads and sets
the state.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.canonical import StrictJSONError, as_object, parse_strict, sha256
from orchestra.transport import Address, ServeError, serving
from orchestra.transport.receive import read_bounded

GARBAGE = b'\x1f\x00{"data": [[[<html>upstream connect error'
MAX_CALLS = 1_000
MAX_BODY = 1 << 20
HANG_LIMIT_S = 300.0
_BIND_ATTEMPTS = 100
_BIND_PAUSE_S = 0.05


class Control(BaseModel):
    """The state of a service. Times in ms, `error_rate` a share of calls, `seed` decides which of them."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    latency_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    error_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    error_status: Annotated[int, Field(ge=400, le=599)] = 500
    outage: Literal["refuse", "hang", "garbage"] | None = None
    schema_: Annotated[Literal["drifted"] | None, Field(alias="schema")] = None
    seed: int = 0

    @property
    def drifted(self) -> bool:
        """Does the service answer in its next schema?"""
        return self.schema_ == "drifted"


ErrorBody = Callable[[int], Response]
Identify = Callable[[Scope], str]


class Faults:
    """The state of one service, as middleware around its app. `error` makes an error answer in the service's own shape;
    `caller` names who calls, without secrets, for the log.
    """

    def __init__(
        self,
        error: ErrorBody,
        caller: Identify,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.control = Control()
        self.calls: deque[dict[str, Any]] = deque(maxlen=MAX_CALLS)
        self.total = 0
        self._error = error
        self._caller = caller
        self._sleep = sleep
        self._clock = clock
        self._changed = asyncio.Event()

    def set(self, control: Control) -> None:
        """Replace the state and wake the calls that hang."""
        self.control = control
        self._changed.set()
        self._changed = asyncio.Event()

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """The app with the faults in front of it."""

        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            call = _Call(scope, receive, send)
            self.total += 1
            number = self.total
            try:
                await self._serve(app, call, number)
            finally:
                self.calls.append(self._logged(call, number))

        return faulty

    async def _serve(self, app: ASGIApp, call: _Call, number: int) -> None:
        if self.control.outage == "hang" and not await self._woken():
            return
        if self.control.latency_ms:
            await self._sleep(self.control.latency_ms / 1000)
        if self.control.outage == "garbage":
            await Response(GARBAGE, media_type="application/json")(call.scope, call.receive, call.send)
        elif self._fails(number):
            await self._error(self.control.error_status)(call.scope, call.receive, call.send)
        else:
            await app(call.scope, call.receive, call.send)

    async def _woken(self) -> bool:
        """Hang until the state allows answers; False when the caller must have given up long ago."""
        try:
            async with asyncio.timeout(HANG_LIMIT_S):
                while self.control.outage == "hang":
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _fails(self, number: int) -> bool:
        return random.Random(f"{self.control.seed}:{number}").random() < self.control.error_rate

    def _logged(self, call: _Call, number: int) -> dict[str, Any]:
        return {
            "call": number,
            "at_ms": int(self._clock() * 1000),
            "method": call.scope["method"],
            "path": call.scope["path"],
            "query": call.scope["query_string"].decode("latin-1"),
            "caller": self._caller(call.scope),
            "tag": call.header(b"x-orchestra-tag"),
            "status": call.status,
            "request_hash": sha256(bytes(call.request)),
            "response_hash": sha256(bytes(call.response)) if call.status else None,
        }


class _Call:
    """One request with what passed in both directions."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.status: int | None = None
        self.request = bytearray()
        self.response = bytearray()
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        self.request += message.get("body", b"")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.response += message.get("body", b"")
        await self._send(message)

    def header(self, name: bytes) -> str | None:
        return next((value.decode("latin-1")[:128] for key, value in self.scope["headers"] if key == name), None)


class Gate:
    """A listener that can be closed and opened again on the same port: closed, connections are refused.

    Raises:
        ServeError: it cannot listen.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, *, drain_s: float = 1.0) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._drain_s = drain_s
        self._open: AsyncExitStack | None = None
        self._lock = asyncio.Lock()

    async def set_open(self, wanted: bool) -> Address:
        """Open or close; returns when it is done."""
        async with self._lock:
            if wanted and self._open is None:
                self._open = await self._listen()
            elif not wanted and self._open is not None:
                stack, self._open = self._open, None
                await stack.aclose()
            return Address(self._host, self._port)

    async def _listen(self) -> AsyncExitStack:
        for attempt in range(_BIND_ATTEMPTS):
            stack = AsyncExitStack()
            try:
                address = await stack.enter_async_context(
                    serving(self._app, self._host, self._port, drain_s=self._drain_s)
                )
            except ServeError:
                if self._port == 0 or attempt + 1 == _BIND_ATTEMPTS:
                    raise
                await asyncio.sleep(_BIND_PAUSE_S)
                continue
            self._port = address.port
            return stack
        raise AssertionError("unreachable")


def control_app(faults: Faults, gate: Gate) -> Starlette:
    """`GET /control`, `POST /control` (the fields to change), `DELETE /control` (healthy again), `GET /calls`."""

    async def show(_: Request) -> Response:
        return JSONResponse(faults.control.model_dump(by_alias=True))

    async def change(request: Request) -> Response:
        try:
            fields = as_object(parse_strict(await read_bounded(request.receive, MAX_BODY)))
            control = Control.model_validate({**faults.control.model_dump(by_alias=True), **fields})
        except (StrictJSONError, ValidationError) as error:
            return JSONResponse({"detail": str(error)[:2000]}, 422)
        return await _apply(control)

    async def reset(_: Request) -> Response:
        return await _apply(Control())

    async def _apply(control: Control) -> Response:
        faults.set(control)
        await gate.set_open(control.outage != "refuse")
        return JSONResponse(control.model_dump(by_alias=True))

    async def calls(_: Request) -> Response:
        return JSONResponse({"total": faults.total, "calls": list(faults.calls)})

    return Starlette(
        routes=[
            Route("/control", show, methods=["GET"]),
            Route("/control", change, methods=["POST"]),
            Route("/control", reset, methods=["DELETE"]),
            Route("/calls", calls, methods=["GET"]),
        ]
    )
