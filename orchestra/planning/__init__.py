"""An objective, a target_schema and a Ledger -> a Plan: which tasks, in which order, for which fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ledger.view import LedgerView
from orchestra.planning.plan import Plan, Ref, Task
from orchestra.planning.retrieval import RetrievalPlanner
from orchestra.protocol import Hint
from orchestra.schema import TargetSchema

__all__ = ["Plan", "Planner", "Ref", "RetrievalPlanner", "Task"]


class Planner(Protocol):
    """Anything that makes Plans. A plan must only use capabilities with a contract; hints never overrule the Ledger."""

    @property
    def name(self) -> str: ...

    def plan(self, objective: str, schema: TargetSchema, ledger: LedgerView, *, hints: Sequence[Hint] = ()) -> Plan: ...
