"""What a node expects of an operation after its own experience."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from ledger.entry import Metrics
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Attempt, Run
from orchestra.protocol import ErrorKind, StepError
from orchestra.routing import NO_REPUTATION, LocalReputation
from orchestra.routing.reputation import UNMEASURED_LATENCY_MS, UNMEASURED_SUCCESS
from tests.builders import entry, operation
from tests.fakes.clock import VirtualClock

METRICS = Metrics(latency_ms=100, latency_p95_ms=300, reliability_permille=900)


def ref(**changes: Any) -> OperationRef:
    made = operation("op", **({"metrics": METRICS} | changes))
    found = LedgerView((entry("a", netuid=1, operations=(made,)),)).operation("a", "op")
    assert found is not None
    return found


def attempt(error: ErrorKind | None) -> Attempt:
    return Attempt(
        step=1,
        task_id="t",
        task="t",
        capability="web_search",
        subnet="SN1",
        entry="a",
        operation="op",
        query={},
        request=b"{}",
        response=None,
        output=None,
        error=StepError(kind=error) if error else None,
        started_ms=0,
        latency_ms=100,
        cost=0,
        attempt=1,
        depends_on=(),
    )


def test_the_governed_view_is_the_ledgers_metrics() -> None:
    estimate = NO_REPUTATION.estimate(ref())
    assert (estimate.success, estimate.latency_ms, estimate.latency_p95_ms) == (0.9, 100, 300)


def test_what_was_never_measured_is_assumed_mediocre() -> None:
    estimate = NO_REPUTATION.estimate(ref(metrics=None))
    assert (estimate.success, estimate.latency_ms) == (UNMEASURED_SUCCESS, UNMEASURED_LATENCY_MS)


def test_outcomes_move_the_posterior_as_beta_says() -> None:
    reputation = LocalReputation(VirtualClock(), prior_weight=10)
    for ok in (True, False, False, False, False):
        reputation.observe("a/op", ok=ok, latency_ms=400)
    estimate = reputation.estimate(ref())
    assert abs(estimate.success - (9 + 1) / 15) < 1e-9
    assert estimate.latency_ms == round((10 * 100 + 400) / 11)
    assert estimate.latency_p95_ms == round(300 * (1400 / 11) / 100)


def test_old_outcomes_fade_with_the_half_life() -> None:
    clock = VirtualClock()
    reputation = LocalReputation(clock, prior_weight=10, half_life_s=60)
    for _ in range(10):
        reputation.observe("a/op", ok=False, latency_ms=0)
    assert abs(reputation.estimate(ref()).success - 9 / 20) < 1e-9
    clock.advance(60)
    assert abs(reputation.estimate(ref()).success - 9 / 15) < 1e-9
    clock.advance(60 * 40)
    assert abs(reputation.estimate(ref()).success - 0.9) < 1e-6


def test_memory_is_bounded_and_forgets_the_one_unheard_of_for_longest() -> None:
    reputation = LocalReputation(VirtualClock(), capacity=2)
    for name in ("a/op", "b/op", "a/op", "c/op"):
        reputation.observe(name, ok=False, latency_ms=0)
    assert len(reputation) == 2
    assert reputation.estimate(ref()).success < 0.9


def test_a_run_teaches_what_its_subnets_did_and_not_what_our_limits_did() -> None:
    def after(*errors: ErrorKind | None) -> float:
        reputation = LocalReputation(VirtualClock())
        attempts = tuple(attempt(error) for error in errors)
        reputation.learn(Run(attempts, MappingProxyType({}), 0))
        return reputation.estimate(ref()).success

    assert after("deadline", "over_budget", "cancelled") == 0.9
    assert after("fault") < 0.9 < after(None)
