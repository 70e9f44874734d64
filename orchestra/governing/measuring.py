"""What a node's own work says about how fast and how reliable an operation is, once the Ledger says something else.

A claim that validators deny costs half a bond, and they measure from elsewhere, with ten calls and the cheapest query.
So a call counts as a validator's would; only a difference is claimed that no place and no bad moment explains; and
nothing is claimed that any ten of the very calls behind it would deny: they are of two times, or of two kinds.
Latencies are rounded, so that miners who found the same claim the same.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ledger.entry import Metrics, Operation
from ledger.governance.judging import DENIED_ABOVE, deviation
from ledger.probe import Fault, Reply, unprobeable
from ledger.view import LedgerView
from orchestra.execution.run import Attempt
from orchestra.governing.judge import DEAD, PROBE_TIMEOUT_S, SAMPLE, measured

CALLS_KEPT = 64
OPERATIONS_KEPT = 256
CALLS_FOR_A_CLAIM = 30
WORTH_A_CLAIM = 3.0
"""By how many tolerances of governance the Ledger must be off."""

_MOST_MS = round(PROBE_TIMEOUT_S * 1000)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What `sample` calls of an operation measured."""

    entry: str
    operation: str
    metrics: Metrics
    sample: int

    @property
    def claim(self) -> dict[str, Any]:
        """What there is to propose (`ledger.proposals.MetricsUpdate`)."""
        return {
            "kind": "metrics_update",
            "entry": self.entry,
            "operation": self.operation,
            "metrics": self.metrics.model_dump(),
            "sample": self.sample,
        }


class Measured:
    """The last calls of each operation; who was not called for longest is forgotten. `take` feeds it, `claims` says
    what is worth a proposal.
    """

    def __init__(self) -> None:
        self._calls: OrderedDict[tuple[str, str], deque[Reply]] = OrderedDict()

    def take(self, attempts: Iterable[Attempt]) -> None:
        """Calls of a run. Failures that are ours, or the question's, say nothing; one that we gave up before a
        validator would have leaves nobody knowing how long it takes.
        """
        for attempt in attempts:
            kind = attempt.error.kind if attempt.error else None
            if attempt.entry == "local" or (kind is not None and kind not in DEAD):
                continue
            if kind == "timeout" and attempt.latency_ms < _MOST_MS:
                self.forget(attempt.entry, attempt.operation)
            else:
                self._count((attempt.entry, attempt.operation), attempt.latency_ms, cast("Fault | None", kind))

    def forget(self, entry: str, operation: str) -> None:
        """Drop what led to a claim: it takes new calls to make another."""
        self._calls.pop((entry, operation), None)

    def claims(self, view: LedgerView) -> list[Measurement]:
        """Operations that are not as fast, or not as reliable, as this Ledger says, or of which it says nothing."""
        found: list[Measurement] = []
        for (entry, name), calls in self._calls.items():
            ref = view.operation(entry, name) if len(calls) >= CALLS_FOR_A_CLAIM else None
            if ref is None or ref.entry.status == "deprecated" or not _comparable(ref.operation):
                continue
            metrics = claimed(tuple(calls))
            if metrics is not None and _is_news(ref.operation.metrics, metrics):
                found.append(Measurement(entry, name, metrics, len(calls)))
        return found

    def _count(self, key: tuple[str, str], latency_ms: int, fault: Fault | None) -> None:
        """As a validator's call would see it: what takes longer than it waits is a timeout."""
        seen = Reply(latency_ms, fault=fault) if latency_ms <= _MOST_MS else Reply(_MOST_MS, fault="timeout")
        self._calls.setdefault(key, deque(maxlen=CALLS_KEPT)).append(seen)
        self._calls.move_to_end(key)
        while len(self._calls) > OPERATIONS_KEPT:
            self._calls.popitem(last=False)


def claimed(calls: Sequence[Reply]) -> Metrics | None:
    """What may be claimed of these calls; None where nothing was answered (how long that took says nothing), or where
    one who saw only ten of them in a row would deny it.
    """
    if all(each.fault for each in calls):
        return None
    exact = measured(calls)
    metrics = exact.model_copy(
        update={"latency_ms": quantised(exact.latency_ms), "latency_p95_ms": quantised(exact.latency_p95_ms)}
    )
    is_borne_out = all(deviation(metrics, measured(each)) <= DENIED_ABOVE for each in _samples(calls))
    return metrics if is_borne_out else None


def quantised(latency_ms: int) -> int:
    """To 10 ms below a second, to 100 ms from there on."""
    step = 10 if latency_ms < 1000 else 100
    return (latency_ms + step // 2) // step * step


def _samples(calls: Sequence[Reply]) -> Iterator[Sequence[Reply]]:
    """The calls as validators would have made them, ten at a time; the oldest that make no ten are left out."""
    for start in range(len(calls) % SAMPLE, len(calls), SAMPLE):
        yield calls[start : start + SAMPLE]


def _comparable(operation: Operation) -> bool:
    """Can validators call it, and does the time it takes say more about it than about what it is asked?"""
    is_by_length = operation.price is not None and operation.price.unit in ("token", "hour")
    return unprobeable(operation) is None and not is_by_length


def _is_news(known: Metrics | None, found: Metrics) -> bool:
    return known is None or deviation(known, found) > WORTH_A_CLAIM
