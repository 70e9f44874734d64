"""Which operations a task gets, in which order, and what is given up when nothing serves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ledger.entry import Metrics, Price, SubnetEntry
from ledger.view import LedgerView, OperationRef
from orchestra.planning.plan import Plan, Ref, Task
from orchestra.protocol import StepError, TaskStep
from orchestra.routing import NO_REPUTATION, Limits, RouteCost, regret, route, route_cost
from tests.builders import entry, operation

LIMITS = Limits(deadline_ms=10_000, max_cost=1_000_000)


def metrics(latency_ms: int = 100, reliability: int = 990) -> Metrics:
    return Metrics(latency_ms=latency_ms, latency_p95_ms=latency_ms * 3, reliability_permille=reliability)


def rao(amount: int) -> Price:
    return Price(amount=f"0.{amount:09d}", currency="TAO")


def subnet(name: str, *, netuid: int = 1, status: str = "active", **changes: Any) -> SubnetEntry:
    fields: dict[str, Any] = {"metrics": metrics(), "price": rao(1_000)} | changes
    return entry(name, netuid=netuid, status=status, operations=(operation("search", **fields),))


def search(task_id: str = "s", **changes: Any) -> Task:
    fields: dict[str, Any] = {"arguments": {"query": "x"}, "serves": (f"/{task_id}",)} | changes
    return Task(task_id, "web_search", f"search {task_id}", **fields)


def fetch(task_id: str, *sources: str, **changes: Any) -> Task:
    arguments = {"url": [Ref(source, "results[0].url") for source in sources]}
    return Task(task_id, "web_scraping", f"fetch {task_id}", arguments, (f"/{task_id}",), **changes)


def names(plan: Plan, *entries: SubnetEntry, limits: Limits = LIMITS) -> list[str]:
    routed = route(plan, LedgerView(entries), limits, NO_REPUTATION)
    return [candidate.ref.entry.id for candidate in routed.tasks[0].candidates]


ONE = Plan("o", (search(),))


def test_the_cheapest_comes_first() -> None:
    assert names(ONE, subnet("dear", price=rao(3_000)), subnet("cheap", price=rao(2_000))) == ["cheap", "dear"]


def test_a_cheap_one_that_mostly_fails_is_dearer_in_the_end() -> None:
    flaky = subnet("flaky", price=rao(1_000), metrics=metrics(reliability=200))
    assert names(ONE, flaky, subnet("sound", price=rao(2_000))) == ["sound", "flaky"]


def test_at_equal_cost_the_quicker_comes_first() -> None:
    assert names(ONE, subnet("a", metrics=metrics(900)), subnet("b", metrics=metrics(90))) == ["b", "a"]


def test_ties_are_broken_by_name_whatever_the_order_of_the_ledger() -> None:
    assert names(ONE, subnet("b"), subnet("a")) == names(ONE, subnet("a"), subnet("b")) == ["a", "b"]


def test_the_second_does_not_share_the_first_ones_provider() -> None:
    twice = entry(
        "twice",
        netuid=1,
        operations=tuple(operation(name, price=rao(1_000), metrics=metrics()) for name in ("one", "two")),
    )
    assert names(ONE, twice, subnet("other", price=rao(9_000))) == ["twice", "other", "twice"]


def test_a_degraded_subnet_stands_behind_and_a_deprecated_one_is_gone() -> None:
    entries = (subnet("weak", status="degraded"), subnet("gone", status="deprecated"), subnet("well"))
    assert names(ONE, *entries) == ["well", "weak"]


def test_what_costs_more_than_the_limit_is_no_candidate() -> None:
    ledger = LedgerView((subnet("dear", price=rao(2_000_000)),))
    routed = route(ONE, ledger, LIMITS, NO_REPUTATION)
    assert not routed.tasks
    assert routed.gaps[0].capability == "web_search"
    assert "may cost 2000000 rao of at most 1000000" in routed.gaps[0].reason
    assert routed.gaps[0].fields == ("/s",)


@pytest.mark.parametrize(
    ("ceiling", "rate", "price", "worst"),
    [
        (0, None, None, None),
        (500, None, None, 500),
        (500, None, Price(amount="0.001", currency="USD"), 500),
        (0, None, Price(amount="0.001", currency="USD"), None),
        (0, Decimal(400), Price(amount="0.0000004", currency="USD", max_units=10, per=2), 5),
    ],
)
def test_an_unknown_price_is_accepted_up_to_the_ceiling(
    ceiling: int, rate: Decimal | None, price: Price | None, worst: int | None
) -> None:
    limits = Limits(10_000, 1_000_000, unpriced_ceiling=ceiling, tao_usd=rate)
    routed = route(ONE, LedgerView((subnet("a", price=price),)), limits, NO_REPUTATION)
    assert [c.worst_cost for t in routed.tasks for c in t.candidates] == ([] if worst is None else [worst])


def test_an_operation_without_its_secret_on_this_node_is_no_candidate() -> None:
    def usable(ref: OperationRef) -> bool:
        return ref.entry.id != "locked"

    ledger = LedgerView((subnet("locked", price=rao(1)), subnet("open")))
    routed = route(ONE, ledger, LIMITS, NO_REPUTATION, usable=usable)
    assert [c.ref.entry.id for c in routed.tasks[0].candidates] == ["open"]


def test_an_operation_that_refuses_the_arguments_is_no_candidate() -> None:
    narrow = {"type": "object", "properties": {"query": {"type": "string", "maxLength": 3}}}
    plan = Plan("o", (search(arguments={"query": "longer"}),))
    assert names(plan, subnet("narrow", price=rao(1), input_schema=narrow), subnet("wide")) == ["wide"]


def test_arguments_still_unknown_are_not_held_against_anybody() -> None:
    narrow = {"type": "object", "properties": {"url": {"type": "string", "maxLength": 3}}}
    page = operation("page", capability="web_scraping", request="", input_schema=narrow, metrics=metrics())
    ledger = LedgerView((subnet("a"), entry("p", netuid=2, operations=(page,))))
    assert len(route(Plan("o", (search(), fetch("f", "s"))), ledger, LIMITS, NO_REPUTATION).tasks) == 2


def test_a_task_that_nothing_serves_takes_those_that_need_it_along_and_names_the_capability() -> None:
    plan = Plan("o", (fetch("f"), search("s", arguments={"query": Ref("f", "text")}), search("t")))
    routed = route(plan, LedgerView((subnet("a"),)), LIMITS, NO_REPUTATION)
    assert [each.task.id for each in routed.tasks] == ["t"]
    assert [(gap.fields, gap.capability) for gap in routed.gaps] == [
        (("/f",), "web_scraping"),
        (("/s",), "web_scraping"),
    ]
    assert "no subnet in this Ledger offers it" in routed.gaps[0].reason
    assert "needs the result of 'f'" in routed.gaps[1].reason


def test_an_optional_task_that_nothing_serves_leaves_its_dependants_alone() -> None:
    plan = Plan("o", (fetch("f", optional=True), search("s", arguments={"query": ["x", Ref("f", "text")]})))
    routed = route(plan, LedgerView((subnet("a"),)), LIMITS, NO_REPUTATION)
    assert [each.task.id for each in routed.tasks] == ["s"]
    assert len(routed.gaps) == 1


def test_the_other_way_takes_over_when_the_first_has_no_route() -> None:
    plan = Plan("o", (fetch("f", otherwise=search("f-search", serves=())),))
    routed = route(plan, LedgerView((subnet("a"),)), LIMITS, NO_REPUTATION)
    assert [(each.task.id, each.task.capability, each.task.serves) for each in routed.tasks] == [
        ("f", "web_search", ("/f",))
    ]
    assert not routed.gaps


def test_both_ways_stay_when_both_have_a_route() -> None:
    page = operation("page", capability="web_scraping", request="", metrics=metrics(), input_schema={})
    plan = Plan("o", (fetch("f", otherwise=search("f2")),))
    routed = route(plan, LedgerView((subnet("a"), entry("p", netuid=2, operations=(page,)))), LIMITS, NO_REPUTATION)
    other = routed.tasks[0].otherwise
    assert routed.tasks[0].task.capability == "web_scraping"
    assert other is not None
    assert (other.task.id, other.task.capability) == ("f", "web_search")


def test_a_chain_that_would_be_late_pays_for_speed_where_it_is_cheapest() -> None:
    def provider(name: str, capability: str, cost: int, latency_ms: int) -> SubnetEntry:
        made = operation("op", capability=capability, request="", price=rao(cost), metrics=metrics(latency_ms))
        return entry(name, netuid=1, operations=(made,))

    ledger = LedgerView(
        (
            provider("slow-search", "web_search", 100, 6_000),
            provider("fast-search", "web_search", 900, 100),
            provider("slow-page", "web_scraping", 100, 6_000),
            provider("fast-page", "web_scraping", 300, 100),
        )
    )
    plan = Plan("o", (search(), fetch("f", "s")))
    routed = route(plan, ledger, LIMITS, NO_REPUTATION)
    assert [each.candidates[0].ref.entry.id for each in routed.tasks] == ["slow-search", "fast-page"]
    reference = route_cost(route(plan, ledger, LIMITS, NO_REPUTATION))
    assert reference == RouteCost(expected_cost=102 + 304, latency_ms=6_061 + 102, success=0.99**2, tasks=2)


def step(cost: int, *, failed: bool = False, subnet: str = "SN1") -> TaskStep:
    return TaskStep(
        step=1,
        subnet=subnet,
        entry="a",
        task="t",
        operation="op",
        query={},
        hash="0x" + "0" * 64,
        response_hash=None,
        latency_ms=1,
        cost=cost,
        error=StepError(kind="fault") if failed else None,
        salt="0x" + "0" * 64,
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([step(100)], 0.0),
        ([step(50)], 0.0),
        ([step(200)], 0.5),
        ([step(100, failed=True), step(300)], 0.75),
        ([step(100, failed=True)], 1.0),
        ([], 1.0),
        ([step(0, subnet="local")], 1.0),
    ],
)
def test_regret_is_the_share_of_the_money_that_need_not_have_been_spent(steps: list[TaskStep], expected: float) -> None:
    assert regret(steps, RouteCost(100, 10, 0.9, 1)) == expected


def test_a_plan_that_needs_no_call_has_no_regret() -> None:
    assert regret([], RouteCost(0, 0, 1.0, 0)) == 0.0
