"""Calls as a run records them, so many alike."""

from __future__ import annotations

from orchestra.execution.run import Attempt
from orchestra.protocol import ErrorKind, StepError


def calls(entry: str, latency_ms: int, number: int = 1, kind: ErrorKind | None = None) -> list[Attempt]:
    """Calls of `web_search` that took so long, and failed as `kind` says."""
    made = Attempt(
        step=1,
        task_id="t",
        task="search",
        capability="web_search",
        subnet="SN1",
        entry=entry,
        operation="web_search",
        query={},
        request=b"{}",
        response=None,
        output=None,
        error=StepError(kind=kind, detail="") if kind else None,
        started_ms=0,
        latency_ms=latency_ms,
        cost=0,
        attempt=1,
        depends_on=(),
    )
    return [made] * number
