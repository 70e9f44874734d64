"""What a run tells whoever listens while it goes on: for live progress, never for decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestra.execution.run import Attempt, TaskOutcome


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A call was sent. `at_ms` since the run began; `timeout_ms` is how long it will be waited for."""

    step: int
    task_id: str
    task: str
    subnet: str
    entry: str
    operation: str
    attempt: int
    at_ms: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class StepFinished:
    """The call ended, one way or the other."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A task reached its terminal state."""

    task_id: str
    task: str
    outcome: TaskOutcome


Event = StepStarted | StepFinished | TaskEnded
Listener = Callable[[Event], None]
