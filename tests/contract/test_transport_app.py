"""The short way to a signed handler and FastAPI's general one answer alike, and no guard of a route is skipped."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from bittensor.keyfiles import Keypair
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute

from orchestra.transport import (
    AnyCaller,
    Problem,
    Refused,
    SignedCall,
    SignedRequests,
    install_problems,
    sign_request,
)
from tests.fakes.asgi import Reply, request
from tests.fakes.nonces import MemoryNonces

ALICE = Keypair.create_from_uri("//Alice")
BOB = Keypair.create_from_uri("//Bob").ss58_address
NOW = 1_800_000_000_000_000_000
NONCES = itertools.count(NOW)
TEAPOT = Problem("teapot", 418, "No.")


def signed_requests() -> SignedRequests:
    return SignedRequests(self_hotkey=BOB, nonces=MemoryNonces(), policy=AnyCaller(), clock_ns=lambda: NOW)


async def post(app: FastAPI, path: str) -> Reply:
    body = b'"hello"'
    headers, _ = sign_request(ALICE, method="POST", path=path, body=body, receiver=BOB, nonce_ns=next(NONCES))
    return await request(app, headers.items(), [{"type": "http.request", "body": body}], path=path)


def new_app() -> FastAPI:
    app = FastAPI()
    install_problems(app)
    return app


def takes_the_short_way(app: FastAPI, path: str) -> bool:
    route = next(route for route in app.routes if isinstance(route, APIRoute) and route.path == path)
    return "_either" in getattr(route.app, "__qualname__", "")


async def test_both_ways_answer_alike() -> None:
    app, signed = new_app(), signed_requests()

    @app.post("/short")
    async def short(call: SignedCall = signed.call) -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(call.body, 201, {"x": "y"}, "text/x")

    @app.post("/short-with-request")
    async def with_request(request: Request, call: SignedCall = signed.call) -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(call.body, 201, {"x": request.headers.get("none", "y")}, "text/x")

    @app.post("/general")
    async def general(q: int = 1, call: SignedCall = signed.call) -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(call.body, 201, {"x": "y"}, "text/x")

    assert [takes_the_short_way(app, path) for path in ("/short", "/short-with-request", "/general")] == [
        True,
        True,
        False,
    ]
    replies = [await post(app, path) for path in ("/short", "/short-with-request", "/general")]
    assert replies[0].status == 201
    assert [(reply.status, reply.headers, reply.body) for reply in replies] == [
        (replies[0].status, replies[0].headers, b'"hello"')
    ] * 3


@pytest.mark.parametrize("kind", ["returns data", "says nothing", "is synchronous"])
async def test_what_needs_fastapi_gets_it(kind: str) -> None:
    app, signed = new_app(), signed_requests()

    async def data(call: SignedCall = signed.call) -> dict[str, str]:
        return {"hotkey": call.hotkey}

    async def unannotated(call: SignedCall = signed.call):  # type: ignore[no-untyped-def]
        return {"hotkey": call.hotkey}

    def synchronous(call: SignedCall = signed.call) -> Response:
        return Response('{"hotkey":"' + call.hotkey + '"}')

    handlers: dict[str, Callable[..., object]] = {
        "returns data": data,
        "says nothing": unannotated,
        "is synchronous": synchronous,
    }
    app.post("/x")(handlers[kind])
    assert not takes_the_short_way(app, "/x")
    reply = await post(app, "/x")
    assert (reply.status, reply.body) == (200, b'{"hotkey":"' + ALICE.ss58_address.encode() + b'"}')


async def closed() -> None:
    raise Refused(TEAPOT)


@pytest.mark.parametrize("where", ["route", "router", "include", "app"])
async def test_a_guard_is_never_skipped(where: str) -> None:
    def guard(place: str) -> list[object]:
        return [Depends(closed)] if where == place else []

    app = FastAPI(dependencies=guard("app"))  # type: ignore[arg-type]
    install_problems(app)
    signed = signed_requests()
    router = APIRouter(dependencies=guard("router"), route_class=app.router.route_class)  # type: ignore[arg-type]

    @router.post("/x", dependencies=guard("route"))  # type: ignore[arg-type]
    async def handler(call: SignedCall = signed.call) -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(call.body)

    app.include_router(router, dependencies=guard("include"))  # type: ignore[arg-type]
    assert (await post(app, "/x")).status == 418


async def test_an_overridden_dependency_is_overridden() -> None:
    app, signed = new_app(), signed_requests()

    @app.post("/x")
    async def handler(call: SignedCall = signed.call) -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(call.body)

    app.dependency_overrides[signed] = closed
    assert (await post(app, "/x")).status == 418
