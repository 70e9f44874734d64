"""Webhooks leave through the HTTP door: what it does not let through is a failed attempt, whatever the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ledger.webhooks import Answer, SendFailed
from orchestra.transport import OutboundClient, serving
from orchestra.webhook_sender import MAX_ANSWER_BYTES, WebhookSender


async def echo(request: Request) -> Response:
    """Answers as the path says, after checking that everything arrived."""
    assert (await request.body(), request.headers["webhook-id"]) == (b"{}", "msg_1")
    match request.path_params["what"]:
        case "busy":
            return Response(status_code=503, headers={"retry-after": "7"})
        case "moved":
            return RedirectResponse("/ok", 307)
        case "long":
            return Response(b"x" * (MAX_ANSWER_BYTES + 1))
        case _:
            return Response(status_code=204)


@pytest.fixture
async def receiver() -> AsyncIterator[str]:
    async with serving(Starlette(routes=[Route("/{what}", echo, methods=["POST"])])) as address:
        yield address.url


async def send(url: str, *, allow_loopback: bool = True) -> Answer:
    async with OutboundClient(allow_loopback=allow_loopback) as client:
        headers = {"webhook-id": "msg_1", "content-type": "application/json"}
        return await WebhookSender(client).send(url, headers, b"{}", timeout_s=10)


async def test_an_answer_is_told_with_the_pause_it_asks_for(receiver: str) -> None:
    assert await send(f"{receiver}/ok") == Answer(204)
    assert await send(f"{receiver}/busy") == Answer(503, retry_after_s=7.0)


@pytest.mark.parametrize(("what", "said"), [("moved", "not sent twice"), ("long", "over 65536 bytes")])
async def test_what_the_door_does_not_let_through_is_a_failure(receiver: str, what: str, said: str) -> None:
    with pytest.raises(SendFailed, match=said):
        await send(f"{receiver}/{what}")


async def test_nobody_there_and_nowhere_to_go_are_failures(receiver: str) -> None:
    with pytest.raises(SendFailed):
        await send("http://127.0.0.1:1/")
    with pytest.raises(SendFailed, match="not a public address"):
        await send(f"{receiver}/ok", allow_loopback=False)


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://10.0.0.1/", "http://a.example/", "https://u:p@a.example/"]
)
async def test_what_would_not_be_called_is_refused_before(url: str) -> None:
    async with OutboundClient() as client:
        assert WebhookSender(client).refuses(url)
        assert not WebhookSender(client).refuses("https://hooks.example/x")
