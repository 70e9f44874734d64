"""The validator block by block: what is asked, of whom, how often, and what becomes of a world that misbehaves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from ledger.database import sqlite_url
from ledger.view import LedgerView
from orchestra.anchoring import ChainSlot, OwnLog
from orchestra.chain import ChainUnreachable, dev_signer, verify_signature
from orchestra.chain.watch import Sight
from orchestra.ledger_node import LedgerNode
from orchestra.peers import Peer, PeerFailed
from orchestra.planning import Plan
from orchestra.transport import PeerTimeout
from orchestra.validation.challenges import Domain
from orchestra.validation.components import ORCHESTRATION, ScoreEvent
from orchestra.validation.schedule import CHALLENGES_PER_TEMPO, tempo_at
from orchestra.validation.scoring import Answered
from orchestra.validation.store import IssuedChallenge, ValidationStore
from orchestra.validation.validator import Validator
from orchestra.validation.weights import WeightSetter
from tests import proofkit as kit
from tests.builders import entry, operation
from tests.fakes.planner import OnePlan
from tests.fakes.validation import TAO, NumberedChain, ScriptedAuditor, ScriptedCanary, ScriptedMiner, neuron

ME = kit.VALIDATOR
ONE, TWO = dev_signer("//m1"), dev_signer("//m2")
A, B = ONE.ss58_address, TWO.ss58_address
TEMPO = tempo_at(45, netuid=2, tempo=10)
NEXT = TEMPO.last + 1
READING = operation("reading", capability="time_series", request="", response="", output_schema={"type": "object"})
DRIFTED = operation("reading", capability="time_series", request="", response="", output_schema={"type": "array"})
CANARY, TURNED = (entry("canary", netuid=129, operations=(each,)) for each in (READING, DRIFTED))
PLAIN = Domain.model_validate(
    {
        "name": "plain",
        "share": 1,
        "entities": ["RunPod"],
        "most_entities": 1,
        "objectives": ["Compare {entities} on {subject}."],
        "subjects": ["prices"],
        "lists": [],
        "required": [{"key": "name", "type": "str"}],
        "optional": [],
        "least_optional": 0,
    }
)
READINGS = PLAIN.model_copy(update={"name": "readings", "canary": True})


@dataclass
class World:
    """One validator and everything that it talks to."""

    validator: Validator
    chain: NumberedChain
    miners: dict[str, ScriptedMiner]
    auditor: ScriptedAuditor
    store: ValidationStore
    ledger: LedgerNode
    catch_ups: list[bool] = field(default_factory=list[bool])

    async def run(self, *blocks: int) -> None:
        """Let the validator see these blocks, and everything that it began come to its end."""

        async def follow(on_block: Callable[[Sight], Awaitable[None]]) -> None:
            for number in blocks:
                await on_block(self.chain.sight(number))

        await self.validator.run(follow)

    async def events(self, kind: str | None = None, miner: str | None = None) -> list[ScoreEvent]:
        found = await self.store.events(since=0, hotkey=miner)
        return [event for event in found if kind is None or event.kind == kind]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async for each in make_world(tmp_path):
        yield each


async def make_world(folder: Path) -> AsyncIterator[World]:
    seed = (*kit.make_ledger().entries.values(), CANARY)
    ledger = await LedgerNode.open(sqlite_url(folder / "ledger.sqlite"), seed=seed)
    async with (
        await ValidationStore.open(sqlite_url(folder / "validation.sqlite")) as store,
        await OwnLog.open(sqlite_url(folder / "anchors.sqlite")) as own,
    ):
        chain = NumberedChain((neuron(0, ME.ss58_address, stake_rao=1_000 * TAO), neuron(1, A), neuron(2, B)))
        miners = {signer.ss58_address: ScriptedMiner(signer, ledger.view) for signer in (ONE, TWO)}
        auditor = ScriptedAuditor({hotkey: [await judged()] for hotkey in miners})
        world = World(cast("Validator", None), chain, miners, auditor, store, ledger)

        async def catch_up() -> bool:
            world.catch_ups.append(True)
            return True

        world.validator = Validator(
            signer=ME,
            netuid=2,
            chain=chain,
            store=store,
            slot=ChainSlot(own, chain, ME, 2),
            ledger=ledger,
            catch_up=catch_up,
            peer=lambda hotkey: cast("Peer | None", miners.get(hotkey)),
            planner=OnePlan(Plan("o", ())),
            auditor=cast("Any", auditor),
            setter=WeightSetter(store, chain),
            verify=verify_signature,
            domains=(PLAIN,),
            tao_usd=Decimal(300),
            max_cost=10**9,
            min_stake_rao=TAO,
        )
        yield world
    await ledger.close()


def again(world: World) -> Validator:
    """The validator after a restart: nothing left but what was stored."""
    fresh = {"_plan": None, "_group": None, "_first_block": None, "_canary_turned": None, "sight": None}
    return replace(world.validator, **fresh)  # type: ignore[arg-type]


async def judged(change: Callable[[kit.Story], Any] | None = None, elapsed_ms: int = 500) -> Answered:
    """A real audit of an honest answer, or of one with a change. Its Ledger is the seed without the canary."""
    story = kit.make_story()
    if change:
        change(story)
    return Answered(await kit.audit_story(story), elapsed_ms)


def made_with(ledger: LedgerView | str, answered: Answered) -> Answered:
    """The same finding about an answer that names this Ledger version."""
    version = ledger if isinstance(ledger, str) else ledger.version
    response = answered.audit.response
    assert response is not None
    changed = response.model_copy(update={"ledger_version": version})
    return replace(answered, audit=replace(answered.audit, response=changed))


async def ahead() -> Answered:
    return await judged(lambda story: setattr(story, "ledger_version", "99:" + kit.h("later")))


# slots


async def test_every_slot_is_asked_once_however_often_its_block_is_seen(world: World) -> None:
    await world.run(*range(TEMPO.first, TEMPO.last + 1), TEMPO.last, TEMPO.last)
    for hotkey, miner in world.miners.items():
        assert len(miner.asked) == CHALLENGES_PER_TEMPO
        assert len(await world.events("challenge", hotkey)) == CHALLENGES_PER_TEMPO
        assert len({synapse.challenge_id for synapse in miner.asked}) == CHALLENGES_PER_TEMPO
    await world.run(NEXT)
    assert all(len(miner.asked) <= CHALLENGES_PER_TEMPO + 1 for miner in world.miners.values())


async def test_blocks_that_were_missed_lose_no_slot(world: World) -> None:
    await world.run(TEMPO.last)
    assert {len(miner.asked) for miner in world.miners.values()} == {CHALLENGES_PER_TEMPO}


async def test_nothing_is_asked_before_its_block(world: World) -> None:
    await world.run(TEMPO.first)
    assert all(len(miner.asked) <= 1 for miner in world.miners.values())


async def test_after_a_restart_no_slot_is_asked_again_and_what_was_interrupted_counts_for_nobody(world: World) -> None:
    await world.run(TEMPO.first + 4)
    before = await world.events()
    taken = {hotkey: len(miner.asked) for hotkey, miner in world.miners.items()}
    lost = IssuedChallenge(kit.h("interrupted"), A, TEMPO.index, 9, TEMPO.first + 4, "plain")
    used = await world.store.slots_used(TEMPO.index)
    assert 9 not in used
    assert await world.store.issue(lost)
    world.validator = again(world)
    await world.run(TEMPO.first + 4)
    assert {hotkey: len(miner.asked) for hotkey, miner in world.miners.items()} == taken
    assert await world.events() == before
    await world.run(TEMPO.last)
    assert sum(len(miner.asked) for miner in world.miners.values()) == 2 * CHALLENGES_PER_TEMPO - 1


async def test_the_same_seed_is_used_before_and_after_a_restart_and_both_tempos_are_committed(world: World) -> None:
    await world.run(TEMPO.first)
    secrets = await world.store.seed_commitments()
    assert set(secrets) == {TEMPO.index, TEMPO.index + 1}
    assert len(world.chain.commits) == 1
    assert world.chain.commits[0].startswith("o1|2:0x")
    world.validator = again(world)
    await world.run(TEMPO.first + 1)
    assert {tempo: secret for tempo, (secret, _) in (await world.store.seed_commitments()).items()} == {
        tempo: secret for tempo, (secret, _) in secrets.items()
    }
    assert len(world.chain.commits) == 1
    await world.run(NEXT)
    assert world.chain.commits[1].startswith("o1|3:0x")


async def test_a_commitment_that_was_refused_is_made_again(world: World) -> None:
    world.chain.refuses_commits = True
    await world.run(TEMPO.first, TEMPO.first + 1)
    assert all(block is None for _, block in (await world.store.seed_commitments()).values())
    world.chain.refuses_commits = False
    await world.run(TEMPO.first + 2, TEMPO.first + 3)
    assert [block for _, block in (await world.store.seed_commitments()).values()] == [TEMPO.first + 3] * 2


# miners that misbehave


async def test_judging_that_fails_ends_neither_the_validator_nor_the_others(world: World) -> None:
    world.auditor.script = {A: [RuntimeError("nobody thought of this")], B: [await judged()]}
    await world.run(TEMPO.last, NEXT)
    assert await world.events("challenge", A) == []
    assert len(await world.events("challenge", B)) >= CHALLENGES_PER_TEMPO


@pytest.mark.parametrize("code", ["PeerTimeout", "unreachable", "busy", "invalid"])
async def test_no_answer_is_zero_and_says_why(world: World, code: str) -> None:
    world.miners[A].failure = PeerFailed(code, "/v1/challenge")
    await world.run(TEMPO.last)
    events = await world.events("challenge", A)
    assert len(events) == CHALLENGES_PER_TEMPO
    for event in events:
        assert dict(event.values) == dict.fromkeys(ORCHESTRATION, 0.0)
        assert event.reasons == (f"orchestration: no answer: {code}: /v1/challenge",)
    assert all(event.values["latency"] == 1.0 for event in await world.events("challenge", B))


async def test_a_miner_that_declines_is_not_sent_the_challenge(world: World) -> None:
    world.miners[A].accepts = False
    await world.run(TEMPO.last)
    assert world.miners[A].asked == []
    assert {event.reasons for event in await world.events("challenge", A)} == {
        ("orchestration: no answer: declined: too much to do",)
    }


async def test_a_miner_that_hangs_holds_up_nobody_and_stopping_does_not_wait_for_it(world: World) -> None:
    world.miners[A].hangs = asyncio.Event()
    running = asyncio.create_task(world.run(TEMPO.last))

    async def others() -> None:
        while len(await world.events("challenge", B)) < CHALLENGES_PER_TEMPO:
            await asyncio.sleep(0)

    await asyncio.wait_for(others(), 20)
    assert len(world.miners[A].quoted) == CHALLENGES_PER_TEMPO
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await world.events("challenge", A) == []
    assert await world.store.abandon_unanswered() == CHALLENGES_PER_TEMPO


class HalfOpen:
    """A `SignedClient` whose peer takes the request and says nothing: every call lasts as long as it may, here in ms
    for s.
    """

    def __init__(self) -> None:
        self.waited: Counter[str] = Counter()

    async def post(self, url: str, path: str, body: bytes, *, timeout_s: float, **_: Any) -> Any:
        self.waited[path] = round(timeout_s)
        try:
            async with asyncio.timeout(timeout_s / 1000):
                await asyncio.Event().wait()
        except TimeoutError:
            raise PeerTimeout(timeout_s) from None


async def test_a_half_open_peer_costs_no_more_than_its_deadlines(world: World) -> None:
    client = HalfOpen()
    silent = Peer(A, "http://127.0.0.9:1", cast("Any", client))
    world.validator.peer = lambda hotkey: silent if hotkey == A else None
    await asyncio.wait_for(world.run(TEMPO.last), 20)
    assert len(await world.events("challenge", A)) == CHALLENGES_PER_TEMPO
    assert client.waited == {"/v1/quote": 10, "/v1/ledger-audit": 10}
    assert await world.store.abandon_unanswered() == 0


async def test_a_miner_that_serves_nowhere_yet_is_waited_for(world: World) -> None:
    late = world.miners.pop(A)
    await world.run(TEMPO.first + 5)
    assert await world.events(miner=A) == []
    world.miners[A] = late
    await world.run(TEMPO.first + 6)
    assert late.asked
    assert all(event.values.get("latency", 1.0) == 1.0 for event in await world.events(miner=A))


async def test_a_miner_that_never_serves_is_judged_by_that(world: World) -> None:
    del world.miners[A]
    await world.run(TEMPO.last)  # the first tempo after a start does not count
    assert await world.events(miner=A) == []
    await world.run(NEXT, NEXT + TEMPO.length - 1)
    reasons = {reason for event in await world.events(miner=A) for reason in event.reasons}
    assert reasons == {"orchestration: no answer: it serves nowhere", "freshness: gave no view of its Ledger"}


# Ledgers that differ


async def test_an_answer_made_with_a_newer_ledger_is_judged_after_catching_up(world: World) -> None:
    world.auditor.script = {A: [await ahead(), await judged()], B: [await judged()]}
    before = len(world.catch_ups)
    await world.run(TEMPO.first + 3)
    asked = len(world.miners[A].asked)
    assert asked
    assert world.auditor.judged[A] == asked + 1
    assert len(world.catch_ups) == before + 2  # the block's own, and one for the answer
    assert all(event.values["latency"] == 1.0 for event in await world.events("challenge", A))


async def test_a_ledger_version_that_nobody_has_earns_nothing(world: World) -> None:
    world.auditor.script = {A: [await ahead()], B: [await judged()]}
    await world.run(TEMPO.last)
    events = await world.events("challenge", A)
    assert len(events) == CHALLENGES_PER_TEMPO
    assert {value for event in events for value in event.values.values()} == {0.0}
    assert all("does not exist" in event.reasons[0] for event in events)


async def test_a_committer_that_cannot_be_asked_is_not_the_miners_fault(world: World) -> None:
    async def lost() -> bool:
        return False

    world.validator.catch_up = lost
    world.auditor.script = {A: [await ahead()], B: [await judged()]}
    await world.run(TEMPO.last)
    assert await world.events("challenge", A) == []
    assert len(await world.events("challenge", B)) == CHALLENGES_PER_TEMPO


async def test_a_ledger_view_is_held_against_the_version_that_it_names(world: World) -> None:
    """What was committed after the challenge was drawn need not be known; what was known before must be."""
    old = world.ledger.view
    world.miners[B].ledger = LedgerView(tuple(kit.make_ledger().entries.values()))
    view = await world.ledger.commit([entry("new", netuid=9)], block=1)
    world.miners[A].ledger = view
    await world.run(TEMPO.last)
    assert {event.values["freshness"] for event in await world.events("ledger_audit", A)} == {1.0}
    lagging = [event.values["freshness"] for event in await world.events("ledger_audit", B)]
    assert min(lagging) < 1.0
    assert old.size < view.size


async def test_an_entry_that_changed_while_the_miner_was_asked_does_not_make_it_stale(world: World) -> None:
    del world.miners[B]
    turned = turning_canary(world)
    await world.run(TEMPO.first + 2)
    assert (len(world.miners[A].asked), len(turned)) == (1, 1)
    assert world.miners[A].ledger != world.ledger.view
    assert {event.values["freshness"] for event in await world.events("ledger_audit")} == {1.0}


@pytest.mark.parametrize("fault", ["wrong_nonce", "wrong_signature"])
async def test_a_ledger_view_that_is_not_signed_for_this_question_is_none(world: World, fault: str) -> None:
    setattr(world.miners[A], fault, True)
    await world.run(TEMPO.last)
    audits = await world.events("ledger_audit", A)
    assert {event.values["freshness"] for event in audits} == {0.0}
    assert {event.reasons for event in audits} == {("freshness: gave no view of its Ledger",)}


# the canary


def turning_canary(world: World) -> list[LedgerView]:
    """Have the canary's change committed while miner A answers its first challenge."""
    turned: list[LedgerView] = []

    async def turn() -> None:
        if not turned:
            turned.append(await world.ledger.commit([TURNED], block=1))

    world.miners[A].before_answer = turn
    return turned


def with_canary(world: World, **options: Any) -> ScriptedCanary:
    canary = ScriptedCanary(CANARY, TURNED, **options)
    world.validator.canary = canary
    return canary


async def test_the_canary_changes_at_most_once_a_tempo_and_the_ledger_says_how_it_is(world: World) -> None:
    canary = with_canary(world)
    for tempo in range(12):
        first = TEMPO.first + tempo * TEMPO.length
        await world.run(first, first + 1, first + 2)
        assert len(canary.changes) == tempo + 1
        assert world.ledger.view.entry("canary") == (TURNED if canary.changes[-1] else CANARY)
    assert set(canary.changes) == {True, False}


async def test_a_canary_that_does_not_answer_is_tried_again_and_stops_nothing(world: World) -> None:
    canary = with_canary(world, failures=2)
    await world.run(TEMPO.first, TEMPO.first + 1)
    assert canary.changes == []
    await world.run(TEMPO.first + 2, TEMPO.first + 3)
    assert len(canary.changes) == 1


async def test_the_canary_is_as_secret_as_the_challenges_and_the_same_after_a_restart(world: World) -> None:
    canary = with_canary(world)
    await world.run(TEMPO.first)
    world.validator = again(world)
    await world.run(TEMPO.first + 1)
    assert len(canary.changes) == 2
    assert canary.changes[0] == canary.changes[1]


async def test_a_canary_that_turned_under_a_challenge_says_nothing_of_the_miner(world: World) -> None:
    world.validator.domains = (READINGS,)
    world.auditor.script = {each: [made_with(world.ledger.view, await judged())] for each in (A, B)}
    del world.miners[B]
    turned = turning_canary(world)
    await world.run(TEMPO.first + 2)
    assert (len(world.miners[A].asked), len(turned)) == (1, 1)
    assert [event.kind for event in await world.events()] == ["ledger_audit"]


async def test_a_refuted_answer_stays_refuted_whatever_the_canary_did(world: World) -> None:
    world.validator.domains = (READINGS,)
    world.auditor.script = {each: [made_with(world.ledger.view, await judged(kit.invent))] for each in (A, B)}
    del world.miners[B]
    turned = turning_canary(world)
    await world.run(TEMPO.first + 2)
    assert len(turned) == 1
    assert [event.refuted for event in await world.events("challenge")] == [True]


async def test_who_answers_the_canary_from_an_old_entry_is_stale(world: World) -> None:
    world.validator.domains = (READINGS,)
    old = world.ledger.view
    now = await world.ledger.commit([TURNED], block=1)
    honest = await judged()
    world.auditor.script = {A: [made_with(old, honest)], B: [made_with(now, honest)]}
    await world.run(TEMPO.last)
    outdated = ("freshness: answered from an outdated Ledger entry of canary",)
    stale = [event for event in await world.events("trap", A) if event.values["freshness"] == 0.0]
    assert stale
    assert {event.reasons for event in stale} == {outdated}
    assert {event.values["freshness"] for event in await world.events("trap", B)} <= {1.0}


# the chain


@pytest.mark.parametrize("call", ["block_hash", "metagraph", "commit", "mechanisms"])
async def test_a_block_whose_work_the_chain_cut_short_is_done_when_it_comes_again(world: World, call: str) -> None:
    canary = with_canary(world)
    world.chain.fails = {call: ChainUnreachable("orchestra-local", "scripted")}
    group_or_not = (ChainUnreachable, BaseExceptionGroup)
    with pytest.raises(group_or_not):
        await world.run(TEMPO.last)
    await world.run(TEMPO.last)
    assert {len(miner.asked) for miner in world.miners.values()} == {CHALLENGES_PER_TEMPO}
    assert world.chain.commits[-1].startswith("o1|2:0x"), "both seeds are fixed"
    assert len(canary.changes) == 1
    assert [mechid for mechid, _ in world.chain.submitted] == [0]


# weights


async def test_weights_are_set_once_a_tempo_and_only_from_its_middle_on(world: World) -> None:
    middle = TEMPO.at(0.5)
    await world.run(*range(TEMPO.first, middle))
    assert world.chain.submitted == []
    await world.run(*range(middle, TEMPO.last + 1), TEMPO.last)
    assert len(world.chain.submitted) == 1
    assert world.chain.submitted[0][1] == pytest.approx({A: 0.5, B: 0.5})
    world.validator = again(world)
    await world.run(TEMPO.last)
    assert len(world.chain.submitted) == 1
    await world.run(NEXT + TEMPO.length - 1)
    assert len(world.chain.submitted) == 2


async def test_who_was_refuted_gets_no_weight(world: World) -> None:
    world.auditor.script = {A: [await judged(kit.invent)], B: [await judged()]}
    await world.run(*range(TEMPO.first, TEMPO.last + 1))
    assert world.chain.submitted == [(0, {B: 1.0})]
    scores = {each.hotkey: each for each in await world.validator.scores()}
    assert (scores[A].total, scores[A].refuted) == (0.0, True)
    assert scores[B].total > 0.0


async def test_scores_are_of_those_who_are_registered_now(world: World) -> None:
    await world.run(TEMPO.last)
    assert [each.hotkey for each in await world.validator.scores()] == sorted((A, B))
    world.chain.neurons = world.chain.neurons[:2]
    await world.run(NEXT)
    assert [each.hotkey for each in await world.validator.scores()] == [A]


async def test_before_the_first_block_there_are_no_scores(world: World) -> None:
    assert await world.validator.scores() == ()
    assert world.validator.current_tempo is None
