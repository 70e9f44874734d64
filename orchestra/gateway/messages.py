"""What users send and get. Unlike messages between neurons these speak TAO, and say in words what happened."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestra.protocol import DEFAULT_DEADLINE_MS, MAX_OBJECTIVE_CHARS

DEFAULT_MAX_COST_TAO = "0.01"
NDJSON = "application/x-ndjson"
"""Ask for it with `Accept`: lines of JSON, `Progress` as it happens and the result, or the problem, as the last."""


class ObjectiveRequest(BaseModel):
    """`POST /v1/objectives`. `target_schema` is shorthand or JSON Schema; `max_cost_tao` a decimal in a string.

    With `allow_replay` validators may make some of the calls behind the answer again to verify it, which shows these
    calls' arguments to another validator. Without it an objective stays between the gateway and the miner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    objective: str = Field(min_length=1, max_length=MAX_OBJECTIVE_CHARS)
    target_schema: dict[str, Any]
    deadline_ms: int = Field(default=DEFAULT_DEADLINE_MS, ge=1_000, le=600_000)
    allow_replay: bool = False
    max_cost_tao: str = Field(default=DEFAULT_MAX_COST_TAO, pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")


class Verification(BaseModel):
    """What was checked of the answer and what came of it; `findings` are those that are not simply verified."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    verdict: Literal["verified", "partly verified", "refuted", "not audited"]
    hash_credit: float
    findings: tuple[dict[str, Any], ...] = ()


class ObjectiveResult(BaseModel):
    """The answer. `result` holds what was found; `gaps` says what was not, and why. Costs in rao as digits, and TAO."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    status: Literal["complete", "partial"]
    objective: str
    target_schema: dict[str, Any]
    result: dict[str, Any]
    summary: str
    gaps: tuple[dict[str, Any], ...]
    pipeline: tuple[dict[str, Any], ...]
    provenance: dict[str, Any]
    proof: dict[str, Any]
    ledger_version: str
    miner: str
    cost_rao: str
    cost_tao: str
    latency_ms: int
    verification: Verification


class Progress(BaseModel):
    """One line of a streamed answer before the last: what is happening now."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    stage: Literal["waiting", "asking", "step", "answered", "auditing"]
    message: str
    at_ms: int


def first_fault(error: ValidationError) -> str:
    """The first thing wrong with a message: its place, and what belongs there. Never longer than a line or two."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = "/".join(str(part) for part in first["loc"]) or "the body"
    return f"{where[:100]}: {first['msg'][:300]}"
