"""The market for one task: which operations can do it within the limits, and what each may be expected to cost.

Score (lower is better): `expected_cost / max_cost + LATENCY_WEIGHT * latency / success / deadline_ms`, the share of
the budget and of the deadline that the operation takes on the way to a success. A failed call costs its fee and is made
again, so with success probability p a success takes 1/p calls: expected cost fee/p, expected time latency/p.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ledger.view import LedgerView, OperationRef
from orchestra.planning.plan import Task
from orchestra.routing.optimum import Option
from orchestra.routing.reputation import Reputation
from orchestra.routing.route import Candidate, Limits
from orchestra.subnets.checks import input_violation
from orchestra.subnets.mapping import MappingFailed, map_query

LATENCY_WEIGHT = 0.25


def usable_always(ref: OperationRef) -> bool:
    """Every operation's secret counts as available: the view of a reference, not of a node."""
    return True


@dataclass(frozen=True, slots=True)
class Market:
    """What can be bought under `limits`; `usable` says whether this node holds what the operation's auth needs."""

    ledger: LedgerView
    limits: Limits
    reputation: Reputation
    usable: Callable[[OperationRef], bool] = usable_always

    def candidates(self, task: Task) -> tuple[tuple[Candidate, ...], str]:
        """Adequate operations by score, and when there is none, why not."""
        refs = self.ledger.operations(task.capability)
        if not refs:
            return (), "no subnet in this Ledger offers it"
        found: list[Candidate] = []
        reasons: list[str] = []
        for ref in refs:
            offer = self._offer(ref, task)
            if isinstance(offer, Candidate):
                found.append(offer)
            else:
                reasons.append(f"{ref.name}: {offer}")
        found.sort(key=by_score)
        return tuple(found), "; ".join(reasons)

    def _offer(self, ref: OperationRef, task: Task) -> Candidate | str:
        """The operation as a candidate, or why it is none."""
        if not self.usable(ref):
            missing = f", or has no {ref.operation.auth.secret} for it" if ref.operation.auth.secret else ""
            return f"this node does not allow its origin{missing}"
        worst = self.limits.worst_cost(ref)
        if worst is None:
            return "no price is known, and unpriced operations are refused"
        if worst > self.limits.max_cost:
            return f"may cost {worst} rao of at most {self.limits.max_cost}"
        estimate = self.reputation.estimate(ref)
        if estimate.latency_ms > self.limits.deadline_ms:
            return f"takes {estimate.latency_ms} ms of at most {self.limits.deadline_ms}"
        if refusal := _refuses(ref, task):
            return refusal
        expected = math.ceil(worst / estimate.success)
        return Candidate(
            ref=ref,
            expected_cost=expected,
            worst_cost=worst,
            latency_ms=estimate.latency_ms,
            success=estimate.success,
            score=score(expected, estimate.latency_ms / estimate.success, self.limits),
            latency_p95_ms=estimate.latency_p95_ms,
        )


def score(expected_cost: int, expected_ms: float, limits: Limits) -> float:
    """The formula at the top of this module. With a budget of nothing, cost takes no share."""
    cost = expected_cost / limits.max_cost if limits.max_cost else 0.0
    return cost + LATENCY_WEIGHT * expected_ms / limits.deadline_ms


def by_score(candidate: Candidate) -> tuple[float, int, str]:
    return candidate.score, candidate.latency_ms, candidate.ref.name


def option(candidate: Candidate) -> Option:
    """The candidate as the optimiser sees it."""
    time_ms = math.ceil(candidate.latency_ms / candidate.success)
    return Option(candidate.expected_cost, time_ms, candidate.success, candidate.ref.name)


def in_order(candidates: Iterable[Candidate], first: str) -> tuple[Candidate, ...]:
    """The operation named `first`, then the best of another provider where there is one, then the rest by score."""
    ranked = sorted(candidates, key=lambda c: (c.ref.name != first, *by_score(c)))
    other = next((c for c in ranked if c.ref.entry.id != ranked[0].ref.entry.id), None)
    if other is None:
        return tuple(ranked)
    return (ranked[0], other, *(c for c in ranked[1:] if c is not other))


def _refuses(ref: OperationRef, task: Task) -> str | None:
    """Why this operation's schema refuses the task's arguments, where they are known before anything has run."""
    if next(task.refs(), None) is not None:
        return None
    try:
        query = map_query(ref.operation, task.arguments)
    except MappingFailed as failed:
        return failed.detail
    violation = input_violation(ref.operation, query)
    return f"the query {violation}" if violation else None
