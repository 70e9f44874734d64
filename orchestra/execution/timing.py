"""How long each call may take: its share of the time left, by the critical path that remains.

`tail` of a task is the longest chain of expected latencies behind it; a call whose expected latency is l gets
l / (l + tail) of what is left, so that slack is spread over the path and a late start squeezes everybody alike.
`need` is the least time in which a task is still of use: its own latency, and where it serves no field itself, that
of the quickest task that makes use of it. A call that has less than that left is not started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from orchestra.execution.policy import Policy
from orchestra.routing.route import Candidate, RoutedTask


class Timing:
    """Tails and needs of a Route's tasks, in ms."""

    def __init__(self, tasks: Sequence[RoutedTask]) -> None:
        tails: dict[str, int] = {}
        needs: dict[str, int] = {}
        behind: dict[str, list[RoutedTask]] = {}
        for routed in tasks:
            for task_id in routed.task.depends_on():
                behind.setdefault(task_id, []).append(routed)
        for routed in reversed(tasks):
            task_id, users = routed.task.id, behind.get(routed.task.id, [])
            tails[task_id] = max((_latency(user) + tails[user.task.id] for user in users), default=0)
            used = routed.task.serves or not users
            needs[task_id] = 0 if used else min(_quickest(user) + needs[user.task.id] for user in users)
        self.tail_ms: Mapping[str, int] = MappingProxyType(tails)
        self.need_after_ms: Mapping[str, int] = MappingProxyType(needs)

    def can_make_it(self, task_id: str, candidate: Candidate, left_s: float) -> bool:
        """Is there time for a call that somebody can still use?"""
        return left_s * 1000 >= candidate.latency_ms + self.need_after_ms[task_id]

    def timeout_s(
        self,
        task_id: str,
        candidate: Candidate,
        left_s: float,
        policy: Policy,
        *,
        others: bool,
        again: bool,
        waited_s: float = 0.0,
    ) -> float:
        """How long to wait for this call, at most `left_s`: its share, less what an alternative (`others`) or a
        repetition (`again`) would need after it. Only where there is an alternative is a slow provider given up early;
        where there is none and `waited_s` was not enough, twice that is waited, if it leaves who needs the answer time.
        """
        latency_s = max(candidate.latency_ms, 1) / 1000
        share = left_s * latency_s / (latency_s + self.tail_ms[task_id] / 1000)
        if others or again:
            share *= policy.first_part
        if others:
            patience = policy.patience * max(candidate.latency_p95_ms, candidate.latency_ms) / 1000
            share = min(share, max(patience, policy.patience_floor_ms / 1000))
        elif waited_s:
            share = max(share, min(2 * waited_s, left_s - self.need_after_ms[task_id] / 1000))
        return min(left_s, max(share, latency_s))


def _latency(routed: RoutedTask) -> int:
    return routed.candidates[0].latency_ms


def _quickest(routed: RoutedTask) -> int:
    own = min(candidate.latency_ms for candidate in routed.candidates)
    return min(own, _quickest(routed.otherwise)) if routed.otherwise else own
