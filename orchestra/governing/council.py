"""One validator's seat in the council that governs the Ledger: it carries out what its state machine asks for.

In this order, because a restart may come anywhere: changes are in the log before the state that knows of them is kept,
and the state is kept before a vote, a signature or a probe that follows from it leaves. One thing goes into the machine
at a time; what is sent and probed runs beside it, and losing any of it costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
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
from ledger.types import Signer, Verify
from orchestra.anchoring import ChainSlot
from orchestra.chain.errors import ChainRejected
from orchestra.chain.types import BlockRef, Metagraph
from orchestra.governing.store import GovernorStore
from orchestra.ledger_node import LedgerNode
from orchestra.peers import Peer, PeerFailed

logger = logging.getLogger(__name__)

MOST_BEHIND = 200
"""Blocks that are read after a pause; nodes forget the state of older ones."""

MOST_SENDS = 16
MOST_PROBES = 2

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
    _fetching: bool = False
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
        """Take in every finalised block since the last one; is this node where the others are?

        Raises:
            orchestra.chain.ChainError: the chain cannot be read; the same blocks come again.
        """
        async with self._reading:
            await self._read_on()
        return self.governor.is_sure

    async def _read_on(self) -> None:
        newest = (await self.chain.finalized()).number
        first = max(self.governor.last_block + 1, newest - MOST_BEHIND) if self.governor.last_block >= 0 else newest
        for number in range(first, newest + 1):
            try:
                block = await self._read(number)
            except ChainRejected as error:
                logger.warning("block %d cannot be read any more (%s)", number, error.code)
                continue
            async with self._lock:
                await self._carry_out(self.governor.on_block(block))

    async def on_message(self, message: Message, sender: str) -> str:
        """A message that the transport has authenticated; returns why it was refused, nothing when it was taken."""
        async with self._lock:
            effects = self.governor.on_message(message, sender)
            await self._carry_out(effects)
            return effects.refused

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
            await self.store.keep(self.governor.dump())
        self._show_vote()
        for proof in effects.accused:
            logger.warning("%s signed two things where it may sign one: %s", proof.culprit, proof.model_dump_json())
        for send in effects.sends:
            self._beside(self._send(send))
        for probe in effects.probes:
            self._beside(self._probe(probe))
        if effects.fetch is not None and not self._fetching:
            self._fetching = True
            self._beside(self._fetch(effects.fetch))

    async def _append(self, onto: int, changes: tuple[Change, ...]) -> None:
        """Append a final batch; what a stop before the state was kept has appended already is left as it is."""
        fresh = changes[self.ledger.view.size - onto :]
        if fresh:
            view = await self.ledger.commit(fresh, block=self.governor.last_block)
            logger.info("the Ledger is now %s", view.version)

    def _show_vote(self) -> None:
        """The vote goes out with the next envelope, and stays there until there is another."""
        vote = self.governor.vote
        self.slot.vote = f"{vote.window}:{vote.batch}" if vote else ""

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
        else:
            self._group.create_task(work)

    async def _send(self, send: Send) -> None:
        peer = self.peer(send.to)
        if peer is None:
            return
        async with self._sending:
            try:
                refused = await peer.governance(send.message)
            except PeerFailed as error:
                logger.debug("%s to %s: %s", type(send.message).__name__, send.to, error)
                return
        if refused:
            logger.debug("%s to %s was refused: %s", type(send.message).__name__, send.to, refused)

    async def _probe(self, probe: Probe) -> None:
        async with self._probing:
            seen, measured = await self.judge(probe)
        about = f"{probe.sent.about} of {probe.sent.proposal.entry}/{probe.sent.operation}"
        logger.info("probed the proposed %s: %s", about, seen)
        async with self._lock:
            await self._carry_out(self.governor.on_report(probe.sent.digest, seen, measured))

    async def _fetch(self, fetch: Fetch) -> None:
        """Get the leaves that this node missed, from the first who has them all."""
        try:
            for hotkey in fetch.peers:
                peer = self.peer(hotkey)
                changes = await self._leaves(peer, fetch) if peer else None
                if changes is None:
                    continue
                async with self._lock:
                    effects = self.governor.on_log(changes)
                    await self._carry_out(effects)
                if not effects.refused:
                    return
        finally:
            self._fetching = False

    async def _leaves(self, peer: Peer, fetch: Fetch) -> tuple[Change, ...] | None:
        upto, found = int(fetch.version.partition(":")[0]), list[Change]()
        while fetch.since + len(found) < upto:
            try:
                message = await peer.changes_since(fetch.since + len(found))
            except PeerFailed as error:
                logger.debug("no leaves from %s: %s", peer.hotkey, error)
                return None
            if not message.leaves:
                return None
            found += [leaf.body for leaf in message.leaves]
        return tuple(found[: upto - fetch.since])
