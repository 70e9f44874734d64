"""A validator sponsors outsiders: it takes their challenges of entries, holds the bond that they prepaid, anchors for
them, and shows the proposal to its own council and to the others', until the log says what became of it.

The bond is reserved before anything leaves, and settled by the log alone: a false proposal loses what its leaf says,
everything else gives the bond back. One that nobody settled gives it back when the log has decided the last window that
could have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from ledger.applying import CannotApply, apply, schemas_trouble
from ledger.governance.book import Book
from ledger.governance.checking import SPONSORED
from ledger.governance.rules import Rules
from ledger.proposals import Anchor, OwnerChange, SignedProposal, sign, sponsor_payload
from ledger.statements import Message
from ledger.types import Signer, Verify
from orchestra.anchoring import ChainSlot
from orchestra.chain.types import Metagraph
from orchestra.governing.challenge import MAX_REFUSAL_CHARS, MOST_REFUSALS, Challenge, ChallengeState
from orchestra.governing.credits import CreditStore, Room, Sponsored
from orchestra.governing.drafts import State
from orchestra.governing.escort import TAKEN, Escort, Hears
from orchestra.ledger_node import LedgerNode

Reason: TypeAlias = Literal[
    "not_ready",
    "wrong_order",
    "not_a_challenge",
    "barred",
    "does_not_apply",
    "consent_out_of_time",
    "schema_refused",
    "not_signed",
    "unpaid",
    "full",
]


class ChallengeRefused(ValueError):
    """Why a challenge is not taken: nothing is held for it, nothing was sent."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class Governed(Protocol):
    """The state machine of this validator's council, as far as a sponsor asks it."""

    @property
    def book(self) -> Book: ...

    @property
    def is_sure(self) -> bool: ...

    @property
    def decided(self) -> int: ...

    @property
    def last_block(self) -> int: ...

    @property
    def validators(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class OwnSeat:
    """This validator's own council, shown proposals as any other's is."""

    hotkey: str
    take: Callable[[Message, str], Awaitable[str]]

    async def governance(self, body: SignedProposal) -> str:
        return await self.take(body, self.hotkey)


@dataclass(slots=True)
class Sponsor:
    """One validator's. `seats` gives the validators that serve now, its own council among them."""

    signer: Signer
    verify: Verify
    rules: Rules
    ledger: LedgerNode
    slot: ChainSlot
    store: CreditStore
    governor: Governed
    seats: Callable[[], Iterable[Hears]]
    _escort: Escort[Sponsored] = field(init=False)
    _decided: int = field(default=-1, init=False)

    def __post_init__(self) -> None:
        self._escort = Escort(self, self.rules, self.ledger, self.slot, self.seats)

    async def on_block(self, members: Metagraph) -> None:
        """Fix, anchor, show, settle."""
        decided = self.governor.decided  # read first: what it decided may not be in the log yet
        if self.governor.book.frontier.size <= self.ledger.view.size:
            self._decided = decided
        await self._escort.on_block(await self.store.underway(), members)

    async def state_of(self, digest: str) -> ChallengeState | None:
        """How far a challenge has come; None when it was never taken here."""
        found = await self.store.find(digest)
        if found is None:
            return None
        answers = self._escort.answers(digest)
        refusals = sorted({each[:MAX_REFUSAL_CHARS] for each in answers if each != TAKEN})
        return ChallengeState(
            digest=digest,
            state=found.state,
            block=found.block,
            bond=found.bond,
            lost=found.lost,
            taken=sum(each == TAKEN for each in answers),
            refusals=tuple(refusals[:MOST_REFUSALS]),
        )

    async def take(self, challenge: Challenge) -> ChallengeState:
        """Hold the bond and fix the proposal, durably when this returns. What was taken before is not taken again.

        Raises:
            ChallengeRefused: with the reason, and no bond held.
        """
        digest, proposal = await asyncio.to_thread(_digest, challenge), challenge.proposal
        if known := await self.state_of(digest):
            return known
        self._require_sense(challenge, digest)
        if (await self.store.account(proposal.proposer)).free < self.rules.bond_rao:
            raise ChallengeRefused("unpaid")
        block = self.governor.last_block
        await asyncio.to_thread(self._require_proof, challenge, block)
        bond = self.rules.bond_rao
        made = Sponsored(proposal, "fixed", block, signature=challenge.signature, bond=bond)
        reserved = await self.store.reserve(made, self._room(block))
        if reserved in ("unpaid", "full"):
            raise ChallengeRefused(reserved)
        await self.slot.log.fix(digest)
        state = await self.state_of(digest)
        assert state is not None
        return state

    def _room(self, block: int) -> Room:
        rules = self.rules
        began = block - block % rules.tempo
        return Room(began, of_one=rules.proposals_per_coldkey, in_all=rules.proposals_per_sponsor)

    def _require_sense(self, challenge: Challenge, digest: str) -> None:
        """What costs next to nothing to see."""
        governor, proposal, me = self.governor, challenge.proposal, self.signer.ss58_address
        if not governor.is_sure or me not in governor.validators:
            raise ChallengeRefused("not_ready")
        if challenge.sponsor != me or challenge.bond < self.rules.bond_rao:
            raise ChallengeRefused("wrong_order")
        if proposal.kind not in SPONSORED or proposal.proposer == me:
            raise ChallengeRefused("not_a_challenge")
        if governor.book.is_barred(proposal.proposer, governor.last_block):
            raise ChallengeRefused("barred")
        if digest in governor.book.settled or proposal.entry not in self.ledger.view.entries:
            raise ChallengeRefused("does_not_apply")
        if isinstance(proposal, OwnerChange):
            ahead = proposal.valid_until - governor.last_block
            if not 0 < ahead <= self.rules.consent:
                raise ChallengeRefused("consent_out_of_time")

    def _require_proof(self, challenge: Challenge, block: int) -> None:
        """Signatures, and that the proposal does something: what takes a while."""
        if not challenge.is_signed(self.verify):
            raise ChallengeRefused("not_signed")
        try:
            apply(self.ledger.view.entry(challenge.proposal.entry), challenge.proposal, block=block)
        except CannotApply:
            raise ChallengeRefused("does_not_apply") from None
        if schemas_trouble(challenge.proposal):
            raise ChallengeRefused("schema_refused")

    # what its escort asks

    @property
    def whose(self) -> str:
        return "a sponsored"

    def sent(self, draft: Sponsored, anchor: Anchor) -> SignedProposal:
        vouched = sign(self.signer, sponsor_payload(draft.digest, self.signer.ss58_address))
        return SignedProposal(
            proposal=draft.proposal, signature=draft.signature, anchor=anchor, sponsor_signature=vouched
        )

    def is_over(self, draft: Sponsored, block: int) -> bool:
        """One that the chain does not vouch for nobody has seen. Of another the log says until when it could have been
        settled: the last window that begins before it expires, and one more because a block may have moved.
        """
        last = draft.block + self.rules.expiry
        if draft.anchor is None:
            return block > last
        return self._decided > self.rules.window_of(last)

    async def anchored(self, draft: Sponsored, anchor: Anchor, block: int) -> None:
        await self.store.anchored(draft.digest, anchor, block)

    async def ended(self, draft: Sponsored, state: State, block: int, *, lost: int) -> None:
        await self.store.settle(draft.digest, state, block, lost=lost)


def _digest(challenge: Challenge) -> str:
    try:
        return challenge.digest()
    except ValueError:
        raise ChallengeRefused("not_a_challenge") from None
