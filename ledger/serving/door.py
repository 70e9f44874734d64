"""What every request of the Ledger API passes: whose key, may it, how much is left, is it counted. Plain ASGI.

Order matters. The pace is checked before anything costs anything, a guessed key is charged to its address. A lookup is
counted when its answer is ready and before a byte of it leaves; an answer that says "you have it already" (304) or "no"
counts nothing. So whoever has an answer has been counted, once. Bodies are bounded here, before anybody parses them.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.accounts import Account, Accounts
from ledger.addresses import peer_key
from ledger.metering import Meter, MeteringFailed
from ledger.serving.allowance import Allowance, Pace, Window, month_window
from ledger.serving.problems import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    KEY_UNKNOWN,
    NO_DATABASE,
    QUOTA_EXCEEDED,
    RATE_LIMITED,
    Refused,
)
from ledger.serving.tiers import TIERS, Tier

MAX_BODY_BYTES = 16 << 10
BODY_TIMEOUT_S = 10.0
_REQUEST_NAME = re.compile(r"[!-~]{1,64}")
_CACHING = ((b"cache-control", b"private, no-cache"), (b"vary", b"authorization"))


@dataclass(slots=True)
class Visit:
    """One request on its way through. A route sets `etag` when its answer depends on the version and the tier alone,
    and `counted` when it is a lookup."""

    account: Account | None
    tier: Tier
    pace: Window
    etag: str = ""
    counted: bool = False
    windows: list[Window] = field(default_factory=list[Window])

    @property
    def allowance(self) -> Allowance:
        return Allowance((self.pace, *self.windows))


@dataclass(frozen=True)
class Door:
    """Middleware around the app. `wall` is UTC milliseconds.

    `ready` gives the body of what is asked for most, without a query; the framework, which takes longer to route a
    request than this takes to answer it, is asked for everything else.
    """

    app: ASGIApp
    ready: Callable[[str, Visit], bytes | None]
    accounts: Accounts
    meter: Meter
    pace: Pace
    wall: Callable[[], int]
    behind_proxy: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            visit = await self._admit(scope, headers)
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = await _bounded(receive)
        except Refused as refused:
            await refused.response()(scope, receive, send)
            return
        answer = _Answer(self, visit, headers, scope, send)
        body = None
        if scope["method"] == "GET" and not scope["query_string"]:
            body = self.ready(scope["path"], visit)
        if body is None:
            scope.setdefault("state", {})["visit"] = visit
            await self.app(scope, receive, answer.send)
        else:
            fields = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
            await answer.send({"type": "http.response.start", "status": 200, "headers": fields})
            await answer.send({"type": "http.response.body", "body": body})

    async def _admit(self, scope: Scope, headers: Headers) -> Visit:
        address = peer_key(self._address(scope, headers))
        account = await self._account(headers.get("authorization"), address)
        tier = account.tier if account else TIERS["free"]
        window = self.pace.take(account.id if account else address, tier.per_minute)
        return Visit(account, tier, _must_fit(window))

    def _address(self, scope: Scope, headers: Headers) -> str | None:
        named = headers.get("x-forwarded-for", "").rpartition(",")[2].strip() if self.behind_proxy else ""
        return named[:64] or (scope["client"][0] if scope.get("client") else None)

    async def _account(self, authorization: str | None, address: str) -> Account | None:
        if authorization is None:
            return None
        scheme, _, key = authorization.partition(" ")
        try:
            account = await self.accounts.find(key.strip()) if scheme.lower() == "bearer" else None
        except (SQLAlchemyError, OSError):
            raise Refused(NO_DATABASE, headers={"retry-after": "1"}) from None
        if account is None:
            _must_fit(self.pace.take(address, TIERS["free"].per_minute))
            raise Refused(KEY_UNKNOWN)
        return account

    async def count(self, visit: Visit, request: str | None) -> None:
        """Count a lookup, or refuse it."""
        if visit.account is None:
            return
        try:
            counted = await self.meter.count(visit.account, request)
        except MeteringFailed:
            raise Refused(NO_DATABASE, headers={"retry-after": "1"}) from None
        month = month_window(visit.tier, counted.used, self.wall(), refused=not counted.admitted)
        if month is not None:
            visit.windows.append(month)
        if not counted.admitted:
            raise Refused(QUOTA_EXCEEDED)


@dataclass(slots=True)
class _Answer:
    """The way out of one request: counts before the first byte, writes the headers, may replace the answer."""

    door: Door
    visit: Visit
    headers: Headers
    scope: Scope
    out: Send
    replaced: bool = False

    async def send(self, message: Message) -> None:
        if self.replaced:
            return
        if message["type"] == "http.response.start":
            await self._start(message)
        else:
            await self.out(message)

    async def _start(self, message: Message) -> None:
        visit = self.visit
        if message["status"] == 200 and visit.etag and visit.etag in self.headers.get("if-none-match", ""):
            await self._replace({"type": "http.response.start", "status": 304, "headers": []}, b"")
            return
        if message["status"] == 200 and visit.counted:
            try:
                await self.door.count(visit, self._name())
            except Refused as refused:
                response = refused.response()
                start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
                await self._replace(start, bytes(response.body))
                return
        await self.out(self._with_headers(message))

    def _name(self) -> str | None:
        """What the caller calls this lookup: his word for it, bound to what he asked for."""
        given = self.headers.get("x-request-id", "")
        if not _REQUEST_NAME.fullmatch(given):
            return None
        asked = (given.encode(), self.scope["path"].encode(), self.scope["query_string"])
        return hashlib.sha256(b"\0".join(asked)).hexdigest()

    async def _replace(self, start: Message, body: bytes) -> None:
        self.replaced = True
        await self.out(self._with_headers(start))
        await self.out({"type": "http.response.body", "body": body})

    def _with_headers(self, message: Message) -> Message:
        added = self.visit.allowance.headers()
        if self.visit.etag and message["status"] in (200, 304):
            added += [(b"etag", self.visit.etag.encode()), *_CACHING]
        return {**message, "headers": [*message.get("headers", ()), *added]}


def visit_of(scope: Scope) -> Visit:
    """The visit that the door let in."""
    return cast("Visit", scope["state"]["visit"])


def _must_fit(window: Window) -> Window:
    if window.retry_s > 0:
        headers = {name.decode(): value.decode() for name, value in Allowance((window,)).headers()}
        raise Refused(RATE_LIMITED, headers=headers)
    return window


async def _bounded(receive: Receive) -> Receive:
    """The same body, read to its end within limits."""
    body, more = b"", True
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MAX_BODY_BYTES:
                    raise Refused(BODY_TOO_LARGE, f"at most {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise Refused(BODY_TIMEOUT) from None
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay
