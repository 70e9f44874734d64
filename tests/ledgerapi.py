"""A Ledger API to test: over a real database, asked in process, with a key of every tier and a scripted receiver."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from ledger.changes import Change
from ledger.entry import SubnetEntry
from ledger.service import LedgerService, serving_ledger
from ledger.serving.edition import NOTHING_ATTACHED, Attachments
from ledger.serving.tiers import TIERS
from ledger.store import LedgerStore
from ledger.webhooks import Answer, SendFailed
from tests.builders import entry, operation
from tests.fakes.asgi import Reply, request

CHECKPOINT = b"orchestra.example/sn42\n4\nAAAA\n\n\xe2\x80\x94 x AAAA\n"


@dataclass
class Receiver:
    """A `Sender` that keeps what was sent and answers as scripted, 204 when nothing is."""

    script: list[Answer | SendFailed] = field(default_factory=list[Any])
    heard: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list[Any])

    def refuses(self, url: str) -> str:
        return "not public" if "127.0.0.1" in url else ""

    async def send(self, url: str, headers: dict[str, str], body: bytes, *, timeout_s: float) -> Answer:
        self.heard.append((url, headers, body))
        said = self.script.pop(0) if self.script else Answer(204)
        if isinstance(said, SendFailed):
            raise said
        return said


def entries() -> list[SubnetEntry]:
    """Four changes of three entries; the first one changes again at the end."""
    search = entry("desearch", netuid=22, description="Searches the web")
    chat = entry("chutes", netuid=64, operations=(operation("chat", capability="chat_completion"),))
    return [
        search,
        chat,
        entry("silent", netuid=7, operations=(), description="says nothing"),
        search.model_copy(update={"description": "Searches the web, and more"}),
    ]


@dataclass
class Api:
    service: LedgerService
    store: LedgerStore
    receiver: Receiver
    keys: dict[str, str]

    async def ask(
        self,
        path: str,
        key: str | None = "production",
        *,
        method: str = "GET",
        body: Any = None,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        peer: str = "192.0.2.7",
        **query: Any,
    ) -> Reply:
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("authorization", f"Bearer {self.keys.get(key, key)}")
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        if content:
            sent.setdefault("content-type", "application/json")
        message = {"type": "http.request", "body": content, "more_body": False}
        asked = urlencode(query, doseq=True).encode()
        return await request(
            self.service.app, sent.items(), [message], method=method, path=path, query=asked, peer=peer
        )

    async def json(self, path: str, key: str | None = "production", **query: Any) -> Any:
        reply = await self.ask(path, key, **query)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    async def commit(self, *changed: Change, block: int = 9) -> None:
        """Commit changes as a validator would, and let the API see them."""
        size = len(await self.store.changes(0))
        await self.store.append(changed, onto=size, block=block)
        await self.service.refresh()

    async def used(self, tier: str = "production") -> int:
        """Lookups counted for a key, of all months."""
        for account in await self.service.services.accounts.all():
            if account.owner == tier:
                return sum((await self.service.services.accounts.usage(account.id)).values())
        raise AssertionError(tier)


@asynccontextmanager
async def running_api(
    url: str,
    changes: list[SubnetEntry] | None = None,
    attached: Attachments = NOTHING_ATTACHED,
    *,
    behind_proxy: bool = False,
) -> AsyncIterator[Api]:
    """An API over a fresh database; its owners are named like their tiers."""
    async with await LedgerStore.open(url) as store:
        await store.append(entries() if changes is None else changes, onto=0, block=5)
        receiver = Receiver()

        async def attach() -> Attachments:
            return attached

        async with serving_ledger(url, receiver, attachments=attach, behind_proxy=behind_proxy) as service:
            keys = {tier: (await service.services.accounts.issue(tier, tier))[0] for tier in TIERS}
            yield Api(service, store, receiver, keys)
