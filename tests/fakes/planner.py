"""A `Planner` that has one plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.view import LedgerView
from orchestra.planning import Plan
from orchestra.protocol import Hint
from orchestra.schema import TargetSchema


@dataclass(frozen=True)
class OnePlan:
    """Whatever is asked. Hints are none of a reference plan's business."""

    only: Plan
    name: str = "one plan"

    def plan(self, objective: str, schema: TargetSchema, ledger: LedgerView, *, hints: Sequence[Hint] = ()) -> Plan:
        assert not hints, "the reference is planned without hints"
        return self.only
