"""The proposals that a validator has in hand: from their reveal, through its own probes, to a certificate.

Bounded: at most 512 at a time, and so many per coldkey (of a sponsor: per sponsor) and tempo. What was settled or has
expired is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

from ledger.applying import schemas_trouble
from ledger.changes import MAX_CERTIFICATES
from ledger.entry import Metrics
from ledger.governance.book import Book
from ledger.governance.chain import Root
from ledger.governance.checking import Checker, Lacking, Refused
from ledger.governance.judging import Observation, next_probe, verdict_on
from ledger.governance.rules import BATCH_PAYLOAD_BYTES, PROPOSALS_HELD
from ledger.proposals import NewSubnet, OwnerChange, SignedProposal
from ledger.statements import Answer, Certificate, Verdict, sign_verdict
from ledger.types import Signer


@dataclass(slots=True)
class Case:
    """One proposal: its anchor, when we first held it, what our probes saw, our verdict, and everybody's we know."""

    sent: SignedProposal
    anchor: int
    seen: int
    observed: list[Observation] = field(default_factory=list[Observation])
    asked: int | None = None
    mine: Verdict | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])

    @property
    def order(self) -> tuple[int, str]:
        return (self.anchor, self.sent.digest)


class Cases:
    """All of them, by digest. `signed` counts the verdicts of our own since the start."""

    def __init__(self, checker: Checker, signer: Signer) -> None:
        self._checker = checker
        self._rules = checker.rules
        self._signer = signer
        self._cases: dict[str, Case] = {}
        self.signed = 0

    def __iter__(self) -> Iterator[Case]:
        return iter(self._cases.values())

    def get(self, digest: str) -> Case | None:
        return self._cases.get(digest)

    def admit(self, sent: SignedProposal, book: Book, block: int) -> Case:
        """Take a proposal in hand.

        Raises:
            Refused, Lacking: with the reason, for its sender.
        """
        try:
            known = self._cases.get(sent.digest)
        except ValueError as error:
            raise Refused(str(error)) from None
        if known is not None:
            return known
        if settled := book.settled.get(sent.digest):
            raise Refused(f"settled: {settled.outcome}")
        if len(self._cases) >= PROPOSALS_HELD:
            raise Refused("busy: too many proposals in hand")
        anchor = self._checker.chain.anchored(Root(sent.anchor.hotkey, sent.anchor.size, sent.anchor.root))
        if anchor is None:
            raise Lacking("not anchored in a finalised block that we saw")
        self._checker.standing(sent, book, anchor=anchor, block=block)
        self._require_room(sent, anchor)
        if trouble := sent.trouble(self._checker.verify) or schemas_trouble(sent.proposal):
            raise Refused(trouble)
        case = self._cases[sent.digest] = Case(sent, anchor, block)
        return case

    def _require_room(self, sent: SignedProposal, anchor: int) -> None:
        rules = self._rules
        tempo, coldkey = anchor // rules.tempo, self._coldkey(sent, anchor)
        held = sum(
            each.anchor // rules.tempo == tempo and self._coldkey(each.sent, each.anchor) == coldkey for each in self
        )
        if held >= (rules.proposals_per_sponsor if sent.is_sponsored else rules.proposals_per_coldkey):
            raise Refused("too many proposals of one coldkey in this tempo")

    def _coldkey(self, sent: SignedProposal, anchor: int) -> str:
        coldkeys = self._checker.chain.frozen[self._rules.window_of(anchor)].coldkeys
        return coldkeys.get(sent.anchor.hotkey, "") + ("/sponsored" if sent.is_sponsored else "")

    # our own judgement

    def due(self, book: Book, block: int) -> Iterator[Case]:
        """Cases that we have to judge and that are due for a probe now; those that need none are judged here."""
        for case in self._cases.values():
            if case.mine is not None or not self._is_ours(case):
                continue
            if isinstance(case.sent.proposal, OwnerChange) or case.sent.valid_until is not None:
                if not self._owner_agrees(case, book):
                    self._conclude(case, "deny", block)
                    continue
                if isinstance(case.sent.proposal, OwnerChange):
                    self._conclude(case, "confirm", block)
                    continue
            start = next_probe(case.sent.proposal, case.observed, case.seen, self._rules)
            is_lost = case.asked is not None and block - case.asked >= self._rules.resend * 5
            if block >= start and (case.asked is None or is_lost):
                case.asked = block
                yield case

    def report(self, digest: str, observation: Observation, block: int) -> bool:
        """What a probe saw. True when it was of use."""
        case = self._cases.get(digest)
        if case is None or case.mine is not None or case.asked is None:
            return False
        case.observed.append(observation)
        case.asked = None
        answer = verdict_on(case.sent.proposal, case.observed, self._rules)
        if answer is not None:
            self._conclude(case, answer, block)
        return True

    def _conclude(self, case: Case, answer: Answer, block: int) -> None:
        case.mine = sign_verdict(
            self._signer,
            proposal=case.sent.digest,
            anchor=case.anchor,
            answer=answer,
            seen=case.seen,
            probed=case.observed[-1].block if case.observed else block,
        )
        case.verdicts[case.mine.signer] = case.mine
        self.signed += 1

    def _is_ours(self, case: Case) -> bool:
        try:
            found = self._checker.committee(case.sent, case.anchor)
        except Lacking:
            return False
        return self._signer.ss58_address in found.weights

    def _owner_agrees(self, case: Case, book: Book) -> bool:
        proposal = case.sent.proposal
        assert isinstance(proposal, NewSubnet | OwnerChange)
        if isinstance(proposal, NewSubnet):
            return self._checker.owners_agree(case.sent, {proposal.body.netuid}, case.anchor)
        entry = book.entries.get(proposal.entry)
        if entry is None:
            return False
        moved = entry.netuid if proposal.change.netuid is None else proposal.change.netuid
        return self._checker.owners_agree(case.sent, {entry.netuid, moved}, case.anchor)

    # the leader's side

    def hear(self, case: Case, verdict: Verdict) -> None:
        """Keep a verdict that the witness found authentic, if it counts."""
        if (verdict.proposal, verdict.anchor) != (case.sent.digest, case.anchor) or verdict.answer == "abstain":
            return
        try:
            found = self._checker.committee(case.sent, case.anchor)
        except Lacking:
            return
        if verdict.signer in found.weights:
            case.verdicts.setdefault(verdict.signer, verdict)

    def proven(self, book: Book, block: int) -> list[Certificate]:
        """What can be proved about proposals anchored before `block`, in order, as much as one batch holds."""
        there = (each for each in self._in_order(block) if self._is_open(each, book, block))
        proven = [(each, certificate) for each in there if (certificate := self._certificate(each)) is not None]
        fitting = _fitting([each for each, _ in proven])
        return [certificate for _, certificate in proven[: len(fitting)]]

    def _is_open(self, case: Case, book: Book, block: int) -> bool:
        if case.sent.digest in book.settled:
            return False
        try:
            self._checker.standing(case.sent, book, anchor=case.anchor, block=block)
        except (Refused, Lacking):
            return False
        return True

    def _certificate(self, case: Case) -> Certificate | None:
        try:
            found = self._checker.committee(case.sent, case.anchor)
        except Lacking:
            return None
        for answer in ("confirm", "deny"):
            one: Literal["confirm", "deny"] = answer
            signers = sorted(who for who, verdict in case.verdicts.items() if verdict.answer == one)
            if found.suffices(signers):
                verdicts = tuple(case.verdicts[each] for each in signers)
                return Certificate(proposal=case.sent, anchor=case.anchor, answer=one, verdicts=verdicts)
        return None

    def judged(self, block: int) -> Sequence[Case]:
        """What we have a say on and the leader of the window that began at `block` should hear, in order."""
        return _fitting(
            [each for each in self._in_order(block) if each.mine is not None and each.mine.answer != "abstain"]
        )

    def _in_order(self, block: int) -> list[Case]:
        return sorted((each for each in self._cases.values() if each.anchor < block), key=lambda each: each.order)

    def forget(self, book: Book, block: int) -> None:
        """Drop what is settled or expired."""
        oldest = block - self._rules.expiry
        self._cases = {
            digest: case for digest, case in self._cases.items() if case.anchor >= oldest and digest not in book.settled
        }

    # restart

    def dump(self) -> list[dict[str, Any]]:
        return [
            {
                "sent": case.sent.model_dump(mode="json"),
                "anchor": case.anchor,
                "seen": case.seen,
                "observed": [
                    [each.block, each.seen, each.measured.model_dump() if each.measured else None]
                    for each in case.observed
                ],
                "mine": case.mine.model_dump(mode="json") if case.mine else None,
                "verdicts": [each.model_dump(mode="json") for each in case.verdicts.values()],
            }
            for case in self._cases.values()
        ]

    def load(self, dumped: list[dict[str, Any]]) -> None:
        for each in dumped:
            case = Case(SignedProposal.model_validate(each["sent"]), each["anchor"], each["seen"])
            case.observed = [
                Observation(block, seen, Metrics.model_validate(measured) if measured else None)
                for block, seen, measured in each["observed"]
            ]
            case.mine = Verdict.model_validate(each["mine"]) if each["mine"] else None
            verdicts = [Verdict.model_validate(verdict) for verdict in each["verdicts"]]
            case.verdicts = {verdict.signer: verdict for verdict in verdicts}
            self._cases[case.sent.digest] = case


def _fitting(cases: Sequence[Case]) -> Sequence[Case]:
    """As many from the front as one message holds, and always the first."""
    sizes = accumulate(len(each.sent.payload) for each in cases[:MAX_CERTIFICATES])
    return cases[: max(1, sum(size <= BATCH_PAYLOAD_BYTES for size in sizes))]
