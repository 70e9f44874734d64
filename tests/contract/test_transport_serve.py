"""The server on real sockets: connections that cost too much are dropped, and stopping lets good requests finish."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from orchestra.transport import Address, ServeError, WireLimits, run, serve, serving

BIG = 64 << 20


def app_of(entered: asyncio.Event | None = None, leave: asyncio.Event | None = None) -> FastAPI:
    app = FastAPI()

    @app.post("/wait")
    async def wait() -> str:  # pyright: ignore[reportUnusedFunction]
        assert entered is not None
        assert leave is not None
        entered.set()
        await leave.wait()
        return "done"

    @app.post("/refuse")
    async def refuse() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response("no", 413)

    @app.get("/big")
    async def big() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(bytes(BIG))

    @app.get("/peer")
    async def peer(request: Request) -> str:  # pyright: ignore[reportUnusedFunction]
        assert request.client is not None
        return request.client.host

    return app


async def talk(address: Address, *chunks: bytes) -> bytes:
    """Send the chunks and read until the server hangs up."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    answer = b""
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        while piece := await reader.read(65536):
            answer += piece
    except ConnectionError:
        pass
    finally:
        writer.close()
    return answer


def on_both_loops(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run the test on asyncio's loop and on uvloop, which production uses."""

    def both() -> None:
        asyncio.run(test())
        run(test())

    both.__name__ = test.__name__
    both.__doc__ = test.__doc__
    return both


QUICK = WireLimits(
    head_bytes=1000, head_timeout_s=0.05, request_timeout_s=0.05, write_timeout_s=0.05, discard_bytes=1000
)


# connections that cost too much --------------------------------------------------------------------------------------


@on_both_loops
async def test_a_connection_that_says_nothing_is_dropped() -> None:
    async with serving(app_of(), limits=QUICK) as address:
        assert await talk(address) == b""


@on_both_loops
async def test_headers_that_never_end_are_dropped_by_time() -> None:
    async with serving(app_of(), limits=QUICK) as address:
        assert await talk(address, b"GET / HTTP/1.1\r\nX: y\r\n") == b""


@on_both_loops
async def test_headers_that_never_end_are_dropped_by_size() -> None:
    limits = WireLimits(head_bytes=100_000, head_timeout_s=3600)
    async with serving(app_of(), limits=limits) as address:
        lines = [b"X: " + b"y" * 1000 + b"\r\n"] * 1000
        assert await talk(address, b"GET / HTTP/1.1\r\n", *lines) == b""


@on_both_loops
async def test_blank_lines_before_a_request_are_dropped_by_size() -> None:
    limits = WireLimits(head_bytes=1000, head_timeout_s=3600)
    async with serving(app_of(), limits=limits) as address:
        assert await talk(address, *[b"\r\n" * 300] * 100) == b""


@on_both_loops
async def test_a_second_request_gets_the_same_limits() -> None:
    async with serving(app_of(), limits=WireLimits(head_timeout_s=0.5)) as address:
        whole = b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n"
        assert (await talk(address, whole + b"GET / HTTP/1.1\r\n")).count(b"200 OK") == 1


CHUNKED = b"POST /refuse HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1000\r\n" + b"x" * 4096 + b"\r\n"


@on_both_loops
async def test_a_refused_body_is_read_up_to_a_size() -> None:
    async with serving(app_of(), limits=WireLimits(discard_bytes=100_000)) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(CHUNKED)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")
        with pytest.raises(ConnectionError):
            await flood(writer)


async def flood(writer: asyncio.StreamWriter) -> None:
    for _ in range(10_000):
        writer.write(CHUNK)
        await writer.drain()


@on_both_loops
async def test_a_refused_body_is_read_up_to_a_time() -> None:
    async with serving(app_of(), limits=WireLimits(request_timeout_s=0.05)) as address:
        started = asyncio.get_running_loop().time()
        await talk(address, CHUNKED, CHUNK)
    assert asyncio.get_running_loop().time() - started < 15, "ended by the idle timeout instead"


@on_both_loops
async def test_a_peer_that_does_not_read_its_answer_is_dropped() -> None:
    async with serving(app_of(), limits=QUICK) as address:
        loop = asyncio.get_running_loop()
        with socket.create_connection((address.host, address.port)) as deaf:
            deaf.setblocking(False)
            await loop.sock_sendall(deaf, b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            poller = select.poll()
            poller.register(deaf, 0)  # errors and hang-ups only: nothing is read
            assert await asyncio.to_thread(poller.poll, 30_000) != []


@on_both_loops
async def test_one_address_holds_so_many_connections() -> None:
    async with serving(app_of(), limits=WireLimits(per_peer=2)) as address:
        request = b"GET /peer HTTP/1.1\r\nHost: x\r\n\r\n"
        kept = [await asyncio.open_connection(address.host, address.port) for _ in range(2)]
        for reader, writer in kept:
            writer.write(request)
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        assert await talk(address, request) == b""
        for _, writer in kept:
            writer.close()


@on_both_loops
async def test_what_is_not_http_is_told_so() -> None:
    async with serving(app_of()) as address:
        assert (await talk(address, b"\x16\x03\x01\x02\x00\r\n\r\n")).startswith(b"HTTP/1.1 400")


@on_both_loops
async def test_a_forwarded_header_does_not_change_who_the_peer_is() -> None:
    async with serving(app_of()) as address:
        head = b"GET /peer HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n"
        assert (await talk(address, head)).endswith(b'"127.0.0.1"')


# starting and stopping -----------------------------------------------------------------------------------------------

WAIT = b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def refuses(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return True
    writer.close()
    return False


@on_both_loops
async def test_stopping_lets_a_request_finish() -> None:
    entered, leave, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    bound: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(app_of(entered, leave), stop=stop, started=bound.set_result, handle_signals=False))
        address = await bound
        pending = group.create_task(talk(address, WAIT))
        await entered.wait()
        stop.set()
        while not await refuses(address):
            await asyncio.sleep(0)
        leave.set()
    assert pending.result().endswith(b'"done"')


@on_both_loops
async def test_the_deadline_ends_a_request_that_does_not() -> None:
    entered, leave, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    bound: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        serving_task = group.create_task(
            serve(app_of(entered, leave), stop=stop, started=bound.set_result, drain_s=1, handle_signals=False)
        )
        pending = group.create_task(talk(await bound, WAIT))
        await entered.wait()
        stop.set()
        await serving_task
    assert b"done" not in pending.result()


@on_both_loops
async def test_cancelled_it_drains_and_stays_cancelled() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    bound: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app_of(entered, leave), started=bound.set_result, handle_signals=False))
    pending = asyncio.create_task(talk(await bound, WAIT))
    await entered.wait()
    task.cancel()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await pending).endswith(b'"done"')


@on_both_loops
async def test_the_body_s_own_error_comes_through() -> None:
    with pytest.raises(LookupError):
        async with serving(app_of()):
            raise LookupError


@on_both_loops
async def test_a_taken_port_says_what_to_do() -> None:
    async with serving(app_of()) as address:
        with pytest.raises(ServeError, match="choose another"):
            async with serving(app_of(), port=address.port):
                pytest.fail("it listens")


@on_both_loops
async def test_an_app_that_cannot_start_says_so() -> None:
    @asynccontextmanager
    async def broken(_: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    app: ASGIApp = FastAPI(lifespan=broken)
    with pytest.raises(ServeError, match="failed to start"):
        async with serving(app):
            pytest.fail("it serves")


@on_both_loops
async def test_the_app_s_lifespan_ends_with_the_server() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        events.append("up")
        yield
        events.append("down")

    async with serving(FastAPI(lifespan=lifespan)):
        assert events == ["up"]
    assert events == ["up", "down"]


def test_it_serves_from_a_thread_without_touching_signals() -> None:
    served: list[str] = []

    async def main() -> None:
        stop = asyncio.Event()
        await serve(app_of(), stop=stop, started=lambda address: (served.append(address.url), stop.set())[0])

    thread = threading.Thread(target=lambda: run(main()))
    thread.start()
    thread.join(timeout=30)
    assert len(served) == 1


def test_run_is_uvloop() -> None:
    async def kind() -> type[asyncio.AbstractEventLoop]:
        return type(asyncio.get_running_loop())

    assert run(kind()) is uvloop.Loop
