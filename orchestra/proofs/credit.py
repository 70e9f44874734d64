"""What evidence is worth: credit per step in thousandths, by one published table.

| grade | credit | what it takes |
| --- | --- | --- |
| receipt | 1000 | the provider signed the call |
| replay | 1000 | an `exact` operation gave the auditor the same content |
| shape | 300 | the revealed bytes fit the Ledger's schema, and nothing more can be shown |
| none | 0 | not revealed, not what the Ledger says, or contradicted |

A call counts with the best its operation allows as attainable. Counted are the different calls that the result rests on
(cited by a value that is there, or depended on by those): copies of a call are one, worth what the worst of them is. A
result that rests on no call has no credit. Left out, with nothing attainable, are a call that the auditor did not draw
and takes on trust (`trusted`), and one where only the auditor stands in the way (`failed`): its own failed call, a
chain that it cannot read, a Ledger version that it does not know yet. An audit with a `failed` call is not conclusive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from ledger.entry import Operation
from ledger.types import JSON, Hash
from ledger.view import LedgerView
from orchestra.proofs.codes import Code
from orchestra.proofs.disclosure import behind, call_key, steps_of
from orchestra.proofs.findings import Finding, StepCredit
from orchestra.protocol import OrchestraResponse, TaskStep
from orchestra.schema.pointers import PointerError, resolve_pointer

RECEIPT = 1000
REPLAY = 1000
SHAPE = 300

SPOILED = (
    Code.QUERY_SCHEMA_MISMATCH,
    Code.OPERATION_SUPERSEDED,
    Code.REPLAY_REFUSED,
    Code.REPLAY_MISMATCH_UNCONFIRMED,
    Code.REPLAY_MISMATCH_CONFIRMED,
    Code.REPLAY_BEYOND_TRUST,
)
"""Nobody can say that such a call was answered so: it earns nothing, and nothing that rests on it is sourced."""
_WORTHLESS = (
    *SPOILED,
    Code.EVIDENCE_MISSING,
    Code.OUTPUT_MALFORMED,
    Code.OUTPUT_SCHEMA_MISMATCH,
    Code.OPERATION_UNKNOWN,
    Code.DATAFLOW_UNFOUNDED,
    Code.RECEIPT_MISSING,
)
_OURS = (Code.REPLAY_FAILED, Code.REPLAY_TOO_LATE, Code.REGISTRY_UNREADABLE)


def attainable(operation: Operation) -> int:
    """The most that one call of this operation can earn."""
    if operation.receipt_key:
        return RECEIPT
    replayable = operation.determinism == "exact" and operation.safe_to_retry and not operation.sensitive
    return REPLAY if replayable else SHAPE


def mean_attainable(operations: Iterable[Operation]) -> int:
    """The `reference` of `Audit.hash_credit` for the operations of a reference plan; 0 for none."""
    best = [attainable(operation) for operation in operations]
    return round(Fraction(sum(best), len(best))) if best else 0


def credit(response: OrchestraResponse, view: LedgerView | None, findings: Iterable[Finding]) -> tuple[StepCredit, ...]:
    """What every call that counts has earned, in step order, under the number of its first worst step."""
    codes: dict[int, set[Code]] = {}
    for finding in findings:
        if finding.step is not None and finding.pointer is None:
            codes.setdefault(finding.step, set()).add(finding.code)
    worst: dict[Hash, StepCredit] = {}
    for step in _counted(response):
        earned = _credit(step, view, codes.get(step.step, set()))
        key = call_key(step)
        worst[key] = min(worst.get(key, earned), earned, key=lambda each: _WORST_FIRST.index(each.grade))
    return tuple(sorted(worst.values(), key=lambda each: each.step))


_WORST_FIRST = ("none", "failed", "trusted", "shape", "replay", "receipt")


def _counted(response: OrchestraResponse) -> Iterator[TaskStep]:
    """Successful subnet steps behind a value that the result has; a citation for nothing rests on nothing."""
    cited: set[int] = set()
    for pointer, origin in response.provenance.items():
        if _there(response.standardized_data, pointer):
            cited |= steps_of(origin)
    steps = response.task_pipeline
    rested_on = behind(response, (number for number in cited if number <= len(steps)))
    yield from (step for step in steps if step.step in rested_on and step.subnet != "local" and step.error is None)


def _there(data: JSON, pointer: str) -> bool:
    try:
        return resolve_pointer(data, pointer) not in (None, "", [], {})
    except PointerError:
        return False


def _credit(step: TaskStep, view: LedgerView | None, codes: set[Code]) -> StepCredit:
    if view is None:
        return StepCredit(step.step, "failed", 0, 0)
    ref = view.operation(step.entry, step.operation)
    best = attainable(ref.operation) if ref else REPLAY
    if codes.intersection(_WORTHLESS):
        return StepCredit(step.step, "none", 0, best)
    if Code.RECEIPT_VALID in codes:
        return StepCredit(step.step, "receipt", RECEIPT, best)
    if Code.REPLAY_MATCHES in codes:
        return StepCredit(step.step, "replay", REPLAY, best)
    if codes.intersection(_OURS):
        return StepCredit(step.step, "failed", 0, 0)
    if best == REPLAY and Code.NOT_REPLAYABLE not in codes:
        return StepCredit(step.step, "trusted", 0, 0)
    return StepCredit(step.step, "shape", SHAPE, best)
