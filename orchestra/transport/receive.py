"""The receiving end of a signed request: everything that is checked before a handler runs, cheapest first.

A route declares `call: SignedCall = signed.call`, or at module level `call: Annotated[SignedCall, Depends(signed)]`.
Size, headers, rates and the caller's standing are judged from the headers alone, so that a stranger costs no body, no
hash and no signature check; then the body is read under a hard limit and a deadline, then freshness, signature and the
nonce. A handler that runs has a caller it can name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Depends, Request
from starlette.types import Receive, Scope

from ledger.addresses import peer_key
from ledger.canonical import StrictJSONError, parse_strict
from ledger.types import JSON, Hash, Hotkey
from orchestra.transport import btauth, problems
from orchestra.transport.limits import InFlight, Limits, TokenBuckets
from orchestra.transport.nonces import NonceStore, NonceStoreError, NonceStoreFull
from orchestra.transport.policy import CallerPolicy
from orchestra.transport.problems import Refused

DEFAULT_MAX_BODY = 1 << 20
_LENGTH = b"content-length"


@dataclass(frozen=True, slots=True)
class SignedCall:
    """An authenticated request: who sent it, its raw body, and the digest that an answer to it signs."""

    hotkey: Hotkey
    body: bytes
    request_digest: Hash
    nonce_ns: int

    def json(self, *, max_depth: int = 64) -> JSON:
        """The body as strict JSON.

        Raises:
            Refused: `json_too_deep`, `json_duplicate_key`, `json_bad_number`, `json_bad_text` or `json_malformed`.
        """
        try:
            return parse_strict(self.body, max_bytes=max(1, len(self.body)), max_depth=max_depth)
        except StrictJSONError as error:
            raise problems.refused_body(error.code) from None


class BoundedRequests:
    """Bodies of strangers: charged to their address, under a hard limit of bytes and a deadline, a few at a time.

    As a FastAPI dependency it yields the body of a request that nobody signed, or raises `Refused`; `body` is the
    default value that declares it. `clock` is monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_body: int = DEFAULT_MAX_BODY,
        limits: Limits | None = None,
        body_timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.body: bytes = Depends(self)
        self._max_body = max_body
        self._body_timeout_s = body_timeout_s
        limits = limits or Limits()
        self._retry_after_s = limits.retry_after_s
        self._rate = TokenBuckets(limits.peer_per_s, limits.peer_burst, clock=clock)
        self._reading = InFlight(limits.peer_in_flight)

    async def __call__(self, request: Request) -> bytes:
        self.check_declared_length(request.scope)
        peer = _peer(request.scope)
        self.charge(peer)
        return await self.read(peer, request.receive)

    def check_declared_length(self, scope: Scope) -> None:
        """Raises Refused: `body_too_large`, as the headers say."""
        for name, value in scope["headers"]:
            if name == _LENGTH and (not value.isdigit() or len(value) > 15 or int(value) > self._max_body):
                raise Refused(problems.BODY_TOO_LARGE)

    def charge(self, peer: str) -> None:
        """Raises Refused: `peer_rate_limited`."""
        if wait := self._rate.take(peer):
            raise Refused(problems.PEER_RATE_LIMITED, retry_after_s=wait)

    async def read(self, peer: str, receive: Receive) -> bytes:
        """Raises Refused: `too_many_in_flight`, `body_timeout`, `body_too_large`, `body_incomplete`."""
        if not self._reading.enter(peer):
            raise Refused(problems.TOO_MANY_IN_FLIGHT, retry_after_s=self._retry_after_s)
        try:
            async with asyncio.timeout(self._body_timeout_s):
                return await read_bounded(receive, self._max_body)
        except TimeoutError:
            raise Refused(problems.BODY_TIMEOUT) from None
        finally:
            self._reading.leave(peer)


class SignedRequests:
    """The FastAPI dependency that turns a request into a `SignedCall` or raises `Refused`.

    `call` is the default value that declares it: under postponed annotations FastAPI cannot see a local `signed` inside
    `Annotated`, and linters refuse a call to `Depends` in a default.

    One object per server: its limits count what all its routes receive. `clock_ns` is UTC nanoseconds (freshness),
    `clock` monotonic seconds (rates). Sizes are bytes.

    Raises:
        ValueError: the nonce store forgets sooner than the freshness window closes.
    """

    def __init__(
        self,
        *,
        self_hotkey: str,
        nonces: NonceStore,
        policy: CallerPolicy,
        max_body: int = DEFAULT_MAX_BODY,
        limits: Limits | None = None,
        body_timeout_s: float = 10.0,
        max_age_s: float = btauth.MAX_AGE_S,
        allowed_skew_s: float = btauth.ALLOWED_SKEW_S,
        clock_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if nonces.retention_s < max_age_s + allowed_skew_s:
            raise ValueError(f"the nonce store must remember for at least {max_age_s + allowed_skew_s:g} s")
        self.call: SignedCall = Depends(self)
        self._self_hotkey = self_hotkey
        self._nonces = nonces
        self._policy = policy
        self._max_age_s = max_age_s
        self._allowed_skew_s = allowed_skew_s
        self._clock_ns = clock_ns
        limits = limits or Limits()
        self._bodies = BoundedRequests(max_body=max_body, limits=limits, body_timeout_s=body_timeout_s, clock=clock)
        self._retry_after_s = limits.retry_after_s
        self._hotkey_rate = TokenBuckets(limits.hotkey_per_s, limits.hotkey_burst, clock=clock)
        self._serving = InFlight(limits.hotkey_in_flight)

    async def __call__(self, request: Request) -> SignedCall:
        scope = request.scope
        self._bodies.check_declared_length(scope)
        envelope = btauth.read_envelope(scope["headers"])
        if envelope.receiver != self._self_hotkey:
            raise Refused(problems.WRONG_RECEIVER)
        peer = _peer(scope)
        self._check_rates(peer, envelope.hotkey)
        self._policy.check(envelope.hotkey)
        self._check_fresh(envelope)
        body = await self._bodies.read(peer, request.receive)
        path = btauth.wire_path(scope["raw_path"], scope["query_string"])
        self._verify(envelope, body, scope["method"], path)
        self._enter(envelope.hotkey)
        await self._spend_nonce(envelope)
        payload = btauth.signed_payload(
            method=scope["method"],
            path=path,
            body=body,
            nonce_ns=envelope.nonce_ns,
            sender=envelope.hotkey,
            receiver=self._self_hotkey,
        )
        return SignedCall(envelope.hotkey, body, btauth.request_digest(payload), envelope.nonce_ns)

    def _check_rates(self, peer: str, hotkey: str) -> None:
        self._bodies.charge(peer)
        if wait := self._hotkey_rate.wait(hotkey):
            raise Refused(problems.HOTKEY_RATE_LIMITED, retry_after_s=wait)
        if self._serving.full(hotkey):
            raise Refused(problems.TOO_MANY_IN_FLIGHT, retry_after_s=self._retry_after_s)

    def _check_fresh(self, envelope: btauth.Envelope) -> None:
        btauth.check_fresh(envelope, self._clock_ns(), max_age_s=self._max_age_s, allowed_skew_s=self._allowed_skew_s)

    def _verify(self, envelope: btauth.Envelope, body: bytes, method: str, path: str) -> None:
        btauth.verify_request(
            envelope,
            body,
            method=method,
            path=path,
            self_hotkey=self._self_hotkey,
            now_ns=self._clock_ns(),
            max_age_s=self._max_age_s,
            allowed_skew_s=self._allowed_skew_s,
        )

    def _enter(self, hotkey: str) -> None:
        """Charge the hotkey, now that the request is known to be its own, until the task that serves it is done.

        A server runs each request in one task; its end is the end of the request however it ends, and asking for it
        costs a tenth of what a dependency with an exit does.
        """
        if wait := self._hotkey_rate.take(hotkey):
            raise Refused(problems.HOTKEY_RATE_LIMITED, retry_after_s=wait)
        if not self._serving.enter(hotkey):
            raise Refused(problems.TOO_MANY_IN_FLIGHT, retry_after_s=self._retry_after_s)
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: self._serving.leave(hotkey))

    async def _spend_nonce(self, envelope: btauth.Envelope) -> None:
        try:
            fresh = await self._nonces.accept(envelope.hotkey, envelope.nonce_ns)
        except NonceStoreFull:
            raise Refused(problems.NONCE_STORE_FULL, retry_after_s=self._max_age_s) from None
        except NonceStoreError as error:
            raise Refused(problems.NONCE_STORE_FAILED, retry_after_s=self._retry_after_s) from error
        if not fresh:
            raise Refused(problems.REPLAYED_REQUEST)


def _peer(scope: Scope) -> str:
    return peer_key(scope["client"][0] if scope.get("client") else None)


async def read_bounded(receive: Receive, max_bytes: int) -> bytes:
    """A request body from ASGI messages, at most `max_bytes` held at any moment plus one message.

    Raises:
        Refused: `body_too_large` as soon as the limit is crossed, `body_incomplete` when the peer leaves.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused(problems.BODY_INCOMPLETE)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise Refused(problems.BODY_TOO_LARGE)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
