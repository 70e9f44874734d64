"""A Run: every attempt that was made, as data. Failed attempts stay: they cost money, and auditors want to see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ledger.entry import Operation
from ledger.types import JSON
from ledger.view import OperationRef
from orchestra.protocol import Receipt, StepError


@dataclass(frozen=True, slots=True)
class Answer:
    """A subnet's good answer: raw body bytes after content-decoding, and the same in the capability's shape."""

    status: int
    body: bytes
    output: JSON
    cost: int
    receipt: Receipt | None = None


class CallFailed(Exception):
    """A call that gave nothing usable. `cost` is what it cost all the same; `retry_after_s` if the provider said so;
    `retryable` is the Ledger's word on this error, None where it has none.
    """

    def __init__(
        self,
        error: StepError,
        *,
        body: bytes | None = None,
        cost: int = 0,
        retry_after_s: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(f"{error.kind}: {error.detail}")
        self.error = error
        self.body = body
        self.cost = cost
        self.retry_after_s = retry_after_s
        self.retryable = retryable


class SubnetCaller(Protocol):
    """How a task reaches a subnet. One implementation per node, over `orchestra.subnets` wire protocols."""

    def wire_query(self, operation: Operation, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The operation's complete arguments object for a capability's arguments.

        Raises:
            CallFailed: they do not fit this operation; nothing was sent.
        """
        ...

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        """Make the call once.

        Raises:
            CallFailed: anything but a good answer that matches the Ledger's output schema.
        """
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that was sent for one task; `step` counts them from 1 in the order of sending. `request` is canonical
    JSON of `query`.

    `attempt` counts the calls for the task, over all its candidates; `depends_on` are the successful steps it reads
    from. `output` is the mapped output of a success, None otherwise. Costs in rao, times in ms since the run began.
    """

    step: int
    task_id: str
    task: str
    capability: str
    subnet: str
    entry: str
    operation: str
    query: dict[str, Any]
    request: bytes
    response: bytes | None
    output: JSON
    error: StepError | None
    started_ms: int
    latency_ms: int
    cost: int
    attempt: int
    depends_on: tuple[int, ...]
    receipt: Receipt | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """The one terminal state of a task. `step` is the successful attempt; `cause` says why there is none.

    `failed`: it was tried, or its arguments could not be made. `skipped`: nothing was sent, because of what it depends
    on, the deadline or the budget.
    """

    state: Literal["done", "failed", "skipped"]
    step: int | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """All attempts in step order, and how every task of the Route ended."""

    attempts: tuple[Attempt, ...]
    outcomes: Mapping[str, TaskOutcome]
    elapsed_ms: int
    cost: int = field(default=0)

    def result(self, task_id: str) -> Attempt | None:
        """The successful attempt of a task."""
        outcome = self.outcomes.get(task_id)
        if outcome is None or outcome.step is None:
            return None
        return self.attempts[outcome.step - 1]
