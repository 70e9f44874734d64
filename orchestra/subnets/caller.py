"""`SubnetCaller` over the wire protocols: code knows `http-json`, `openai-chat`, `connect-json` and `signed-http`.

One call is one attempt. Whatever goes wrong becomes a `CallFailed` with its class and cost; whether to try again is the
engine's decision. An answer counts only when it is what the Ledger says: parsed strictly, valid against the output
schema, mapped, and in the shape that the capability promises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from ledger.canonical import canonical
from ledger.capabilities import CONTRACTS
from ledger.entry import Operation
from ledger.schemas import compile_schema
from ledger.types import JSON, Signer, Verify
from ledger.view import OperationRef
from orchestra.execution.run import Answer, CallFailed
from orchestra.protocol import MAX_QUERY_BYTES, ErrorKind, Receipt, StepError
from orchestra.subnets import costs
from orchestra.subnets.checks import input_violation, output_violation
from orchestra.subnets.failures import failure
from orchestra.subnets.mapping import MAX_BODY_BYTES, MappingFailed, map_query, map_wire, parse_wire
from orchestra.subnets.receipts import TAG_HEADER, ReceiptRefused, read_receipt
from orchestra.subnets.request import NotCallable, WireRequest, build
from orchestra.subnets.secrets import Secret, is_loopback, origin_of
from orchestra.transport import (
    AddressRefused,
    BadResponse,
    FreshNonces,
    OutboundResponse,
    PeerTimeout,
    PeerUnreachable,
    RedirectRefused,
    ResponseTooLarge,
    sign_request,
)

_SHORTEST_TELLING_KEY = 8
"""A key shorter than this may stand in an answer by chance."""


class Outbound(Protocol):
    """The part of `orchestra.transport.OutboundClient` that calls subnets."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Any = None,
        content: bytes | None = None,
        timeout_s: float = ...,
        max_bytes: int = ...,
    ) -> OutboundResponse: ...


class Subnets:
    """Calls subnets for one node.

    `secrets` by setting name. `signer` signs `signed-http` requests and `verify` checks their receipts; without a
    signer such operations are not usable. `allow_origins` are the origins without a secret that the operator allows
    (those that a secret is bound to are allowed by that); `allow_loopback` allows this machine, for the local network.
    `tao_usd`: dollars for one TAO; without it prices in USD are not known.
    """

    def __init__(
        self,
        outbound: Outbound,
        *,
        secrets: Mapping[str, Secret],
        verify: Verify,
        signer: Signer | None = None,
        allow_origins: Collection[str] = (),
        allow_loopback: bool = False,
        tao_usd: Decimal | None = None,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._outbound = outbound
        self._secrets = dict(secrets)
        self._verify = verify
        self._signer = signer
        self._allowed = {secret.origin for secret in secrets.values()} | set(allow_origins)
        self._allow_loopback = allow_loopback
        self._tao_usd = tao_usd
        self._time_ns = time_ns
        self._nonces = FreshNonces(time_ns)

    def usable(self, ref: OperationRef) -> bool:
        """Is the operation's origin allowed here, and does this node hold what its auth needs for that origin?"""
        return self._forbidden(ref.operation) is None

    def wire_query(self, operation: Operation, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The operation's complete wire arguments.

        Raises:
            CallFailed: `schema_mismatch` or `refused`, at no cost; nothing was sent.
        """
        try:
            query = map_query(operation, arguments)
            size = len(canonical(query))
        except (MappingFailed, ValueError) as failed:
            raise _failed("schema_mismatch", f"the request mapping failed: {failed}") from None
        if size > MAX_QUERY_BYTES:
            raise _failed("refused", f"the query is {size} bytes, at most {MAX_QUERY_BYTES}")
        if violation := input_violation(operation, query):
            raise _failed("schema_mismatch", f"the query {violation}")
        return query

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        """Make the call once. `tag` is sent to providers that sign receipts only.

        Raises:
            CallFailed: anything but a good answer.
        """
        operation = ref.operation
        if forbidden := self._forbidden(operation):
            raise _failed("auth", forbidden)
        if violation := input_violation(operation, query):
            raise _failed("schema_mismatch", f"the query {violation}")
        secret = self._secrets[operation.auth.secret].value if operation.auth.kind in ("header", "query") else ""
        try:
            request = build(operation, query, secret)
            headers = request.headers | self._signature(operation, request, tag)
        except (NotCallable, ValueError) as refused:
            raise _failed("refused", str(refused)) from None
        response = await self._send(operation, request, headers, timeout_s)
        self._refuse_echo(operation, response, secret)
        return self._read(ref, request, response, tag)

    # Before the call -------------------------------------------------------------------------------------------------

    def _forbidden(self, operation: Operation) -> str | None:
        """Why this node will not call the operation at all."""
        origin = origin_of(operation.endpoint.base_url)
        if origin is None:
            return "the base URL is not a plain https://host[:port]/path"
        local = is_loopback(origin) and self._allow_loopback
        if not (local or (origin.startswith("https://") and origin in self._allowed)):
            return f"the operator has not allowed {origin}"
        auth = operation.auth
        if auth.kind in ("header", "query"):
            secret = self._secrets.get(auth.secret)
            if secret is None:
                return f"no secret {auth.secret} on this node"
            if secret.origin != origin:
                return f"{auth.secret} is bound to {secret.origin}, not to {origin}"
        if operation.protocol == "signed-http" and self._signer is None:
            return "no hotkey to sign with on this node"
        return None

    def _signature(self, operation: Operation, request: WireRequest, tag: str) -> dict[str, str]:
        """btauth/1 headers bound to the provider's key, and the tag that its receipt will carry."""
        if operation.protocol != "signed-http" or self._signer is None:
            return {}
        if request.content is None or request.params or not operation.receipt_key:
            raise NotCallable("signed-http takes a JSON body and names the provider's key")
        headers, _ = sign_request(
            self._signer,
            method=request.method,
            path="/" + request.url.split("://", 1)[1].partition("/")[2],
            body=request.content,
            receiver=operation.receipt_key,
            nonce_ns=self._nonces(),
        )
        return {**headers, TAG_HEADER: tag}

    # The call itself -------------------------------------------------------------------------------------------------

    async def _send(
        self, operation: Operation, request: WireRequest, headers: Mapping[str, str], timeout_s: float
    ) -> OutboundResponse:
        worst = costs.worst_cost(operation, self._tao_usd)
        try:
            return await self._outbound.request(
                request.method,
                request.url,
                headers=headers,
                params=request.params or None,
                content=request.content,
                timeout_s=timeout_s,
                max_bytes=MAX_BODY_BYTES,
            )
        except PeerTimeout:
            raise _failed("timeout", f"no answer within {round(timeout_s * 1000)} ms", cost=worst) from None
        except PeerUnreachable:
            raise _failed("unreachable", "no connection, or it broke") from None
        except ResponseTooLarge:
            raise _failed("malformed", f"the answer is over {MAX_BODY_BYTES} bytes", cost=worst) from None
        except BadResponse:
            raise _failed("malformed", "the answer is not HTTP as we speak it", cost=worst) from None
        except (AddressRefused, RedirectRefused, ValueError):
            raise _failed("refused", "the address, a redirect or a header is not allowed") from None

    def _refuse_echo(self, operation: Operation, response: OutboundResponse, secret: str) -> None:
        """An answer that repeats our key must not become evidence: it is dropped unread."""
        if len(secret) >= _SHORTEST_TELLING_KEY and secret.encode() in response.body:
            cost = costs.worst_cost(operation, self._tao_usd)
            raise _failed("malformed", "the answer repeats our key and was dropped", status=response.status, cost=cost)

    # After the call --------------------------------------------------------------------------------------------------

    def _read(self, ref: OperationRef, request: WireRequest, response: OutboundResponse, tag: str) -> Answer:
        operation, headers, status, body = ref.operation, response.headers, response.status, response.body
        unserved = costs.failure_cost(operation, headers, self._tao_usd, served=False)
        now = datetime.fromtimestamp(self._time_ns() / 1e9, UTC)
        if failed := failure(operation, status, headers, body, cost=unserved, now=now):
            raise failed
        try:
            wire = parse_wire(operation, body)
            if violation := output_violation(operation, wire):
                raise MappingFailed("schema_mismatch", f"the answer {violation}")
            output = map_wire(operation, wire)
            if violation := promise_violation(operation.capability, output):
                raise MappingFailed("schema_mismatch", f"the mapped answer {violation}")
            receipt = self._receipt(ref, request, response, tag)
        except MappingFailed as failed:
            kind: ErrorKind = "malformed" if failed.code == "malformed" else "schema_mismatch"
            cost = costs.failure_cost(operation, headers, self._tao_usd, served=True)
            raise _failed(kind, failed.detail, body=body, status=status, cost=cost) from None
        cost = costs.success_cost(operation, headers, wire, output, self._tao_usd)
        return Answer(status, body, output, cost, receipt)

    def _receipt(self, ref: OperationRef, request: WireRequest, response: OutboundResponse, tag: str) -> Receipt | None:
        if ref.operation.protocol != "signed-http" or self._signer is None:
            return None
        try:
            return read_receipt(
                response.headers,
                ref,
                caller=self._signer.ss58_address,
                tag=tag,
                request=request.content or b"",
                response=response.body,
                verify=self._verify,
            )
        except ReceiptRefused as refused:
            raise MappingFailed("malformed", str(refused)) from None


def promise_violation(capability: str, output: JSON) -> str | None:
    """Why a mapped output is not what its capability promises; None when it is, or when nothing is promised.

    A mapping writes null for what the provider left out, so null members count as absent.
    """
    contract = CONTRACTS.get(capability)
    if contract is None:
        return None
    found = compile_schema(contract.result).errors(_without_nulls(output), limit=1)
    return f"does not fit {capability} at {found[0].pointer or 'the root'}: {found[0].keyword}" if found else None


def _without_nulls(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _failed(
    kind: ErrorKind, detail: str, *, body: bytes | None = None, status: int | None = None, cost: int = 0
) -> CallFailed:
    return CallFailed(StepError(kind=kind, detail=detail[:300], status=status), body=body, cost=cost)
