"""Calls one neuron from another: signed for that receiver, one fresh nonce per attempt, bounded in time and bytes.

A call is one attempt. Whether to try again is the caller's decision, who knows what the call costs, and a second call
is signed anew because it is a second `post`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Self

import httpx

from ledger.canonical import StrictJSONError, parse_strict
from ledger.types import Hash, Signer
from orchestra.transport import btauth
from orchestra.transport.addresses import CheckedResolver, check_url
from orchestra.transport.aio import AioTransport
from orchestra.transport.errors import AddressRefused, PeerRefused
from orchestra.transport.exchange import Answer, exchange

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_MAX_RESPONSE = 8 << 20
_PROBLEM_BYTES = 4096


@dataclass(frozen=True, slots=True)
class SignedResponse:
    """A 2xx answer. `request_digest` names the request it must be bound to; `elapsed_ms` is by our own clock."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    request_digest: Hash
    elapsed_ms: int


class SignedClient:
    """Signs with one hotkey and calls neurons, used as `async with SignedClient(keypair) as client`.

    Peers are public addresses; `allow_loopback` lets it call this machine (a devnet). `transport` is any httpx
    transport.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        allow_loopback: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signer = signer
        self._transport = transport
        self._allow_loopback = allow_loopback
        self._nonces = btauth.FreshNonces(clock_ns)
        self._clock = clock
        self._target = lru_cache(maxsize=1024)(self._checked_target)

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

    async def post(
        self,
        base_url: str,
        path: str,
        body: bytes,
        *,
        receiver: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE,
        headers: Mapping[str, str] | None = None,
    ) -> SignedResponse:
        """`POST` a JSON body to the neuron `receiver` at `base_url`; see `request`."""
        return await self.request(
            "POST",
            base_url,
            path,
            body,
            receiver=receiver,
            timeout_s=timeout_s,
            max_response_bytes=max_response_bytes,
            headers=headers,
        )

    async def get(
        self,
        base_url: str,
        path: str,
        *,
        receiver: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE,
        headers: Mapping[str, str] | None = None,
    ) -> SignedResponse:
        """`GET` from the neuron `receiver` at `base_url`; see `request`."""
        return await self.request(
            "GET",
            base_url,
            path,
            b"",
            receiver=receiver,
            timeout_s=timeout_s,
            max_response_bytes=max_response_bytes,
            headers=headers,
        )

    async def request(
        self,
        method: str,
        base_url: str,
        path: str,
        body: bytes,
        *,
        receiver: str,
        timeout_s: float,
        max_response_bytes: int,
        headers: Mapping[str, str] | None = None,
    ) -> SignedResponse:
        """One signed attempt. `path` is the wire form: percent-encoded, starting with `/`, with its `?query`.

        Raises:
            PeerRefused: any status but 2xx, with the peer's problem code and Retry-After.
            PeerTimeout, PeerUnreachable, ResponseTooLarge, BadResponse: see their docstrings.
            AddressRefused: `base_url` may not be called.
        """
        url, target = self._target(base_url, path)
        auth, digest = btauth.sign_request(
            self._signer, method=method, path=target, body=body, receiver=receiver, nonce_ns=self._nonces()
        )
        content_type = {"Content-Type": "application/json"} if body else {}
        started = self._clock()
        answer = await exchange(
            self._wire(),
            httpx.Request(method, url, headers={**content_type, **(headers or {}), **auth}, content=body),
            timeout_s=timeout_s,
            max_bytes=max_response_bytes,
        )
        elapsed_ms = round((self._clock() - started) * 1000)
        if not 200 <= answer.status < 300:
            raise _refusal(answer)
        return SignedResponse(answer.status, answer.body, answer.headers, digest, elapsed_ms)

    def _wire(self) -> httpx.AsyncBaseTransport:
        if self._transport is None:
            self._transport = AioTransport(resolver=CheckedResolver(allow_loopback=self._allow_loopback))
        return self._transport

    def _checked_target(self, base_url: str, path: str) -> tuple[httpx.URL, str]:
        """The URL to call and its target as it will be sent, which is what gets signed."""
        try:
            raw_path = path.removesuffix("?").encode("ascii")  # some clients drop an empty query
            url = httpx.URL(base_url).copy_with(raw_path=raw_path, fragment=None)
        except (httpx.InvalidURL, UnicodeEncodeError, TypeError) as error:
            raise AddressRefused(f"not a URL to call: {error}") from None
        check_url(url, allow_loopback=self._allow_loopback, allow_plain=True)
        return url, url.raw_path.decode("ascii")


def _refusal(answer: Answer) -> PeerRefused:
    return PeerRefused(answer.status, _problem_code(answer.body), retry_after_s(answer.headers))


def _problem_code(body: bytes) -> str | None:
    try:
        document = parse_strict(body, max_bytes=_PROBLEM_BYTES, max_depth=4)
    except StrictJSONError:
        return None
    code = document.get("code") if isinstance(document, dict) else None
    if not isinstance(code, str) or len(code) > 64 or not code.replace("_", "").isalnum() or not code.isascii():
        return None
    return code


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, None without one. The date form is not read: no clock but ours is trusted."""
    value = headers.get("retry-after", "").strip()
    return float(value) if value.isdigit() and value.isascii() and len(value) <= 9 else None
