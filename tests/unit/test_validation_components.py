"""The scores of DESIGN §8: the worked example, the order of arrival, and what no evidence is worth."""

from __future__ import annotations

import random

import pytest

from orchestra.validation.components import (
    COMPONENTS,
    LEDGER,
    ORCHESTRATION,
    Component,
    ScoreEvent,
    score,
    shares,
    weighted,
)


def event(hotkey: str, number: int, *, refuted: bool = False, **values: float) -> ScoreEvent:
    return ScoreEvent(f"e{number}", hotkey, "challenge", number, values, refuted)  # type: ignore[arg-type]


def test_the_worked_example() -> None:
    values: dict[Component, float] = {
        "hash_verification": 1.0,
        "schema_compliance": 1.0,
        "completeness": 1.0,
        "routing": 0.9,
        "latency": 1.0,
        "update_accuracy": 1.0,
        "discovery": 0.5,
        "freshness": 1.0,
        "coverage": 0.0,
    }
    result = score("5Miner", [ScoreEvent("e", "5Miner", "challenge", 1, values)])
    assert result.orchestration == pytest.approx(0.59, abs=1e-12)
    assert result.ledger == pytest.approx(0.30, abs=1e-12)
    assert result.total == pytest.approx(0.89, abs=1e-12)


def test_the_weights_are_sixty_and_forty() -> None:
    ones: dict[Component, float] = dict.fromkeys(COMPONENTS, 1.0)
    assert weighted(ones, ORCHESTRATION) == pytest.approx(0.6)
    assert weighted(ones, LEDGER) == pytest.approx(0.4)


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_component_moves_the_total_alone_and_by_its_weight(name: Component) -> None:
    without = score("5Miner", [event("5Miner", 1, **dict.fromkeys(COMPONENTS, 0.5))])
    with_it = score("5Miner", [event("5Miner", 1, **(dict.fromkeys(COMPONENTS, 0.5) | {name: 1.0}))])
    assert with_it.total - without.total == pytest.approx({**ORCHESTRATION, **LEDGER}[name] / 2)
    assert [other for other in COMPONENTS if with_it.components[other] != without.components[other]] == [name]


def test_the_order_of_arrival_changes_no_digit() -> None:
    dice = random.Random(7)
    events = [event("5Miner", i, routing=dice.random(), latency=dice.random()) for i in range(200)]
    first = score("5Miner", events)
    for _ in range(20):
        dice.shuffle(events)
        assert score("5Miner", events) == first


def test_no_evidence_is_zero_and_says_so() -> None:
    result = score("5Miner", [event("5Miner", 1, routing=1.0)])
    assert result.components["discovery"].value == 0.0
    assert result.components["discovery"].note == "no evidence in this window"
    assert result.components["routing"].note == ""


def test_one_refutation_zeroes_the_window_and_the_share() -> None:
    cheat = [event("5Cheat", 1, routing=1.0), event("5Cheat", 2, routing=1.0, refuted=True)]
    honest = [event("5Honest", 3, routing=0.2)]
    scores = [score("5Cheat", cheat), score("5Honest", honest)]
    assert scores[0].total == 0.0
    assert shares(scores) == shares(scores, "orchestration") == {"5Honest": 1.0}


def test_others_events_do_not_count() -> None:
    assert score("5Miner", [event("5Other", 1, routing=1.0)]).total == 0.0


def test_nobody_with_a_score_means_no_shares() -> None:
    assert shares([score("5Miner", [])]) == {}


def test_a_component_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="routing"):
        event("5Miner", 1, routing=1.1)
