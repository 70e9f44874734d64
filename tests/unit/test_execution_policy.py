"""The table of failures, and money and time as arithmetic."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import pytest

from orchestra.execution.budget import Budget, OverBudget
from orchestra.execution.policy import RULES, Policy, wait_before_retry
from orchestra.protocol import ErrorKind
from tests.fakes.clock import run_virtual

POLICY = Policy(backoff_ms=100, tries_before_others=2, tries_of_last=3)


def wait(kind: ErrorKind, **changes: Any) -> float | None:
    given: dict[str, Any] = {"tries": 1, "safe": True, "retryable": None, "others": False, "closed_s": 0.0}
    return wait_before_retry(kind, POLICY, **(given | changes))


def test_every_kind_of_error_has_one_rule() -> None:
    assert set(RULES) == set(get_args(ErrorKind))


@pytest.mark.parametrize("kind", ["auth", "out_of_credit", "refused", "schema_mismatch", "malformed", "over_budget"])
def test_what_cannot_get_better_is_not_repeated(kind: ErrorKind) -> None:
    assert wait(kind) is None
    assert wait(kind, retryable=True) is None


@pytest.mark.parametrize("kind", ["timeout", "unreachable", "fault"])
def test_what_may_get_better_is_repeated_only_where_that_is_safe(kind: ErrorKind) -> None:
    assert wait(kind) == 0.1
    assert wait(kind, tries=2) == 0.2
    assert wait(kind, tries=3) is None
    assert wait(kind, safe=False) is None
    assert wait(kind, retryable=False) is None


def test_a_throttled_call_did_nothing_and_is_repeated_when_the_provider_says() -> None:
    assert wait("throttled", safe=False, closed_s=7.0) == 7.0
    assert wait("throttled", closed_s=0.0) == 0.1


def test_an_alternative_goes_before_a_repetition_except_after_a_fault() -> None:
    assert wait("timeout", others=True) is None
    assert wait("unreachable", others=True) is None
    assert wait("throttled", others=True, closed_s=1.0) is None
    assert wait("fault", others=True) == 0.1
    assert wait("fault", others=True, tries=2) is None
    assert wait("fault", others=True, closed_s=5.0) is None


def test_a_reservation_waits_for_those_in_flight_and_is_refused_when_they_cannot_help() -> None:
    async def main() -> list[str]:
        budget, order = Budget(100), list[str]()

        async def spend(name: str, worst: int, cost: int, seconds: float) -> None:
            try:
                await budget.reserve(worst)
            except OverBudget as over:
                order.append(f"{name}: {over}")
                return
            order.append(f"{name} sent")
            await asyncio.sleep(seconds)
            budget.settle(worst, cost)

        async with asyncio.TaskGroup() as group:
            group.create_task(spend("a", 60, 30, 1))
            group.create_task(spend("b", 60, 60, 1))
            group.create_task(spend("c", 60, 0, 1))
            group.create_task(spend("d", 101, 0, 1))
        assert (budget.spent, budget.reserved) == (90, 0)
        return order

    assert run_virtual(main()) == [
        "a sent",
        "d: may cost 101 rao, 100 left",
        "b sent",
        "c: may cost 60 rao, 10 left",
    ]
