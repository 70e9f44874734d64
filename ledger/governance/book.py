"""What the log says, in the form that governance asks about it, and what a batch would add to it.

Everything here follows from the leaves in order, so nodes with one `ledger_version` have one book. Settling is a pure
function of a book and the certificates: that is what every validator repeats before it votes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from ledger.applying import CannotApply, apply, part_name
from ledger.changes import BatchHeader, Bond, Change, Outcome, change_leaf
from ledger.entry import SubnetEntry
from ledger.frontier import Frontier
from ledger.governance.rules import Rules
from ledger.proposals import NewSubnet, OwnerChange, SignedProposal
from ledger.statements import Certificate

Consents = Callable[[Certificate, set[int]], bool]
"""Did the owners of these netuids, as frozen in the window of the certificate's anchor, agree to its proposal?"""

Revealed = Callable[[Certificate], int]
"""The block by which the committee held the certificate's proposal (`Committee.revealed`)."""


@dataclass(frozen=True, slots=True)
class _Episode:
    """The last time that a substance was accepted: by which bond, and the anchor of that part's change before it."""

    winner: Bond
    since: int


class Book:
    """The state that governance reads. `window` is that of the last batch, -1 before the first."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.entries: dict[str, SubnetEntry] = {}
        self.frontier = Frontier()
        self.window = -1
        self.settled: dict[str, Bond] = {}
        self._episodes: dict[str, _Episode] = {}
        self._since: dict[tuple[str, str], int] = {}
        self._falls: dict[str, tuple[int, ...]] = {}
        self._block = 0

    @classmethod
    def of(cls, rules: Rules, changes: Iterable[Change]) -> Self:
        """The book of a whole log."""
        book = cls(rules)
        book.extend(changes)
        return book

    @property
    def version(self) -> str:
        return self.frontier.version

    def copy(self) -> Book:
        twin = Book(self._rules)
        twin.entries, twin.frontier, twin.window = dict(self.entries), self.frontier, self.window
        twin.settled, twin._episodes = dict(self.settled), dict(self._episodes)
        twin._since, twin._falls, twin._block = dict(self._since), dict(self._falls), self._block
        return twin

    def extend(self, changes: Iterable[Change]) -> None:
        """Take in the leaves that follow."""
        added: list[str] = []
        for change in changes:
            added.append(change_leaf(change))
            if isinstance(change, SubnetEntry):
                self.entries[change.id] = change
            elif isinstance(change, Bond):
                self._take_bond(change)
            else:
                self.window, self._block = change.window, change.block
                self._forget()
        self.frontier = self.frontier.extended(added)

    def is_barred(self, proposer: str, block: int) -> bool:
        """Has it lost so many bonds lately that it may not propose?"""
        falls = self._falls.get(proposer, ())
        return sum(each > block - self._rules.false_within for each in falls) >= self._rules.false_limit

    def episode(self, substance: str) -> tuple[Bond, int] | None:
        """The bond that last won with this substance, and the anchor of that part's change before it."""
        found = self._episodes.get(substance)
        return (found.winner, found.since) if found else None

    def since(self, entry: str, kind: str, operation: str) -> int:
        """The anchor of the last accepted change of this part; -1 when there was none."""
        return self._since.get((entry, part_name(kind, operation)), -1)

    def _take_bond(self, bond: Bond) -> None:
        self.settled[bond.proposal] = bond
        if bond.outcome == "false":
            self._falls[bond.proposer] = (*self._falls.get(bond.proposer, ()), self._block)
        if bond.outcome != "accepted":
            return
        part = (bond.entry, part_name(bond.about, bond.operation))
        known = self._episodes.get(bond.substance)
        is_ahead = known is not None and known.since < bond.anchor <= known.winner.anchor
        since = known.since if known is not None and is_ahead else self._since.get(part, -1)
        self._episodes[bond.substance] = _Episode(bond, since)
        self._since[part] = bond.anchor

    def _forget(self) -> None:
        """What no proposal can refer to any more. It follows from the log alone, like the rest."""
        oldest = self._block - self._rules.consent - self._rules.expiry
        self.settled = {name: bond for name, bond in self.settled.items() if bond.anchor >= oldest}
        self._episodes = {name: each for name, each in self._episodes.items() if each.winner.anchor >= oldest}
        recent = self._block - self._rules.false_within
        falls = {who: tuple(each for each in blocks if each > recent) for who, blocks in self._falls.items()}
        self._falls = {who: blocks for who, blocks in falls.items() if blocks}


def settle(
    book: Book,
    header: BatchHeader,
    certificates: Sequence[Certificate],
    rules: Rules,
    *,
    consents: Consents,
    revealed: Revealed,
) -> tuple[tuple[Change, ...], Book]:
    """The leaves of a batch, its header first, and the book after them."""
    changes: list[Change] = [header]
    after = book.copy()
    after.extend(changes)
    for certificate in certificates:
        added = _Settling(after, certificate, header.block, rules, consents, revealed(certificate)).leaves()
        after.extend(added)
        changes += added
    return tuple(changes), after


@dataclass(frozen=True, slots=True)
class _Settling:
    """One certificate against the book as the ones before it left it."""

    book: Book
    certificate: Certificate
    block: int
    rules: Rules
    consents: Consents
    revealed: int

    @property
    def sent(self) -> SignedProposal:
        return self.certificate.proposal

    def leaves(self) -> list[Change]:
        if self.certificate.answer == "deny":
            return [self._bond("false")]
        changed = self._changed()
        if changed is not None:
            return [self._bond("accepted"), changed]
        return self._repeated()

    def _changed(self) -> SubnetEntry | None:
        """The entry as it becomes; None when the proposal does not apply to it as it is."""
        sent, proposal = self.sent, self.sent.proposal
        if self.certificate.anchor <= self.book.since(proposal.entry, proposal.kind, sent.operation):
            return None
        if sent.valid_until is not None and self.book.episode(sent.substance):
            return None  # a signature works once
        entry = self.book.entries.get(proposal.entry)
        try:
            changed = apply(entry, proposal, block=self.block)
        except CannotApply:
            return None
        return changed if self._is_allowed(entry, changed) else None

    def _is_allowed(self, entry: SubnetEntry | None, changed: SubnetEntry) -> bool:
        proposal = self.sent.proposal
        if isinstance(proposal, OwnerChange):
            netuids = {changed.netuid, entry.netuid if entry else changed.netuid}
            return self.consents(self.certificate, netuids)
        if isinstance(proposal, NewSubnet):
            if proposal.consents:
                return self.consents(self.certificate, {changed.netuid})
            others = self.book.entries.values()
            return all(each.netuid != changed.netuid or each.status == "deprecated" for each in others)
        return True

    def _repeated(self) -> list[Change]:
        """True, but nothing to change: the same finding as another's, or one that came too late."""
        found = self.book.episode(self.sent.substance)
        if found is None:
            return [self._bond("superseded")]
        winner, since = found
        anchor = self.certificate.anchor
        if anchor >= winner.anchor:
            return [self._bond(self._echo(anchor, winner.revealed, winner.proposer))]
        if anchor <= since:
            return [self._bond("superseded")]
        corrected = self._echo(winner.anchor, self.revealed, winner.proposer)
        return [self._bond("accepted"), winner.model_copy(update={"outcome": corrected})]

    def _echo(self, anchor: int, revealed: int, other: str) -> Outcome:
        """Of the later of two: found by itself, or copied? Nobody confirms itself."""
        is_own = other == self.sent.proposal.proposer
        return "copy" if is_own or anchor > revealed else "confirmation"

    def _bond(self, outcome: Outcome) -> Bond:
        sent = self.sent
        return Bond(
            proposal=sent.digest,
            substance=sent.substance,
            about=sent.about,
            entry=sent.proposal.entry,
            operation=sent.operation,
            proposer=sent.proposal.proposer,
            outcome=outcome,
            anchor=self.certificate.anchor,
            revealed=self.revealed,
            at_stake=str(self.rules.bond_rao),
            lost=str(self.rules.bond_rao // 2) if outcome == "false" else "0",
        )
