"""The sixth check: make the call again and see whether the subnet says the same.

Only what cannot hurt is repeated: `exact` operations that are safe to retry, not sensitive, and affordable, drawn by a
seed that the miner does not know. Equal bytes, or equal mapped output, verify. One auditor's mismatch proves nothing by
itself (a subnet may have changed, or lie to it), so it refutes only when a second validator gets the very bytes that
the first one got. Steps that a valid receipt covers are not repeated.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from ledger.canonical import sha256
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

    `tao_usd` makes prices in USD known; an operation without a known price counts as costing nothing.
    """

    calls: int
    budget: int
    seed: bytes
    timeout_s: float
    tao_usd: Decimal | None = None


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
        """Findings in step order: for every drawn step, and for every cited one that cannot be repeated at all."""
        steps = [step for step in response.task_pipeline if step.step in disclosed.outputs.keys() - receipted]
        refs = {step.step: _ref(step, view) for step in steps}
        repeatable = {step.step for step in steps if (ref := refs[step.step]) and self._repeatable(ref)}
        subnets = {step.step for step in steps if refs[step.step] is not None}
        barred = (subnets - repeatable) & disclosed.cited
        drawn = self._draw(response, repeatable, disclosed.cited, refs)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._repeat(step, ref, disclosed.outputs[step.step], response.ledger_version))
                for step in steps
                if step.step in drawn and (ref := refs[step.step]) is not None
            ]
        findings = [task.result() for task in tasks]
        findings.extend(Finding(Code.NOT_REPLAYABLE, step=number) for number in barred)
        return tuple(sorted(findings, key=lambda finding: finding.step or 0))

    def _repeatable(self, ref: OperationRef) -> bool:
        operation = ref.operation
        exact = operation.determinism == "exact" and operation.safe_to_retry and not operation.sensitive
        return exact and worst_cost(operation, self.policy.tao_usd) <= self.policy.budget

    def _draw(
        self,
        response: OrchestraResponse,
        repeatable: set[int],
        cited: frozenset[int],
        refs: Mapping[int, OperationRef | None],
    ) -> frozenset[int]:
        """Cited steps first, as many as the budget allows in the drawn order."""
        drawn: set[int] = set()
        left = self.policy.budget
        for pool, purpose in ((repeatable & cited, "replay"), (repeatable - cited, "replay-beyond")):
            room = self.policy.calls - len(drawn)
            for number in draw(pool, room, seed=self.policy.seed, purpose=purpose, challenge_id=response.challenge_id):
                ref = refs[number]
                cost = worst_cost(ref.operation, self.policy.tao_usd) if ref else 0
                if cost <= left:
                    left -= cost
                    drawn.add(number)
        return frozenset(drawn)

    async def _repeat(self, step: TaskStep, ref: OperationRef, output: JSON, version: str) -> Finding:
        stable_ms = ref.operation.stability_s * 1_000
        if stable_ms and self.now_ms() - self.issued.sent_ms > stable_ms:
            return Finding(Code.REPLAY_TOO_LATE, step=step.step)
        try:
            async with asyncio.timeout(self.policy.timeout_s):
                answer = await self.replay.call(ref, step.query, tag=self._tag(step), timeout_s=self.policy.timeout_s)
        except CallFailed as failed:
            return Finding(Code.REPLAY_FAILED, step=step.step, detail=failed.error.kind)
        except TimeoutError:
            return Finding(Code.REPLAY_FAILED, step=step.step, detail="timeout")
        ours = sha256(answer.body)
        if ours == step.response_hash or _same(answer.output, output):
            return Finding(Code.REPLAY_MATCHES, step=step.step)
        confirmed = await self._confirmed(step, ref, version, ours)
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


def _ref(step: TaskStep, view: LedgerView | None) -> OperationRef | None:
    return view.operation(step.entry, step.operation) if view and step.subnet != "local" else None


def _same(ours: JSON, theirs: JSON) -> bool:
    return json.dumps(ours, sort_keys=True) == json.dumps(theirs, sort_keys=True)
