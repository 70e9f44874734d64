"""A Route: for every task of a Plan the operations that can do it, best first, with what the choice was made of."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.view import OperationRef
from orchestra.planning.plan import Plan, Task
from orchestra.protocol import Gap


@dataclass(frozen=True, slots=True)
class Candidate:
    """An operation that can do a task. Costs in rao, latency in ms, `success` a probability; least `score` is best."""

    ref: OperationRef
    expected_cost: int
    worst_cost: int
    latency_ms: int
    success: float
    score: float


@dataclass(frozen=True, slots=True)
class RoutedTask:
    """A task with its ranked candidates, never empty; `otherwise` likewise, for the task's other way."""

    task: Task
    candidates: tuple[Candidate, ...]
    otherwise: RoutedTask | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What will be tried, in plan order. `gaps`: the tasks that nothing in this Ledger can do, and those they feed."""

    plan: Plan
    tasks: tuple[RoutedTask, ...]
    ledger_version: str
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may spend. An operation without a price is assumed to cost `unpriced_ceiling` rao; 0 refuses it."""

    deadline_ms: int
    max_cost: int
    unpriced_ceiling: int = 0
