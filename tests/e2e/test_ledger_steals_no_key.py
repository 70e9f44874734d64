"""A committed change of the Ledger that moves SN22 to a proxy that answers correctly: the key never gets there.

The proxy runs, in front of the real local service, and would pass every check of content: whoever calls it with the key
gets what SN22 says. That it was committed, signed and followed makes no difference: keys are bound here, not there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ledger.database import sqlite_url
from ledger.entry import Auth, Operation, SubnetEntry
from orchestra.chain.keys import dev_signer, verify_signature
from orchestra.devnet.entries import devnet_entries
from orchestra.devnet.subnets.keys import DEFAULT_KEYS
from orchestra.execution.run import Answer, CallFailed
from orchestra.ledger_node import LedgerNode
from orchestra.protocol import LedgerChanges
from orchestra.subnets import Secret, Subnets
from orchestra.transport import OutboundClient, serving
from tests.e2e.test_local_subnets import running

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

KEY_NAME, KEY = "ORCHESTRA_KEY_SN22", DEFAULT_KEYS["desearch"]
COMMITTER = dev_signer("//Committer")
TAG = "0x" + "7a" * 32
QUESTION = {"query": "RunPod cloud GPU pricing"}


@dataclass
class Proxy:
    """Hands every request on to `behind` and keeps all that it got."""

    behind: str
    http: OutboundClient
    redirects_to: str = ""
    got: list[bytes] = field(default_factory=list[bytes])

    async def handle(self, request: Request) -> Response:
        body = await request.body()
        lines = [b"%s: %s" % pair for pair in request.headers.raw]
        self.got.append(b"\n".join([str(request.url).encode(), *lines, body]))
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if self.redirects_to:
            return RedirectResponse(self.redirects_to + target, 307)
        mine = {"host", "connection", "accept-encoding", "content-length", "transfer-encoding"}
        headers = {name: value for name, value in request.headers.items() if name not in mine}
        answer = await self.http.request(request.method, self.behind + target, headers=headers, content=body or None)
        kept = {name: value for name, value in answer.headers.items() if name.startswith("x-desearch")}
        return Response(answer.body, answer.status, kept, "application/json")

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.handle, methods=["GET", "POST"])])


@dataclass
class World:
    """SN22, a proxy before it, and a node with SN22's key that follows whatever is committed."""

    origin: str
    proxy: Proxy
    proxy_origin: str
    leader: LedgerNode
    follower: LedgerNode
    http: OutboundClient

    def entry(self, origin: str = "") -> SubnetEntry:
        return devnet_entries({"desearch": origin or self.origin}, "")[0]

    def node(self, *origins: str) -> Subnets:
        """A node whose operator bound the key to this origin; SN22's by default."""
        (bound,) = origins or (self.origin,)
        return Subnets(
            self.http,
            secrets={KEY_NAME: Secret(KEY, bound)},
            verify=verify_signature,
            signer=dev_signer("//Alice"),
            allow_loopback=True,
            tao_usd=Decimal(400),
        )

    async def changes_since(self, size: int) -> LedgerChanges:
        return LedgerChanges.from_wire(self.leader.changes_since(size, COMMITTER).to_wire(), max_bytes=1 << 24)

    async def commit(self, *entries: SubnetEntry) -> None:
        """Commit a change as the network would, and have the node follow it."""
        await self.leader.commit(entries, block=1)
        await self.follower.follow(self, committer=COMMITTER.ss58_address, verify=verify_signature, block=1)
        assert self.follower.view.version == self.leader.view.version

    async def call(self, node: Subnets, name: str = "web_search", entry: str = "desearch") -> Answer:
        ref = self.follower.view.operation(entry, name)
        assert ref is not None
        return await node.call(ref, node.wire_query(ref.operation, QUESTION), tag=TAG, timeout_s=10)

    async def refusal(self, node: Subnets, **which: str) -> CallFailed:
        with pytest.raises(CallFailed) as failed:
            await self.call(node, **which)
        return failed.value


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desearch() -> AsyncIterator[str]:
    async with running("desearch") as (_, ready):
        yield ready["url"]


@pytest_asyncio.fixture(loop_scope="module")
async def world(desearch: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(OutboundClient(allow_loopback=True))
        proxy = Proxy(desearch, http)
        address = await stack.enter_async_context(serving(proxy.app()))
        nodes: list[LedgerNode] = []
        for name in ("leader", "follower"):
            nodes.append(await LedgerNode.open(sqlite_url(tmp_path / name)))
            stack.push_async_callback(nodes[-1].close)
        found = World(desearch, proxy, address.url, nodes[0], nodes[1], http)
        await found.commit(found.entry())
        yield found


def with_auth(entry: SubnetEntry, auth: Auth) -> SubnetEntry:
    changed = tuple(each.model_copy(update={"auth": auth}) for each in entry.operations)
    return entry.model_copy(update={"operations": changed})


async def test_the_proxy_would_answer_correctly_to_whoever_gave_it_the_key(world: World) -> None:
    """Otherwise nothing below would mean anything."""
    honest = await world.call(world.node())
    await world.commit(world.entry(world.proxy_origin))
    fooled = await world.call(world.node(world.proxy_origin))
    assert fooled.output == honest.output
    assert KEY.encode() in world.proxy.got[0]


async def test_a_change_that_moves_the_endpoint_disables_the_operation_and_sends_nothing(world: World) -> None:
    node = world.node()
    await world.call(node)
    await world.commit(world.entry(world.proxy_origin))
    for operation in world.entry().operations:
        ref = world.follower.view.operation("desearch", operation.name)
        assert ref is not None
        assert not node.usable(ref), "routing never chooses it"
    failed = await world.refusal(node)
    assert failed.error.kind == "auth"
    assert failed.error.detail == f"{KEY_NAME} is bound to {world.origin}, not to {world.proxy_origin}"
    assert failed.cost == 0
    assert world.proxy.got == []
    await world.commit(world.entry())
    assert (await world.call(node)).output, "moved back, it is called again"


AUTHS = {
    "as a parameter": Auth(kind="query", name="key", secret=KEY_NAME),
    "in another header": Auth(kind="header", name="X-Other", secret=KEY_NAME, format="{key}"),
    "optional": Auth(kind="header", name="Authorization", secret=KEY_NAME, optional=True),
}


@pytest.mark.parametrize("auth", AUTHS.values(), ids=AUTHS)
async def test_no_way_of_asking_for_the_key_gets_it(auth: Auth, world: World) -> None:
    await world.commit(with_auth(world.entry(world.proxy_origin), auth))
    assert "is bound to" in (await world.refusal(world.node())).error.detail
    assert world.proxy.got == []


async def test_another_entry_that_names_the_key_does_not_get_it(world: World) -> None:
    other = world.entry(world.proxy_origin).model_copy(update={"id": "newcomer", "netuid": 99})
    await world.commit(other)
    assert "is bound to" in (await world.refusal(world.node(), entry="newcomer")).error.detail
    assert world.proxy.got == []


async def test_a_change_that_needs_no_key_any_more_takes_none_along(world: World) -> None:
    """On the local network this machine may be called without a key; then the proxy sees a question and no key."""
    await world.commit(with_auth(world.entry(world.proxy_origin), Auth(kind="none")))
    failed = await world.refusal(world.node())
    assert failed.error.status == 401, "SN22 behind it wants the key"
    assert len(world.proxy.got) == 1
    assert KEY.encode() not in world.proxy.got[0]


TRICKS = (
    "http://{old}@{new}",
    "http://{new}#{old}",
    "http://{new}/?{old}",
    "http://{new}\\@{old}",
    "http://{old}.{new}",
)


@pytest.mark.parametrize("trick", TRICKS)
async def test_a_url_that_two_readers_read_differently_is_not_called(trick: str, world: World) -> None:
    old, new = (each.removeprefix("http://") for each in (world.origin, world.proxy_origin))
    entry = world.entry()
    operation: Operation = entry.operations[0]
    endpoint = operation.endpoint.model_copy(update={"base_url": trick.format(old=old, new=new)})
    moved = operation.model_copy(update={"endpoint": endpoint})
    hostile = entry.model_copy(update={"operations": (moved,)})
    node = world.node()
    try:
        await world.commit(SubnetEntry.model_validate(hostile.model_dump()))
    except ValueError:
        return  # no entry can say this
    failed = await world.refusal(node, name=moved.name)
    assert (failed.error.kind, world.proxy.got) == ("auth", [])


async def test_the_old_origin_cannot_hand_the_key_on_by_a_redirect(world: World) -> None:
    """Whoever holds the origin has the key anyway; but an open redirect on it takes the key nowhere."""
    async with AsyncExitStack() as stack:
        turncoat = Proxy(world.origin, world.http, redirects_to=world.proxy_origin)
        address: Any = await stack.enter_async_context(serving(turncoat.app()))
        await world.commit(world.entry(address.url))
        failed = await world.refusal(world.node(address.url))
        assert failed.error.kind == "refused"
        assert len(turncoat.got) == 1
        assert world.proxy.got == []
