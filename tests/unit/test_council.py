"""Seats in a council: what the state machine asks for is done in its order, through stops, hostile messages and peers
that are away; and several seats with real keys, stores and logs agree about a real proposal.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.applying import base_of
from ledger.canonical import sha256
from ledger.changes import BatchHeader, Bond
from ledger.database import sqlite_url
from ledger.entry import Metrics
from ledger.governance.effects import Effects, Fetch, Probe, Send
from ledger.governance.judging import Seen
from ledger.governance.progress import Progress
from ledger.governance.rules import Rules
from ledger.proposals import Anchor, SchemaUpdate, SignedProposal, proposal_payload, sign
from ledger.statements import BatchRequest, FinalsRequest
from ledger.store import LedgerConflict
from orchestra.anchoring import ChainSlot, OwnLog
from orchestra.chain import dev_signer, verify_signature
from orchestra.chain.errors import ChainRejected, ChainUnreachable
from orchestra.governing.council import MOST_PROBES, MOST_WAITING, STARTING, Council
from orchestra.governing.drafts import DraftStore
from orchestra.governing.noticing import Noticed
from orchestra.governing.proposing import Proposer
from orchestra.governing.store import GovernorStore
from orchestra.ledger_node import LedgerNode
from orchestra.peers import PeerFailed
from orchestra.protocol import GovernanceMessage, LedgerChanges
from tests.builders import entry, operation
from tests.fakes.council import NETUID, BlockChain, FakePeer

RULES = Rules.for_tempo(10)
VALIDATORS = [dev_signer(f"//v{number}") for number in range(4)]
MINER = dev_signer("//miner")
NAMES = [each.ss58_address for each in VALIDATORS]
SEED = (
    entry("alpha", netuid=1, operations=(operation(output_schema={"type": "object", "required": ["data"]}),)),
    entry("beta", netuid=2),
)
MOVED = json.dumps({"hits": [{"title": "T", "url": "u", "snippet": "S"}]}).encode()
SCHEMA = {"type": "object", "properties": {"hits": {"type": "array"}}}


class Seat:
    """One validator's folder and what it is to others; `up` between start and stop."""

    def __init__(self, network: Network, number: int) -> None:
        self.network, self.signer = network, VALIDATORS[number]
        self.hotkey = self.signer.ss58_address
        self.folder = network.folder / f"v{number}"
        self.folder.mkdir()
        self.peer = FakePeer(self.hotkey, None, self.leaves)
        self.seen: Seen | Exception = "holds"
        self.probes: list[Probe] = []
        self.stack = AsyncExitStack()
        self.is_up = False

    async def judge(self, probe: Probe) -> tuple[Seen, Metrics | None]:
        self.probes.append(probe)
        if isinstance(self.seen, Exception):
            raise self.seen
        return self.seen, None

    async def start(self) -> None:
        def url(name: str) -> str:
            return sqlite_url(self.folder / f"{name}.sqlite")

        self.stack = AsyncExitStack()
        own = await self.stack.enter_async_context(await OwnLog.open(url("own")))
        self.store = await self.stack.enter_async_context(await GovernorStore.open(url("governance")))
        self.ledger = await LedgerNode.open(url("ledger"), seed=SEED)
        self.stack.push_async_callback(self.ledger.close)
        self.slot = ChainSlot(own, self.network.chain, self.signer, NETUID)
        self.council = await Council.open(
            signer=self.signer,
            verify=verify_signature,
            rules=RULES,
            store=self.store,
            ledger=self.ledger,
            chain=self.network.chain,
            netuid=NETUID,
            slot=self.slot,
            peer=lambda hotkey: self.network.peer(self.hotkey, hotkey),  # type: ignore[return-value, arg-type]
            judge=self.judge,
        )
        self.task = asyncio.create_task(self.council.run(_for_ever()))
        await asyncio.sleep(0)
        self.is_up = True

    async def stop(self) -> None:
        """As SIGTERM does: whatever is under way is cancelled."""
        self.is_up = False
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.stack.aclose()

    async def leaves(self, size: int) -> LedgerChanges:
        return self.ledger.changes_since(size, self.signer)

    @property
    def is_busy(self) -> bool:
        council = self.council
        return bool(council._waiting or council._probed or council._fetching or council._lock.locked())


async def _for_ever() -> None:
    await asyncio.Event().wait()


class Network:
    """Seats, a miner, and the wire between them: every message is written out and read again."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        stakes = dict.fromkeys(NAMES[:size], 10) | {MINER.ss58_address: 0}
        self.chain = BlockChain.of(stakes, tempo=10)
        self.seats = [Seat(self, number) for number in range(size)]

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Network]:
        for seat in self.seats:
            await seat.start()
        try:
            yield self
        finally:
            for seat in self.seats:
                if seat.is_up:
                    await seat.stop()

    def peer(self, sender: str, hotkey: str) -> FakePeer | None:
        seat = next((each for each in self.seats if each.hotkey == hotkey), None)
        if seat is None:
            return None

        async def takes(body: Any) -> str:
            message = GovernanceMessage.from_wire(GovernanceMessage(body=body).to_wire())
            seat.peer.heard.append(message.body)
            return await seat.council.on_message(message.body, sender)

        return FakePeer(hotkey, takes, seat.peer.leaves, away=seat.peer.away or not seat.is_up)

    async def block(self, number: int = 1) -> None:
        for _ in range(number):
            members = self.chain.at(self.chain.mint())
            for seat in self.seats:
                if seat.is_up:
                    await seat.council.on_block()
                    await seat.slot.keep(members)
            await self.quiet()

    async def quiet(self) -> None:
        """Until nothing is on its way and nothing is being judged."""
        calm = 0
        while calm < 3:
            calm = 0 if any(seat.is_busy for seat in self.seats if seat.is_up) else calm + 1
            await asyncio.sleep(0.001)

    @property
    def versions(self) -> set[str]:
        return {seat.ledger.view.version for seat in self.seats if seat.is_up}


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Network]:
    async with Network(tmp_path, 3).up() as network:
        yield network


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Network]:
    async with Network(tmp_path, 1).up() as network:
        yield network


async def propose(network: Network, **parts: Any) -> SignedProposal:
    """A miner's proposal, anchored in the next block."""
    parts = parts or {"output_schema": SCHEMA, "response": "{results: hits[].{url: url}}"}
    common: dict[str, Any] = {"proposer": MINER.ss58_address, "entry": "alpha", "operation": "web_search"}
    made = SchemaUpdate(**common, salt=sha256(repr(parts).encode()), base=sha256(b""), **parts)
    made = made.model_copy(update={"base": base_of(SEED[0], made)})
    payload = proposal_payload(made)
    async with await OwnLog.open(sqlite_url(network.folder / f"{sha256(payload)}.sqlite")) as log:
        await log.fix(sha256(payload))
        place = log.place(sha256(payload))
        assert place is not None
        await network.chain.commit(MINER, NETUID, f"o1|{log.version}|")
    anchor = Anchor(hotkey=MINER.ss58_address, size=1, root=place.root, index=0)
    return SignedProposal(proposal=made, signature=sign(MINER, payload), anchor=anchor)


async def show(network: Network, sent: SignedProposal) -> list[str]:
    seats = [seat for seat in network.seats if seat.is_up]
    return [await seat.council.on_message(sent, MINER.ss58_address) for seat in seats]


# together


async def test_from_a_miners_strange_answer_to_one_ledger_everywhere(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(Network(tmp_path, 4).up())
        network.seats[3].seen = "differs"
        own = await stack.enter_async_context(await OwnLog.open(sqlite_url(tmp_path / "own.sqlite")))
        drafts = await stack.enter_async_context(await DraftStore.open(sqlite_url(tmp_path / "drafts.sqlite")))
        copy = await LedgerNode.open(sqlite_url(tmp_path / "copy.sqlite"), seed=SEED)
        stack.push_async_callback(copy.close)
        slot = ChainSlot(own, network.chain, MINER, NETUID)
        noticed = Noticed()
        peers = [network.peer(MINER.ss58_address, name) for name in NAMES]
        proposer = Proposer(MINER, RULES, copy, slot, drafts, lambda: peers, noticed)  # type: ignore[arg-type, return-value]
        await network.block(RULES.window)
        noticed.answered("alpha", "web_search", MOVED, {})
        for _ in range(4 * RULES.window):
            await network.block()
            await copy.commit(network.seats[0].ledger.log[copy.view.size :], block=0)
            members = network.chain.at(len(network.chain.blocks) - 1)
            await proposer.on_block(members)
            await slot.keep(members)
        (draft,) = await drafts.all()
        assert draft.state == "accepted"
        assert len(network.versions) == 1
        for seat in network.seats:
            log = seat.ledger.log
            assert [type(each) for each in log[len(SEED) :]] == [BatchHeader, Bond, type(SEED[0])]
            found = seat.ledger.view.operation("alpha", "web_search")
            assert found is not None
            assert found.operation.response == "{results: hits[*].{title: title, url: url, snippet: snippet}}"
            assert seat.council.governor.is_sure
            assert not seat.council.governor.accused
            assert len(seat.probes) == 1


async def test_a_false_proposal_costs_half_the_bond_and_changes_nothing(three: Network) -> None:
    for seat in three.seats:
        seat.seen = "differs"
    await three.block(RULES.window)
    sent = await propose(three)
    await three.block()
    assert await show(three, sent) == [""] * 3
    await three.block(3 * RULES.window)
    for seat in three.seats:
        bonds = [each for each in seat.ledger.log if isinstance(each, Bond)]
        assert [(each.outcome, each.lost) for each in bonds] == [("false", "50000")]
        assert seat.ledger.view.entry("alpha") == SEED[0]


async def test_a_seat_that_was_away_comes_back_with_the_same_log_and_says_nothing_twice(three: Network) -> None:
    third = three.seats[2]
    third.peer.away = True
    await three.block(RULES.window)
    sent = await propose(three)
    await three.block()
    await show(three, sent)
    await three.block(2)
    await third.stop()
    await three.block(RULES.window)
    third.peer.away = False
    await third.start()
    await three.block(3 * RULES.window)
    assert len(three.versions) == 1
    assert third.ledger.view.size > len(SEED)
    assert all(not seat.council.governor.accused for seat in three.seats)


async def test_a_seat_that_missed_a_reading_gets_the_leaves_from_an_honest_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Blocks whose state the chain has forgotten; of those who say what is final one lies about leaves, one is away."""
    async with Network(tmp_path, 4).up() as network:
        *others, late = network.seats
        await network.block(RULES.window)
        sent = await propose(network)
        await network.block()
        await show(network, sent)
        await network.block()
        await late.stop()
        began = len(network.chain.blocks)
        await network.block(2 * RULES.window)
        honest = max(others, key=lambda seat: seat.hotkey)  # they are asked in the order of their names
        assert honest.ledger.view.size > len(SEED)
        assert late.ledger.view.size == len(SEED)
        liar, away = (seat for seat in others if seat is not honest)

        async def lie(size: int) -> LedgerChanges:
            true = honest.ledger.changes_since(size, liar.signer)
            return true.model_copy(update={"leaves": tuple(reversed(true.leaves))})

        async def nothing(size: int) -> LedgerChanges:
            raise PeerFailed("timeout", "/v1/ledger/changes")

        liar.peer.leaves, away.peer.leaves = lie, nothing
        for number in range(began, len(network.chain.blocks)):
            network.chain.gone[number] = ChainRejected("state_discarded", "the node has forgotten that state")
        await late.start()
        await network.block(2 * RULES.window)
        assert "cannot be read any more" in caplog.text
        assert len(network.versions) == 1
        assert late.council.governor.is_sure


# order, and stops in between


async def test_a_stop_between_the_log_and_the_state_appends_nothing_twice(one: Network) -> None:
    (seat,) = one.seats
    await one.block(RULES.window)
    kept: list[Any] = []
    sent = await propose(one)
    await one.block()
    await show(one, sent)
    while seat.ledger.view.size == len(SEED):
        kept.append(await seat.store.read())
        await one.block()
    version, log = seat.ledger.view.version, seat.ledger.log
    await seat.store.keep(kept[-1])  # as if the stop had come right after the log
    await seat.stop()
    await seat.start()
    assert seat.ledger.view.version == version
    await one.block(3 * RULES.window)
    assert seat.ledger.log == log, "the batch is in the log once"
    assert seat.council.governor.is_sure
    assert not seat.council.governor.accused


async def test_nothing_leaves_before_it_is_kept(one: Network) -> None:
    (seat,) = one.seats
    await one.block(1)
    order: list[str] = []

    class Watched(GovernorStore):
        async def keep(self, state: dict[str, Any]) -> None:
            order.append(f"kept at {seat.ledger.view.size}")
            await super().keep(state)

    async def takes(_: Any) -> str:
        order.append("sent")
        return ""

    seat.council.store = Watched(seat.store._engine)
    seat.council.peer = lambda hotkey: FakePeer(hotkey, takes)  # type: ignore[assignment, return-value]
    effects = Effects(changes=(SEED[1],), onto=2, persist=True, sends=(Send(NAMES[1], FinalsRequest(since=0)),))
    await seat.council._step(lambda: effects)
    await one.quiet()
    assert order == ["kept at 3", "sent"]


async def test_what_was_begun_is_finished_though_whoever_brought_it_goes_away(one: Network) -> None:
    (seat,) = one.seats
    await one.block()
    calling = asyncio.create_task(seat.council._step(lambda: Effects(changes=(SEED[1],), onto=2, persist=True)))
    await asyncio.sleep(0)
    calling.cancel()
    await one.quiet()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert seat.ledger.view.size == 3
    assert await seat.store.read() is not None


async def test_of_what_is_final_only_what_the_log_lacks_is_appended(one: Network) -> None:
    (seat,) = one.seats
    more = entry("gamma", netuid=3)
    await seat.council._step(lambda: Effects(changes=(SEED[1], more), onto=1))
    assert seat.ledger.log == (*SEED, more)


@pytest.mark.parametrize("onto", [0, 3, 9])
async def test_a_log_that_is_not_the_governed_one_ends_the_node(one: Network, onto: int) -> None:
    (seat,) = one.seats
    with pytest.raises(LedgerConflict):
        await seat.council._step(lambda: Effects(changes=(SEED[1],), onto=onto))
    await asyncio.wait([seat.task])
    assert isinstance(seat.task.exception(), ExceptionGroup)
    assert seat.ledger.view.size == len(SEED)


async def test_before_and_after_its_time_a_seat_takes_nothing(one: Network) -> None:
    (seat,) = one.seats
    await seat.stop()
    assert await seat.council.on_message(FinalsRequest(since=0), NAMES[0]) == STARTING
    assert await seat.council.on_block() is False


# the chain


async def test_a_chain_that_cannot_be_read_loses_no_block(one: Network) -> None:
    (seat,) = one.seats
    await one.block(3)
    one.chain.fails = [ChainUnreachable("ws://gone", "no answer")]
    one.chain.mint(4)
    with pytest.raises(ChainUnreachable):
        await seat.council.on_block()
    await seat.council.on_block()
    assert one.chain.reads[-5:] == [2, 3, 4, 5, 6]
    assert seat.council.governor.last_block == 6


async def test_a_seat_that_begins_within_a_window_reads_it_from_its_start_and_yet_signs_nothing_in_it(
    one: Network,
) -> None:
    """What is anchored in that window could otherwise never be judged here; what this seat signed before is unknown."""
    (seat,) = one.seats
    one.chain.mint(2 * RULES.window + 3)
    await seat.council.on_block()
    assert one.chain.reads == [20, 21, 22]
    assert seat.council.governor.validators, "stakes as frozen at the window's first block"
    begun_late = Progress(RULES, is_new=True)
    begun_late.begin(20, head=29)
    assert begun_late.is_quiet(3), "the newest block says how long, not the oldest that was read"
    assert not begun_late.is_quiet(4)


async def test_a_block_that_is_gone_is_left_out(one: Network) -> None:
    (seat,) = one.seats
    await one.block(3)
    one.chain.gone[4] = ChainRejected("state_discarded", "the node has forgotten that state")
    one.chain.mint(4)
    await seat.council.on_block()
    assert seat.council.governor.last_block == 6


async def test_two_who_ask_read_each_block_once(one: Network) -> None:
    (seat,) = one.seats
    await one.block()
    one.chain.mint(5)
    await asyncio.gather(*(seat.council.on_block() for _ in range(3)))
    assert one.chain.reads == [0, 1, 2, 3, 4, 5]


# what runs beside


async def test_a_judge_that_fails_says_nothing_and_ends_nothing(one: Network, caplog: pytest.LogCaptureFixture) -> None:
    (seat,) = one.seats
    seat.seen = RecursionError("a hostile proposal")
    await one.block(RULES.window)
    sent = await propose(one)
    await one.block()
    await show(one, sent)
    await one.block(3 * RULES.window)
    assert len(seat.probes) == RULES.probe_tries
    assert "it says nothing of it" in caplog.text
    assert not seat.task.done()
    assert not [each for each in seat.ledger.log if isinstance(each, Bond)]


async def test_a_message_that_breaks_the_machine_is_refused(one: Network, caplog: pytest.LogCaptureFixture) -> None:
    (seat,) = one.seats
    await one.block()
    assert await seat.council.on_message(BatchRequest.model_construct(), NAMES[0]) == "this cannot be read"
    assert not seat.task.done()
    await one.block()
    assert seat.council.governor.last_block == 1


async def test_a_peer_that_hangs_takes_one_place_and_a_bounded_queue(one: Network) -> None:
    (seat,) = one.seats
    gate, heard = asyncio.Event(), list[str]()

    def peer(hotkey: str) -> FakePeer:
        async def takes(_: Any) -> str:
            heard.append(hotkey)
            return "" if hotkey == "fine" else "refused for some reason"

        return FakePeer(hotkey, takes, hangs=gate if hotkey == "stuck" else None)

    seat.council.peer = peer  # type: ignore[assignment]
    message = FinalsRequest(since=0)
    flood = tuple(Send("stuck", message) for _ in range(3 * MOST_WAITING))
    await seat.council._step(lambda: Effects(sends=flood))
    await seat.council._step(lambda: Effects(sends=(Send("fine", message), Send("fine", message))))
    while heard != ["fine", "fine"]:
        await asyncio.sleep(0.001)
    gate.set()
    await one.quiet()
    assert heard.count("stuck") == MOST_WAITING
    assert not seat.council._waiting
    assert not seat.council._lanes


async def test_a_probe_that_is_asked_for_again_runs_once_and_few_run_at_a_time(one: Network) -> None:
    (seat,) = one.seats
    gate, running = asyncio.Event(), list[str]()
    sents = [await propose(one, response=f"{{results: hits[].{{url: u{number}}}}}") for number in range(4)]

    async def judge(probe: Probe) -> tuple[Seen, None]:
        running.append(probe.sent.digest)
        await gate.wait()
        return "unable", None

    seat.council.judge = judge
    for _ in range(5):
        await seat.council._step(lambda: Effects(probes=tuple(Probe(each, 0) for each in sents)))
    await asyncio.sleep(0)
    assert len(running) == MOST_PROBES
    gate.set()
    await one.quiet()
    assert sorted(running) == sorted(each.digest for each in sents)


async def test_a_source_that_dribbles_is_left(one: Network) -> None:
    (seat,) = one.seats
    asked: list[int] = []

    async def dribbles(size: int) -> LedgerChanges:
        asked.append(size)
        full = seat.ledger.changes_since(0, VALIDATORS[1])
        return full.model_copy(update={"since": size, "leaves": full.leaves[:1]})

    seat.council.peer = lambda hotkey: FakePeer(hotkey, None, dribbles)  # type: ignore[assignment, return-value]
    fetch = Fetch(2, f"900:{sha256(b'')}", (NAMES[1], NAMES[2]))
    await seat.council._step(lambda: Effects(fetch=fetch))
    await one.quiet()
    assert asked == [2, 2], "one question to each"


async def test_the_vote_stands_in_the_slot_after_a_restart(three: Network) -> None:
    await three.block(RULES.window)
    sent = await propose(three)
    await three.block()
    await show(three, sent)
    seat = three.seats[0]
    while not seat.slot.vote:
        await three.block()
    vote = seat.slot.vote
    await seat.stop()
    await seat.start()
    assert seat.slot.vote == vote
