"""What a score is made of (DESIGN §8), as pure arithmetic that every validator repeats to the last digit.

Nine components in [0, 1] with published weights: 0.60 orchestration, 0.40 Ledger. Validators record *events*, each with
what it says about some components; a score is the mean of every component over the events of the scoring
window. The mean is taken with `math.fsum`, so the order in which events arrived cannot change a digit. A component
without an event is zero and says so; one refuted proof makes the total zero for the window.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Component = Literal[
    "hash_verification",
    "schema_compliance",
    "completeness",
    "routing",
    "latency",
    "update_accuracy",
    "discovery",
    "freshness",
    "coverage",
]
COMPONENTS: tuple[Component, ...] = get_args(Component)

ORCHESTRATION: Mapping[Component, float] = {
    "hash_verification": 0.20,
    "schema_compliance": 0.15,
    "completeness": 0.10,
    "routing": 0.10,
    "latency": 0.05,
}
LEDGER: Mapping[Component, float] = {
    "update_accuracy": 0.20,
    "discovery": 0.10,
    "freshness": 0.05,
    "coverage": 0.05,
}
WEIGHTS: Mapping[Component, float] = {**ORCHESTRATION, **LEDGER}

EventKind = Literal["challenge", "trap", "ledger_audit"]


@dataclass(frozen=True, slots=True)
class ScoreEvent:
    """What one piece of evidence says about one miner. `reasons` explain every value below 1 and every refutation."""

    event_id: str
    hotkey: str
    kind: EventKind
    block: int
    values: Mapping[Component, float]
    refuted: bool = False
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if wrong := {name: value for name, value in self.values.items() if not 0.0 <= value <= 1.0}:
            raise ValueError(f"components lie in [0, 1]: {wrong}")


@dataclass(frozen=True, slots=True)
class ComponentScore:
    """The mean over `events` observations, and what it adds to the total."""

    value: float
    events: int
    weighted: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """One miner's score over one window, with everything it was made of."""

    hotkey: str
    components: Mapping[Component, ComponentScore]
    orchestration: float
    ledger: float
    total: float
    refuted: bool
    reasons: tuple[str, ...]


def weighted(values: Mapping[Component, float], weights: Mapping[Component, float]) -> float:
    """The weighted sum over the components that `weights` names; one that `values` lacks counts as zero."""
    return math.fsum(weight * values.get(name, 0.0) for name, weight in weights.items())


def score(hotkey: str, events: Iterable[ScoreEvent]) -> Score:
    """The score of one miner from the events of one window, in whatever order they come."""
    mine = sorted((event for event in events if event.hotkey == hotkey), key=lambda event: event.event_id)
    components: dict[Component, ComponentScore] = {name: _component(name, mine) for name in COMPONENTS}
    means: dict[Component, float] = {name: part.value for name, part in components.items()}
    orchestration, ledger = weighted(means, ORCHESTRATION), weighted(means, LEDGER)
    refuted = any(event.refuted for event in mine)
    reasons = tuple(dict.fromkeys(reason for event in mine for reason in event.reasons))
    total = 0.0 if refuted else math.fsum((orchestration, ledger))
    return Score(hotkey, components, orchestration, ledger, total, refuted, reasons)


def _component(name: Component, events: list[ScoreEvent]) -> ComponentScore:
    seen = [event.values[name] for event in events if name in event.values]
    if not seen:
        return ComponentScore(0.0, 0, 0.0, "no evidence in this window")
    value = math.fsum(seen) / len(seen)
    return ComponentScore(value, len(seen), WEIGHTS[name] * value)


def shares(scores: Iterable[Score], part: Literal["total", "orchestration", "ledger"] = "total") -> dict[str, float]:
    """`W_miner = S_total / sum(S_total)` by hotkey, without the miners that have nothing; empty when nobody has.

    `part` chooses the vector of one native mechanism where the subnet has two: orchestration for 0, ledger for 1. Who
    was refuted has no share in either.
    """
    earned = {each.hotkey: getattr(each, part) for each in scores if not each.refuted and getattr(each, part) > 0.0}
    whole = math.fsum(earned.values())
    return {hotkey: value / whole for hotkey, value in sorted(earned.items())}
