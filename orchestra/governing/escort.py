"""What a proposal goes through once it is written down, whoever made it: fixed in a hotkey's log, anchored on chain,
shown to the validators, settled by the log.

Everything is decided from rows and blocks, so a node that was stopped goes on where it was. A proposal is shown until
every validator took it or it is settled. A validator that does not answer holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ledger.applying import CannotApply, apply
from ledger.changes import Bond
from ledger.governance.rules import Rules
from ledger.proposals import Anchor, Proposal, SignedProposal
from orchestra.anchoring import ChainSlot
from orchestra.chain.types import Metagraph
from orchestra.governing.drafts import Draft, State
from orchestra.ledger_node import LedgerNode
from orchestra.peers import PeerFailed

logger = logging.getLogger(__name__)

TAKEN = ""
"""A validator's answer to a proposal that it took in hand; any other says why not."""

MOST_SHOWN_AT_ONCE = 16


class Hears(Protocol):
    """A validator as far as proposals are shown to it. Raises PeerFailed: no answer."""

    @property
    def hotkey(self) -> str: ...

    async def governance(self, body: SignedProposal, /) -> str: ...


D = TypeVar("D", bound=Draft)
D_contra = TypeVar("D_contra", bound=Draft, contravariant=True)


class Keeper(Protocol[D_contra]):
    """Whose proposals they are: what it shows, and where it writes down how far each has come."""

    @property
    def whose(self) -> str: ...

    def sent(self, draft: D_contra, anchor: Anchor) -> SignedProposal: ...

    def is_over(self, draft: D_contra, block: int) -> bool: ...

    async def anchored(self, draft: D_contra, anchor: Anchor, block: int) -> None: ...

    async def ended(self, draft: D_contra, state: State, block: int, *, lost: int) -> None: ...


@dataclass(slots=True)
class Escort(Generic[D]):
    """Escorts the proposals that one hotkey anchors. `validators` gives those that serve now."""

    keeper: Keeper[D]
    rules: Rules
    ledger: LedgerNode
    slot: ChainSlot
    validators: Callable[[], Iterable[Hears]]
    _answers: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _resting: dict[str, int] = field(default_factory=dict[str, int])
    _read: int = 0
    _known: set[str] = field(default_factory=set[str])

    async def on_block(self, open_: Sequence[D], members: Metagraph) -> None:
        """All that a block asks for of the proposals that are open."""
        block = members.block.number
        bonds = self._bonds({each.digest for each in open_})
        shown: list[SignedProposal] = []
        for draft in open_:
            if bond := bonds.get(draft.digest):
                await self._settle(draft, bond, block)
            elif self.keeper.is_over(draft, block):
                await self._end(draft, "expired", block)
            elif draft.anchor is None:
                await self._anchor(draft, members)
            elif block > draft.block:
                shown.append(self.keeper.sent(draft, draft.anchor))
        if shown:
            await self._show(shown, block)

    def answers(self, digest: str) -> Sequence[str]:
        """What validators last said of a proposal, in no order."""
        return tuple(self._answers.get(digest, {}).values())

    def _bonds(self, open_: set[str]) -> dict[str, Bond]:
        """What the log says of these: in the leaves since the last block, or in all of them for one that is new."""
        log, since = self.ledger.log, self._read if open_ <= self._known else 0
        self._read, self._known = len(log), open_
        return {leaf.proposal: leaf for leaf in log[since:] if isinstance(leaf, Bond) and leaf.proposal in open_}

    async def _anchor(self, draft: D, members: Metagraph) -> None:
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
            hotkey = self.slot.signer.ss58_address
            anchor = Anchor(hotkey=hotkey, size=place.size, root=place.root, index=place.index, path=place.path)
            await self.keeper.anchored(draft, anchor, block)

    def _applies(self, proposal: Proposal, block: int) -> bool:
        try:
            apply(self.ledger.view.entry(proposal.entry), proposal, block=block)
        except CannotApply:
            return False
        return True

    async def _show(self, shown: Iterable[SignedProposal], block: int) -> None:
        """Show each to every validator that has not taken it yet, all at once; who does not answer is left alone for
        some blocks.
        """
        places, peers = asyncio.Semaphore(MOST_SHOWN_AT_ONCE), list(self.validators())
        async with asyncio.TaskGroup() as group:
            for sent in shown:
                answers = self._answers.setdefault(sent.digest, {})
                for peer in peers:
                    if answers.get(peer.hotkey) != TAKEN and self._resting.get(peer.hotkey, -1) < block:
                        group.create_task(self._show_to(peer, sent, answers, places, block))

    async def _show_to(
        self, peer: Hears, sent: SignedProposal, answers: dict[str, str], places: asyncio.Semaphore, block: int
    ) -> None:
        async with places:
            try:
                refused = await peer.governance(sent)
            except PeerFailed as error:
                logger.debug("%s did not take %s proposal: %s", peer.hotkey, self.keeper.whose, error)
                self._resting[peer.hotkey] = block + self.rules.resend
                return
        self._resting.pop(peer.hotkey, None)
        if refused != answers.get(peer.hotkey, TAKEN):
            whose, proposal = self.keeper.whose, sent.proposal
            logger.info("%s on %s %s of %s: %s", peer.hotkey, whose, proposal.kind, proposal.entry, refused)
        answers[peer.hotkey] = refused

    async def _settle(self, draft: D, bond: Bond, block: int) -> None:
        lost = f", {bond.lost} rao of the bond are lost" if bond.outcome == "false" else ""
        whose, proposal = self.keeper.whose, draft.proposal
        logger.info("%s %s of %s: %s%s", whose, proposal.kind, proposal.entry, bond.outcome, lost)
        await self._end(draft, bond.outcome, block, lost=int(bond.lost))

    async def _end(self, draft: D, state: State, block: int, *, lost: int = 0) -> None:
        await self.keeper.ended(draft, state, block, lost=lost)
        self._answers.pop(draft.digest, None)
