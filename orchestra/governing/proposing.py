"""A node's own proposals to the Ledger: drafted from what it noticed, escorted to their end, remembered.

There is at most one at a time for one part of an entry, and what was found false is not said again for as long as that
counts.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ledger.applying import CannotApply, apply
from ledger.governance.rules import Rules
from ledger.proposals import Anchor, SignedProposal, proposal_payload, sign
from ledger.types import Signer
from orchestra.anchoring import ChainSlot
from orchestra.chain.types import Metagraph
from orchestra.governing.drafts import OPEN, Draft, DraftStore, State
from orchestra.governing.escort import Escort, Hears
from orchestra.governing.measuring import Measurement
from orchestra.governing.noticing import Noticed
from orchestra.governing.wishing import proposal_of
from orchestra.ledger_node import LedgerNode

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Proposer:
    """One node's. `validators` gives those that serve now; `on_block` does all that a block asks for."""

    signer: Signer
    rules: Rules
    ledger: LedgerNode
    slot: ChainSlot
    store: DraftStore
    validators: Callable[[], Iterable[Hears]]
    noticed: Noticed = field(default_factory=Noticed)
    salt: Callable[[], bytes] = lambda: secrets.token_bytes(32)
    _escort: Escort[Draft] = field(init=False)

    def __post_init__(self) -> None:
        self._escort = Escort(self, self.rules, self.ledger, self.slot, self.validators)

    async def on_block(self, members: Metagraph) -> None:
        """Draft, fix, anchor, show, settle."""
        await self._draft(members.block.number)
        await self._escort.on_block(await self.store.all(*OPEN), members)

    # drafting

    async def _draft(self, block: int) -> None:
        view, open_ = self.ledger.view, await self.store.all(*OPEN)
        busy = {(each.proposal.entry, each.operation) for each in open_}
        drifts = await self.noticed.drifts(view, but=busy)
        dead = self.noticed.dead(view, block=block, patience=self.rules.tempo // 2)
        wishes = await self.store.wishes()
        claims = self.noticed.measured.claims(view)
        if not (drifts or dead or wishes or claims):
            return
        busy |= await self._found_false(block)
        room = self.rules.proposals_per_coldkey - len(open_)
        for wish, claim in list(wishes.items())[: max(0, room)]:
            room -= await self._propose(claim, block, wish=wish)
        for drift in drifts:
            if (drift.entry, drift.operation) in busy:
                self.noticed.forget(drift.entry, drift.operation)
            elif room > 0:
                room -= await self._propose(drift.claim, block)
        for entry, evidence in dead.items():
            if (entry, "") not in busy and room > 0:
                room -= await self._propose({"kind": "deprecation", "entry": entry, "evidence": evidence}, block)
        await self._measure(claims, busy, room, block)

    async def _measure(
        self, claims: Iterable[Measurement], busy: Collection[tuple[str, str]], room: int, block: int
    ) -> None:
        """Propose what was measured, last in line: never of what another proposal is about, this block's included."""
        open_ = {(each.proposal.entry, each.operation) for each in await self.store.all(*OPEN)}
        for each in claims:
            own, whole = (each.entry, each.operation), (each.entry, "")
            if room > 0 and own not in busy and not {own, whole} & open_:
                room -= await self._propose(each.claim, block)

    async def _found_false(self, block: int) -> set[tuple[str, str]]:
        """What we said wrongly, and not long ago."""
        found = await self.store.all("false")
        since = block - self.rules.false_within
        return {(each.proposal.entry, each.operation) for each in found if each.block > since}

    async def _propose(self, claim: Mapping[str, Any], block: int, *, wish: int | None = None) -> bool:
        """Write a proposal down; one that could never be applied is not made, and what led to it forgotten."""
        entry = self.ledger.view.entry(claim["entry"])
        try:
            proposal = proposal_of(claim, entry, proposer=self.signer.ss58_address, salt=self.salt())
            apply(entry, proposal, block=block)
            draft = Draft(proposal, "fixed", block)
            await self.store.add(draft, instead_of=wish)
        except (CannotApply, ValidationError, ValueError) as error:
            logger.warning("nothing is proposed about %s: %s", claim["entry"], str(error).partition("\n")[0])
            self.noticed.forget(claim["entry"], claim.get("operation", ""))
            if wish is not None:
                await self.store.forget(wish)
            return False
        self.noticed.measured.forget(draft.proposal.entry, draft.operation)
        logger.info("proposing a %s of %s %s", proposal.kind, proposal.entry, draft.digest)
        return True

    # what its escort asks

    @property
    def whose(self) -> str:
        return "our"

    def sent(self, draft: Draft, anchor: Anchor) -> SignedProposal:
        signature = sign(self.signer, proposal_payload(draft.proposal))
        return SignedProposal(proposal=draft.proposal, signature=signature, anchor=anchor)

    def is_over(self, draft: Draft, block: int) -> bool:
        return draft.state == "anchored" and block > draft.block + self.rules.expiry

    async def anchored(self, draft: Draft, anchor: Anchor, block: int) -> None:
        await self.store.move(draft.digest, "anchored", block=block, anchor=anchor)

    async def ended(self, draft: Draft, state: State, block: int, *, lost: int) -> None:
        """Whatever became of it, it takes new evidence to say it again."""
        await self.store.move(draft.digest, state, block=block)
        self.noticed.forget(draft.proposal.entry, draft.operation)
