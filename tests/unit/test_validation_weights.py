"""Weights: once a tempo, never twice, never lost; only when everybody has been asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from orchestra.chain import TxOutcome
from orchestra.validation.components import ScoreEvent, score
from orchestra.validation.schedule import tempo_at
from orchestra.validation.store import ValidationStore, WeightAttempt
from orchestra.validation.weight_beat import due, tempos_since_weights
from orchestra.validation.weights import WeightSetter

TEMPO = tempo_at(40, netuid=2, tempo=10)
SCORES = (
    score("5Good", [ScoreEvent("a", "5Good", "challenge", 40, {"routing": 1.0, "freshness": 1.0})]),
    score("5Weak", [ScoreEvent("b", "5Weak", "challenge", 40, {"routing": 0.5})]),
    score("5None", []),
)


class Killed(Exception):
    """The process dies here."""


@dataclass
class ScriptedChain:
    """Answers submissions as scripted: an outcome, or death before or after the chain took the weights."""

    script: list[TxOutcome | str]
    two_mechanisms: bool = False
    updated: int | None = None
    submitted: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    block: int = 45

    async def last_update(self) -> int | None:
        return self.updated

    async def holds(self, weights: Mapping[str, float], mechid: int) -> bool:
        return (mechid, dict(weights)) in self.submitted

    async def mechanisms(self) -> int:
        return 2 if self.two_mechanisms else 1

    async def submit(self, weights: Mapping[str, float], mechid: int) -> TxOutcome:
        step = self.script.pop(0)
        if step == "die before":
            raise Killed
        if step == "die after" or (isinstance(step, TxOutcome) and step.ok):
            self.submitted.append((mechid, dict(weights)))
            self.updated = self.block
        if isinstance(step, str):
            raise Killed
        return step


def outcome(*, ok: bool, code: str | None = None) -> TxOutcome:
    return TxOutcome(ok=ok, code=code, message="", remediation=None, block_hash=None)


@pytest.fixture
async def store(url: str) -> AsyncIterator[ValidationStore]:
    async with await ValidationStore.open(url) as opened:
        yield opened


async def test_weights_are_the_shares_of_the_total_and_are_set_once(store: ValidationStore) -> None:
    chain = ScriptedChain([outcome(ok=True)])
    setter = WeightSetter(store, chain)
    (first,) = await setter.set(TEMPO, SCORES, block=45)
    (again,) = await setter.set(TEMPO, SCORES, block=46)
    assert first == again
    assert first.state == "set"
    ((mechid, vector),) = chain.submitted
    assert mechid == 0
    assert vector == {"5Good": pytest.approx(0.75), "5Weak": pytest.approx(0.25)}


async def test_two_mechanisms_get_their_own_vectors(store: ValidationStore) -> None:
    chain = ScriptedChain([outcome(ok=True), outcome(ok=True)], two_mechanisms=True)
    await WeightSetter(store, chain).set(TEMPO, SCORES, block=45)
    assert [mechid for mechid, _ in chain.submitted] == [0, 1]
    assert chain.submitted[1][1] == {"5Good": 1.0}


async def test_a_refusal_is_kept_with_its_code_and_tried_again(store: ValidationStore) -> None:
    chain = ScriptedChain([outcome(ok=False, code="RATE_LIMITED"), outcome(ok=True)])
    setter = WeightSetter(store, chain)
    (refused,) = await setter.set(TEMPO, SCORES, block=45)
    assert (refused.state, refused.code, refused.tries) == ("failed", "RATE_LIMITED", 1)
    (set_,) = await setter.set(TEMPO, SCORES, block=46)
    assert (set_.state, set_.tries) == ("set", 2)


@pytest.mark.parametrize(("death", "submissions"), [("die before", 1), ("die after", 1)])
async def test_death_around_the_submission_neither_doubles_nor_loses_it(
    store: ValidationStore, death: str, submissions: int
) -> None:
    chain = ScriptedChain([death, outcome(ok=True)])
    with pytest.raises(Killed):
        await WeightSetter(store, chain).set(TEMPO, SCORES, block=45)
    (attempt,) = await WeightSetter(store, chain).set(TEMPO, SCORES, block=46)
    assert attempt.state == "set"
    assert len(chain.submitted) == submissions


async def test_weights_that_arrived_though_their_reply_was_lost_are_not_sent_again(store: ValidationStore) -> None:
    chain = ScriptedChain([outcome(ok=False, code="connection")])
    (lost,) = await WeightSetter(store, chain).set(TEMPO, SCORES, block=45)
    assert lost.state == "failed"
    chain.updated = 45  # the chain took them all the same
    (found,) = await WeightSetter(store, chain).set(TEMPO, SCORES, block=46)
    assert (found.state, found.code, chain.script) == ("set", "", [])


async def test_nobody_with_a_score_is_said_and_nothing_is_sent(store: ValidationStore) -> None:
    chain = ScriptedChain([])
    (attempt,) = await WeightSetter(store, chain).set(TEMPO, SCORES[2:], block=45)
    assert (attempt.state, attempt.code) == ("failed", "nobody_scored")


def attempt(tempo: int, state: str) -> WeightAttempt:
    return WeightAttempt(tempo, 0, state, 0, 1, {})  # type: ignore[arg-type]


def test_due_half_way_until_it_worked() -> None:
    half = TEMPO.at(0.5)
    everybody = SCORES[:2]
    assert not due(TEMPO, half - 1, attempts=[], scores=everybody, first_block=0, mechanisms=1).now
    assert due(TEMPO, half, attempts=[], scores=everybody, first_block=0, mechanisms=1).now
    assert due(
        TEMPO, TEMPO.last, attempts=[attempt(TEMPO.index, "failed")], scores=everybody, first_block=0, mechanisms=1
    ).now
    assert not due(
        TEMPO, TEMPO.last, attempts=[attempt(TEMPO.index, "set")], scores=everybody, first_block=0, mechanisms=1
    ).now


def test_the_first_weights_wait_for_everybody_but_not_for_ever() -> None:
    half = TEMPO.at(0.5)
    assert not due(TEMPO, half, attempts=[], scores=SCORES, first_block=half - 3, mechanisms=1).now
    assert due(TEMPO, half, attempts=[], scores=SCORES, first_block=half - TEMPO.length, mechanisms=1).now


def test_weights_of_one_mechanism_of_two_are_not_all() -> None:
    half = TEMPO.at(0.5)
    one = [attempt(TEMPO.index, "set")]
    assert due(TEMPO, half, attempts=one, scores=SCORES[:2], first_block=0, mechanisms=2).now
    assert not due(TEMPO, half, attempts=[*one, *one], scores=SCORES[:2], first_block=0, mechanisms=2).now


def test_tempos_since_weights_count_from_the_beginning_when_they_never_were_set() -> None:
    assert tempos_since_weights(7, last_set=7, began=1) == 0
    assert tempos_since_weights(7, last_set=4, began=1) == 3
    assert tempos_since_weights(7, last_set=None, began=5) == 2


@pytest.mark.parametrize("death", ["die before", "die after"])
async def test_death_at_the_second_mechanism_neither_doubles_nor_loses_it(store: ValidationStore, death: str) -> None:
    chain = ScriptedChain([outcome(ok=True), death, outcome(ok=True)], two_mechanisms=True)
    with pytest.raises(Killed):
        await WeightSetter(store, chain).set(TEMPO, SCORES, block=45)
    attempts = await WeightSetter(store, chain).set(TEMPO, SCORES, block=46)
    assert [each.state for each in attempts] == ["set", "set"]
    assert [mechid for mechid, _ in chain.submitted] == [0, 1]
