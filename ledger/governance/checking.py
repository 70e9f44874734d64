"""Whether a certificate, or a proposal before it has one, keeps the rules: the same questions for leader and voter.

A node can also lack what it takes to say (it was not there at the anchor): then it says `lacking` and does not vote.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.governance.book import Book
from ledger.governance.chain import ChainMemory, Frozen, Root
from ledger.governance.committee import Committee, committee
from ledger.governance.rules import PROPOSALS_HELD, Rules
from ledger.governance.witness import Witness
from ledger.proposals import NewSubnet, OwnerChange, SignedProposal, consents_trouble
from ledger.statements import Certificate
from ledger.types import Verify

SPONSORED = ("schema_update", "deprecation", "metrics_update", "owner_change")
"""What an outsider may propose."""


class Refused(ValueError):
    """It breaks a rule; the message says which."""


class Lacking(RuntimeError):
    """We do not know enough of the chain's past to say."""


@dataclass(frozen=True, slots=True)
class Checker:
    """The rules with what this node remembers. It changes nothing but the witness."""

    rules: Rules
    chain: ChainMemory
    witness: Witness
    verify: Verify
    _drawn: dict[str, Committee] = field(default_factory=dict[str, Committee])

    def standing(self, sent: SignedProposal, book: Book, *, anchor: int, block: int) -> None:
        """May this be proposed, and is it in time at `block`?

        Raises:
            Refused, Lacking
        """
        if anchor + self.rules.expiry < block:
            raise Refused("expired")
        frozen = self.frozen_at(anchor)
        if sent.is_sponsored:
            if sent.anchor.hotkey not in frozen.stakes:
                raise Refused("the sponsor is no validator")
            if sent.about not in SPONSORED:
                raise Refused("an outsider challenges entries; it does not bring new ones")
        elif sent.proposal.proposer not in frozen.coldkeys:
            raise Refused("the proposer is not registered")
        if book.is_barred(sent.proposal.proposer, block):
            raise Refused("no proposal rights: too many false proposals lately")
        if sent.valid_until is not None and not 0 <= sent.valid_until - anchor <= self.rules.consent:
            raise Refused("anchored outside the time for which its owner signed")

    def certificate(self, certificate: Certificate, book: Book, *, block: int) -> None:
        """Does it prove what it says, in a batch whose window begins at `block`?

        Raises:
            Refused, Lacking
        """
        sent, anchor = certificate.proposal, certificate.anchor
        if anchor >= block:
            raise Refused("anchored after the window began")
        if sent.digest in book.settled:
            raise Refused("settled before")
        if trouble := sent.trouble(self.verify):
            raise Refused(trouble)
        if self.chain.contradicts(Root(sent.anchor.hotkey, sent.anchor.size, sent.anchor.root), anchor):
            raise Refused("anchored at another block")
        self.standing(sent, book, anchor=anchor, block=block)
        if not all(map(self.witness.saw, certificate.verdicts)):
            raise Refused("a verdict that its validator did not sign")
        if not self.committee(sent, anchor).suffices(each.signer for each in certificate.verdicts):
            raise Refused("no two thirds of the committee")

    def frozen_at(self, block: int) -> Frozen:
        """The frozen set of the window that holds `block`. Raises Lacking."""
        frozen = self.chain.frozen.get(self.rules.window_of(block))
        if frozen is None:
            raise Lacking(f"the validators of block {block} were not read")
        return frozen

    def committee(self, sent: SignedProposal, anchor: int) -> Committee:
        """Who judges this proposal. Raises Lacking: the block after the anchor is not final yet, or was not read."""
        key = f"{anchor}|{sent.digest}"
        found = self._drawn.get(key)
        if found is None:
            beacon = self.chain.hashes.get(anchor + 1)
            if beacon is None:
                raise Lacking(f"block {anchor + 1} was not read")
            stakes = self.frozen_at(anchor).stakes
            if len(self._drawn) > 2 * PROPOSALS_HELD:
                self._drawn.clear()
            found = self._drawn[key] = committee(stakes, beacon=beacon, proposal=sent.digest, rules=self.rules)
        return found

    def revealed(self, certificate: Certificate) -> int:
        """By which block the committee held it. Raises Refused, Lacking."""
        found = self.committee(certificate.proposal, certificate.anchor)
        try:
            return found.revealed({each.signer: each.seen for each in certificate.verdicts})
        except ValueError as error:
            raise Refused(str(error)) from None

    def consents(self, certificate: Certificate, netuids: set[int]) -> bool:
        """Have the owners of these netuids agreed? Raises Lacking."""
        return self.owners_agree(certificate.proposal, netuids, certificate.anchor)

    def owners_agree(self, sent: SignedProposal, netuids: set[int], anchor: int) -> bool:
        """Have the owners of these netuids, as frozen at the anchor, signed this? Raises Lacking."""
        proposal = sent.proposal
        owners = self.frozen_at(anchor).owners
        return isinstance(proposal, NewSubnet | OwnerChange) and not consents_trouble(
            proposal, owners, netuids, self.verify
        )
