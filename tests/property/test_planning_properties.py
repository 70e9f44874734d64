"""Any objective, any schema, any Ledger: a valid plan within bounds, or gaps that say what is missing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.capabilities import CONTRACTS
from orchestra.planning import RetrievalPlanner, Task
from orchestra.planning.retrieval import MAX_TASKS
from orchestra.schema import TargetSchema
from orchestra.synthesis.coercion import kind_of
from tests.fakes.ledgers import ALL, ledger_with
from tests.property.test_synthesis_properties import objectives, schemas


@settings(max_examples=150, deadline=None)
@given(objective=objectives() | st.text(max_size=200), raw=schemas, served=st.sets(st.sampled_from(ALL)))
def test_every_plan_can_be_run(objective: str, raw: dict[str, Any], served: set[str]) -> None:
    schema = TargetSchema.parse(raw)
    ledger = ledger_with(sorted(served))
    plan = RetrievalPlanner().plan(objective, schema, ledger)
    assert len(plan.tasks) <= MAX_TASKS
    for task in plan.tasks:
        check(task, served)
    assert plan == RetrievalPlanner().plan(objective, schema, ledger)
    assert plan.tasks or plan.gaps
    assert all(gap.capability not in served or "cannot use" in gap.reason for gap in plan.gaps)


def check(task: Task, served: set[str]) -> None:
    contract = CONTRACTS[task.capability]
    assert task.capability in served
    assert set(contract.arguments["required"]) <= set(task.arguments) <= set(contract.arguments["properties"])
    assert 0 < len(task.description) <= 256
    for spec in task.arguments.get("fields", {}).values():
        kind_of(spec)
    if task.otherwise:
        check(task.otherwise, served)
