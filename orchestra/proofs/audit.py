"""The auditor: every check of DESIGN §6 in its order, over one answer, into one Audit.

Each check is a small function that gives findings; this module only joins them. It stops after structure when the
document is unreadable or a binding is broken: nothing that such a document says is worth asking about. What only reads
a stranger's document runs in a thread, where its size holds up nobody else's answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.canonical import sha256
from ledger.types import Verify
from ledger.view import LedgerView
from orchestra.proofs.codes import Code
from orchestra.proofs.contracts import check_contracts
from orchestra.proofs.credit import SPOILED, credit
from orchestra.proofs.dataflow import check_dataflow
from orchestra.proofs.disclosure import Disclosed, EvidenceSource, disclose, steps_of
from orchestra.proofs.findings import Audit, Finding, is_refuted
from orchestra.proofs.provenance import check_provenance
from orchestra.proofs.receipts import IsRegistered, Receipts
from orchestra.proofs.replay import Confirm, Replay, ReplayPolicy, Replays
from orchestra.proofs.structure import Issued, Ledgers, Structure, verify_structure
from orchestra.protocol import OrchestraResponse
from orchestra.schema import TargetSchema


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """How much an audit does. Two auditors with the same policy and evidence reach the same Audit.

    `seed` draws the steps beyond the cited ones and the steps to replay: secret until the answer is in, 32 bytes.
    `replay_budget` in rao, `unpriced` as in `ReplayPolicy`; `timeout_s` for each call to the outside.
    """

    seed: bytes
    beyond: int = 1
    replays: int = 3
    replay_budget: int = 10**9
    timeout_s: float = 10.0
    tao_usd: Decimal | None = None
    unpriced: int | None = None


@dataclass(frozen=True, slots=True)
class AuditPorts:
    """The outside of an audit. `now_ms`: UTC milliseconds."""

    verify: Verify
    ledgers: Ledgers
    is_registered: IsRegistered
    replay: Replay
    confirm: Confirm
    now_ms: Callable[[], int]


async def audit(raw: bytes, issued: Issued, evidence: EvidenceSource, ports: AuditPorts, policy: AuditPolicy) -> Audit:
    """Audit one received answer. Whatever is wrong with it, or fails outside, is in the Audit and never raised."""
    structure = await asyncio.to_thread(verify_structure, raw, issued, verify=ports.verify, ledgers=ports.ledgers)
    if structure.response is None or not structure.sound:
        return _result(raw, issued, structure)
    return await _deeper(raw, issued, structure, structure.response, evidence, ports, policy)


async def _deeper(
    raw: bytes,
    issued: Issued,
    structure: Structure,
    response: OrchestraResponse,
    evidence: EvidenceSource,
    ports: AuditPorts,
    policy: AuditPolicy,
) -> Audit:
    view = structure.view
    contracts = await asyncio.to_thread(
        lambda: tuple(check_contracts(response, view, ports.ledgers.at(issued.synapse.ledger_version)))
    )
    disclosed = await disclose(
        response, view, evidence, beyond=policy.beyond, seed=policy.seed, timeout_s=policy.timeout_s
    )
    findings = [*structure.findings, *contracts, *disclosed.findings]
    content, sourced = await asyncio.to_thread(_content, issued, response, disclosed)
    findings += content
    receipts = Receipts(issued, ports.verify, ports.is_registered, policy.timeout_s)
    findings += await receipts.check(response, view)
    if not is_refuted(findings):  # nothing more is bought about an answer that is already refuted
        terms = ReplayPolicy(
            policy.replays, policy.replay_budget, policy.seed, policy.timeout_s, policy.tao_usd, policy.unpriced
        )
        replays = Replays(issued, ports.replay, ports.confirm, ports.now_ms, terms)
        settled = _steps_with(findings, Code.RECEIPT_VALID, Code.QUERY_SCHEMA_MISMATCH, Code.OPERATION_SUPERSEDED)
        findings += await replays.check(response, view, disclosed, settled)
    findings.append(Finding(Code.ANCHOR_NOT_REQUIRED))
    return await asyncio.to_thread(_conclude, raw, issued, response, view, findings, sourced)


def _conclude(
    raw: bytes,
    issued: Issued,
    response: OrchestraResponse,
    view: LedgerView | None,
    findings: Sequence[Finding],
    sourced: frozenset[str],
) -> Audit:
    doubtful = _doubtful(findings)
    return Audit(
        challenge_id=issued.synapse.challenge_id,
        miner=issued.miner,
        validator=issued.validator,
        document=sha256(raw),
        findings=tuple(findings),
        credits=credit(response, view, findings),
        sourced=frozenset(pointer for pointer in sourced if not doubtful & steps_of(response.provenance[pointer])),
        response=response,
    )


def _content(
    issued: Issued, response: OrchestraResponse, disclosed: Disclosed
) -> tuple[tuple[Finding, ...], frozenset[str]]:
    """What the revealed outputs say of the queries and of the values, and the pointers whose source holds."""
    flows = check_dataflow(issued.synapse, response, disclosed.cited, disclosed.outputs)
    schema = TargetSchema.parse(issued.synapse.target_schema)
    provenance, sourced = check_provenance(schema, response, disclosed.outputs)
    return (*flows, *provenance), sourced


def _doubtful(findings: Iterable[Finding]) -> frozenset[int]:
    """Steps that nothing may rest on. Content that a replay confirms is true although its receipt is missing."""
    unreceipted = _steps_with(findings, Code.RECEIPT_MISSING) - _steps_with(findings, Code.REPLAY_MATCHES)
    return _steps_with(findings, *SPOILED) | unreceipted


def _steps_with(findings: Iterable[Finding], *codes: Code) -> frozenset[int]:
    return frozenset(each.step for each in findings if each.code in codes and each.step is not None)


def _result(raw: bytes, issued: Issued, structure: Structure) -> Audit:
    return Audit(
        challenge_id=issued.synapse.challenge_id,
        miner=issued.miner,
        validator=issued.validator,
        document=sha256(raw),
        findings=structure.findings,
        response=structure.response,
    )
