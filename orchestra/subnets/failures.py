"""What an answer that is no success means: the Ledger's rules for this operation first, then what HTTP says.

Subnets disagree about errors (throttling comes as 429, as 400 with a code, as 200 with a body), so each operation lists
its own. Details are our words and never the provider's: a body may hold anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ledger.canonical import StrictJSONError, parse_strict
from ledger.entry import ErrorRule, Operation
from orchestra.execution.run import CallFailed
from orchestra.protocol import ErrorKind, StepError

MAX_SEARCHED = 8_192
MAX_RETRY_AFTER_S = 3_600.0

_BY_STATUS: dict[int, ErrorKind] = {401: "auth", 402: "out_of_credit", 403: "auth", 429: "throttled"}
_BY_CONNECT_CODE: dict[str, ErrorKind] = {
    "resource_exhausted": "throttled",
    "unauthenticated": "auth",
    "permission_denied": "auth",
    "unavailable": "fault",
    "deadline_exceeded": "fault",
    "internal": "fault",
    "unknown": "fault",
    "aborted": "fault",
    "data_loss": "fault",
}
"""Connect RPC error codes (connectrpc.com/docs/protocol, "Error codes"); those not here are refusals."""


def failure(
    operation: Operation, status: int, headers: Mapping[str, str], body: bytes, *, cost: int, now: datetime
) -> CallFailed | None:
    """The failure that this answer is; None for a success. `now` (UTC) reads a Retry-After that is a date."""
    rule = _rule(operation, status, body)
    if rule is None and 200 <= status < 300:
        return None
    kind = rule.means if rule else _kind(operation, status, body)
    error = StepError(kind=kind, detail=f"answered {status}", status=status)
    wait = retry_after_s(headers, now) if kind in ("throttled", "fault") else None
    return CallFailed(error, body=body, cost=cost, retry_after_s=wait, retryable=rule.retryable if rule else None)


def _rule(operation: Operation, status: int, body: bytes) -> ErrorRule | None:
    """The first rule for this status whose text, if it has one, is in the body. A rule for success needs a text."""
    text = body[:MAX_SEARCHED].decode("utf-8", errors="replace")
    for rule in operation.errors:
        if rule.status == status and rule.contains in text and (rule.contains or not 200 <= status < 300):
            return rule
    return None


def _kind(operation: Operation, status: int, body: bytes) -> ErrorKind:
    if operation.protocol == "connect-json" and (code := _connect_code(body)):
        return _BY_CONNECT_CODE.get(code, "refused")
    return _BY_STATUS.get(status, "fault" if status >= 500 else "refused")


def _connect_code(body: bytes) -> str:
    try:
        document = parse_strict(body, max_bytes=MAX_SEARCHED)
    except StrictJSONError:
        return ""
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, str) else ""


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a `Retry-After` asks for (RFC 9110 §10.2.3: seconds or a date), at most an hour; None without."""
    value = headers.get("Retry-After", "").strip()
    if not value or len(value) > 64:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value, now)
    if seconds is None or not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _until(value: str, now: datetime) -> float | None:
    try:
        instant = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return ((instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - now).total_seconds()
