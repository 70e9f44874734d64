"""A `SubnetCaller` that replays scripted replies in the running loop's time and refuses a call nobody scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.canonical import canonical
from ledger.entry import Operation
from ledger.types import JSON
from ledger.view import OperationRef
from orchestra.execution.run import Answer, CallFailed
from orchestra.protocol import ErrorKind, StepError


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call does: after `after_s` it fails with `error`, or answers `output`."""

    output: JSON = None
    after_s: float = 0.0
    cost: int = 0
    error: ErrorKind | None = None
    retry_after_s: float | None = None
    retryable: bool | None = None


@dataclass(slots=True)
class Sent:
    """One call that arrived. `ended_at` stays None when it was cancelled."""

    name: str
    query: dict[str, Any]
    tag: str
    timeout_s: float
    began_at: float
    ended_at: float | None = None
    cancelled: bool = False


@dataclass(slots=True)
class ScriptedCaller:
    """`script`: operation name (`entry/operation`) -> its replies in order; the last one repeats when `endless`."""

    script: Mapping[str, Iterable[Reply]]
    endless: bool = True
    sent: list[Sent] = field(default_factory=list[Sent])
    in_flight: int = 0
    most_in_flight: int = 0
    _used: dict[str, int] = field(default_factory=dict[str, int])

    def wire_query(self, operation: Operation, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return dict(arguments)

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        reply = self._reply(ref.name)
        now = asyncio.get_running_loop().time
        sent = Sent(ref.name, dict(query), tag, timeout_s, now())
        self.sent.append(sent)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(reply.after_s)
        except asyncio.CancelledError:
            sent.cancelled = True
            raise
        finally:
            self.in_flight -= 1
        sent.ended_at = now()
        if reply.error is not None:
            raise CallFailed(
                StepError(kind=reply.error, detail="scripted"),
                cost=reply.cost,
                retry_after_s=reply.retry_after_s,
                retryable=reply.retryable,
            )
        return Answer(200, canonical(reply.output), reply.output, reply.cost)

    def _reply(self, name: str) -> Reply:
        replies = list(self.script.get(name, ()))
        used = self._used.get(name, 0)
        assert replies, f"nobody scripted a call to {name}"
        assert used < len(replies) or self.endless, f"call {used + 1} to {name} is one more than scripted"
        self._used[name] = used + 1
        return replies[min(used, len(replies) - 1)]
