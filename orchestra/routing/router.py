"""Plan + Ledger -> Route: for every task the operations that can do it, the first ones together the cheapest in time.

The first choices come from `optimum.assign` over the whole DAG; the alternatives behind them are ranked by score, and
the second does not share the first's provider where another exists. Nothing is random and every tie is broken by name,
so the same plan, Ledger version, limits and reputation give the same Route everywhere: with `NO_REPUTATION` this is the
validator's reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ledger.view import LedgerView, OperationRef
from orchestra.planning.plan import Plan, Task
from orchestra.protocol import Gap
from orchestra.routing.candidates import Market, in_order, option, usable_always
from orchestra.routing.optimum import Choice, assign
from orchestra.routing.reputation import Reputation
from orchestra.routing.route import Limits, Route, RoutedTask

MAX_REASON = 300


def route(
    plan: Plan,
    ledger: LedgerView,
    limits: Limits,
    reputation: Reputation,
    *,
    usable: Callable[[OperationRef], bool] = usable_always,
) -> Route:
    """Route every task that can be routed. The others, and those that need them, end in `gaps` with the reason.

    `usable`: does this node hold the secret that the operation asks for, at that origin?
    """
    drafts = _Drafts(Market(ledger, limits, reputation, usable))
    for task in plan.tasks:
        drafts.add(task)
    return Route(plan, _chosen(drafts.routed, limits), ledger.version, (*plan.gaps, *drafts.gaps))


class _Drafts:
    """Routed tasks with candidates by score, and what has been lost so far; fed in plan order."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._lost: dict[str, str] = {}
        self.routed: dict[str, RoutedTask] = {}
        self.gaps: list[Gap] = []

    def add(self, task: Task) -> None:
        ways, reasons = self._ways(task)
        if ways is not None:
            self.routed[task.id] = ways
            return
        capability, reason = reasons[0]
        self.gaps.append(Gap(fields=task.serves, capability=capability, reason=_reason(task, reasons, reason)))
        if not task.optional:
            self._lost[task.id] = capability

    def _ways(self, task: Task) -> tuple[RoutedTask | None, list[tuple[str, str]]]:
        """The task and its other ways as far as they are open; when none is, (missing capability, why) of each."""
        way: Task | None = task
        found: list[RoutedTask] = []
        reasons: list[tuple[str, str]] = []
        while way is not None:
            blocker = next((ref.task for ref in way.refs() if ref.task in self._lost), None)
            if blocker is not None:
                reasons.append((self._lost[blocker], f"needs the result of {blocker!r}, which has no route"))
            else:
                candidates, why = self._market.candidates(way)
                if candidates:
                    same = replace(way, id=task.id, optional=task.optional, serves=way.serves or task.serves)
                    found.append(RoutedTask(same, candidates))
                else:
                    reasons.append((way.capability, why))
            way = way.otherwise
        return _linked(found), reasons


def _linked(ways: list[RoutedTask]) -> RoutedTask | None:
    """The ways as a chain of `otherwise`, best first."""
    chain: RoutedTask | None = None
    for way in reversed(ways):
        chain = replace(way, otherwise=chain)
    return chain


def _reason(task: Task, reasons: list[tuple[str, str]], first: str) -> str:
    others = "".join(f"; otherwise {capability}: {why}" for capability, why in reasons[1:])
    return f"{task.capability} ({task.description}): {first}{others}"[:MAX_REASON]


def _chosen(routed: Mapping[str, RoutedTask], limits: Limits) -> tuple[RoutedTask, ...]:
    """Put the cheapest assignment that keeps the limits in front, alternatives behind it; every other way by score."""
    picked = assign(choices(routed), deadline_ms=limits.deadline_ms, least_success=limits.least_success)
    return tuple(
        replace(
            way, candidates=in_order(way.candidates, first.name), otherwise=way.otherwise and _spread(way.otherwise)
        )
        for way, first in zip(routed.values(), picked, strict=True)
    )


def _spread(way: RoutedTask) -> RoutedTask:
    candidates = in_order(way.candidates, way.candidates[0].ref.name)
    return replace(way, candidates=candidates, otherwise=way.otherwise and _spread(way.otherwise))


def choices(routed: Mapping[str, RoutedTask]) -> list[Choice]:
    """The first ways of the tasks as the optimiser sees them."""
    index = {task_id: i for i, task_id in enumerate(routed)}
    return [
        Choice(
            tuple(sorted({index[ref.task] for ref in way.task.refs() if ref.task in index})),
            tuple(option(candidate) for candidate in way.candidates),
        )
        for way in routed.values()
    ]
