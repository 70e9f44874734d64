"""The cheapest assignment of operations to tasks that keeps the deadline and the success probability.

Expected cost adds up over tasks, time only along the critical path, success multiplies: choosing per task is not
enough as soon as a limit binds. The search is branch and bound in plan order over the options that no other option
beats in all three, cheapest first, with bounds from the best that the tasks still open could do. It is exact up to
`MAX_VISITS` partial assignments, beyond which it returns the best found; when no assignment keeps the limits it takes
the fastest option of every task, and the executor delivers what fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_VISITS = 20_000


@dataclass(frozen=True, slots=True)
class Option:
    """One operation for one task: expected cost in rao, expected ms until success, probability of success.

    `name` breaks ties, so that every node chooses alike.
    """

    cost: int
    time_ms: int
    success: float
    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A task to decide: the indices of the choices it waits for, all smaller than its own, and its options."""

    waits_for: tuple[int, ...]
    options: tuple[Option, ...]


def assign(choices: Sequence[Choice], *, deadline_ms: int, least_success: float = 0.0) -> tuple[Option, ...]:
    """One option for every choice, in order: least total cost, then least time, then name."""
    fronts = [_front(choice.options) for choice in choices]
    cheapest = tuple(front[0] for front in fronts)
    if _keeps(choices, cheapest, deadline_ms, least_success):
        return cheapest
    return _Search(choices, fronts, deadline_ms, least_success).best() or tuple(
        min(front, key=lambda option: (option.time_ms, option.cost, option.name)) for front in fronts
    )


def critical_path_ms(choices: Sequence[Choice], picked: Sequence[Option]) -> int:
    """When the last task ends, if every task starts as soon as those that it waits for have ended."""
    return max(_ends(choices, [option.time_ms for option in picked]), default=0)


def _ends(choices: Sequence[Choice], times: Sequence[int]) -> list[int]:
    ends: list[int] = []
    for choice, time_ms in zip(choices, times, strict=True):
        ends.append(max((ends[i] for i in choice.waits_for), default=0) + time_ms)
    return ends


def _keeps(choices: Sequence[Choice], picked: Sequence[Option], deadline_ms: int, least_success: float) -> bool:
    success = math.prod(option.success for option in picked)
    return success >= least_success and critical_path_ms(choices, picked) <= deadline_ms


def _front(options: Sequence[Option]) -> list[Option]:
    """The options that none beats in cost, time and success at once; cheapest first."""
    ordered = sorted(options, key=lambda o: (o.cost, o.time_ms, -o.success, o.name))
    front: list[Option] = []
    for option in ordered:
        if not any(kept.time_ms <= option.time_ms and kept.success >= option.success for kept in front):
            front.append(option)
    return front


class _Search:
    def __init__(
        self, choices: Sequence[Choice], fronts: list[list[Option]], deadline_ms: int, least_success: float
    ) -> None:
        self._choices = choices
        self._fronts = fronts
        self._deadline_ms = deadline_ms
        self._least_success = least_success
        self._tail_ms = _fastest_tails(choices, [min(o.time_ms for o in front) for front in fronts])
        count = len(choices)
        self._cost_after = [0] * (count + 1)
        self._success_after = [1.0] * (count + 1)
        for i in reversed(range(count)):
            self._cost_after[i] = self._cost_after[i + 1] + fronts[i][0].cost
            self._success_after[i] = self._success_after[i + 1] * max(o.success for o in fronts[i])
        self._best: tuple[int, int, tuple[str, ...]] | None = None
        self._picked: tuple[Option, ...] | None = None
        self._visits = 0

    def best(self) -> tuple[Option, ...] | None:
        self._visit([], [], 0, 1.0)
        return self._picked

    def _visit(self, picked: list[Option], ends: list[int], cost: int, success: float) -> None:
        i = len(picked)
        if i == len(self._choices):
            found = (cost, max(ends, default=0), tuple(option.name for option in picked))
            if self._best is None or found < self._best:
                self._best, self._picked = found, tuple(picked)
            return
        starts = max((ends[j] for j in self._choices[i].waits_for), default=0)
        for option in self._fronts[i]:
            self._visits += 1
            if self._visits > MAX_VISITS:
                return
            if self._best is not None and cost + option.cost + self._cost_after[i + 1] > self._best[0]:
                return  # the options are in order of cost
            if starts + option.time_ms + self._tail_ms[i] > self._deadline_ms:
                continue
            if success * option.success * self._success_after[i + 1] < self._least_success:
                continue
            picked.append(option)
            ends.append(starts + option.time_ms)
            self._visit(picked, ends, cost + option.cost, success * option.success)
            picked.pop()
            ends.pop()


def _fastest_tails(choices: Sequence[Choice], times: Sequence[int]) -> list[int]:
    """For every choice, the least time that must pass after it has ended."""
    tails = [0] * len(choices)
    for i in reversed(range(len(choices))):
        for j in choices[i].waits_for:
            tails[j] = max(tails[j], times[i] + tails[i])
    return tails
