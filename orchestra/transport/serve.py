"""Runs an ASGI app on a socket, and stops it well: what miner, validator, gateway and the local subnets listen with.

uvicorn serves, on uvloop and httptools, under our connection limits. Stopping means: no new connections, the requests
being served get until the deadline to finish, the rest is cancelled and awaited. The process's exit code stays the
program's own business, so uvicorn's habit of re-raising the signal is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import uvicorn
import uvloop
from starlette.types import ASGIApp

from orchestra.transport.wire import BoundedHttp, WireLimits

T = TypeVar("T")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 2048


class ServeError(Exception):
    """The server could not start: the address is taken or not ours, or the app failed to start."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, with the real port when 0 was asked for."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on uvloop: the entry point of every process that serves or calls much."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def serve(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    started: Callable[[Address], None] | None = None,
    stop: asyncio.Event | None = None,
    drain_s: float = 10.0,
    max_connections: int = 1024,
    limits: WireLimits | None = None,
    handle_signals: bool = True,
) -> None:
    """Serve until `stop` is set, SIGTERM or SIGINT arrives, or the task is cancelled; then drain for at most `drain_s`.

    `started` hears the bound address once connections are accepted. Cancellation drains too, then propagates. Signals
    are left alone with `handle_signals=False`, for programs that set `stop` themselves.

    Raises:
        ServeError: it could not start.
    """
    stop = stop or asyncio.Event()
    signals = _stopping_signals(stop) if handle_signals else contextlib.nullcontext()
    with signals:
        async with serving(app, host, port, drain_s=drain_s, max_connections=max_connections, limits=limits) as address:
            if started is not None:
                started(address)
            await stop.wait()


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    drain_s: float = 10.0,
    max_connections: int = 1024,
    limits: WireLimits | None = None,
) -> AsyncGenerator[Address]:
    """The same as a context: serves while the body runs and drains when it ends, however it ends.

    Raises:
        ServeError: it could not start.
    """
    listener = _listen(host, port)
    address = Address(host, listener.getsockname()[1])
    server = _Server(_config(app, drain_s, max_connections, limits or WireLimits()))
    task = asyncio.create_task(server.run_on(listener), name=f"serve {address.url}")
    try:
        await server.until_ready(task)
        yield address
    finally:
        await server.finish(task)
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise ServeError(f"cannot listen on {host}:{port} ({_why(error)}): choose another address or port") from error


def _why(error: OSError | OverflowError) -> str:
    """The system's words without Python's, which repeat the address."""
    return str(error).partition(" (while")[0].partition("] ")[2] or str(error)


def _config(app: ASGIApp, drain_s: float, max_connections: int, limits: WireLimits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(BoundedHttp, limits=limits)),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # the peer's address is the socket's, whatever a header claims
        server_header=False,
        limit_concurrency=max_connections,
        backlog=_BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(drain_s)),
    )


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    async def run_on(self, listener: socket.socket) -> None:
        try:
            await self.serve(sockets=[listener])
        except SystemExit:
            raise ServeError("the app failed to start: its lifespan's error is in the log") from None

    async def until_ready(self, task: asyncio.Task[None]) -> None:
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if task.done():
            await task

    async def finish(self, task: asyncio.Task[None]) -> None:
        """Drain, then drop what is left. A second cancellation ends the draining at once."""
        self.should_exit = True
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            leftovers = [task, *self.server_state.tasks]
            for leftover in leftovers:
                leftover.cancel()
            await asyncio.wait(leftovers)
        if not task.cancelled() and not isinstance(error := task.exception(), ServeError) and error is not None:
            raise error


@contextlib.contextmanager
def _stopping_signals(stop: asyncio.Event) -> Generator[None, None, None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
