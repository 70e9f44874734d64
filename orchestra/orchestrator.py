"""An objective becomes a result here, in one function that reads like the product: plan, route, execute, synthesise.

`Orchestrator.run` is what every front door and every miner calls; sealing (`orchestra.proofs.seal`) is done by whoever
has a hotkey and a request to bind the answer to, `Orchestrator.answer`. The stages that only compute run in a thread: a
long objective or a large page holds up no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from ledger.canonical import canonical
from ledger.types import Signer
from ledger.view import LedgerView, OperationRef
from orchestra.execution import Clock, Listener, execute
from orchestra.execution.run import Attempt, Run, SubnetCaller
from orchestra.planning import Planner
from orchestra.planning.plan import Plan
from orchestra.proofs import EvidenceBundle, seal
from orchestra.protocol import Gap, Hint, OrchestraResponse, OrchestraSynapse
from orchestra.routing import Limits, Reputation, Route, route
from orchestra.schema import TargetSchema
from orchestra.synthesis import LocalStep, Synthesis, synthesise

FINISHING_SHARE = 0.05
"""Share of the deadline kept back for synthesis, sealing and the way home."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What is asked. `max_cost` in rao; `tag` is passed to every subnet and may stand in its receipts."""

    text: str
    schema: TargetSchema
    deadline_ms: int
    max_cost: int
    tag: str
    hints: tuple[Hint, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that happened on the way from an objective to its result.

    `attempts` are those of the run and then the local steps, numbered on from them: the pipeline that gets sealed.
    """

    objective: Objective
    ledger_version: str
    plan: Plan
    route: Route
    run: Run
    synthesis: Synthesis
    attempts: tuple[Attempt, ...]
    elapsed_ms: int

    @property
    def cost(self) -> int:
        """What it cost, in rao: every attempt, successful or not."""
        return sum(attempt.cost for attempt in self.attempts)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What is missing and why, each said once: unplannable, unroutable, failed, not found."""
        return tuple(dict.fromkeys((*self.plan.gaps, *self.route.gaps, *self.synthesis.gaps)))[:64]


class Dice(Protocol):
    """Fresh random bytes: 32 for every salt."""

    def __call__(self) -> bytes: ...


class Learn(Protocol):
    """Told the outcome of every call (`LocalReputation.observe`): what makes the next Route better."""

    def __call__(self, name: str, *, ok: bool, latency_ms: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """The stages of one node. `ledger` gives the view in force, `usable` the operations this node holds a key for.

    `most_cost` is this node's own ceiling for one objective in rao, whatever the caller allows.
    """

    ledger: Callable[[], LedgerView]
    planner: Planner
    caller: SubnetCaller
    reputation: Reputation
    clock: Clock
    usable: Callable[[OperationRef], bool]
    dice: Dice
    learn: Learn
    tao_usd: Decimal | None = None
    unpriced_ceiling: int = 0
    most_cost: int = 2**63 - 1

    async def run(self, objective: Objective, *, on_event: Listener | None = None) -> Outcome:
        """Answer an objective as well as this Ledger and deadline allow. Failures are in the outcome, not raised."""
        began = self.clock.now()
        ledger = self.ledger()
        limits = Limits(
            deadline_ms=int(objective.deadline_ms * (1 - FINISHING_SHARE)),
            max_cost=min(objective.max_cost, self.most_cost),
            unpriced_ceiling=self.unpriced_ceiling,
            tao_usd=self.tao_usd,
        )
        plan = await asyncio.to_thread(
            self.planner.plan, objective.text, objective.schema, ledger, hints=objective.hints
        )
        routed = await asyncio.to_thread(route, plan, ledger, limits, self.reputation, usable=self.usable)
        done = await execute(routed, self.caller, limits=limits, tag=objective.tag, clock=self.clock, on_event=on_event)
        for attempt in done.attempts:
            self.learn(f"{attempt.entry}/{attempt.operation}", ok=attempt.ok, latency_ms=attempt.latency_ms)
        synthesis = await asyncio.to_thread(synthesise, objective.schema, plan, done, objective=objective.text)
        attempts = (*done.attempts, *_local_attempts(synthesis.local, done))
        elapsed_ms = int((self.clock.now() - began) * 1000)
        return Outcome(objective, ledger.version, plan, routed, done, synthesis, attempts, elapsed_ms)

    async def answer(
        self,
        synapse: OrchestraSynapse,
        *,
        request_digest: str,
        validator: str,
        signer: Signer,
        on_event: Listener | None = None,
    ) -> tuple[OrchestraResponse, EvidenceBundle, Outcome]:
        """Run a challenge and seal what came of it.

        Raises:
            orchestra.schema.TargetSchemaError: the challenge's target_schema is not one.
        """
        outcome = await self.run(_objective(synapse), on_event=on_event)
        response, evidence = seal(
            attempts=outcome.attempts,
            data=outcome.synthesis.data,
            provenance=outcome.synthesis.provenance,
            final_synthesis=outcome.synthesis.final_synthesis,
            gaps=outcome.gaps,
            proposals=(),
            total_latency_ms=outcome.elapsed_ms,
            synapse=synapse,
            request_digest=request_digest,
            validator=validator,
            signer=signer,
            ledger_version=outcome.ledger_version,
            random=self.dice,
        )
        return response, evidence, outcome


def _objective(synapse: OrchestraSynapse) -> Objective:
    return Objective(
        synapse.objective,
        TargetSchema.parse(synapse.target_schema),
        synapse.deadline_ms,
        synapse.max_cost,
        synapse.tag,
        synapse.hints,
    )


def _local_attempts(steps: tuple[LocalStep, ...], run: Run) -> tuple[Attempt, ...]:
    first = len(run.attempts) + 1
    return tuple(_local_attempt(first + i, step, run.elapsed_ms) for i, step in enumerate(steps))


def _local_attempt(number: int, step: LocalStep, at_ms: int) -> Attempt:
    query: Mapping[str, Any] = step.query
    return Attempt(
        step=number,
        task_id=f"local-{number}",
        task=step.task,
        capability="local",
        subnet="local",
        entry="local",
        operation="synthesise",
        query=dict(query),
        request=canonical(query),
        response=canonical(step.output),
        output=step.output,
        error=None,
        started_ms=at_ms,
        latency_ms=0,
        cost=0,
        attempt=1,
        depends_on=step.depends_on,
    )
