"""What evidence is worth: credit per step in thousandths, by one published table.

| grade | credit | what it takes |
| --- | --- | --- |
| receipt | 1000 | the provider signed the call |
| replay | 1000 | an `exact` operation gave the auditor the same content |
| shape | 300 | the revealed bytes fit the Ledger's schema, and nothing more can be shown |
| none | 0 | not revealed, not what the Ledger says, or contradicted |

A step counts with the best its operation allows as attainable. Nothing is attainable, so nothing is counted, where only
the auditor stands in the way: a step it did not draw, its own failed call, a Ledger version it does not know yet.
Counted are the steps the result rests on (cited, or depended on by those); if it rests on none, all subnet steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from ledger.entry import Operation
from ledger.view import LedgerView
from orchestra.proofs.codes import Code
from orchestra.proofs.disclosure import Disclosed
from orchestra.proofs.findings import Finding, StepCredit
from orchestra.protocol import OrchestraResponse, TaskStep

RECEIPT = 1000
REPLAY = 1000
SHAPE = 300

_SPOILED = (
    Code.EVIDENCE_MISSING,
    Code.OUTPUT_MALFORMED,
    Code.OUTPUT_SCHEMA_MISMATCH,
    Code.OPERATION_UNKNOWN,
    Code.DATAFLOW_UNFOUNDED,
    Code.RECEIPT_MISSING,
    Code.REPLAY_REFUSED,
    Code.REPLAY_MISMATCH_UNCONFIRMED,
)
_OURS = (Code.REPLAY_FAILED, Code.REPLAY_TOO_LATE)


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


def credit(
    response: OrchestraResponse, view: LedgerView | None, disclosed: Disclosed, findings: Iterable[Finding]
) -> tuple[StepCredit, ...]:
    """What every subnet step that counts has earned, in step order."""
    codes: dict[int, set[Code]] = {}
    for finding in findings:
        if finding.step is not None and finding.pointer is None:
            codes.setdefault(finding.step, set()).add(finding.code)
    return tuple(_credit(step, view, codes.get(step.step, set())) for step in _counted(response, disclosed))


def _counted(response: OrchestraResponse, disclosed: Disclosed) -> Iterator[TaskStep]:
    external = [step for step in response.task_pipeline if step.subnet != "local" and step.error is None]
    rested_on = [step for step in external if step.step in disclosed.cited]
    yield from rested_on or external


def _credit(step: TaskStep, view: LedgerView | None, codes: set[Code]) -> StepCredit:
    if view is None:
        return StepCredit(step.step, "unchecked", 0, 0)
    ref = view.operation(step.entry, step.operation)
    best = attainable(ref.operation) if ref else REPLAY
    if codes.intersection(_SPOILED):
        return StepCredit(step.step, "none", 0, best)
    if Code.RECEIPT_VALID in codes:
        return StepCredit(step.step, "receipt", RECEIPT, best)
    if Code.REPLAY_MATCHES in codes:
        return StepCredit(step.step, "replay", REPLAY, best)
    if codes.intersection(_OURS) or (best == REPLAY and Code.NOT_REPLAYABLE not in codes):
        return StepCredit(step.step, "unchecked", 0, 0)
    return StepCredit(step.step, "shape", SHAPE, best)
