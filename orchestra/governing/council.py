"""One validator's seat in the council that governs the Ledger: it carries out what its state machine asks for.

In this order, because a restart may come anywhere: changes are in the log before the state that knows of them is kept,
and the state is kept before a vote, a signature or a probe that follows from it leaves. One thing goes into the machine
at a time, and what follows is carried out whole, also when whoever brought it has gone away; where that fails the node
ends, because its memory is ahead of its disk. What is sent and probed runs beside it: losing any of it costs time and
nothing else, and no peer and no proposal can hold up or end the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from ledger.changes import Change
from ledger.entry import Metrics
from ledger.governance.book import Book
from ledger.governance.chain import Block, Member
from ledger.governance.effects import Effects, Fetch, Probe, Send
from ledger.governance.judging import Seen
from ledger.governance.machine import Governor
from ledger.governance.rules import Rules
from ledger.statements import Message
from ledger.store import LedgerConflict
from ledger.types import Signer, Verify
from orchestra.anchoring import ChainSlot
from orchestra.chain.errors import ChainRejected
from orchestra.chain.types import BlockRef, Metagraph
from orchestra.governing.store import GovernorStore
from orchestra.ledger_node import LedgerNode, LedgerRefused, leaves_between
from orchestra.peers import Peer, PeerFailed

logger = logging.getLogger(__name__)

MOST_BEHIND = 200
"""Blocks that are read after a pause; nodes forget the state of older ones."""

MOST_SENDS = 16
MOST_WAITING = 16
"""Messages that wait for one peer; further ones are lost, and what matters is sent again."""

MOST_PROBES = 2
STARTING = "not ready: this node starts or stops"

Judge = Callable[[Probe], Awaitable[tuple[Seen, Metrics | None]]]
"""Tries what a proposal says against the live subnet. It never raises for what a subnet does."""


class CouncilChain(Protocol):
    """The chain as far as the council needs it."""

    async def finalized(self) -> BlockRef: ...

    async def metagraph(self, netuid: int, *, block: int | None = None) -> Metagraph: ...

    async def owners(self, *, block: int) -> dict[int, str]: ...


@dataclass(slots=True)
class Council:
    """One seat. `peer` finds a validator by hotkey, `judge` makes probes; `run` keeps what runs beside the blocks."""

    governor: Governor
    rules: Rules
    store: GovernorStore
    ledger: LedgerNode
    chain: CouncilChain
    netuid: int
    slot: ChainSlot
    peer: Callable[[str], Peer | None]
    judge: Judge
    _group: asyncio.TaskGroup | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _sending: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_SENDS))
    _probing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_PROBES))
    _waiting: Counter[str] = field(default_factory=Counter[str])
    _lanes: dict[str, asyncio.Lock] = field(default_factory=dict[str, asyncio.Lock])
    _probed: set[str] = field(default_factory=set[str])
    _fetching: bool = False
    _diverged: bool = False
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    async def open(
        cls,
        *,
        signer: Signer,
        verify: Verify,
        rules: Rules,
        store: GovernorStore,
        ledger: LedgerNode,
        chain: CouncilChain,
        netuid: int,
        slot: ChainSlot,
        peer: Callable[[str], Peer | None],
        judge: Judge,
    ) -> Council:
        """Take the seat where it was left: the machine's state from `store`, the log from `ledger`."""
        book = await asyncio.to_thread(Book.of, rules, ledger.log)
        governor = Governor(signer, verify, rules, book, await store.read())
        council = cls(governor, rules, store, ledger, chain, netuid, slot, peer, judge)
        council._show_vote()
        return council

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, which calls `on_block`, with a place for everything that runs beside it."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await work
            finally:
                self._group = None

    async def on_block(self) -> bool:
        """Take in every finalised block since the last one; is this node where the others are? Never outside `run`.

        Raises:
            orchestra.chain.ChainError: the chain cannot be read; the same blocks come again.
        """
        if self._group is None:
            return False
        async with self._reading:
            await self._read_on()
        if self.governor.has_diverged and not self._diverged:
            logger.error("the validators agree on a Ledger that this node's is no beginning of: start from a copy")
        self._diverged = self.governor.has_diverged
        return self.governor.is_sure

    async def _read_on(self) -> None:
        newest = (await self.chain.finalized()).number
        first = max(self._next_block(newest), newest - MOST_BEHIND)
        for number in range(first, newest + 1):
            try:
                block = await self._read(number)
            except ChainRejected as error:
                logger.warning("block %d cannot be read any more (%s)", number, error.code)
                continue
            await self._step(partial(self.governor.on_block, block, head=newest))

    def _next_block(self, newest: int) -> int:
        """After the last one; at the very first start the window's first, where permits and stakes are frozen: without
        it nothing that is anchored in this window could ever be judged here.
        """
        last = self.governor.last_block
        return last + 1 if last >= 0 else self.rules.start(self.rules.window_of(newest))

    async def on_message(self, message: Message, sender: str) -> str:
        """A message that the transport has authenticated; returns why it was refused, nothing when it was taken."""
        return (await self._step(partial(self._heard, message, sender))).refused

    def _heard(self, message: Message, sender: str) -> Effects:
        try:
            return self.governor.on_message(message, sender)
        except Exception:  # the one place where a hostile message could otherwise end the validator
            logger.exception("a %s of %s could not be read", type(message).__name__, sender)
            return Effects(refused="this cannot be read")

    async def _step(self, take: Callable[[], Effects]) -> Effects:
        """One thing for the machine and all that follows from it, to its end."""
        if self._group is None:
            return Effects(refused=STARTING)
        return await asyncio.shield(self._group.create_task(self._stepped(take)))

    async def _stepped(self, take: Callable[[], Effects]) -> Effects:
        async with self._lock:
            effects = await asyncio.to_thread(take)  # a batch is hundreds of signatures
            await self._carry_out(effects)
            return effects

    async def _read(self, number: int) -> Block:
        graph = await self.chain.metagraph(self.netuid, block=number)
        envelopes = {each.hotkey: each.commitment for each in graph.neurons if each.commitment}
        if number % self.rules.window:
            return Block(number, graph.block.hash, envelopes)
        members = tuple(Member(each.hotkey, each.coldkey, each.stake_rao, each.permit) for each in graph.neurons)
        return Block(number, graph.block.hash, envelopes, members, await self.chain.owners(block=number))

    # what the machine asks for

    async def _carry_out(self, effects: Effects) -> None:
        if effects.changes:
            await self._append(effects.onto, effects.changes)
        if effects.persist:
            await self.store.keep(await asyncio.to_thread(self.governor.dump))
        self._show_vote()
        for proof in effects.accused:
            logger.warning("%s signed two things where it may sign one: %s", proof.culprit, proof.model_dump_json())
        if self._group is not None:
            self._beside(self._group, effects)

    def _beside(self, group: asyncio.TaskGroup, effects: Effects) -> None:
        for send in effects.sends:
            if self._waiting[send.to] < MOST_WAITING:
                self._waiting[send.to] += 1
                group.create_task(self._send(send))
        for probe in effects.probes:
            if probe.sent.digest not in self._probed:
                self._probed.add(probe.sent.digest)
                group.create_task(self._probe(probe))
        if effects.fetch is not None and not self._fetching:
            self._fetching = True
            group.create_task(self._fetch(effects.fetch))

    async def _append(self, onto: int, changes: tuple[Change, ...]) -> None:
        """Append a final batch; what a stop before the state was kept has appended already is left as it is.

        Raises:
            ledger.store.LedgerConflict: the log is not the one that was governed.
        """
        size = self.ledger.view.size
        if not onto <= size <= onto + len(changes):
            raise LedgerConflict(f"the log holds {size} changes, what is final goes onto {onto}")
        fresh = changes[size - onto :]
        if fresh:
            view = await self.ledger.commit(fresh, block=self.governor.last_block)
            logger.info("the Ledger is now %s", view.version)

    def _show_vote(self) -> None:
        """The vote goes out with the next envelope, and stays there until there is another."""
        vote = self.governor.vote
        self.slot.vote = f"{vote.window}:{vote.batch}" if vote else ""

    async def _send(self, send: Send) -> None:
        """One message at a time for each peer, so that one that hangs takes one place of all."""
        try:
            async with self._lanes.setdefault(send.to, asyncio.Lock()), self._sending:
                await self._send_now(send)
        finally:
            self._waiting[send.to] -= 1
            if not self._waiting[send.to]:
                del self._waiting[send.to], self._lanes[send.to]

    async def _send_now(self, send: Send) -> None:
        peer, kind = self.peer(send.to), type(send.message).__name__
        if peer is None:
            return
        try:
            refused = await peer.governance(send.message)
        except PeerFailed as error:
            logger.debug("%s to %s: %s", kind, send.to, error)
        else:
            logger.debug("%s to %s: %s", kind, send.to, refused or "taken")

    async def _probe(self, probe: Probe) -> None:
        """One probe at a time of each proposal, however often it is asked for."""
        digest = probe.sent.digest
        try:
            async with self._probing:
                seen, measured = await self._judged(probe)
        finally:
            self._probed.discard(digest)
        about = f"{probe.sent.about} of {probe.sent.proposal.entry}/{probe.sent.operation}"
        logger.info("probed the proposed %s: %s", about, seen)
        await self._step(partial(self.governor.on_report, digest, seen, measured))

    async def _judged(self, probe: Probe) -> tuple[Seen, Metrics | None]:
        try:
            return await self.judge(probe)
        except Exception:  # the one place where a hostile proposal could otherwise end the validator
            logger.exception("judging the proposal %s failed; it says nothing of it", probe.sent.digest)
            return "unable", None

    async def _fetch(self, fetch: Fetch) -> None:
        """Get the leaves that this node missed, from the first who has them all."""
        try:
            for hotkey in fetch.peers:
                peer = self.peer(hotkey)
                changes = await self._leaves(peer, fetch) if peer else None
                if changes is None:
                    continue
                effects = await self._step(partial(self.governor.on_log, changes))
                if not effects.refused:
                    return
        finally:
            self._fetching = False

    async def _leaves(self, peer: Peer, fetch: Fetch) -> list[Change] | None:
        try:
            return await leaves_between(peer, fetch.since, int(fetch.version.partition(":")[0]))
        except (PeerFailed, LedgerRefused) as error:
            logger.debug("no leaves from %s: %s", peer.hotkey, error)
            return None
