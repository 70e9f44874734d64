"""What a node's own work says about the Ledger: an answer in another shape, a subnet that does not answer any more.

Kept in memory and bounded: what is still true will be seen again. A claim costs a bond when it is wrong, so nothing is
claimed on one failure of the network, and a shape only when a sample in hand does not fit what the Ledger says.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.canonical import StrictJSONError, parse_strict, sha256
from ledger.capabilities import CONTRACTS
from ledger.entry import Operation
from ledger.inference import Evidence, SamplesRefused, diff, extend, infer
from ledger.remapping import remap
from ledger.schema_measure import SchemaRefused
from ledger.schemas import compile_schema
from ledger.types import JSON, Hash
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Attempt
from orchestra.subnets.caller import promise_violation
from orchestra.subnets.mapping import MAX_BODY_BYTES, MappingFailed, map_wire

SAMPLES_KEPT = 8
OPERATIONS_KEPT = 256
FAILURES_FOR_DEAD = 10
DEAD = frozenset({"unreachable", "timeout", "fault"})
WITHOUT_TEXTS = Evidence(texts=10**9)
"""No text of an answer becomes part of a schema: the work that it came from may be a user's own."""


@dataclass(frozen=True, slots=True)
class Drift:
    """An operation answers otherwise than the Ledger says. `response` None: the mapping may stay."""

    entry: str
    operation: str
    output_schema: dict[str, JSON]
    response: str | None
    evidence: tuple[Hash, ...]


@dataclass(slots=True)
class _Endpoint:
    """What one entry's calls came to since it last answered."""

    failures: int = 0
    evidence: deque[Hash] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))


class Noticed:
    """What was seen lately. `take` feeds it, `drifts` and `dead` say what is worth a proposal."""

    def __init__(self) -> None:
        self._samples: OrderedDict[tuple[str, str], deque[bytes]] = OrderedDict()
        self._endpoints: OrderedDict[str, _Endpoint] = OrderedDict()

    def take(self, attempts: Iterable[Attempt]) -> None:
        """Calls of a run, successful or not."""
        for attempt in attempts:
            if attempt.entry == "local":
                continue
            kind = attempt.error.kind if attempt.error else None
            if kind == "schema_mismatch" and attempt.response is not None:
                self.answered(attempt.entry, attempt.operation, attempt.response)
            elif kind is None:
                self._endpoints.pop(attempt.entry, None)
                self._samples.pop((attempt.entry, attempt.operation), None)
            elif kind in DEAD:
                self.failed(attempt.entry, attempt.request)

    def answered(self, entry: str, operation: str, body: bytes) -> None:
        """An answer that does not fit the Ledger."""
        self._endpoints.pop(entry, None)
        samples = self._samples.setdefault((entry, operation), deque(maxlen=SAMPLES_KEPT))
        if body not in samples:
            samples.append(body)
        self._samples.move_to_end((entry, operation))
        while len(self._samples) > OPERATIONS_KEPT:
            self._samples.popitem(last=False)

    def failed(self, entry: str, request: bytes) -> None:
        """No answer at all."""
        found = self._endpoints.setdefault(entry, _Endpoint())
        found.failures += 1
        found.evidence.append(sha256(request))
        self._endpoints.move_to_end(entry)
        while len(self._endpoints) > OPERATIONS_KEPT:
            self._endpoints.popitem(last=False)

    def drifts(self, view: LedgerView) -> list[Drift]:
        """Operations whose samples in hand do not fit this Ledger; what fits it by now is forgotten."""
        found: list[Drift] = []
        for (entry, name), bodies in list(self._samples.items()):
            ref = view.operation(entry, name)
            drift = drift_of(ref, list(bodies)) if ref else None
            if drift is None:
                del self._samples[entry, name]
            else:
                found.append(drift)
        return found

    def dead(self, view: LedgerView) -> dict[str, tuple[Hash, ...]]:
        """Entries that failed ten times in a row, with the hashes of the last requests."""
        return {
            entry: tuple(dict.fromkeys(found.evidence))
            for entry, found in self._endpoints.items()
            if found.failures >= FAILURES_FOR_DEAD and (known := view.entry(entry)) and known.status != "deprecated"
        }


def drift_of(ref: OperationRef, bodies: list[bytes]) -> Drift | None:
    """What the answers say the schema is now, and how it maps; None when they fit, or nothing can be made of them."""
    operation = ref.operation
    try:
        answers = [parse_strict(body, max_bytes=MAX_BODY_BYTES) for body in bodies]
        fits = compile_schema(operation.output_schema).is_valid
        strange = [answer for answer in answers if not fits(answer)]
        if not strange and all(_keeps_promise(operation, answer) for answer in answers):
            return None
        schema = _schema(operation, strange or answers)
    except (StrictJSONError, SamplesRefused, SchemaRefused):
        return None
    new = operation.model_copy(update={"output_schema": schema})
    contract = CONTRACTS.get(operation.capability)
    response = None
    if contract is not None and not _keeps_promise(new, answers[-1]):
        response = remap(contract.result, operation.response, answers[-1])
        if response is None:
            return None
    return Drift(ref.entry.id, operation.name, schema, response, tuple(sha256(body) for body in bodies))


def _schema(operation: Operation, answers: list[JSON]) -> dict[str, JSON]:
    """The known schema, widened; what was seen alone, where something that was always there is gone."""
    widened = extend(operation.output_schema, answers)
    lost = any(str(each.after).endswith("(optional)") for each in diff(operation.output_schema, widened).changes)
    return infer(answers, evidence=WITHOUT_TEXTS) if lost else widened


def _keeps_promise(operation: Operation, answer: JSON) -> bool:
    try:
        return promise_violation(operation.capability, map_wire(operation, answer)) is None
    except MappingFailed:
        return False
