"""A gateway `Backend` that does what the test scripted, in order, and refuses an objective nobody scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra.gateway.backend import Emit
from orchestra.gateway.messages import ObjectiveRequest, ObjectiveResult, Progress, Verification

HASH = "0x" + "ab" * 32
MINER = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


def step(number: int = 1, **changes: Any) -> dict[str, Any]:
    """One `TaskStep` as JSON."""
    fields: dict[str, Any] = {
        "step": number,
        "subnet": "SN22",
        "entry": "desearch",
        "task": "find pages on Acme",
        "operation": "web_search",
        "query": {"query": "Acme"},
        "hash": HASH,
        "response_hash": HASH,
        "latency_ms": 12,
        "cost": "3334",
        "error": None,
        "depends_on": [],
        "attempt": 1,
        "receipt": None,
        "salt": HASH,
    }
    return fields | changes


def result(**changes: Any) -> ObjectiveResult:
    """A complete answer to `{"name": "str", "price": "float"}`; every field that matters to a test is given by it."""
    fields: dict[str, Any] = {
        "id": HASH,
        "status": "complete",
        "objective": "What does Acme cost?",
        "target_schema": {"name": "str", "price": "float"},
        "result": {"name": "Acme", "price": 1.5},
        "summary": "Acme costs 1.5.",
        "gaps": (),
        "pipeline": (step(),),
        "provenance": {"/name": [{"step": 1, "pointer": "/data/0/title"}]},
        "proof": {"miner": MINER, "root": HASH},
        "ledger_version": f"1:{HASH}",
        "miner": MINER,
        "cost_rao": "3334",
        "cost_tao": "0.000003334",
        "latency_ms": 120,
        "verification": Verification(verdict="verified", hash_credit=1.0),
    }
    return ObjectiveResult.model_validate(fields | changes)


@dataclass(slots=True)
class ScriptedBackend:
    """`answers` in order, exceptions raised. Work waits for `gate`; `ended` counts calls however they ended."""

    answers: Sequence[ObjectiveResult | BaseException] = ()
    progress: Sequence[Progress] = ()
    described: dict[str, Any] = field(default_factory=lambda: {"role": "alone"})
    gate: asyncio.Event | None = None
    asked: list[ObjectiveRequest] = field(default_factory=list[ObjectiveRequest])
    ended: int = 0

    async def answer(self, request: ObjectiveRequest, emit: Emit) -> ObjectiveResult:
        self.asked.append(request)
        assert len(self.asked) <= len(self.answers), f"nobody scripted {request.objective!r}"
        try:
            for each in self.progress:
                emit(each)
            if self.gate is not None:
                await self.gate.wait()
            answer = self.answers[len(self.asked) - 1]
            if isinstance(answer, BaseException):
                raise answer
            return answer
        finally:
            self.ended += 1

    async def status(self) -> dict[str, Any]:
        return self.described
