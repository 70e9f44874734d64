"""A Route: for every task of a Plan the operations that can do it, best first, with what the choice was made of."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ledger.view import OperationRef
from orchestra.planning.plan import Plan, Task
from orchestra.protocol import Gap

_ANY_RATE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An operation that can do a task. Costs in rao, latency in ms, `success` a probability; lower `score` is better.

    `worst_cost` is what a budget reserves for one call; `expected_cost` is the way to a success, failures included.
    """

    ref: OperationRef
    expected_cost: int
    worst_cost: int
    latency_ms: int
    success: float
    score: float
    latency_p95_ms: int = 0


@dataclass(frozen=True, slots=True)
class RoutedTask:
    """A task with its ranked candidates, never empty; `otherwise` likewise, for the task's other way."""

    task: Task
    candidates: tuple[Candidate, ...]
    otherwise: RoutedTask | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What will be tried, in plan order. Tasks that nothing in this Ledger can do are in `gaps`, with those that need
    them.
    """

    plan: Plan
    tasks: tuple[RoutedTask, ...]
    ledger_version: str
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may spend: time in ms, money in rao.

    `unpriced_ceiling` is the most an operation without a known price is assumed to cost; 0 refuses it. `tao_usd` is
    the rate in force, dollars for one TAO: without one a price in USD is not known. `least_success` is the smallest
    probability with which the first choices together must succeed, where some assignment reaches it.
    """

    deadline_ms: int
    max_cost: int
    unpriced_ceiling: int = 0
    tao_usd: Decimal | None = None
    least_success: float = 0.0

    def price_known(self, ref: OperationRef) -> bool:
        """The operation has a price, and if that is in USD there is a rate to read it by."""
        price = ref.operation.price
        return price is not None and (price.currency == "TAO" or self.tao_usd is not None)

    def worst_cost(self, ref: OperationRef) -> int | None:
        """The most one call costs in rao: by its price, or the ceiling where none is known. None: refused."""
        price = ref.operation.price
        if price is None or not self.price_known(ref):
            return self.unpriced_ceiling or None
        return price.worst_rao(tao_usd=self.tao_usd or _ANY_RATE)
