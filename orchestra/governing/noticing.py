"""What a node's own work says about the Ledger: an answer in another shape, a subnet that does not answer any more.

Kept in memory and bounded: what is still true will be seen again. A claim costs a bond when it is wrong, so nothing is
claimed on one failure of the network, or while nobody else answers either, and a shape only as far as others must see
it too: what a record has, not what it must have. The work may be a user's own, so no text of an answer leaves here.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ledger.canonical import StrictJSONError, parse_strict, sha256
from ledger.capabilities import CONTRACTS
from ledger.entry import Operation
from ledger.inference import Evidence, SamplesRefused, extend
from ledger.remapping import remap
from ledger.schema_measure import SchemaRefused
from ledger.schemas import compile_schema
from ledger.types import JSON, Hash
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Attempt
from orchestra.governing.measuring import Measured
from orchestra.governing.shapes import filled, keeps_promise
from orchestra.subnets.mapping import MAX_BODY_BYTES, MappingFailed, map_wire

SAMPLES_KEPT = 8
MAX_SAMPLE_BYTES = 256 << 10
KEPT_BYTES = 16 << 20
OPERATIONS_KEPT = 256
FAILURES_FOR_DEAD = 10
SAMPLES_FOR_LOSS = 4
"""So many answers must lack what the mapping read before, until a mapping without it is proposed."""

DEAD = frozenset({"unreachable", "timeout", "fault"})
_NEVER = 10**9
CAUTIOUS = Evidence(required=_NEVER, whole=_NEVER, format=_NEVER, quotes=False)
"""What a few answers of one node show of those that others get: names and types."""

_NAME = re.compile(r"[A-Za-z_$@][A-Za-z0-9_.$@-]{0,63}")
_GIVEN = re.compile(r"([A-Za-z_]\w*)\s*:")


@dataclass(frozen=True, slots=True)
class Drift:
    """An operation answers otherwise than the Ledger says. `response` None: the mapping may stay."""

    entry: str
    operation: str
    output_schema: dict[str, JSON]
    response: str | None
    evidence: tuple[Hash, ...]

    @property
    def claim(self) -> dict[str, Any]:
        """What there is to propose (`ledger.proposals.SchemaUpdate`)."""
        return {
            "kind": "schema_update",
            "entry": self.entry,
            "operation": self.operation,
            "output_schema": self.output_schema,
            "response": self.response,
            "evidence": self.evidence,
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, and the texts that were in its question."""

    body: bytes
    asked: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Endpoint:
    """What one entry's calls came to since it last answered; `answered` counts what others had answered before."""

    answered: int
    failures: int = 0
    since: int | None = None
    evidence: deque[Hash] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))


@dataclass(slots=True)
class _Strange:
    """Answers of one operation that do not fit. `looked_at` is the Ledger and the last answer that were looked at."""

    samples: deque[Sample] = field(default_factory=lambda: deque[Sample](maxlen=SAMPLES_KEPT))
    looked_at: tuple[str, Sample] | None = None

    @property
    def size(self) -> int:
        return sum(len(each.body) for each in self.samples)


class Noticed:
    """What was seen lately. `take` feeds it, `drifts` and `dead` say what is worth a proposal; how fast and
    how reliable its calls were is for `measured` to say. `secret` goes into the hashes that are shown as evidence, so
    that nobody finds a short answer by trying.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secrets.token_bytes(32) if secret is None else secret
        self._strange: OrderedDict[tuple[str, str], _Strange] = OrderedDict()
        self._endpoints: OrderedDict[str, _Endpoint] = OrderedDict()
        self._answered = 0
        self.measured = Measured()

    def take(self, attempts: Sequence[Attempt]) -> None:
        """Calls of a run, successful or not."""
        self.measured.take(attempts)
        for attempt in attempts:
            if attempt.entry == "local":
                continue
            kind = attempt.error.kind if attempt.error else None
            if kind == "schema_mismatch" and attempt.response is not None:
                self.answered(attempt.entry, attempt.operation, attempt.response, attempt.query)
            elif kind is None:
                self._answers(attempt.entry)
                self._strange.pop((attempt.entry, attempt.operation), None)
            elif kind in DEAD:
                self.failed(attempt.entry, attempt.request)

    def answered(self, entry: str, operation: str, body: bytes, query: Mapping[str, Any]) -> None:
        """An answer that does not fit the Ledger."""
        self._answers(entry)
        if len(body) > MAX_SAMPLE_BYTES:
            return
        found = self._strange.setdefault((entry, operation), _Strange())
        if all(each.body != body for each in found.samples):
            found.samples.append(Sample(body, frozenset(_texts(query))))
        self._strange.move_to_end((entry, operation))
        while len(self._strange) > OPERATIONS_KEPT or sum(each.size for each in self._strange.values()) > KEPT_BYTES:
            self._strange.popitem(last=False)

    def saw(self, ref: OperationRef, body: bytes, query: Mapping[str, Any]) -> None:
        """An answer to a look at an operation, in whatever shape."""
        if fits(ref.operation, [Sample(body)]):
            self._answers(ref.entry.id)
            self._strange.pop((ref.entry.id, ref.operation.name), None)
        else:
            self.answered(ref.entry.id, ref.operation.name, body, query)

    def failed(self, entry: str, request: bytes) -> None:
        """No answer at all."""
        found = self._endpoints.setdefault(entry, _Endpoint(self._answered))
        found.failures += 1
        found.evidence.append(sha256(self._secret + request))
        self._endpoints.move_to_end(entry)
        while len(self._endpoints) > OPERATIONS_KEPT:
            self._endpoints.popitem(last=False)

    def forget(self, entry: str, operation: str) -> None:
        """Drop what led to a claim that came to nothing; `operation` empty: that the entry is dead."""
        if operation:
            self._strange.pop((entry, operation), None)
            self.measured.forget(entry, operation)
        else:
            self._endpoints.pop(entry, None)

    async def drifts(self, view: LedgerView, *, but: Collection[tuple[str, str]] = ()) -> list[Drift]:
        """Operations, `but` for these, whose samples in hand do not fit this Ledger; what fits it is forgotten."""
        found: list[Drift] = []
        for (entry, name), strange in list(self._strange.items()):
            looked_at = (view.version, strange.samples[-1])
            if (entry, name) in but or strange.looked_at == looked_at:
                continue
            ref, samples = view.operation(entry, name), list(strange.samples)
            drift = await asyncio.to_thread(drift_of, ref, samples, self._secret) if ref else None
            strange.looked_at = looked_at
            if drift is not None:
                found.append(drift)
            elif ref is None or await asyncio.to_thread(fits, ref.operation, samples):
                self._strange.pop((entry, name), None)
        return found

    def dead(self, view: LedgerView, *, block: int, patience: int) -> dict[str, tuple[Hash, ...]]:
        """Entries that failed ten times in a row, while others answered, and are still to be believed dead `patience`
        blocks after that was first seen; with the hashes of the last requests.
        """
        found: dict[str, tuple[Hash, ...]] = {}
        for entry, seen in self._endpoints.items():
            known = view.entry(entry)
            is_alone = self._answered > seen.answered
            if seen.failures < FAILURES_FOR_DEAD or not is_alone or known is None or known.status == "deprecated":
                continue
            seen.since = block if seen.since is None else seen.since
            if block - seen.since >= patience:
                found[entry] = tuple(dict.fromkeys(seen.evidence))
        return found

    def _answers(self, entry: str) -> None:
        self._answered += 1
        self._endpoints.pop(entry, None)


def fits(operation: Operation, samples: Sequence[Sample]) -> bool:
    """Do all these answers fit the schema, and map to what is promised?"""
    try:
        answers = [parse_strict(each.body, max_bytes=MAX_BODY_BYTES) for each in samples]
        is_valid = compile_schema(operation.output_schema).is_valid
    except (StrictJSONError, SchemaRefused):
        return True  # nothing will ever be made of them
    return all(is_valid(answer) and keeps_promise(operation, answer) for answer in answers)


def drift_of(ref: OperationRef, samples: Sequence[Sample], secret: bytes = b"") -> Drift | None:
    """What the answers say the schema is now, and how it maps; None when they fit, or nothing can be made of them."""
    operation = ref.operation
    try:
        answers = [parse_strict(each.body, max_bytes=MAX_BODY_BYTES) for each in samples]
        is_valid = compile_schema(operation.output_schema).is_valid
        if all(is_valid(answer) and keeps_promise(operation, answer) for answer in answers):
            return None
        known = _names(operation.output_schema)
        public = [_public(answer, known, each.asked) for answer, each in zip(answers, samples, strict=True)]
        schema = _schema(operation, public)
        if not all(map(compile_schema(schema).is_valid, answers)):
            return None
    except (StrictJSONError, SamplesRefused, SchemaRefused):
        return None
    response = _mapping(operation, public)
    if response is None:
        return None
    evidence = tuple(sha256(secret + each.body) for each in samples)
    changed = None if response == operation.response else response
    return Drift(ref.entry.id, operation.name, schema, changed, evidence)


def _schema(operation: Operation, answers: list[JSON]) -> dict[str, JSON]:
    """The known schema, widened, without what was always there and is in no answer any more."""
    widened = extend(operation.output_schema, answers, evidence=CAUTIOUS)
    return cast("dict[str, JSON]", _without_gone(operation.output_schema, widened, answers))


def _without_gone(known: Any, widened: Any, values: list[JSON]) -> Any:
    if not isinstance(known, dict) or not isinstance(widened, dict):
        return widened
    before, after = cast("dict[str, Any]", known), cast("dict[str, Any]", widened)
    objects = [each for each in values if isinstance(each, dict)]
    if objects and isinstance(after.get("properties"), dict) and isinstance(before.get("properties"), dict):
        gone = {name for name in before.get("required", ()) if not any(name in each for each in objects)}
        after = after | {
            "properties": {
                name: _without_gone(
                    before["properties"].get(name), schema, [each[name] for each in objects if name in each]
                )
                for name, schema in after["properties"].items()
                if name not in gone
            }
        }
    items = [item for each in values if isinstance(each, list) for item in each]
    if items and isinstance(after.get("items"), dict):
        after = after | {"items": _without_gone(before.get("items"), after["items"], items)}
    return after


def _mapping(operation: Operation, answers: list[JSON]) -> str | None:
    """The mapping that gives most of what is promised, for all these answers; the old one where none gives more. None
    where none keeps the promise, or where all of them give less than the old one did and that is not certain yet.
    """
    contract = CONTRACTS.get(operation.capability)
    if contract is None or operation.role != "task":
        return operation.response
    found = [remap(contract.result, operation.response, answer) for answer in reversed(answers)]
    ranked = [
        (given, each)
        for each in [operation.response, *found]
        if each is not None and (given := _given(operation, each, answers)) is not None
    ]
    if not ranked:
        return None
    _, best = max(ranked, key=lambda pair: pair[0])
    is_loss = bool(set(_GIVEN.findall(operation.response)) - set(_GIVEN.findall(best)))
    return None if is_loss and len(answers) < SAMPLES_FOR_LOSS else best


def _given(operation: Operation, response: str, answers: list[JSON]) -> int | None:
    """How many values a mapping gives over all; None when it breaks the promise for one answer."""
    mapped = operation.model_copy(update={"response": response})
    if not all(keeps_promise(mapped, answer) for answer in answers):
        return None
    try:
        return sum(filled(map_wire(mapped, answer)) for answer in answers)
    except MappingFailed:
        return None


# What may be told


def _public(value: JSON, known: Collection[str], asked: Collection[str]) -> JSON:
    """An answer without the members whose names may be somebody's data: no usual name, or a text of the question."""
    if isinstance(value, dict):
        return {
            name: _public(item, known, asked)
            for name, item in value.items()
            if name in known or (_NAME.fullmatch(name) and name.lower() not in asked)
        }
    if isinstance(value, list):
        return [_public(item, known, asked) for item in value]
    return value


def _names(schema: object) -> set[str]:
    """Names that a schema has already, wherever it has them."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            members = cast("dict[str, object]", node)
            properties = members.get("properties")
            found |= cast("dict[str, object]", properties).keys() if isinstance(properties, dict) else set()
            waiting += members.values()
        elif isinstance(node, list):
            waiting += cast("list[object]", node)
    return found


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value.strip().lower()
    elif isinstance(value, Mapping):
        for item in cast("Mapping[str, object]", value).values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _texts(item)
