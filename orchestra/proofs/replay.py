"""The seventh check: make the call again and see whether the subnet says the same.

Only what cannot hurt is repeated: `exact` operations that are safe to retry, not sensitive, and affordable. Drawn are
calls, not steps: a hundred copies of one call are one. The calls that values cite come first, then what those depend
on, by a seed that the miner does not know; a call that carries more values is likelier to be drawn, up to a bound, so
that neither true calls beside an invented one nor junk values on them hide it.

Equal bytes, or equal mapped output, verify. One auditor's mismatch proves nothing by itself (a subnet may have changed,
or lie to it), so it refutes only when a second validator gets the very bytes that the first one got. Steps that a valid
receipt covers are not repeated. What was not drawn is taken on trust only up to `TRUSTED_PER_REPLAY` calls for each one
repeated.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Protocol

from ledger.canonical import sha256
from ledger.entry import Operation
from ledger.types import JSON, Hash
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Answer, CallFailed
from orchestra.proofs.codes import Code
from orchestra.proofs.disclosure import Disclosed, call_key, steps_of
from orchestra.proofs.findings import Finding
from orchestra.proofs.receipts import CLOCK_SLACK_MS
from orchestra.proofs.structure import Issued
from orchestra.protocol import OrchestraResponse, TaskStep
from orchestra.subnets.costs import worst_cost

TRUSTED_PER_REPLAY = 3
"""So many calls that were not drawn are taken on trust for each that was: an auditor who repeats 4 of up to 16
different calls finds a single invented one at least every fourth time, and costs an honest miner nothing.
"""
MOST_TICKETS = 4
"""So many times likelier than another may a call be drawn for the values that it carries."""


class Replay(Protocol):
    """The validator's own calls. Every `SubnetCaller` is one."""

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        """Raises: CallFailed."""
        ...


class Confirm(Protocol):
    """Other validators' word: do they get a body of this SHA-256 for this call too? False also when nobody can tell."""

    async def __call__(
        self, ref: OperationRef, query: Mapping[str, Any], ledger_version: str, ours: str, /
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class ReplayPolicy:
    """At most `calls` replays for at most `budget` rao per answer, drawn by `seed`; `timeout_s` for each outside call.

    `tao_usd` makes prices in USD known. An operation without a known price counts as costing `unpriced` rao; None:
    it is never repeated.
    """

    calls: int
    budget: int
    seed: bytes
    timeout_s: float
    tao_usd: Decimal | None = None
    unpriced: int | None = None

    def cost(self, operation: Operation) -> int | None:
        """The most that repeating a call may cost, in rao; None when it must not be repeated."""
        exact = operation.determinism == "exact" and operation.safe_to_retry and not operation.sensitive
        known = operation.price is not None and (operation.price.currency == "TAO" or self.tao_usd is not None)
        cost = worst_cost(operation, self.tao_usd) if known else self.unpriced
        return cost if exact and cost is not None and cost <= self.budget else None


@dataclass(frozen=True, slots=True)
class _Call:
    """One call, and every revealed step that says it made it: copies of a step are one thing to check, not many.

    `outputs` by step. `tickets` in the draw. `cost` None: it must not be repeated.
    """

    steps: tuple[TaskStep, ...]
    ref: OperationRef
    outputs: Mapping[int, JSON]
    tickets: int
    cost: int | None

    @property
    def first(self) -> TaskStep:
        return self.steps[0]


@dataclass(frozen=True, slots=True)
class Replays:
    """Repeats some calls of one answer."""

    issued: Issued
    replay: Replay
    confirm: Confirm
    now_ms: Callable[[], int]
    policy: ReplayPolicy

    async def check(
        self, response: OrchestraResponse, view: LedgerView | None, disclosed: Disclosed, settled: frozenset[int]
    ) -> tuple[Finding, ...]:
        """Findings in step order: for every step of a drawn call, for every cited one that must not be repeated, and
        for every cited one beyond those that are taken on trust. `settled` ones are left alone.
        """
        calls = self._calls(response, view, disclosed, settled)
        order = [*self._ordered(calls, response, cited=True), *self._ordered(calls, response, cited=False)]
        drawn = self._affordable(order)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._repeat(call, response.ledger_version)) for call in drawn]
        findings = [finding for task in tasks for finding in task.result()]
        cited = disclosed.cited
        findings += _all(Code.NOT_REPLAYABLE, (call for call in calls if call.cost is None), cited)
        if self.policy.calls:  # who repeats nothing at all has nothing to hold the others against
            rest = [call for call in order if call not in drawn and any(step.step in cited for step in call.steps)]
            findings += _all(Code.REPLAY_BEYOND_TRUST, rest[TRUSTED_PER_REPLAY * len(drawn) :], cited)
        return tuple(sorted(findings, key=lambda finding: finding.step or 0))

    def _calls(
        self, response: OrchestraResponse, view: LedgerView | None, disclosed: Disclosed, settled: frozenset[int]
    ) -> list[_Call]:
        weights = Counter(step for origin in response.provenance.values() for step in steps_of(origin))
        groups: dict[Hash, list[TaskStep]] = {}
        for step in response.task_pipeline:
            if view is not None and step.step in disclosed.outputs and step.step not in settled:
                groups.setdefault(call_key(step), []).append(step)
        found: list[_Call] = []
        for steps in groups.values():
            ref = view.operation(steps[0].entry, steps[0].operation) if view else None
            if ref is not None:
                tickets = _tickets([step.step for step in steps], weights, disclosed.cited)
                outputs = {step.step: disclosed.outputs[step.step] for step in steps}
                found.append(_Call(tuple(steps), ref, outputs, tickets, self.policy.cost(ref.operation)))
        return found

    def _ordered(self, calls: Iterable[_Call], response: OrchestraResponse, *, cited: bool) -> list[_Call]:
        """The repeatable calls in the drawn order: those with tickets (`cited`), or the others."""

        def rank(call: _Call) -> bytes:
            about = f"replay|{response.challenge_id}|{call_key(call.first)}|"
            return min(
                hmac.digest(self.policy.seed, f"{about}{ticket}".encode(), "sha256")
                for ticket in range(max(call.tickets, 1))
            )

        able = [call for call in calls if call.cost is not None and (call.tickets > 0) is cited]
        return sorted(able, key=rank)

    def _affordable(self, order: Iterable[_Call]) -> list[_Call]:
        """As many as number and budget allow."""
        drawn: list[_Call] = []
        left = self.policy.budget
        for call in islice(order, self.policy.calls):
            if (call.cost or 0) <= left:
                left -= call.cost or 0
                drawn.append(call)
        return drawn

    async def _repeat(self, call: _Call, version: str) -> list[Finding]:
        stable_ms = call.ref.operation.stability_s * 1_000
        if stable_ms and self.now_ms() - self.issued.sent_ms > stable_ms:
            return _findings(Code.REPLAY_TOO_LATE, call)
        timeout_s, query = self.policy.timeout_s, call.first.query
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self.replay.call(call.ref, query, tag=self._tag(call.first), timeout_s=timeout_s)
        except CallFailed as failed:
            code = Code.REPLAY_REFUSED if failed.error.kind == "refused" else Code.REPLAY_FAILED
            return _findings(code, call, detail=failed.error.kind)
        except TimeoutError:
            return _findings(Code.REPLAY_FAILED, call, detail="timeout")
        return await self._compare(call, answer, version)

    async def _compare(self, call: _Call, answer: Answer, version: str) -> list[Finding]:
        ours = sha256(answer.body)
        same = {
            step.step
            for step in call.steps
            if ours == step.response_hash or _same(answer.output, call.outputs[step.step])
        }
        otherwise = Code.REPLAY_MATCHES
        if len(same) < len(call.steps):
            otherwise = await self._mismatch(call, version, ours)
        return [Finding(Code.REPLAY_MATCHES if step.step in same else otherwise, step=step.step) for step in call.steps]

    async def _mismatch(self, call: _Call, version: str, ours: str) -> Code:
        if self._window_ended(call.ref.operation.stability_s * 1_000):
            return Code.REPLAY_TOO_LATE
        confirmed = await self._confirmed(call.first, call.ref, version, ours)
        return Code.REPLAY_MISMATCH_CONFIRMED if confirmed else Code.REPLAY_MISMATCH_UNCONFIRMED

    def _window_ended(self, stable_ms: int) -> bool:
        """May content that is stable for so long, in windows counted from 1970, have changed since the challenge?"""
        if not stable_ms:
            return False
        slack = min(CLOCK_SLACK_MS, stable_ms // 100)
        return (self.issued.sent_ms - slack) // stable_ms != (self.now_ms() + slack) // stable_ms

    async def _confirmed(self, step: TaskStep, ref: OperationRef, version: str, ours: str) -> bool:
        try:
            async with asyncio.timeout(self.policy.timeout_s):
                return await self.confirm(ref, step.query, version, ours)
        except TimeoutError:
            return False

    def _tag(self, step: TaskStep) -> str:
        """A tag that nobody can link to the challenge's without the seed."""
        return sha256(b"orchestra-replay/1|" + self.policy.seed + f"|{self.issued.synapse.tag}|{step.step}".encode())


def _tickets(steps: Sequence[int], weights: Mapping[int, int], cited: frozenset[int]) -> int:
    """One for each value that cites the call, at most `MOST_TICKETS`; none for a call that only others depend on."""
    return min(sum(weights[step] for step in steps if step in cited), MOST_TICKETS)


def _findings(code: Code, call: _Call, *, detail: str = "") -> list[Finding]:
    return [Finding(code, step=step.step, detail=detail) for step in call.steps]


def _all(code: Code, calls: Iterable[_Call], cited: frozenset[int]) -> list[Finding]:
    return [Finding(code, step=step.step) for call in calls for step in call.steps if step.step in cited]


def _same(ours: JSON, theirs: JSON) -> bool:
    return json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)
