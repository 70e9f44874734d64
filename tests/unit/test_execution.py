"""The engine in virtual time: order, parallelism, failure, deadline, budget, cancellation."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from ledger.canonical import canonical
from ledger.entry import Metrics, Operation, Price, SubnetEntry
from ledger.view import LedgerView
from orchestra.execution import (
    Event,
    LoopClock,
    Policy,
    Run,
    StepFinished,
    StepStarted,
    TaskEnded,
    TaskOutcome,
    execute,
)
from orchestra.planning.plan import Plan, Ref, Task
from orchestra.routing import NO_REPUTATION, Limits, Route, route
from tests.builders import entry, operation
from tests.fakes.caller import Reply, ScriptedCaller
from tests.fakes.clock import run_virtual

TAG = "0x" + "ab" * 32
LIMITS = Limits(deadline_ms=10_000, max_cost=1_000_000, unpriced_ceiling=500)
FOUND = {"results": [{"url": "https://a", "title": "A"}]}


def op(capability: str = "web_search", **changes: Any) -> Operation:
    fields: dict[str, Any] = {
        "request": "",
        "response": "",
        "input_schema": {},
        "price": Price(amount="0.000001", currency="TAO"),
        "metrics": Metrics(latency_ms=100, latency_p95_ms=200, reliability_permille=990),
        "endpoint": {"base_url": "http://127.0.0.1:1", "method": "POST", "path": "/", "arguments": "json_body"},
    }
    return operation("op", capability=capability, **(fields | changes))


def provider(name: str, capability: str = "web_search", **changes: Any) -> SubnetEntry:
    endpoint = {"base_url": f"http://{name}.test", "method": "POST", "path": "/", "arguments": "json_body"}
    return entry(name, netuid=7, operations=(op(capability, **({"endpoint": endpoint} | changes)),))


def search(task_id: str = "s", **changes: Any) -> Task:
    fields: dict[str, Any] = {"arguments": {"query": "x"}, "serves": ("/x",)} | changes
    return Task(task_id, "web_search", f"search {task_id}", **fields)


def fetch(task_id: str, source: str, path: str = "results[0].url", **changes: Any) -> Task:
    return Task(task_id, "web_scraping", f"fetch {task_id}", {"url": Ref(source, path)}, ("/y",), **changes)


def routed(tasks: tuple[Task, ...], *entries: SubnetEntry, limits: Limits = LIMITS) -> Route:
    return route(Plan("o", tasks), LedgerView(entries), limits, NO_REPUTATION)


def run(caller: ScriptedCaller, a_route: Route, *, limits: Limits = LIMITS, **options: Any) -> Run:
    return run_virtual(execute(a_route, caller, limits=limits, tag=TAG, clock=LoopClock(), **options))


def test_a_task_reads_what_the_one_before_it_found() -> None:
    caller = ScriptedCaller({"a/op": [Reply(FOUND, 0.2, 700)], "p/op": [Reply({"text": "page"}, 0.3, 800)]})
    done = run(caller, routed((search(), fetch("f", "s")), provider("a"), provider("p", "web_scraping")))
    first, second = done.attempts
    assert [sent.query for sent in caller.sent] == [{"query": "x"}, {"url": "https://a"}]
    assert {sent.tag for sent in caller.sent} == {TAG}
    assert (first.step, first.depends_on, first.started_ms, first.latency_ms) == (1, (), 0, 200)
    assert (second.step, second.depends_on, second.started_ms, second.latency_ms) == (2, (1,), 200, 300)
    assert second.request == canonical({"url": "https://a"})
    assert second.response == canonical({"text": "page"})
    assert (done.cost, done.elapsed_ms) == (1_500, 500)
    assert done.outcomes == {"s": TaskOutcome("done", 1), "f": TaskOutcome("done", 2)}
    result = done.result("f")
    assert result is not None
    assert (result.subnet, result.entry, result.operation, result.capability) == ("SN7", "p", "op", "web_scraping")


def test_independent_tasks_run_at_the_same_time() -> None:
    caller = ScriptedCaller({"a/op": [Reply(FOUND, 1.0)]})
    done = run(caller, routed(tuple(search(f"s{i}") for i in range(8)), provider("a")))
    assert done.elapsed_ms == 1_000
    assert sorted(attempt.step for attempt in done.attempts) == list(range(1, 9))


def test_an_endpoint_gets_no_more_calls_at_once_than_it_may() -> None:
    caller = ScriptedCaller({"a/op": [Reply(FOUND, 0.1)]})
    policy = Policy(calls_per_endpoint=2)
    done = run(caller, routed(tuple(search(f"s{i}") for i in range(6)), provider("a")), policy=policy)
    assert caller.most_in_flight == 2
    assert done.elapsed_ms == 300


@pytest.mark.parametrize("kind", ["auth", "out_of_credit", "refused", "schema_mismatch", "malformed", "unreachable"])
def test_a_failure_moves_on_to_the_next_provider_and_stays_in_the_record(kind: Any) -> None:
    caller = ScriptedCaller({"a/op": [Reply(error=kind, after_s=0.1, cost=9)], "b/op": [Reply(FOUND, 0.1, 10)]})
    done = run(caller, routed((search(),), provider("a"), provider("b")))
    failed, good = done.attempts
    assert failed.error is not None
    assert (failed.error.kind, failed.cost, failed.attempt, failed.ok) == (kind, 9, 1, False)
    assert (good.entry, good.attempt, good.step) == ("b", 2, 2)
    assert done.cost == 19


def test_a_fault_is_tried_once_more_here_before_the_alternative() -> None:
    caller = ScriptedCaller({"a/op": [Reply(error="fault")], "b/op": [Reply(FOUND)]})
    run(caller, routed((search(),), provider("a"), provider("b")))
    assert [sent.name for sent in caller.sent] == ["a/op", "a/op", "b/op"]


def test_what_is_not_safe_to_retry_is_called_once() -> None:
    caller = ScriptedCaller({"a/op": [Reply(error="fault")]})
    done = run(caller, routed((search(),), provider("a", safe_to_retry=False)))
    assert len(caller.sent) == 1
    assert done.outcomes["s"] == TaskOutcome("failed", cause="a/op: fault: scripted")


def test_retry_after_is_obeyed_also_by_other_tasks_at_the_same_endpoint() -> None:
    caller = ScriptedCaller({"a/op": [Reply(error="throttled", retry_after_s=3.0), Reply(FOUND, 0.1)]})
    plan = (search("s"), fetch("f", "s"), search("t", arguments={"query": Ref("f", "text")}))
    slow = ScriptedCaller({**caller.script, "p/op": [Reply({"text": "t"}, 0.1)]})
    done = run(slow, routed(plan, provider("a"), provider("p", "web_scraping")))
    assert [round(sent.began_at - slow.sent[0].began_at, 3) for sent in slow.sent] == [0.0, 3.0, 3.1, 3.2]
    assert all(outcome.state == "done" for outcome in done.outcomes.values())


def test_when_everybody_has_failed_those_that_may_do_better_are_asked_once_more() -> None:
    caller = ScriptedCaller(
        {
            "a/op": [Reply(error="unreachable"), Reply(FOUND)],
            "b/op": [Reply(error="auth")],
            "c/op": [Reply(error="timeout")],
        }
    )
    done = run(caller, routed((search(),), provider("a"), provider("b"), provider("c", safe_to_retry=False)))
    assert [sent.name for sent in caller.sent] == ["a/op", "b/op", "c/op", "a/op"]
    assert done.outcomes["s"] == TaskOutcome("done", 4)


def test_a_closed_endpoint_is_passed_over_for_an_alternative() -> None:
    script = {"a/op": [Reply(error="throttled", retry_after_s=60.0)], "b/op": [Reply(FOUND, 0.1)]}
    plan = (search("s"), search("t", arguments={"query": Ref("s", "results[0].title")}))
    caller = ScriptedCaller(script)
    done = run(caller, routed(plan, provider("a"), provider("b")))
    assert [sent.name for sent in caller.sent] == ["a/op", "b/op", "b/op"]
    assert done.outcomes["t"].state == "done"


def test_retries_of_a_run_have_one_allowance() -> None:
    caller = ScriptedCaller({"a/op": [Reply(error="fault")]})
    run(caller, routed(tuple(search(f"s{i}") for i in range(10)), provider("a")), policy=Policy(retries_per_run=4))
    assert len(caller.sent) == 14


def test_a_run_makes_no_more_calls_than_its_cap() -> None:
    caller = ScriptedCaller({"a/op": [Reply(FOUND)]})
    done = run(
        caller, routed(tuple(search(f"s{i}") for i in range(9)), provider("a")), policy=Policy(attempts_per_run=5)
    )
    assert len(done.attempts) == 5
    assert sum(outcome.state == "skipped" for outcome in done.outcomes.values()) == 4


def test_a_hanging_provider_leaves_time_for_the_next() -> None:
    caller = ScriptedCaller({"a/op": [Reply(FOUND, 3_600)], "b/op": [Reply(FOUND, 0.1)]})
    done = run(caller, routed((search(),), provider("a"), provider("b")))
    failed, good = done.attempts
    assert failed.error is not None
    assert (failed.error.kind, failed.latency_ms, failed.cost) == ("timeout", 1_000, 1_000)
    assert good.ok
    assert caller.sent[0].cancelled


def test_an_endpoint_that_stays_silent_is_passed_over_for_the_rest_of_the_run() -> None:
    script = {"a/op": [Reply(FOUND, 3_600)], "b/op": [Reply(FOUND, 0.1)]}
    later = tuple(search(f"t{i}", arguments={"query": Ref("s0", "results[0].title")}) for i in range(3))
    caller = ScriptedCaller(script)
    done = run(caller, routed((search("s0"), search("s1"), *later), provider("a"), provider("b")))
    assert Counter(sent.name for sent in caller.sent) == {"a/op": 2, "b/op": 5}
    assert done.elapsed_ms == 1_200
    assert {outcome.state for outcome in done.outcomes.values()} == {"done"}


@pytest.mark.parametrize("first", [(), (provider("a"),)])
def test_the_only_provider_that_answers_is_waited_for_longer_after_every_silence(
    first: tuple[SubnetEntry, ...],
) -> None:
    slow = Reply(FOUND, 5.0)
    page = Metrics(latency_ms=400, latency_p95_ms=600, reliability_permille=990)
    script = {"a/op": [Reply(error="unreachable")], "b/op": [slow], "p/op": [Reply({"text": "page"}, 5.0)]}
    limits = Limits(28_000, 1_000_000)
    plan = routed(
        (search(), fetch("f", "s")), *first, provider("b"), provider("p", "web_scraping", metrics=page), limits=limits
    )
    done = run(ScriptedCaller(script), plan, limits=limits)
    assert {outcome.state for outcome in done.outcomes.values()} == {"done"}
    waits = [attempt.latency_ms for attempt in done.attempts if attempt.entry == "b"]
    assert waits == [*sorted(waits[:-1]), 5_000]


def test_a_late_result_is_dropped_and_the_run_returns_in_time() -> None:
    caller = ScriptedCaller({"a/op": [Reply(FOUND, 0.1)], "p/op": [Reply({"text": "late"}, 60.0)]})
    plan = (search(), fetch("f", "s"), search("t"))
    done = run(caller, routed(plan, provider("a"), provider("p", "web_scraping", safe_to_retry=False)))
    assert done.elapsed_ms <= 10_000
    assert done.outcomes["f"].state == "failed"
    assert done.outcomes["t"].state == "done"
    assert "timeout: no answer within" in done.outcomes["f"].cause


def test_a_step_that_can_no_longer_make_it_is_not_started() -> None:
    slow = Metrics(latency_ms=5_000, latency_p95_ms=6_000, reliability_permille=990)
    caller = ScriptedCaller({"a/op": [Reply(FOUND, 4.0)], "p/op": [Reply({"text": "late"}, 5.0)]})
    limits = Limits(8_000, 1_000_000)
    plan = routed((search(), fetch("f", "s")), provider("a", metrics=slow), provider("p", "web_scraping", metrics=slow))
    done = run(caller, plan, limits=limits)
    assert [sent.name for sent in caller.sent] == ["a/op"]
    assert done.outcomes["f"] == TaskOutcome("skipped", cause="p/op: not started: 4000 ms left, it takes 5000")


def test_a_step_that_serves_only_what_cannot_make_it_is_not_paid_for() -> None:
    slow = Metrics(latency_ms=5_000, latency_p95_ms=6_000, reliability_permille=990)
    plan = (search(serves=()), fetch("f", "s"))
    done = run(
        ScriptedCaller({}),
        routed(plan, provider("a", metrics=slow), provider("p", "web_scraping", metrics=slow)),
        limits=Limits(8_000, 1_000_000),
    )
    assert done.cost == 0
    assert {outcome.state for outcome in done.outcomes.values()} == {"skipped"}


def test_money_is_reserved_before_it_is_spent() -> None:
    caller = ScriptedCaller({"a/op": [Reply(FOUND, 1.0, 400)]})
    done = run(caller, routed(tuple(search(f"s{i}") for i in range(5)), provider("a")), limits=Limits(10_000, 1_500))
    assert caller.most_in_flight == 1
    assert done.cost == 800
    causes = {outcome.cause for outcome in done.outcomes.values() if outcome.state == "skipped"}
    assert causes == {"a/op: may cost 1000 rao, 700 left"}


def test_over_budget_a_cheaper_alternative_is_taken() -> None:
    caller = ScriptedCaller({"dear/op": [Reply(FOUND, 0.1, 900)], "cheap/op": [Reply(FOUND, 0.1, 100)]})
    cheap = provider(
        "cheap",
        price=Price(amount="0.0000001", currency="TAO"),
        metrics=Metrics(latency_ms=100, latency_p95_ms=200, reliability_permille=50),
    )
    plan = routed((search("s"), search("t")), provider("dear"), cheap, limits=Limits(10_000, 1_100))
    done = run(caller, plan, limits=Limits(10_000, 1_100))
    assert sorted(attempt.entry for attempt in done.attempts) == ["cheap", "dear"]
    assert done.cost == 1_000


def test_an_answer_without_a_known_price_counts_as_the_ceiling() -> None:
    done = run(ScriptedCaller({"a/op": [Reply(FOUND)]}), routed((search(),), provider("a", price=None)))
    assert done.cost == done.attempts[0].cost == 500


def test_dependants_of_a_failed_task_are_skipped_with_the_cause() -> None:
    caller = ScriptedCaller({"a/op": [Reply(error="refused")]})
    done = run(caller, routed((search(), fetch("f", "s")), provider("a"), provider("p", "web_scraping")))
    assert done.outcomes["f"] == TaskOutcome("skipped", cause="needs 's', which failed")


def test_dependants_of_a_failed_optional_task_go_on_without_it() -> None:
    caller = ScriptedCaller({"a/op": [Reply(error="refused")], "p/op": [Reply({"text": "t"})]})
    page = Task("f", "web_scraping", "fetch", {"url": ["https://x", Ref("s", "results[0].url")]}, ("/y",))
    done = run(caller, routed((search(optional=True), page), provider("a"), provider("p", "web_scraping")))
    assert caller.sent[-1].query == {"url": "https://x"}
    assert done.attempts[-1].depends_on == ()
    assert done.outcomes["f"].state == "done"


def test_a_search_that_found_nothing_fails_what_needs_its_result() -> None:
    caller = ScriptedCaller({"a/op": [Reply({"results": []})]})
    done = run(caller, routed((search(), fetch("f", "s")), provider("a"), provider("p", "web_scraping")))
    assert done.outcomes["f"] == TaskOutcome(
        "failed", cause="url of web_scraping is empty: results[0].url of 's' gave nothing"
    )


def test_the_other_way_is_gone_when_every_provider_of_the_first_has_failed() -> None:
    other = Task("f2", "web_scraping", "fetch instead", {"url": Ref("t", "results[0].url")})
    script = {"a/op": [Reply(FOUND, 0.5)], "e/op": [Reply(error="malformed")], "p/op": [Reply({"text": "t"})]}
    extract = Task("f", "structured_extraction", "extract", {"url": "u", "fields": {}}, ("/y",), otherwise=other)
    caller = ScriptedCaller(script)
    done = run(
        caller,
        routed(
            (search("t"), extract), provider("a"), provider("e", "structured_extraction"), provider("p", "web_scraping")
        ),
    )
    result = done.result("f")
    assert result is not None
    assert (result.task_id, result.capability, result.attempt, result.task) == ("f", "web_scraping", 2, "fetch instead")
    assert result.depends_on == (1,) or done.attempts[result.depends_on[0] - 1].task_id == "t"


def test_every_event_comes_in_order() -> None:
    seen: list[Event] = []
    caller = ScriptedCaller({"a/op": [Reply(error="refused", after_s=0.1)], "b/op": [Reply(FOUND, 0.1)]})
    done = run(caller, routed((search(),), provider("a"), provider("b")), on_event=seen.append)
    assert [type(event) for event in seen] == [StepStarted, StepFinished, StepStarted, StepFinished, TaskEnded]
    third, last = seen[2], seen[-1]
    assert isinstance(third, StepStarted)
    assert (third.step, third.entry, third.attempt, third.at_ms) == (2, "b", 2, 100)
    assert last == TaskEnded("s", "search s", done.outcomes["s"])


def test_cancelling_a_run_cancels_its_calls() -> None:
    caller = ScriptedCaller({"a/op": [Reply(FOUND, 60.0)]})

    async def main() -> None:
        a_route = routed(tuple(search(f"s{i}") for i in range(4)), provider("a"))
        going = asyncio.create_task(execute(a_route, caller, limits=LIMITS, tag=TAG, clock=LoopClock()))
        await asyncio.sleep(0.5)
        assert caller.in_flight == 4
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert caller.in_flight == 0

    run_virtual(main())
    assert all(sent.cancelled for sent in caller.sent)


def test_a_defect_in_the_caller_is_not_taken_for_a_failed_call() -> None:
    caller = ScriptedCaller({})
    with pytest.raises(ExceptionGroup) as raised:
        run(caller, routed((search(),), provider("a")))
    assert isinstance(raised.value.exceptions[0], AssertionError)


def test_an_empty_route_is_an_empty_run() -> None:
    done = run(ScriptedCaller({}), routed(()))
    assert (done.attempts, dict(done.outcomes), done.cost, done.elapsed_ms) == ((), {}, 0, 0)
