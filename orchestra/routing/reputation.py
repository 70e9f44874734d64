"""How well an operation may be expected to serve: what the Ledger's governed metrics say, bent by what this node saw.

A node's own measurements steer its own routing and enter nobody's score (DESIGN §5), so there are two reputations:
`NO_REPUTATION` reads the governed metrics alone and gives every node the same answer for the same Ledger version;
`LocalReputation` adds a Beta posterior over this node's outcomes, which fade with a half-life so that a subnet that
recovered is believed again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ledger.view import OperationRef
from orchestra.execution.run import Attempt, Run

UNMEASURED_SUCCESS = 0.8
UNMEASURED_LATENCY_MS = 1_000
UNMEASURED_P95_MS = 4_000
DEGRADED_FACTOR = 0.8
"""An entry that governance calls degraded is expected to succeed this much less often than its metrics still say."""

_CERTAIN = 0.99
_HOPELESS = 0.02


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one call may be expected to do: probability of a good answer, latency of one in ms (mean and 95th
    percentile).
    """

    success: float
    latency_ms: int
    latency_p95_ms: int


class Reputation(Protocol):
    def estimate(self, ref: OperationRef) -> Estimate: ...


class _Governed:
    """The governed metrics alone; what a validator's reference uses."""

    def estimate(self, ref: OperationRef) -> Estimate:
        metrics = ref.operation.metrics
        success, latency, p95 = (
            (metrics.reliability_permille / 1000, metrics.latency_ms, max(metrics.latency_p95_ms, metrics.latency_ms))
            if metrics
            else (UNMEASURED_SUCCESS, UNMEASURED_LATENCY_MS, UNMEASURED_P95_MS)
        )
        if ref.entry.status == "degraded":
            success *= DEGRADED_FACTOR
        return Estimate(min(max(success, _HOPELESS), _CERTAIN), max(latency, 1), max(p95, 1))


NO_REPUTATION: Reputation = _Governed()


@dataclass(slots=True)
class _Seen:
    """Outcomes of one operation, faded to `at`. `spent_ms` sums the latencies of the `good` ones."""

    good: float
    bad: float
    spent_ms: float
    at: float


class LocalReputation:
    """Beta posterior per operation: prior Beta(w r, w (1 - r)) with the governed reliability r and weight w, plus this
    node's own outcomes, each worth 2^(-age / half life). Latency is the mean of the same weights.

    `now` gives seconds. At most `capacity` operations are remembered; the one unheard of for longest is forgotten.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        half_life_s: float = 1_800.0,
        prior_weight: float = 10.0,
        capacity: int = 4_096,
    ) -> None:
        self._now = now
        self._half_life_s = half_life_s
        self._prior_weight = prior_weight
        self._capacity = capacity
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def observe(self, name: str, *, ok: bool, latency_ms: int) -> None:
        """Count one outcome of the operation `name` (`entry/operation`)."""
        seen = self._faded(name) or _Seen(0.0, 0.0, 0.0, self._now())
        if ok:
            seen.good += 1.0
            seen.spent_ms += latency_ms
        else:
            seen.bad += 1.0
        self._seen[name] = seen
        self._seen.move_to_end(name)
        while len(self._seen) > self._capacity:
            self._seen.popitem(last=False)

    def learn(self, run: Run) -> None:
        """Count every attempt of a run that says something about its operation."""
        for attempt in run.attempts:
            if _telling(attempt):
                self.observe(f"{attempt.entry}/{attempt.operation}", ok=attempt.ok, latency_ms=attempt.latency_ms)

    def estimate(self, ref: OperationRef) -> Estimate:
        prior = NO_REPUTATION.estimate(ref)
        seen = self._faded(ref.name)
        if seen is None:
            return prior
        weight = self._prior_weight
        success = (weight * prior.success + seen.good) / (weight + seen.good + seen.bad)
        latency = (weight * prior.latency_ms + seen.spent_ms) / (weight + seen.good)
        p95 = prior.latency_p95_ms * latency / prior.latency_ms
        return Estimate(min(max(success, _HOPELESS), _CERTAIN), max(round(latency), 1), max(round(p95), 1))

    def _faded(self, name: str) -> _Seen | None:
        seen = self._seen.get(name)
        if seen is None:
            return None
        now = self._now()
        keep = 0.5 ** ((now - seen.at) / self._half_life_s)
        return _Seen(seen.good * keep, seen.bad * keep, seen.spent_ms * keep, now)


def _telling(attempt: Attempt) -> bool:
    """Ended by the subnet's own doing, not by our deadline, budget or cancellation."""
    return attempt.error is None or attempt.error.kind not in ("deadline", "over_budget", "cancelled")
