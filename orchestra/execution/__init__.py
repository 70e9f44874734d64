"""Route -> Run: an async DAG engine that keeps one deadline and one budget and records every call it makes."""

from orchestra.execution.clock import Clock, LoopClock
from orchestra.execution.engine import execute
from orchestra.execution.events import Event, Listener, StepFinished, StepStarted, TaskEnded
from orchestra.execution.policy import RULES, Policy, Rule
from orchestra.execution.run import Answer, Attempt, CallFailed, Run, SubnetCaller, TaskOutcome

__all__ = [
    "RULES",
    "Answer",
    "Attempt",
    "CallFailed",
    "Clock",
    "Event",
    "Listener",
    "LoopClock",
    "Policy",
    "Rule",
    "Run",
    "StepFinished",
    "StepStarted",
    "SubnetCaller",
    "TaskEnded",
    "TaskOutcome",
    "execute",
]
