"""What an audit says: findings with reason codes, credit by a published table, and nothing that depends on the auditor.

An Audit holds no clock, no name of the auditor and no text of an exception, so two validators with the same evidence
write the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ledger.canonical import canonical, digest
from ledger.types import Hash
from orchestra.proofs.codes import Check, Code, Outcome
from orchestra.protocol import OrchestraResponse


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of one check, about a step or about the value at a pointer into standardized_data, or about it all."""

    code: Code
    step: int | None = None
    pointer: str | None = None
    detail: str = ""

    @property
    def check(self) -> Check:
        return self.code.check

    @property
    def outcome(self) -> Outcome:
        return self.code.outcome

    def in_words(self) -> str:
        """One line for people."""
        where = f" at step {self.step}" if self.step is not None else ""
        what = f" for {self.pointer}" if self.pointer is not None else ""
        more = f" ({self.detail})" if self.detail else ""
        return f"{self.outcome}: {self.code.value}{where}{what}: {self.code.meaning}{more}"

    def to_json(self) -> dict[str, Any]:
        about = {"step": self.step, "pointer": self.pointer, "detail": self.detail}
        return {"check": self.check, "outcome": self.outcome, "code": self.code.value, **about}


@dataclass(frozen=True, slots=True)
class StepCredit:
    """What one step earned of what it could, in thousandths (`orchestra.proofs.credit`); attainable 0 leaves it out."""

    step: int
    grade: str
    earned: int
    attainable: int

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "grade": self.grade, "earned": self.earned, "attainable": self.attainable}


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything found about one answer. Equal evidence and equal policy give equal bytes, whoever audits.

    `document` is the SHA-256 of the answer as received; `response` its reading, None when it could not be read;
    `sourced` are the pointers of values that a revealed source supports.
    """

    challenge_id: str
    miner: str
    validator: str
    document: Hash
    findings: tuple[Finding, ...]
    credits: tuple[StepCredit, ...] = ()
    sourced: frozenset[str] = frozenset()
    response: OrchestraResponse | None = field(default=None, compare=False, repr=False)

    @property
    def refuted(self) -> bool:
        return is_refuted(self.findings)

    @property
    def sourced_pointers(self) -> frozenset[str]:
        """Leaves of standardized_data that count as present: their source was revealed and contains them."""
        return frozenset() if self.refuted else self.sourced

    @property
    def conclusive(self) -> bool:
        """False when a failure of the auditor's own left open whether a call that the result rests on is true: the
        answer should then be scored neither for hash verification nor for what rests on sources.
        """
        if self.response is None or self.refuted or not self.credits:
            return True
        grades = {credit.grade for credit in self.credits}
        unheld = "trusted" in grades and not grades & {
            "replay",
            "none",
        }  # trust is for the neighbours of what was checked
        return "failed" not in grades and not unheld

    @property
    def over_budget(self) -> bool:
        """Does the answer claim a higher cost than its challenge allows? That is neither to be scored nor paid."""
        return any(finding.code is Code.OVER_MAX_COST for finding in self.findings)

    def hash_credit(self, reference: int | None = None, *, tasks: float = 0) -> Fraction:
        """Credit earned over credit attainable, in [0, 1], over the different calls that the result rests on.

        `reference` is the mean attainable credit per external step of the validator's own plan, in thousandths; without
        it the answer's own calls are the yardstick. `tasks` is how many external tasks of that plan the answer has to
        show for: an answer that rests on fewer calls earns that much less. A caller who takes the plan's number times
        the share of the result that is missing asks nothing more of a better plan that fills the result with fewer
        calls, and leaves an answer that hardly tried hardly any credit. An answer that is refuted, unreadable or rests
        on no external step earns 0.
        """
        if self.refuted or not self.credits:
            return Fraction(0)
        counted = [credit for credit in self.credits if credit.attainable]
        own = sum(credit.attainable for credit in counted)
        attainable = max(own, (reference or 0) * len(counted))
        if not attainable:
            return Fraction(0)
        share = min(Fraction(1), Fraction(len(self.credits)) / Fraction(tasks)) if tasks else Fraction(1)
        return Fraction(sum(credit.earned for credit in counted), attainable) * share

    @property
    def faults(self) -> tuple[Finding, ...]:
        """Everything that cost something."""
        return tuple(each for each in self.findings if each.outcome != "verified" and each.check != "anchor")

    def reasons(self) -> tuple[str, ...]:
        """One line for everything that cost something, for people."""
        return tuple(each.in_words() for each in self.faults)

    def to_json(self) -> dict[str, Any]:
        return {
            "challenge_id": self.challenge_id,
            "miner": self.miner,
            "validator": self.validator,
            "document": self.document,
            "findings": [finding.to_json() for finding in self.findings],
            "credits": [credit.to_json() for credit in self.credits],
            "sourced": sorted(self.sourced),
        }

    def canonical(self) -> bytes:
        return canonical(self.to_json())

    @property
    def digest(self) -> Hash:
        return digest(self.to_json())


def is_refuted(findings: Iterable[Finding]) -> bool:
    return any(finding.outcome == "refuted" for finding in findings)
