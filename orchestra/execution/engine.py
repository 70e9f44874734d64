"""Route -> Run: every task starts when its inputs are there, and ends in exactly one state, in time and within budget.

One coroutine per task under one TaskGroup: it waits for the tasks it reads from, resolves its arguments, and tries its
candidates in order until one answers. All limits are checked before a call is sent, in one place (`_send`). A run never
waits for anything without a bound, so it returns by its deadline by itself; cancelling it cancels its calls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from ledger.canonical import canonical
from ledger.types import JSON
from orchestra.execution.arguments import MissingArgument, resolve
from orchestra.execution.budget import Budget, OverBudget
from orchestra.execution.clock import Clock
from orchestra.execution.events import Listener, StepFinished, StepStarted, TaskEnded
from orchestra.execution.policy import Policy, wait_before_retry
from orchestra.execution.run import Answer, Attempt, CallFailed, Run, SubnetCaller, TaskOutcome
from orchestra.execution.timing import Timing
from orchestra.protocol import StepError
from orchestra.routing.route import Candidate, Limits, Route, RoutedTask

_MAX_CAUSE = 300
_WAS = {"failed": "failed", "skipped": "was not tried"}


async def execute(
    route: Route,
    caller: SubnetCaller,
    *,
    limits: Limits,
    tag: str,
    clock: Clock,
    on_event: Listener | None = None,
    policy: Policy | None = None,
) -> Run:
    """Run a Route under its deadline and budget. Failure of a subnet is data in the Run, never an exception.

    `tag` is the challenge's public tag, passed to every call. `clock` is the running loop's time (`LoopClock`).

    Raises:
        ExceptionGroup: a defect in `caller` or `on_event`; every call has ended when it is raised.
    """
    engine = _Engine(route, caller, limits, tag, clock, on_event, policy or Policy())
    return await engine.run()


class NotSent(Exception):
    """A call that a limit forbade. The message is its cause."""


@dataclass(slots=True)
class _Work:
    """What has become of one task so far: why it is not done, how many calls were made, whether it was really tried."""

    routed: RoutedTask
    causes: list[str] = field(default_factory=list[str])
    calls: int = 0
    tried: bool = False


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Arguments of one way of a task, and the successful steps that they were read from."""

    arguments: dict[str, Any]
    depends_on: tuple[int, ...]


@dataclass(slots=True)
class _Call:
    """One operation that a way may call. `others`: an alternative stands behind it. `tries` calls were made so far, of
    which `failed` is how the last one ended, unless it answered.
    """

    candidate: Candidate
    way: RoutedTask
    query: dict[str, Any]
    request: bytes
    depends_on: tuple[int, ...]
    others: bool
    tries: int = 0
    failed: CallFailed | None = None

    @property
    def task_id(self) -> str:
        return self.way.task.id

    @property
    def name(self) -> str:
        return self.candidate.ref.name

    @property
    def origin(self) -> str:
        url = urlsplit(self.candidate.ref.operation.endpoint.base_url)
        return f"{url.scheme}://{url.netloc}"


class _Engine:
    def __init__(
        self,
        route: Route,
        caller: SubnetCaller,
        limits: Limits,
        tag: str,
        clock: Clock,
        on_event: Listener | None,
        policy: Policy,
    ) -> None:
        self._route = route
        self._caller = caller
        self._limits = limits
        self._tag = tag
        self._clock = clock
        self._tell = on_event
        self._policy = policy
        self._timing = Timing(route.tasks)
        self._budget = Budget(limits.max_cost)
        self._retries_left = policy.retries_per_run
        self._began = clock.now()
        self._ended: dict[str, asyncio.Event] = {routed.task.id: asyncio.Event() for routed in route.tasks}
        self._optional = frozenset(routed.task.id for routed in route.tasks if routed.task.optional)
        self._outcomes: dict[str, TaskOutcome] = {}
        self._outputs: dict[str, JSON] = {}
        self._attempts: list[Attempt | None] = []
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._closed_until: dict[str, float] = {}

    async def run(self) -> Run:
        async with asyncio.TaskGroup() as group:
            for routed in self._route.tasks:
                group.create_task(self._task(routed))
        return Run(
            attempts=tuple(attempt for attempt in self._attempts if attempt is not None),
            outcomes=MappingProxyType({routed.task.id: self._outcomes[routed.task.id] for routed in self._route.tasks}),
            elapsed_ms=self._elapsed_ms(),
            cost=self._budget.spent,
        )

    # One task --------------------------------------------------------------------------------------------------------

    async def _task(self, routed: RoutedTask) -> None:
        work = _Work(routed)
        step: int | None = None
        way: RoutedTask | None = routed
        while way is not None and step is None:
            inputs = await self._inputs(way, work)
            if inputs is not None:
                step = await self._way(way, inputs, work)
            way = way.otherwise
        if step is not None:
            self._end(routed, TaskOutcome("done", step))
        else:
            cause = "; ".join(work.causes)[:_MAX_CAUSE]
            self._end(routed, TaskOutcome("failed" if work.tried else "skipped", cause=cause))

    def _end(self, routed: RoutedTask, outcome: TaskOutcome) -> None:
        task = routed.task
        self._outcomes[task.id] = outcome
        self._ended[task.id].set()
        if self._tell is not None:
            self._tell(TaskEnded(task.id, task.description, outcome))

    async def _inputs(self, way: RoutedTask, work: _Work) -> _Inputs | None:
        """Wait for what the way reads; None, with a cause, when it cannot be had."""
        sources = sorted({ref.task for ref in way.task.refs()} & self._ended.keys())
        for source in sources:
            await self._ended[source].wait()
            outcome = self._outcomes[source]
            if outcome.state != "done" and source not in self._optional:
                work.causes.append(f"needs {source!r}, which {_WAS[outcome.state]}")
                return None
        try:
            arguments = resolve(way.task, self._outputs)
        except MissingArgument as missing:
            work.tried = True
            work.causes.append(str(missing))
            return None
        steps = (self._outcomes[source].step for source in sources)
        return _Inputs(arguments, tuple(sorted(step for step in steps if step is not None)))

    async def _way(self, way: RoutedTask, inputs: _Inputs, work: _Work) -> int | None:
        """Try the candidates in order, and when nothing else is left to try, once more those that may do better then.

        The successful step, or None with a cause for every call that failed or was not sent.
        """
        calls: list[_Call] = []
        for position, candidate in enumerate(way.candidates, 1):
            others = position < len(way.candidates) or way.otherwise is not None
            try:
                query = self._caller.wire_query(candidate.ref.operation, inputs.arguments)
                call = _Call(candidate, way, query, canonical(query), inputs.depends_on, others)
            except (CallFailed, ValueError) as refused:
                work.causes.append(f"{candidate.ref.name}: {refused}")
                continue
            calls.append(call)
            if (step := await self._try(call, work)) is not None:
                return step
        if way.otherwise is None:
            for call in calls:
                call.others = False
                if await self._again(call) and (step := await self._try(call, work)) is not None:
                    return step
        return None

    async def _try(self, call: _Call, work: _Work) -> int | None:
        """Call one operation, again where its rule says so."""
        while True:
            try:
                attempt, call.failed = await self._send(call, work)
            except (NotSent, OverBudget) as forbidden:
                call.failed = None
                work.causes.append(f"{call.name}: {forbidden}")
                return None
            if call.failed is None:
                self._outputs[work.routed.task.id] = attempt.output
                return attempt.step
            work.causes.append(f"{call.name}: {call.failed}")
            if call.failed.retry_after_s:
                self._closed_until[call.origin] = self._clock.now() + call.failed.retry_after_s
            if not await self._again(call):
                return None

    async def _again(self, call: _Call) -> bool:
        """Wait as long as another try at this operation has to wait; False when there is none."""
        failed = call.failed
        if failed is None or self._retries_left <= 0:
            return False
        wait_s = wait_before_retry(
            failed.error.kind,
            self._policy,
            tries=call.tries,
            safe=call.candidate.ref.operation.safe_to_retry,
            retryable=failed.retryable,
            others=call.others,
            closed_s=self._closed_s(call),
        )
        if wait_s is None or wait_s >= self._left_s():
            return False
        self._retries_left -= 1
        await self._clock.sleep(wait_s)
        return True

    # One call --------------------------------------------------------------------------------------------------------

    async def _send(self, call: _Call, work: _Work) -> tuple[Attempt, CallFailed | None]:
        """Make the call as soon as the limits allow it. Waits only on calls in flight, which all end by the deadline.

        Raises:
            NotSent: a limit forbids it for good.
        """
        async with self._gates.setdefault(call.origin, asyncio.Semaphore(self._policy.calls_per_endpoint)):
            await self._opening(call)
            worst = call.candidate.worst_cost
            await self._budget.reserve(worst)
            cost = 0
            try:
                self._check(call)
                attempt, failed = await self._call(call, work)
                cost = attempt.cost
                return attempt, failed
            finally:
                self._budget.settle(worst, cost)

    async def _opening(self, call: _Call) -> None:
        """Obey a Retry-After that any call of this run got from the same endpoint."""
        wait_s = self._closed_s(call)
        if wait_s <= 0:
            return
        if call.others or wait_s >= self._left_s():
            raise NotSent(f"asked us to wait for another {wait_s:.1f} s")
        await self._clock.sleep(wait_s)

    def _closed_s(self, call: _Call) -> float:
        return max(0.0, self._closed_until.get(call.origin, 0.0) - self._clock.now())

    def _check(self, call: _Call) -> None:
        if len(self._attempts) >= self._policy.attempts_per_run:
            raise NotSent(f"the run has made its {self._policy.attempts_per_run} calls")
        left_s = self._left_s()
        if left_s <= 0 or not self._timing.can_make_it(call.task_id, call.candidate, left_s):
            raise NotSent(f"not started: {max(0, round(left_s * 1000))} ms left, it takes {call.candidate.latency_ms}")

    async def _call(self, call: _Call, work: _Work) -> tuple[Attempt, CallFailed | None]:
        """One call over the wire, recorded whatever becomes of it."""
        step = len(self._attempts) + 1
        self._attempts.append(None)
        call.tries += 1
        work.calls += 1
        work.tried = True
        number, started = work.calls, self._clock.now()
        again = call.candidate.ref.operation.safe_to_retry and call.tries < self._policy.tries_of_last
        timeout_s = self._timing.timeout_s(
            call.task_id, call.candidate, self._left_s(), self._policy, others=call.others, again=again
        )
        self._tell_started(call, step, number, timeout_s)
        answer, failed = await self._answer(call, timeout_s)
        attempt = _recorded(
            call,
            answer,
            failed,
            step=step,
            number=number,
            started_ms=_ms(started - self._began),
            latency_ms=_ms(self._clock.now() - started),
            cost=self._paid(call, answer, failed),
        )
        self._attempts[step - 1] = attempt
        if self._tell is not None:
            self._tell(StepFinished(attempt))
        return attempt, failed

    async def _answer(self, call: _Call, timeout_s: float) -> tuple[Answer | None, CallFailed | None]:
        ref = call.candidate.ref
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                return await self._caller.call(ref, call.query, tag=self._tag, timeout_s=timeout_s), None
        except CallFailed as failed:
            return None, failed
        except TimeoutError:
            if not limit.expired():
                raise  # the caller's own defect: it owes a CallFailed
        ours = timeout_s * 1000 < call.candidate.latency_p95_ms
        error = StepError(
            kind="deadline" if ours else "timeout", detail=f"no answer within {round(timeout_s * 1000)} ms"
        )
        return None, CallFailed(error, cost=call.candidate.worst_cost)

    def _paid(self, call: _Call, answer: Answer | None, failed: CallFailed | None) -> int:
        """What the call cost. Where no price is known, an answer or a timeout counts as the ceiling."""
        known = self._limits.price_known(call.candidate.ref)
        if answer is not None:
            return answer.cost if known else call.candidate.worst_cost
        assert failed is not None
        return failed.cost if known or failed.error.kind != "timeout" else call.candidate.worst_cost

    def _tell_started(self, call: _Call, step: int, number: int, timeout_s: float) -> None:
        if self._tell is None:
            return
        ref, task = call.candidate.ref, call.way.task
        self._tell(
            StepStarted(
                step=step,
                task_id=task.id,
                task=task.description,
                subnet=ref.entry.subnet,
                entry=ref.entry.id,
                operation=ref.operation.name,
                attempt=number,
                at_ms=self._elapsed_ms(),
                timeout_ms=_ms(timeout_s),
            )
        )

    def _left_s(self) -> float:
        return self._began + self._limits.deadline_ms / 1000 - self._clock.now()

    def _elapsed_ms(self) -> int:
        return _ms(self._clock.now() - self._began)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _recorded(
    call: _Call,
    answer: Answer | None,
    failed: CallFailed | None,
    *,
    step: int,
    number: int,
    started_ms: int,
    latency_ms: int,
    cost: int,
) -> Attempt:
    ref, task = call.candidate.ref, call.way.task
    return Attempt(
        step=step,
        task_id=task.id,
        task=task.description,
        capability=task.capability,
        subnet=ref.entry.subnet,
        entry=ref.entry.id,
        operation=ref.operation.name,
        query=call.query,
        request=call.request,
        response=answer.body if answer else failed.body if failed else None,
        output=answer.output if answer else None,
        error=failed.error if failed else None,
        started_ms=started_ms,
        latency_ms=latency_ms,
        cost=cost,
        attempt=number,
        depends_on=call.depends_on,
        receipt=answer.receipt if answer else None,
    )
