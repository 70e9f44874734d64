"""What the same plan costs at best by the governed Ledger: the yardstick for routing, equal on every validator.

Regret compares what a pipeline spent with what the optimum of the same Ledger version expects to spend; expectation
already holds the price of failures, so a pipeline with ordinary luck has none on average.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestra.protocol import TaskStep
from orchestra.routing.candidates import option
from orchestra.routing.optimum import critical_path_ms
from orchestra.routing.route import Route
from orchestra.routing.router import choices


@dataclass(frozen=True, slots=True)
class RouteCost:
    """The first choices of a Route: expected cost in rao until every task has succeeded, expected ms along the
    critical path, probability that all succeed at once, and how many tasks there are.
    """

    expected_cost: int
    latency_ms: int
    success: float
    tasks: int


def route_cost(routed: Route) -> RouteCost:
    """What a Route may be expected to cost, by the estimates that it was made with."""
    success, cost = 1.0, 0
    for way in routed.tasks:
        success *= way.candidates[0].success
        cost += way.candidates[0].expected_cost
    picked = [option(way.candidates[0]) for way in routed.tasks]
    decided = choices({way.task.id: way for way in routed.tasks})
    return RouteCost(cost, critical_path_ms(decided, picked), success, len(routed.tasks))


def regret(actual_steps: Iterable[TaskStep], reference: RouteCost) -> float:
    """The share of the money spent that need not have been: max(0, spent - reference) / spent, in [0, 1).

    `actual_steps` carry the costs that count (the Ledger's price for verified units; failed attempts included). A
    pipeline in which no external call succeeded although the reference has some is all regret: 1.
    """
    steps = [step for step in actual_steps if step.subnet != "local"]
    if reference.tasks and not any(step.error is None for step in steps):
        return 1.0
    spent = sum(step.cost for step in steps)
    return max(0, spent - reference.expected_cost) / spent if spent else 0.0
