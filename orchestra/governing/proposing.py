"""A node's proposals to the Ledger: drafted from what it noticed, fixed on chain, shown to the validators, remembered.

Everything is decided from rows and blocks, so a node that was stopped goes on where it was. A proposal is shown until
every validator took it or it is settled in the log; there is at most one at a time for one part of an entry.
"""

from __future__ import annotations

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
from orchestra.governing.drafts import OPEN, Draft, DraftStore
from orchestra.governing.noticing import Noticed
from orchestra.ledger_node import LedgerNode
from orchestra.peers import Peer, PeerFailed

logger = logging.getLogger(__name__)

_PROPOSAL: TypeAdapter[Proposal] = TypeAdapter(Proposal)
NO_BASE = "0x" + "00" * 32
TAKEN = ""
"""A validator's answer to a proposal that it took in hand; any other says why not."""


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

    async def on_block(self, members: Metagraph) -> None:
        """Draft, fix, anchor, show, settle."""
        block = members.block.number
        await self._draft(block)
        if not (open_ := await self.store.all(*OPEN)):
            return
        settled = {leaf.proposal: leaf for leaf in self.ledger.log if isinstance(leaf, Bond)}
        for draft in open_:
            if bond := settled.get(draft.digest):
                await self._settle(draft, bond, block)
            elif draft.state == "fixed":
                await self._anchor(draft, members)
            elif block > draft.block + self.rules.expiry:
                await self._move(draft, "expired", block)
            elif block > draft.block:
                await self._show(draft)

    # drafting

    async def _draft(self, block: int) -> None:
        view, busy = self.ledger.view, await self._busy(block)
        for drift in self.noticed.drifts(view):
            if (drift.entry, drift.operation) not in busy:
                await self._propose(
                    {
                        "kind": "schema_update",
                        "entry": drift.entry,
                        "operation": drift.operation,
                        "output_schema": drift.output_schema,
                        "response": drift.response,
                        "evidence": drift.evidence,
                    },
                    block,
                )
        for entry, evidence in self.noticed.dead(view).items():
            if (entry, "") not in busy:
                await self._propose({"kind": "deprecation", "entry": entry, "evidence": evidence}, block)
        for wish, claim in (await self.store.wishes()).items():
            await self._propose(claim, block, wish=wish)

    async def _busy(self, block: int) -> set[tuple[str, str]]:
        """Parts of entries that we do not propose about by ourselves now: one is open, or was found false lately (what
        we see then is not what validators see, and saying it again costs another bond).
        """
        lately = block - self.rules.false_within
        drafts = await self.store.all(*OPEN, "false", "expired")
        return {(each.proposal.entry, each.operation) for each in drafts if each.state in OPEN or each.block > lately}

    async def _propose(self, claim: Mapping[str, Any], block: int, *, wish: int | None = None) -> None:
        """Write a proposal down before its digest goes anywhere; one that could never be applied is not made."""
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
            if wish is not None:
                await self.store.forget(wish)
            return
        logger.info("proposing a %s of %s %s", proposal.kind, proposal.entry, draft.digest)

    # from the log to the chain to the validators

    async def _anchor(self, draft: Draft, members: Metagraph) -> None:
        """Fixed in our log, until the chain shows a root that covers it."""
        await self.slot.log.fix(draft.digest)
        shown = self.slot.shown(members)
        place = self.slot.log.place(draft.digest, shown.version) if shown else None
        if place is not None:
            anchor = Anchor(
                hotkey=self.signer.ss58_address, size=place.size, root=place.root, index=place.index, path=place.path
            )
            await self.store.move(draft.digest, "anchored", block=members.block.number, anchor=anchor)

    async def _show(self, draft: Draft) -> None:
        """Show it to every validator that has not taken it yet."""
        answers = self._answers.setdefault(draft.digest, {})
        missing = [peer for peer in self.validators() if answers.get(peer.hotkey) != TAKEN]
        if not missing or draft.anchor is None:
            return
        payload = proposal_payload(draft.proposal)
        sent = SignedProposal(proposal=draft.proposal, signature=sign(self.signer, payload), anchor=draft.anchor)
        for peer in missing:
            try:
                refused = await peer.governance(sent)
            except PeerFailed as error:
                logger.debug("%s did not take our proposal: %s", peer.hotkey, error)
                continue
            if refused != answers.get(peer.hotkey, TAKEN):
                logger.info("%s on our %s of %s: %s", peer.hotkey, draft.proposal.kind, draft.proposal.entry, refused)
            answers[peer.hotkey] = refused

    async def _settle(self, draft: Draft, bond: Bond, block: int) -> None:
        lost = f", {bond.lost} rao of the bond are lost" if bond.outcome == "false" else ""
        logger.info("our %s of %s: %s%s", draft.proposal.kind, draft.proposal.entry, bond.outcome, lost)
        await self._move(draft, bond.outcome, block)

    async def _move(self, draft: Draft, state: Any, block: int) -> None:
        await self.store.move(draft.digest, state, block=block)
        self._answers.pop(draft.digest, None)


def _on_base(proposal: Proposal, entry: SubnetEntry | None) -> Proposal:
    """The proposal with the digest of what it replaces, as the entry has it now. Raises CannotApply."""
    base = base_of(entry, proposal)
    return proposal if base is None else proposal.model_copy(update={"base": base})
