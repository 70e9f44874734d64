"""A paying outsider of the local network: a Ledger API beside a validator, and a webhook told of changes."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.webhook_signature import is_genuine
from orchestra.devnet.processes import ProcessFailed
from orchestra.transport import OutboundClient, OutboundResponse, serving

MAX_BODY = 1 << 20


@dataclass(slots=True)
class Subscriber:
    """What was delivered so far, newest last; only what its signature shows to be genuine. `fetch` asks the API."""

    http: OutboundClient
    api: str
    key: str
    heard: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    secret: str = ""

    async def fetch(self, path: str) -> bytes:
        """What the API answers.

        Raises:
            ProcessFailed: something else than 200.
        """
        answer = await self._request("GET", path)
        if answer.status != 200:
            raise ProcessFailed(f"the Ledger API gave no {path}: {answer.status} {answer.body[:200]!r}")
        return answer.body

    async def watch(self, hook: str) -> None:
        """Have every change told to `hook`.

        Raises:
            ProcessFailed: the API takes no webhook.
        """
        answer = await self._request("POST", "/v1/webhooks", json={"url": hook})
        if answer.status != 201:
            raise ProcessFailed(f"the Ledger API took no webhook: {answer.status} {answer.body[:200]!r}")
        self.secret = json.loads(answer.body)["secret"]

    async def _request(self, method: str, path: str, **body: Any) -> OutboundResponse:
        authorization = {"Authorization": f"Bearer {self.key}"}
        return await self.http.request(method, self.api + path, headers=authorization, timeout_s=10.0, **body)

    async def receive(self, request: Request) -> Response:
        """The webhook's address."""
        body = await request.body()
        if len(body) > MAX_BODY or not is_genuine(self.secret, dict(request.headers), body, now_s=int(time.time())):
            return Response(status_code=400)
        self.heard.append(json.loads(body))
        return Response(status_code=204)

    def told_of(self, entry: str) -> dict[str, Any] | None:
        """The first delivery about an entry."""
        return next((each for each in self.heard if entry in json.dumps(each)), None)


@asynccontextmanager
async def subscribed(node: Path, database: Path, http: OutboundClient) -> AsyncGenerator[Subscriber]:
    """Serve the Ledger of the neuron that runs on the folder `node`, with keys and counts in the file `database`; buy a
    Production key, and be told of every change from here on.

    Raises:
        ProcessFailed: the API did not start, or refused the key or the webhook.
    """
    url = f"sqlite:///{database}"
    key = await _output("ledger", "keys", "new", "a subscriber", "--tier", "production", "--database", url)
    async with _api("--database", url, "--data", str(node)) as api:
        subscriber = Subscriber(http, api, key.strip())
        app = Starlette(routes=[Route("/hook", subscriber.receive, methods=["POST"])])
        async with serving(app) as address:
            await subscriber.watch(f"{address.url}/hook")
            yield subscriber


@asynccontextmanager
async def _api(*arguments: str) -> AsyncGenerator[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestra.cli", "ledger", "serve", *arguments, "--port", "0"),
        "--local-webhooks",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"https?://\S+", line)
        if found is None:
            raise ProcessFailed(f"the Ledger API did not start: {line.strip()!r}")
        yield found[0]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _output(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestra.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise ProcessFailed(f"orchestra {' '.join(arguments[:3])}: {err.decode().strip()}")
    return out.decode()
