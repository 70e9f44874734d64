"""Calls to services that are not neurons: subnets' public APIs, webhooks, an LLM. Any status is an answer here.

The URL may come from a Ledger entry that a stranger proposed, with our key in a header, so it is called only over
HTTPS at a public address, redirects never leave the origin that the key belongs to, and the answer is bounded in time
and bytes.
"""

from __future__ import annotations

import asyncio
import json as json_module
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from ledger.types import JSON
from orchestra.transport.addresses import CheckedResolver, check_url
from orchestra.transport.aio import AioTransport
from orchestra.transport.client import DEFAULT_MAX_RESPONSE, DEFAULT_TIMEOUT_S
from orchestra.transport.errors import AddressRefused, PeerTimeout, RedirectRefused
from orchestra.transport.exchange import ACCEPT_ENCODING, Answer, exchange
from orchestra.transport.lines import LineStream, line_stream

MAX_REDIRECTS = 3
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "te", "upgrade"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Params = Mapping[str, str | int | float | bool | Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """An answer of any status. `headers` are case-insensitive; `body` is after content-decoding."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: int


class OutboundClient:
    """The plain HTTP client, used as `async with OutboundClient() as client`.

    `allow_loopback` permits this machine, also over plain HTTP: for the local network. `allow_plain` permits plain HTTP
    to everybody: for neurons, which serve no other. `transport` is any httpx transport.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        allow_plain: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._allow_loopback = allow_loopback
        self._allow_plain = allow_plain
        self._clock = clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()

    def refuses(self, url: str) -> str:
        """Why this URL would not be called, as far as that shows without resolving it; empty when it may be tried."""
        try:
            self._checked(url)
        except AddressRefused as error:
            return str(error)
        return ""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        json: JSON = None,
        content: bytes | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_bytes: int = DEFAULT_MAX_RESPONSE,
    ) -> OutboundResponse:
        """One attempt. `params` are added to the URL's own query; the body is `content`, or `json` encoded compactly.

        A GET or HEAD follows up to 3 redirects within its origin, all under the one deadline.

        Raises:
            PeerTimeout, PeerUnreachable, ResponseTooLarge, BadResponse: see their docstrings.
            AddressRefused: the URL may not be called.
            RedirectRefused: to another origin, too many, or for a method that is not safe to repeat.
            ValueError: a header that belongs to the connection, or both `json` and `content`.
        """
        request = self._request(method, url, headers or {}, params, json, content)
        started = self._clock()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._follow(request, timeout_s, max_bytes)
        except TimeoutError:
            raise PeerTimeout(timeout_s) from None
        elapsed_ms = round((self._clock() - started) * 1000)
        return OutboundResponse(answer.status, answer.headers, answer.body, elapsed_ms)

    async def _follow(self, request: httpx.Request, timeout_s: float, max_bytes: int) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await exchange(self._wire(), request, timeout_s=timeout_s, max_bytes=max_bytes)
            if answer.status not in _REDIRECTS:
                return answer
            request = self._redirected(request, answer)
        raise RedirectRefused(f"more than {MAX_REDIRECTS} redirects")

    def lines(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_bytes: int = DEFAULT_MAX_RESPONSE,
    ) -> AbstractAsyncContextManager[LineStream]:
        """One attempt whose answer, of any status, is read line by line as it comes. Follows no redirect.

        Raises:
            PeerTimeout, PeerUnreachable, ResponseTooLarge, BadResponse, AddressRefused, ValueError: as `request`.
        """
        request = self._request(method, url, headers or {}, None, None, content)
        request.headers["Accept-Encoding"] = "identity"
        return line_stream(self._wire(), request, timeout_s=timeout_s, max_bytes=max_bytes)

    def _wire(self) -> httpx.AsyncBaseTransport:
        if self._transport is None:
            self._transport = AioTransport(resolver=CheckedResolver(allow_loopback=self._allow_loopback))
        return self._transport

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        params: Params | None,
        json: JSON,
        content: bytes | None,
    ) -> httpx.Request:
        if forbidden := _OURS.intersection(name.lower() for name in headers):
            raise ValueError(f"these headers are the connection's own: {', '.join(sorted(forbidden))}")
        if json is not None and content is not None:
            raise ValueError("a request has one body: json or content")
        sent = {"User-Agent": "orchestra", "Accept": "*/*", "Accept-Encoding": ACCEPT_ENCODING, **headers}
        if json is not None:
            content = json_module.dumps(json, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
            sent.setdefault("Content-Type", "application/json")
        return httpx.Request(method, self._checked(url, params), headers=sent, content=content)

    def _checked(self, url: str, params: Params | None = None) -> httpx.URL:
        try:
            parsed = httpx.URL(url)
            if params:
                parsed = parsed.copy_merge_params(dict(params))
        except (httpx.InvalidURL, TypeError) as error:
            raise AddressRefused(f"not a URL to call: {error}") from None
        check_url(parsed, allow_loopback=self._allow_loopback, allow_plain=self._allow_plain)
        return parsed.copy_with(fragment=None)

    def _redirected(self, request: httpx.Request, answer: Answer) -> httpx.Request:
        if request.method not in ("GET", "HEAD"):
            raise RedirectRefused(f"a {request.method} is not sent twice")
        try:
            target = self._checked(str(request.url.join(answer.headers.get("location", ""))))
        except httpx.InvalidURL:
            raise RedirectRefused("to something that is not a URL") from None
        if (target.scheme, target.host, target.port) != (request.url.scheme, request.url.host, request.url.port):
            raise RedirectRefused("to another origin")
        return httpx.Request(request.method, target, headers=request.headers)
