"""The second check: is every call one that the Ledger's contract allows, at the version that the challenge names?

A query that breaks the operation's input_schema is one that no subnet has answered and no auditor can repeat, so
nothing may rest on it. An answer under an older version of the Ledger than its challenge names is held to the
challenge's version: where the contract is another by then, the old one is no way around the new one's demands.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.entry import Operation
from ledger.view import LedgerView, OperationRef
from orchestra.proofs.codes import Code
from orchestra.proofs.findings import Finding
from orchestra.protocol import OrchestraResponse, TaskStep
from orchestra.subnets.checks import input_violation

_CONTRACT = (
    "capability",
    "protocol",
    "endpoint",
    "auth",
    "input_schema",
    "output_schema",
    "request",
    "response",
    "determinism",
    "stability_s",
    "safe_to_retry",
    "receipt_key",
    "sensitive",
    "role",
)
"""What a call and its proof rest on. Prices, metrics, notes and limits change without making an old answer another."""


def check_contracts(
    response: OrchestraResponse, view: LedgerView | None, asked: LedgerView | None
) -> Iterator[Finding]:
    """Findings for successful subnet steps. `view`: the Ledger at the answer's version, `asked`: at the challenge's."""
    newer = asked if view is not None and asked is not None and asked.size > view.size else None
    for step in response.task_pipeline:
        ref = view.operation(step.entry, step.operation) if view else None
        if ref is not None and step.error is None:
            if newer is not None and not _still(ref, newer, step):
                yield Finding(Code.OPERATION_SUPERSEDED, step=step.step)
            if violation := input_violation(ref.operation, step.query):
                yield Finding(Code.QUERY_SCHEMA_MISMATCH, step=step.step, detail=violation[:120])


def _still(ref: OperationRef, newer: LedgerView, step: TaskStep) -> bool:
    """Does the newer version hold this operation, by the same provider on the same netuid, under the same contract?"""
    now = newer.operation(step.entry, step.operation)
    return now is not None and now.entry.netuid == ref.entry.netuid and _terms(now.operation) == _terms(ref.operation)


def _terms(operation: Operation) -> tuple[object, ...]:
    return tuple(getattr(operation, name) for name in _CONTRACT)
