"""Seal and verify: what a miner fixes about an answer, and what an auditor can say about it."""

from orchestra.proofs.binding import issue_receipt, receipt_payload
from orchestra.proofs.codes import Code
from orchestra.proofs.evidence import EvidenceExists, EvidenceMissing, EvidenceStore, SqliteEvidence
from orchestra.proofs.findings import Audit, Finding, StepCredit
from orchestra.proofs.seal import EvidenceBundle, StepBytes, seal

__all__ = [
    "Audit",
    "Code",
    "EvidenceBundle",
    "EvidenceExists",
    "EvidenceMissing",
    "EvidenceStore",
    "Finding",
    "SqliteEvidence",
    "StepBytes",
    "StepCredit",
    "issue_receipt",
    "receipt_payload",
    "seal",
]
