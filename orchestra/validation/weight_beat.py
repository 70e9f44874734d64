"""*When* weights are set: once a tempo, half-way through it, and again every block until it has worked or the tempo
ends.

The first weights of a new validator wait for completeness: a vector made before every miner was asked deregisters
good ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestra.validation.components import Score
from orchestra.validation.schedule import WEIGHTS_AFTER, Tempo
from orchestra.validation.store import WeightAttempt

ALARM_AFTER_TEMPOS = 3


@dataclass(frozen=True, slots=True)
class Due:
    """Is it time? `why` is for the log and for `orchestra status`."""

    now: bool
    why: str


def due(
    tempo: Tempo,
    block: int,
    *,
    attempts: Iterable[WeightAttempt],
    mechanisms: int,
    scores: Iterable[Score],
    first_block: int,
) -> Due:
    """Should weights be set in this block?

    `attempts` are this tempo's, one for each of the subnet's `mechanisms` when all are set; `scores` those of every
    registered miner; `first_block` is where this validator's history begins. With nothing set before, a miner without a
    single event holds the first vector back for at most one tempo.
    """
    if sum(attempt.state == "set" for attempt in attempts) >= mechanisms:
        return Due(False, "set in this tempo")
    if block < tempo.at(WEIGHTS_AFTER):
        return Due(False, f"due at block {tempo.at(WEIGHTS_AFTER)}")
    unseen = [each.hotkey for each in scores if not any(part.events for part in each.components.values())]
    if unseen and block - first_block < tempo.length:
        return Due(False, f"waiting for the first answers of {len(unseen)} miners")
    return Due(True, "due")


def tempos_since_weights(current: int, *, last_set: int | None, began: int) -> int:
    """Tempos since weights were last set: 0 in the tempo in which they were; when they never were, tempos since this
    validator's history `began`, because nothing set for days is what the alarm is for.
    """
    return max(0, current - (began if last_set is None else last_set))
