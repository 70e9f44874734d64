"""What is an operation today? One polite question, and what its answer says about the schema that the Ledger has.

A probe spends somebody's money and another's patience, so it asks only what may be repeated, the cheapest query first,
within the operation's rate limit, and never twice within its minimum interval, which is written down before anything is
sent: a crash between the two costs a look, not a second call. How the call is made is the caller's business (`Call`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from ledger.canonical import StrictJSONError, parse_strict, sha256
from ledger.difference import Difference
from ledger.entry import Operation
from ledger.example_query import example_queries
from ledger.inference import SamplesRefused, diff, extend, infer
from ledger.schema_measure import SchemaRefused
from ledger.types import JSON, Hash
from ledger.view import OperationRef

MAX_BODY_BYTES = 4 << 20
DEFAULT_INTERVAL_S = 900
LONGEST_WAIT_S = 86_400
MOST_CALLS = 2
"""A query that is refused is followed by the next cheapest, once."""

_SHARE_OF_LIMIT = 0.01
"""Of a published rate limit, what probes may use."""

Fault = Literal["unreachable", "timeout", "throttled", "out_of_credit", "auth", "refused", "fault", "malformed"]


class NotProbed(Exception):
    """Nothing was sent, and why; `until` (UTC seconds) when it is only too early."""

    def __init__(self, reason: str, until: float | None = None) -> None:
        super().__init__(reason)
        self.until = until


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call came to. `body` is what the provider sent, after content-decoding; `fault` says why it is no
    answer, None when it is one, whatever its shape. `cost` in rao.
    """

    latency_ms: int
    status: int | None = None
    body: bytes | None = None
    fault: Fault | None = None
    retry_after_s: float | None = None
    cost: int = 0


class Call(Protocol):
    """Makes one call, with a deadline of its own."""

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], /) -> Reply: ...


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """What is remembered of the looks at one operation. Times in UTC seconds.

    `drifts` counts how often it began to drift, `drifting` says that it still did at the last answer; `faults` are
    those since an answer.
    """

    first_at: float
    last_at: float
    not_before: float
    looks: int = 0
    drifts: int = 0
    drifting: bool = False
    faults: int = 0


class ProbeHistory(Protocol):
    """Keeps a `ProbeRecord` for each operation, by its name (`entry/operation`)."""

    async def read(self, name: str) -> ProbeRecord | None: ...

    async def write(self, name: str, record: ProbeRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class Observation:
    """What a probe saw. `at` in UTC seconds, `latency_ms` and `response_hash` of the last of `calls` calls.

    `schema` describes the answer: the known schema, widened where the answer does not fit it, or what was inferred
    where none was known. `difference` compares the two; None when nothing was known, or nothing was answered.
    """

    operation: str
    at: float
    query: dict[str, Any]
    calls: int
    latency_ms: int
    cost: int
    status: int | None = None
    fault: Fault | None = None
    response_hash: Hash | None = None
    schema: dict[str, JSON] | None = None
    difference: Difference | None = None

    @property
    def ok(self) -> bool:
        """It answered, in whatever shape."""
        return self.fault is None

    @property
    def drifted(self) -> bool:
        """It answered what readers of the Ledger's schema do not expect. A property more is a difference, no drift."""
        return self.difference is not None and self.difference.kind == "breaking"


def unprobeable(operation: Operation) -> str | None:
    """Why an operation is never probed: a call of it must be repeatable, of use by itself, and nobody's secret."""
    if not operation.safe_to_retry or operation.endpoint.method in ("PUT", "DELETE"):
        return "a call of it is not safe to repeat"
    if operation.role in ("job", "step"):
        return "it is part of a job"
    if operation.sensitive:
        return "its answers are sensitive"
    if not operation.endpoint.base_url:
        return "it has no public address"
    return None


def minimum_interval_s(operation: Operation, least_s: float = DEFAULT_INTERVAL_S) -> float:
    """Seconds between two looks: what the node says, how long an answer may come from a cache, and a hundredth of the
    published rate limit, whichever is longest.
    """
    limit = operation.rate_limit
    by_limit = limit.window_s / limit.requests / _SHARE_OF_LIMIT if limit else 0.0
    return max(least_s, operation.cache_ttl_s, by_limit)


async def probe(
    ref: OperationRef,
    call: Call,
    history: ProbeHistory,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    known: Iterable[Mapping[str, Any]] = (),
    least_s: float = DEFAULT_INTERVAL_S,
) -> Observation:
    """Ask the operation once; when the query is refused, once more with the next cheapest one.

    `clock` gives UTC seconds. `known` are queries that answered before. After a fault the interval doubles, up to a
    day, and a Retry-After is obeyed.

    Raises:
        NotProbed: it must not be probed, not yet, or no query can be made for it.
    """
    operation = ref.operation
    if reason := unprobeable(operation):
        raise NotProbed(reason)
    now, record = clock(), await history.read(ref.name)
    if record is not None and now < record.not_before:
        raise NotProbed("it was asked a short while ago", record.not_before)
    queries = example_queries(operation, known)
    if not queries:
        raise NotProbed("no valid query can be made from its input schema")
    interval = minimum_interval_s(operation, least_s)
    record = replace(record or ProbeRecord(now, now, now), last_at=now, not_before=now + interval)
    await history.write(ref.name, record)
    replies: list[Reply] = []
    for query in queries[:MOST_CALLS]:
        if replies:
            await sleep(_spacing_s(operation))
        replies.append(await call(ref, query))
        if replies[-1].fault != "refused":
            break
    seen = observe(ref, queries[len(replies) - 1], replies, now)
    await history.write(ref.name, _after(record, seen, replies[-1], interval))
    return seen


def observe(ref: OperationRef, query: dict[str, Any], replies: list[Reply], at: float) -> Observation:
    """What the last of some replies says, beside what all of them cost."""
    last = replies[-1]
    seen = Observation(ref.name, at, query, len(replies), last.latency_ms, sum(each.cost for each in replies))
    seen = replace(seen, status=last.status, fault=last.fault)
    if last.fault is not None or last.body is None:
        return replace(seen, fault=last.fault or "malformed")
    seen = replace(seen, response_hash=sha256(last.body))
    try:
        answer = _parsed(ref.operation, last.body)
        schema, difference = _compared(ref.operation.output_schema, answer)
    except (StrictJSONError, SamplesRefused, UnicodeDecodeError):
        return replace(seen, fault="malformed")
    return replace(seen, schema=schema, difference=difference)


def _parsed(operation: Operation, body: bytes) -> JSON:
    if operation.endpoint.media_type == "text/plain":
        return body.decode()
    return parse_strict(body, max_bytes=MAX_BODY_BYTES)


def _compared(known: Mapping[str, Any], answer: JSON) -> tuple[dict[str, JSON], Difference | None]:
    if not known:
        return infer([answer]), None
    try:
        schema = extend(known, [answer])
        return schema, diff(known, schema)
    except SchemaRefused:
        return infer([answer]), None


def _after(record: ProbeRecord, seen: Observation, last: Reply, interval: float) -> ProbeRecord:
    """The record with one look more. Waiting grows with faults in a row."""
    faults = 0 if seen.ok else record.faults + 1
    wait = min(interval * 2 ** min(faults, 16), max(interval, LONGEST_WAIT_S))
    until = seen.at + max(wait, last.retry_after_s or 0.0)
    record = replace(record, not_before=until, looks=record.looks + 1, faults=faults)
    if not seen.ok:
        return record
    began = seen.drifted and not record.drifting
    return replace(record, drifts=record.drifts + began, drifting=seen.drifted)


def _spacing_s(operation: Operation) -> float:
    """Seconds between two calls of one probe, within the rate limit."""
    limit = operation.rate_limit
    return max(1.0, limit.window_s / limit.requests if limit else 0.0)
