"""One call under every limit of its run: money, time, number, the endpoint's own wishes. Sent or not, it is accounted.

All limits are checked here and nowhere else, right before a call is sent. Whatever is waited for is a call in flight
or a pause that ends before the deadline, so nothing here can outlast the run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from orchestra.execution.budget import Budget
from orchestra.execution.clock import Clock
from orchestra.execution.events import Listener, StepFinished, StepStarted
from orchestra.execution.policy import Policy, wait_before_retry
from orchestra.execution.run import Answer, Attempt, CallFailed, SubnetCaller
from orchestra.execution.timing import Timing
from orchestra.protocol import StepError
from orchestra.routing.route import Candidate, Limits, RoutedTask


class NotSent(Exception):
    """A call that a limit forbade. The message is its cause."""


@dataclass(slots=True)
class Call:
    """One operation that a task may call. `others`: an alternative stands behind it. `tries` calls were made so far, of
    which `failed` is how the last one ended, unless it answered; `waited_s` is how long silence was listened to.
    """

    candidate: Candidate
    way: RoutedTask
    query: dict[str, Any]
    request: bytes
    depends_on: tuple[int, ...]
    others: bool
    tries: int = 0
    waited_s: float = 0.0
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


class Sender:
    """Sends the calls of one run and keeps its books. The run's time begins when it is made."""

    def __init__(
        self,
        caller: SubnetCaller,
        timing: Timing,
        limits: Limits,
        tag: str,
        clock: Clock,
        tell: Listener | None,
        policy: Policy,
    ) -> None:
        self._caller = caller
        self._timing = timing
        self._limits = limits
        self._tag = tag
        self._clock = clock
        self._tell = tell
        self._policy = policy
        self._budget = Budget(limits.max_cost)
        self._began = clock.now()
        self._retries_left = policy.retries_per_run
        self._attempts: list[Attempt | None] = []
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._closed_until: dict[str, float] = {}
        self._silent: Counter[str] = Counter()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every call made so far that has ended, in the order of sending."""
        return tuple(attempt for attempt in self._attempts if attempt is not None)

    @property
    def spent(self) -> int:
        return self._budget.spent

    @property
    def elapsed_ms(self) -> int:
        return _ms(self._clock.now() - self._began)

    async def send(self, call: Call, number: int) -> Attempt:
        """Make the call as soon as the limits allow it; `call.failed` says how it ended. `number` counts the task's
        calls.

        Raises:
            NotSent: a limit forbids it for good.
            OverBudget: so does the money.
        """
        call.failed = None
        async with self._gates.setdefault(call.origin, asyncio.Semaphore(self._policy.calls_per_endpoint)):
            await self._opening(call)
            worst, cost = call.candidate.worst_cost, 0
            await self._budget.reserve(worst)
            try:
                self._check(call)
                attempt = await self._call(call, number)
                cost = attempt.cost
            finally:
                self._budget.settle(worst, cost)
        self._learn(call)
        return attempt

    def _learn(self, call: Call) -> None:
        """What this call says about its endpoint to the calls that come after it in this run."""
        if call.failed is not None and call.failed.retry_after_s:
            self._closed_until[call.origin] = self._clock.now() + call.failed.retry_after_s
        if call.failed is not None and call.failed.error.kind in ("timeout", "unreachable"):
            self._silent[call.origin] += 1
        else:
            self._silent[call.origin] = 0

    async def again(self, call: Call) -> bool:
        """Wait as long as another try at a failed call has to wait; False when there is none to be."""
        if call.failed is None or self._retries_left <= 0:
            return False
        wait_s = wait_before_retry(
            call.failed.error.kind,
            self._policy,
            tries=call.tries,
            safe=call.candidate.ref.operation.safe_to_retry,
            retryable=call.failed.retryable,
            others=call.others,
            closed_s=self._closed_s(call),
        )
        if wait_s is None or wait_s >= self._left_s():
            return False
        self._retries_left -= 1
        await self._clock.sleep(wait_s)
        return True

    # Before the call -------------------------------------------------------------------------------------------------

    async def _opening(self, call: Call) -> None:
        """Obey a Retry-After that any call of this run got from the same endpoint; pass over one that is silent."""
        if call.others and self._silent[call.origin] >= self._policy.silences:
            raise NotSent(f"passed over after {self._silent[call.origin]} calls without an answer")
        wait_s = self._closed_s(call)
        if wait_s <= 0:
            return
        if call.others or wait_s >= self._left_s():
            raise NotSent(f"asked us to wait for another {wait_s:.1f} s")
        await self._clock.sleep(wait_s)

    def _closed_s(self, call: Call) -> float:
        return max(0.0, self._closed_until.get(call.origin, 0.0) - self._clock.now())

    def _check(self, call: Call) -> None:
        if len(self._attempts) >= self._policy.attempts_per_run:
            raise NotSent(f"the run has made its {self._policy.attempts_per_run} calls")
        left_s = self._left_s()
        if left_s <= 0 or not self._timing.can_make_it(call.task_id, call.candidate, left_s):
            raise NotSent(f"not started: {max(0, round(left_s * 1000))} ms left, it takes {call.candidate.latency_ms}")

    def _left_s(self) -> float:
        return self._began + self._limits.deadline_ms / 1000 - self._clock.now()

    # The call itself -------------------------------------------------------------------------------------------------

    async def _call(self, call: Call, number: int) -> Attempt:
        """Over the wire, and into the record whatever becomes of it."""
        step = len(self._attempts) + 1
        self._attempts.append(None)
        call.tries += 1
        started, timeout_s = self._clock.now(), self._timeout_s(call)
        if self._tell is not None:
            self._tell(_started(call, step, number, self.elapsed_ms, _ms(timeout_s)))
        answer: Answer | None = None
        try:
            answer = await self._answer(call, timeout_s)
        except CallFailed as failed:
            call.failed = failed
            call.waited_s = timeout_s if failed.error.kind == "timeout" else 0.0
        attempt = _recorded(
            call,
            answer,
            step=step,
            number=number,
            started_ms=_ms(started - self._began),
            latency_ms=_ms(self._clock.now() - started),
            cost=self._paid(call, answer),
        )
        self._attempts[step - 1] = attempt
        if self._tell is not None:
            self._tell(StepFinished(attempt))
        return attempt

    def _timeout_s(self, call: Call) -> float:
        again = call.candidate.ref.operation.safe_to_retry and call.tries < self._policy.tries_of_last
        return self._timing.timeout_s(
            call.task_id,
            call.candidate,
            self._left_s(),
            self._policy,
            others=call.others,
            again=again,
            waited_s=call.waited_s,
        )

    async def _answer(self, call: Call, timeout_s: float) -> Answer:
        ref = call.candidate.ref
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                return await self._caller.call(ref, call.query, tag=self._tag, timeout_s=timeout_s)
        except TimeoutError:
            if not limit.expired():
                raise  # the caller's own defect: it owes a CallFailed
        ours = timeout_s * 1000 < call.candidate.latency_p95_ms
        detail = f"no answer within {round(timeout_s * 1000)} ms"
        raise CallFailed(
            StepError(kind="deadline" if ours else "timeout", detail=detail), cost=call.candidate.worst_cost
        )

    def _paid(self, call: Call, answer: Answer | None) -> int:
        """What the call cost. Where no price is known, an answer or a timeout counts as the ceiling."""
        known = self._limits.price_known(call.candidate.ref)
        if call.failed is not None:
            return call.failed.cost if known or call.failed.error.kind != "timeout" else call.candidate.worst_cost
        return answer.cost if answer is not None and known else call.candidate.worst_cost


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _started(call: Call, step: int, number: int, at_ms: int, timeout_ms: int) -> StepStarted:
    ref, task = call.candidate.ref, call.way.task
    return StepStarted(
        step=step,
        task_id=task.id,
        task=task.description,
        subnet=ref.entry.subnet,
        entry=ref.entry.id,
        operation=ref.operation.name,
        attempt=number,
        at_ms=at_ms,
        timeout_ms=timeout_ms,
    )


def _recorded(
    call: Call, answer: Answer | None, *, step: int, number: int, started_ms: int, latency_ms: int, cost: int
) -> Attempt:
    ref, task, failed = call.candidate.ref, call.way.task, call.failed
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
