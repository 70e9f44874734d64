"""Seal and verify: what a miner fixes about an answer, and what an auditor can say about it."""

from orchestra.proofs.audit import AuditPolicy, AuditPorts, audit
from orchestra.proofs.codes import Check, Code, Outcome
from orchestra.proofs.credit import attainable, mean_attainable
from orchestra.proofs.disclosure import EvidenceSource, EvidenceUnavailable
from orchestra.proofs.evidence import EvidenceExists, EvidenceMissing, EvidenceStore, SqliteEvidence
from orchestra.proofs.findings import Audit, Finding, StepCredit
from orchestra.proofs.receipts import IsRegistered
from orchestra.proofs.replay import Confirm, Replay
from orchestra.proofs.seal import EvidenceBundle, StepBytes, seal
from orchestra.proofs.structure import Issued, Ledgers, Structure, verify_structure

__all__ = [
    "Audit",
    "AuditPolicy",
    "AuditPorts",
    "Check",
    "Code",
    "Confirm",
    "EvidenceBundle",
    "EvidenceExists",
    "EvidenceMissing",
    "EvidenceSource",
    "EvidenceStore",
    "EvidenceUnavailable",
    "Finding",
    "IsRegistered",
    "Issued",
    "Ledgers",
    "Outcome",
    "Replay",
    "SqliteEvidence",
    "StepBytes",
    "StepCredit",
    "Structure",
    "attainable",
    "audit",
    "mean_attainable",
    "seal",
    "verify_structure",
]
