"""What stands behind the front door: the network through a validator, or an orchestrator in this process."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.canonical import sha256
from ledger.types import Signer
from orchestra.execution import Event, StepFinished
from orchestra.gateway.messages import ObjectiveRequest, ObjectiveResult, Progress, Verification
from orchestra.money import rao, tao
from orchestra.orchestrator import Orchestrator
from orchestra.protocol import OrchestraResponse, OrchestraSynapse
from orchestra.schema import TargetSchema

Emit = Callable[[Progress], None]


class NobodyAnswered(RuntimeError):
    """No miner gave a usable answer. The message says what each of them did."""


class Backend(Protocol):
    """Answers objectives. `status` is what `orchestra status` shows."""

    async def answer(self, request: ObjectiveRequest, emit: Emit) -> ObjectiveResult: ...

    async def status(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """The whole pipeline in this process, sealed with a key of its own: for one machine without a network."""

    orchestrator: Orchestrator
    signer: Signer

    async def answer(self, request: ObjectiveRequest, emit: Emit) -> ObjectiveResult:
        challenge_id = "0x" + secrets.token_hex(32)
        synapse = OrchestraSynapse(
            challenge_id=challenge_id,
            objective=request.objective,
            target_schema=request.target_schema,
            deadline_ms=request.deadline_ms,
            issued_block=0,
            beacon=sha256(b""),
            max_cost=rao(request.max_cost_tao),
            ledger_version=self.orchestrator.ledger().version,
            tag="0x" + secrets.token_hex(32),
        )
        response, _, outcome = await self.orchestrator.answer(
            synapse,
            request_digest=sha256(synapse.to_wire()),
            validator=self.signer.ss58_address,
            signer=self.signer,
            on_event=lambda event: _emit_step(event, emit),
        )
        verification = Verification(verdict="not audited", hash_credit=0.0)
        return to_result(request, response, outcome.elapsed_ms, verification)

    async def status(self) -> dict[str, Any]:
        view = self.orchestrator.ledger()
        return {"role": "alone", "ledger_version": view.version, "capabilities": sorted(view.capabilities)}


def to_result(
    request: ObjectiveRequest, response: OrchestraResponse, latency_ms: int, verification: Verification
) -> ObjectiveResult:
    """A miner's answer as a user reads it."""
    plain = response.model_dump(mode="json")
    complete = not TargetSchema.parse(request.target_schema).violations(plain["standardized_data"])
    return ObjectiveResult(
        id=response.challenge_id,
        status="complete" if complete else "partial",
        objective=request.objective,
        target_schema=request.target_schema,
        result=plain["standardized_data"],
        summary=response.final_synthesis,
        gaps=tuple(plain["gaps"]),
        pipeline=tuple(plain["task_pipeline"]),
        provenance=plain["provenance"],
        proof=plain["proof"],
        ledger_version=response.ledger_version,
        miner=response.proof.miner,
        cost_rao=str(response.total_cost),
        cost_tao=tao(response.total_cost),
        latency_ms=latency_ms,
        verification=verification,
    )


def _emit_step(event: Event, emit: Emit) -> None:
    if isinstance(event, StepFinished):
        attempt = event.attempt
        how = "done" if attempt.ok else f"failed ({attempt.error.kind if attempt.error else ''})"
        at_ms = attempt.started_ms + attempt.latency_ms
        emit(Progress(stage="step", message=f"{attempt.subnet} {attempt.task}: {how}", at_ms=at_ms))
