"""The engine over random DAGs, latencies, failures and budgets, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.entry import Metrics, Price
from ledger.view import LedgerView
from orchestra.execution import Event, LoopClock, Policy, Run, StepFinished, StepStarted, TaskEnded, execute
from orchestra.planning.plan import Plan, Ref, Task
from orchestra.protocol import ErrorKind
from orchestra.routing import NO_REPUTATION, Limits, Route, route
from tests.builders import entry, operation
from tests.fakes.caller import Reply, ScriptedCaller
from tests.fakes.clock import run_virtual

CAPABILITIES = ("image_generation", "weather", "translation")
KINDS: tuple[ErrorKind, ...] = (
    "timeout",
    "unreachable",
    "throttled",
    "fault",
    "auth",
    "out_of_credit",
    "refused",
    "malformed",
    "schema_mismatch",
)
POLICY = Policy(retries_per_run=2, calls_per_endpoint=3)


@st.composite
def replies(draw: st.DrawFn, worst: int) -> list[Reply]:
    return [
        Reply(
            {"text": "t"} if draw(st.booleans()) else {},
            after_s=draw(st.sampled_from([0.0, 0.01, 0.1, 0.5, 2.0, 9.0, 3_600.0])),
            cost=draw(st.integers(0, worst)),
            error=draw(st.none() | st.sampled_from(KINDS)),
            retry_after_s=draw(st.sampled_from([None, 0.5, 30.0])),
            retryable=draw(st.sampled_from([None, True, False])),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]


@st.composite
def ledgers(draw: st.DrawFn) -> tuple[LedgerView, dict[str, list[Reply]]]:
    entries, script = [], dict[str, list[Reply]]()
    for number in range(draw(st.integers(1, 5))):
        worst = draw(st.integers(0, 50))
        latency = draw(st.sampled_from([1, 10, 100, 1_000]))
        made = operation(
            "op",
            capability=draw(st.sampled_from(CAPABILITIES)),
            request="",
            response="",
            input_schema={},
            endpoint={"base_url": f"http://h{number % 3}.test", "method": "GET", "path": "/", "arguments": "query"},
            price=Price(amount=f"0.{worst:09d}", currency="TAO"),
            metrics=Metrics(latency_ms=latency, latency_p95_ms=3 * latency, reliability_permille=900),
            safe_to_retry=draw(st.booleans()),
        )
        entries.append(entry(f"e{number}", netuid=number, operations=(made,)))
        script[f"e{number}/op"] = draw(replies(worst))
    return LedgerView(entries), script


@st.composite
def tasks(draw: st.DrawFn, task_id: str, before: list[str], capabilities: tuple[str, ...] = CAPABILITIES) -> Task:
    capability = draw(st.sampled_from(capabilities))
    others = () if capabilities != CAPABILITIES else tuple(each for each in CAPABILITIES if each != capability)
    sources = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
    return Task(
        task_id,
        capability,
        f"do {task_id}",
        {"parts": ["x", *(Ref(source, "text") for source in sources)]},
        serves=("/x",) if draw(st.booleans()) else (),
        otherwise=draw(tasks(f"{task_id}-", before, others)) if others and draw(st.booleans()) else None,
        optional=draw(st.booleans()),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    made: list[Task] = []
    for number in range(draw(st.integers(0, 8))):
        made.append(draw(tasks(f"t{number}", [task.id for task in made])))
    return Plan("o", tuple(made))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Route, dict[str, list[Reply]], Limits]:
    ledger, script = draw(ledgers())
    limits = Limits(draw(st.sampled_from([50, 500, 3_000, 10_000])), draw(st.integers(0, 300)))
    return route(draw(plans()), ledger, limits, NO_REPUTATION), script, limits


@given(cases())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_run_keeps_every_promise(case: tuple[Route, dict[str, list[Reply]], Limits]) -> None:
    a_route, script, limits = case
    caller, events = ScriptedCaller(script), list[Event]()
    done = run_virtual(
        execute(a_route, caller, limits=limits, tag="t", clock=LoopClock(), on_event=events.append, policy=POLICY)
    )
    assert done.elapsed_ms <= limits.deadline_ms
    assert done.cost <= limits.max_cost
    assert done.cost == sum(attempt.cost for attempt in done.attempts)
    assert caller.in_flight == 0
    assert len(caller.sent) == len(done.attempts) <= POLICY.attempts_per_run
    steps_are_sound(done, a_route)
    outcomes_are_sound(done, a_route)
    retries_are_within_the_allowance(done)
    events_tell_the_same_story(events, done)


def steps_are_sound(done: Run, a_route: Route) -> None:
    assert [attempt.step for attempt in done.attempts] == list(range(1, len(done.attempts) + 1))
    ends = {attempt.step: attempt.started_ms + attempt.latency_ms for attempt in done.attempts}
    sources = {routed.task.id: routed.task.depends_on() for routed in a_route.tasks}
    for attempt in done.attempts:
        for step in attempt.depends_on:
            source = done.attempts[step - 1]
            assert source.ok
            assert source.task_id in sources[attempt.task_id]
            assert ends[step] <= attempt.started_ms + 1  # rounded to ms
    successes = Counter(attempt.task_id for attempt in done.attempts if attempt.ok)
    assert all(count == 1 for count in successes.values())
    assert {attempt.task_id: attempt.step for attempt in done.attempts if attempt.ok} == {
        task_id: outcome.step for task_id, outcome in done.outcomes.items() if outcome.state == "done"
    }


def outcomes_are_sound(done: Run, a_route: Route) -> None:
    assert list(done.outcomes) == [routed.task.id for routed in a_route.tasks]
    tried = {attempt.task_id for attempt in done.attempts}
    for task_id, outcome in done.outcomes.items():
        assert (outcome.state == "done") == (outcome.step is not None)
        assert (outcome.state == "done") != bool(outcome.cause)
        assert outcome.state != "skipped" or task_id not in tried


def retries_are_within_the_allowance(done: Run) -> None:
    calls = Counter((attempt.task_id, attempt.capability, attempt.entry) for attempt in done.attempts)
    assert sum(count - 1 for count in calls.values()) <= POLICY.retries_per_run


def events_tell_the_same_story(events: list[Event], done: Run) -> None:
    started = [event.step for event in events if isinstance(event, StepStarted)]
    finished = [event.attempt for event in events if isinstance(event, StepFinished)]
    ended = {event.task_id: event.outcome for event in events if isinstance(event, TaskEnded)}
    assert started == [attempt.step for attempt in done.attempts]
    assert sorted(finished, key=lambda attempt: attempt.step) == list(done.attempts)
    assert ended == done.outcomes


@given(cases(), st.floats(0.0, 5.0))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_cancelled_run_leaves_nothing_running(
    case: tuple[Route, dict[str, list[Reply]], Limits], after_s: float
) -> None:
    a_route, script, limits = case
    caller = ScriptedCaller(script)

    async def main() -> None:
        running: asyncio.Task[Any] = asyncio.create_task(
            execute(a_route, caller, limits=limits, tag="t", clock=LoopClock(), policy=POLICY)
        )
        await asyncio.wait([running], timeout=after_s)
        running.cancel()
        await asyncio.wait([running])
        assert caller.in_flight == 0
        sent = len(caller.sent)
        await asyncio.sleep(60)
        assert len(caller.sent) == sent

    run_virtual(main())
