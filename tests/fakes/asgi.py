"""One request to an ASGI app without a server: the test scripts every message, so nothing depends on timing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass
class Reply:
    """What the app answered, and how many body messages it asked for."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    received: int = 0


async def request(
    app: ASGIApp,
    headers: Iterable[tuple[str, str]],
    messages: Iterable[Message],
    *,
    method: str = "POST",
    path: str = "/v1/echo",
    raw_path: bytes | None = None,
    query: bytes = b"",
    peer: str | None = "192.0.2.7",
    into: Reply | None = None,
) -> Reply:
    """Run one request to its end in a task of its own, as a server does. After the scripted messages nothing comes.

    What the app raises is raised; `into` then holds what it answered before.
    """
    reply = into or Reply()
    script = iter(messages)

    async def receive() -> Message:
        reply.received += 1
        message = next(script, None)
        if message is None:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")
        return message

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            reply.body += message.get("body", b"")

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode() if raw_path is None else raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": None if peer is None else (peer, 40000),
        "server": ("192.0.2.1", 8091),
        "state": {},
    }

    async def served() -> None:
        await app(scope, receive, send)

    await asyncio.create_task(served())
    return reply
