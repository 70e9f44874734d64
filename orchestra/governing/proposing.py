"""A node's proposals to the Ledger: drafted from what it noticed, fixed on chain, shown to the validators, remembered.

Everything is decided from rows and blocks, so a node that was stopped goes on where it was. A proposal is shown until
every validator took it or it is settled in the log; there is at most one at a time for one part of an entry, and what
was found false is not said again for as long as that counts. A validator that does not answer holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ledger.applying import CannotApply, apply, base_of
from ledger.changes import Bond
from ledger.entry import SubnetEntry
from ledger.governance.rules import Rules
from ledger.proposals import Anchor, Proposal, SignedProposal, proposal_payload, sign
from ledger.types import Signer
from orchestra.anchoring import ChainSlot
from orchestra.chain.types import Metagraph
from orchestra.governing.drafts import OPEN, Draft, DraftStore, State
from orchestra.governing.noticing import Noticed
from orchestra.ledger_node import LedgerNode
from orchestra.peers import Peer, PeerFailed

logger = logging.getLogger(__name__)

_PROPOSAL: TypeAdapter[Proposal] = TypeAdapter(Proposal)
NO_BASE = "0x" + "00" * 32
TAKEN = ""
"""A validator's answer to a proposal that it took in hand; any other says why not."""

MOST_SHOWN_AT_ONCE = 16


@dataclass(slots=True)
class Proposer:
    """One node's. `validators` gives those that serve now; `on_block` does all that a block asks for."""

    signer: Signer
    rules: Rules
    ledger: LedgerNode
    slot: ChainSlot
    store: DraftStore
    validators: Callable[[], Iterable[Peer]]
    noticed: Noticed = field(default_factory=Noticed)
    salt: Callable[[], bytes] = lambda: secrets.token_bytes(32)
    _answers: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _resting: dict[str, int] = field(default_factory=dict[str, int])
    _read: int = 0

    async def on_block(self, members: Metagraph) -> None:
        """Draft, fix, anchor, show, settle."""
        block = members.block.number
        await self._draft(block)
        open_ = await self.store.all(*OPEN)
        bonds = self._bonds({each.digest for each in open_})
        shown: list[Draft] = []
        for draft in open_:
            if bond := bonds.get(draft.digest):
                await self._settle(draft, bond, block)
            elif draft.state == "fixed":
                await self._anchor(draft, members)
            elif block > draft.block + self.rules.expiry:
                await self._end(draft, "expired", block)
            elif block > draft.block:
                shown.append(draft)
        if shown:
            await self._show(shown, block)

    def _bonds(self, open_: set[str]) -> dict[str, Bond]:
        """What the leaves that are new since the last block say of our proposals."""
        log, since = self.ledger.log, self._read
        self._read = len(log)
        return {leaf.proposal: leaf for leaf in log[since:] if isinstance(leaf, Bond) and leaf.proposal in open_}

    # drafting

    async def _draft(self, block: int) -> None:
        view, open_ = self.ledger.view, await self.store.all(*OPEN)
        busy = {(each.proposal.entry, each.operation) for each in open_}
        drifts = await self.noticed.drifts(view, but=busy)
        dead = self.noticed.dead(view, block=block, patience=self.rules.tempo // 2)
        wishes = await self.store.wishes()
        if not (drifts or dead or wishes):
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

    async def _found_false(self, block: int) -> set[tuple[str, str]]:
        """What we said wrongly, and not long ago."""
        found = await self.store.all("false")
        since = block - self.rules.false_within
        return {(each.proposal.entry, each.operation) for each in found if each.block > since}

    async def _propose(self, claim: Mapping[str, Any], block: int, *, wish: int | None = None) -> bool:
        """Write a proposal down; one that could never be applied is not made, and what led to it forgotten."""
        entry = self.ledger.view.entry(claim["entry"])
        ours: dict[str, Any] = {"proposer": self.signer.ss58_address, "salt": "0x" + self.salt().hex()}
        if claim["kind"] != "new_subnet":
            ours["base"] = NO_BASE
        try:
            proposal = _on_base(_PROPOSAL.validate_python({**claim, **ours}), entry)
            apply(entry, proposal, block=block)
            draft = Draft(proposal, "fixed", block)
            await self.store.add(draft, instead_of=wish)
        except (CannotApply, ValidationError, ValueError) as error:
            logger.warning("nothing is proposed about %s: %s", claim["entry"], str(error).partition("\n")[0])
            self.noticed.forget(claim["entry"], claim.get("operation", ""))
            if wish is not None:
                await self.store.forget(wish)
            return False
        logger.info("proposing a %s of %s %s", proposal.kind, proposal.entry, draft.digest)
        return True

    # from the log to the chain to the validators

    async def _anchor(self, draft: Draft, members: Metagraph) -> None:
        """Fixed in our log, until the chain shows a root that covers it; dropped when the Ledger has moved on before
        anybody heard of it.
        """
        block = members.block.number
        if not self._applies(draft.proposal, block):
            await self._end(draft, "expired", block)
            return
        await self.slot.log.fix(draft.digest)
        shown = self.slot.shown(members)
        place = self.slot.log.place(draft.digest, shown.version) if shown else None
        if place is not None:
            anchor = Anchor(
                hotkey=self.signer.ss58_address, size=place.size, root=place.root, index=place.index, path=place.path
            )
            await self.store.move(draft.digest, "anchored", block=block, anchor=anchor)

    def _applies(self, proposal: Proposal, block: int) -> bool:
        try:
            apply(self.ledger.view.entry(proposal.entry), proposal, block=block)
        except CannotApply:
            return False
        return True

    async def _show(self, drafts: list[Draft], block: int) -> None:
        """Show each to every validator that has not taken it yet, all at once; who does not answer is left alone for
        some blocks.
        """
        places, peers = asyncio.Semaphore(MOST_SHOWN_AT_ONCE), list(self.validators())
        async with asyncio.TaskGroup() as group:
            for draft in drafts:
                if draft.anchor is None:
                    continue
                payload = proposal_payload(draft.proposal)
                signature = sign(self.signer, payload)
                sent = SignedProposal(proposal=draft.proposal, signature=signature, anchor=draft.anchor)
                answers = self._answers.setdefault(draft.digest, {})
                for peer in peers:
                    if answers.get(peer.hotkey) != TAKEN and self._resting.get(peer.hotkey, -1) < block:
                        group.create_task(self._show_to(peer, sent, answers, places, block))

    async def _show_to(
        self, peer: Peer, sent: SignedProposal, answers: dict[str, str], places: asyncio.Semaphore, block: int
    ) -> None:
        async with places:
            try:
                refused = await peer.governance(sent)
            except PeerFailed as error:
                logger.debug("%s did not take our proposal: %s", peer.hotkey, error)
                self._resting[peer.hotkey] = block + self.rules.resend
                return
        self._resting.pop(peer.hotkey, None)
        if refused != answers.get(peer.hotkey, TAKEN):
            logger.info("%s on our %s of %s: %s", peer.hotkey, sent.about, sent.proposal.entry, refused)
        answers[peer.hotkey] = refused

    async def _settle(self, draft: Draft, bond: Bond, block: int) -> None:
        lost = f", {bond.lost} rao of the bond are lost" if bond.outcome == "false" else ""
        logger.info("our %s of %s: %s%s", draft.proposal.kind, draft.proposal.entry, bond.outcome, lost)
        await self._end(draft, bond.outcome, block)

    async def _end(self, draft: Draft, state: State, block: int) -> None:
        """Whatever became of it, it takes new evidence to say it again."""
        await self.store.move(draft.digest, state, block=block)
        self.noticed.forget(draft.proposal.entry, draft.operation)
        self._answers.pop(draft.digest, None)


def _on_base(proposal: Proposal, entry: SubnetEntry | None) -> Proposal:
    """The proposal with the digest of what it replaces, as the entry has it now. Raises CannotApply."""
    base = base_of(entry, proposal)
    return proposal if base is None else proposal.model_copy(update={"base": base})
