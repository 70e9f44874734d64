"""Route -> Run: every task starts when its inputs are there, and ends in exactly one state, in time and within budget.

One coroutine per task under one TaskGroup: it waits for the tasks it reads from, resolves its arguments, and tries its
candidates in order until one answers; `sending` makes each call under the limits. A run never waits for anything
without a bound, so it returns by its deadline by itself; cancelling it cancels its calls.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ledger.canonical import canonical
from ledger.types import JSON
from orchestra.execution.arguments import MissingArgument, resolve
from orchestra.execution.budget import OverBudget
from orchestra.execution.clock import Clock
from orchestra.execution.events import Listener, TaskEnded
from orchestra.execution.policy import Policy
from orchestra.execution.run import CallFailed, Run, SubnetCaller, TaskOutcome
from orchestra.execution.sending import Call, NotSent, Sender
from orchestra.execution.timing import Timing
from orchestra.routing.route import Limits, Route, RoutedTask

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
    sender = Sender(caller, Timing(route.tasks), limits, tag, clock, on_event, policy or Policy())
    return await _Engine(route, caller, sender, on_event).run()


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


class _Engine:
    def __init__(self, route: Route, caller: SubnetCaller, sender: Sender, tell: Listener | None) -> None:
        self._route = route
        self._caller = caller
        self._sender = sender
        self._tell = tell
        self._ended: dict[str, asyncio.Event] = {routed.task.id: asyncio.Event() for routed in route.tasks}
        self._optional = frozenset(routed.task.id for routed in route.tasks if routed.task.optional)
        self._outcomes: dict[str, TaskOutcome] = {}
        self._outputs: dict[str, JSON] = {}

    async def run(self) -> Run:
        async with asyncio.TaskGroup() as group:
            for routed in self._route.tasks:
                group.create_task(self._task(routed))
        return Run(
            attempts=self._sender.attempts,
            outcomes=MappingProxyType({routed.task.id: self._outcomes[routed.task.id] for routed in self._route.tasks}),
            elapsed_ms=self._sender.elapsed_ms,
            cost=self._sender.spent,
        )

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
        calls: list[Call] = []
        for position, candidate in enumerate(way.candidates, 1):
            others = position < len(way.candidates) or way.otherwise is not None
            try:
                query = self._caller.wire_query(candidate.ref.operation, inputs.arguments)
                call = Call(candidate, way, query, canonical(query), inputs.depends_on, others)
            except (CallFailed, ValueError) as refused:
                work.causes.append(f"{candidate.ref.name}: {refused}")
                continue
            calls.append(call)
            if (step := await self._try(call, work)) is not None:
                return step
        if way.otherwise is None:
            for call in calls:
                call.others = False
                if await self._sender.again(call) and (step := await self._try(call, work)) is not None:
                    return step
        return None

    async def _try(self, call: Call, work: _Work) -> int | None:
        """Call one operation, again where its rule says so."""
        while True:
            try:
                attempt = await self._sender.send(call, work.calls + 1)
            except (NotSent, OverBudget) as forbidden:
                work.causes.append(f"{call.name}: {forbidden}")
                return None
            work.calls += 1
            work.tried = True
            if call.failed is None:
                self._outputs[work.routed.task.id] = attempt.output
                return attempt.step
            work.causes.append(f"{call.name}: {call.failed}")
            if not await self._sender.again(call):
                return None
