"""The sixth check: make the call again and see whether the subnet says the same.

Only what cannot hurt is repeated: `exact` operations that are safe to retry, not sensitive, and affordable, drawn by a
seed that the miner does not know. Equal bytes, or equal mapped output, verify. One auditor's mismatch proves nothing by
itself (a subnet may have changed, or lie to it), so it refutes only when a second validator gets the very bytes that
the first one got. Steps that a valid receipt covers are not repeated.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from ledger.canonical import sha256
from ledger.entry import Operation
from ledger.types import JSON
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Answer, CallFailed
from orchestra.proofs.codes import Code
from orchestra.proofs.disclosure import Disclosed, draw
from orchestra.proofs.findings import Finding
from orchestra.proofs.structure import Issued
from orchestra.protocol import OrchestraResponse, TaskStep
from orchestra.subnets.costs import worst_cost


class Replay(Protocol):
    """The validator's own calls. Every `SubnetCaller` is one."""

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        """Raises: CallFailed."""
        ...


class Confirm(Protocol):
    """Another validator's word: the SHA-256 of the body that it gets for this call, None when nobody can tell."""

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], ledger_version: str, /) -> str | None: ...


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
    """A revealed call. `cost` None: it must not be repeated."""

    step: TaskStep
    ref: OperationRef
    output: JSON
    cost: int | None


@dataclass(frozen=True, slots=True)
class Replays:
    """Repeats some calls of one answer."""

    issued: Issued
    replay: Replay
    confirm: Confirm
    now_ms: Callable[[], int]
    policy: ReplayPolicy

    async def check(
        self, response: OrchestraResponse, view: LedgerView | None, disclosed: Disclosed, receipted: frozenset[int]
    ) -> tuple[Finding, ...]:
        """Findings in step order: for every drawn step, and for every cited one that must not be repeated."""
        calls = [call for call in self._calls(response, view, disclosed) if call.step.step not in receipted]
        drawn = self._draw(calls, disclosed.cited, response.challenge_id)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._repeat(call, response.ledger_version)) for call in drawn]
        barred = [call.step.step for call in calls if call.cost is None and call.step.step in disclosed.cited]
        findings = [*(task.result() for task in tasks), *(Finding(Code.NOT_REPLAYABLE, step=step) for step in barred)]
        return tuple(sorted(findings, key=lambda finding: finding.step or 0))

    def _calls(self, response: OrchestraResponse, view: LedgerView | None, disclosed: Disclosed) -> Iterator[_Call]:
        for step in response.task_pipeline:
            ref = view.operation(step.entry, step.operation) if view else None
            if ref is not None and step.step in disclosed.outputs:
                yield _Call(step, ref, disclosed.outputs[step.step], self.policy.cost(ref.operation))

    def _draw(self, calls: Iterable[_Call], cited: frozenset[int], challenge_id: str) -> list[_Call]:
        """Cited steps first; in each pool as many as number and budget allow, in the drawn order."""
        able = {call.step.step: call for call in calls if call.cost is not None}
        drawn: list[_Call] = []
        left = self.policy.budget
        for pool, purpose in ((able.keys() & cited, "replay"), (able.keys() - cited, "replay-beyond")):
            room = self.policy.calls - len(drawn)
            for number in draw(pool, room, seed=self.policy.seed, purpose=purpose, challenge_id=challenge_id):
                cost = able[number].cost or 0
                if cost <= left:
                    left -= cost
                    drawn.append(able[number])
        return drawn

    async def _repeat(self, call: _Call, version: str) -> Finding:
        step, stable_ms = call.step, call.ref.operation.stability_s * 1_000
        if stable_ms and self.now_ms() - self.issued.sent_ms > stable_ms:
            return Finding(Code.REPLAY_TOO_LATE, step=step.step)
        timeout_s = self.policy.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self.replay.call(call.ref, step.query, tag=self._tag(step), timeout_s=timeout_s)
        except CallFailed as failed:
            code = Code.REPLAY_REFUSED if failed.error.kind == "refused" else Code.REPLAY_FAILED
            return Finding(code, step=step.step, detail=failed.error.kind)
        except TimeoutError:
            return Finding(Code.REPLAY_FAILED, step=step.step, detail="timeout")
        ours = sha256(answer.body)
        if ours == step.response_hash or _same(answer.output, call.output):
            return Finding(Code.REPLAY_MATCHES, step=step.step)
        confirmed = await self._confirmed(step, call.ref, version, ours)
        code = Code.REPLAY_MISMATCH_CONFIRMED if confirmed else Code.REPLAY_MISMATCH_UNCONFIRMED
        return Finding(code, step=step.step)

    async def _confirmed(self, step: TaskStep, ref: OperationRef, version: str, ours: str) -> bool:
        try:
            async with asyncio.timeout(self.policy.timeout_s):
                return await self.confirm(ref, step.query, version) == ours
        except TimeoutError:
            return False

    def _tag(self, step: TaskStep) -> str:
        """A tag that nobody can link to the challenge's without the seed."""
        return sha256(b"orchestra-replay/1|" + self.policy.seed + f"|{self.issued.synapse.tag}|{step.step}".encode())


def _same(ours: JSON, theirs: JSON) -> bool:
    return json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)
