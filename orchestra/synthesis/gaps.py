"""What was asked for and is not there, and why: said by field, so that a caller need not look for holes."""

from __future__ import annotations

import re

from orchestra.execution.run import Run
from orchestra.planning.plan import Plan, Task
from orchestra.protocol import Gap
from orchestra.schema import Completeness, TargetSchema

MAX_GAPS = 40
MAX_FIELDS = 24
_INDEX = re.compile(r"/\d+(?=/|$)")


def gaps_of(found: Completeness, schema: TargetSchema, plan: Plan, run: Run) -> tuple[Gap, ...]:
    """A Gap for each reason, with the required leaves that it explains; those that the plan gave up are the plan's."""
    planned = {pointer for gap in plan.gaps for pointer in gap.fields}
    reasons: dict[tuple[str, str], list[str]] = {}
    for missing in found.missing:
        template = _INDEX.sub("/*", missing.pointer)
        if template in planned or missing.pointer in planned or _above(template, planned):
            continue
        reasons.setdefault(_why(template, plan, run), []).append(missing.pointer)
    gaps = [
        Gap(fields=tuple(fields[:MAX_FIELDS]), capability=capability, reason=reason)
        for (capability, reason), fields in reasons.items()
    ]
    return tuple(gaps[:MAX_GAPS])


def _above(template: str, planned: set[str]) -> bool:
    """A missing list stands for the leaves below it."""
    return any(pointer.startswith(template.rstrip("*") + "/") for pointer in planned)


def _why(template: str, plan: Plan, run: Run) -> tuple[str, str]:
    tasks = [task for task in plan.tasks if not task.optional and _serves(task, template)]
    if not tasks:
        return "", "no task of the plan serves it"
    failed = [task for task in tasks if run.result(task.id) is None]
    if len(failed) == len(tasks):
        outcome = run.outcomes.get(failed[0].id)
        cause = outcome.cause if outcome else "the task was not run"
        return failed[0].capability, f"every call failed; the first: {cause}"[:300]
    return "", "nothing that was read states it"


def _serves(task: Task, template: str) -> bool:
    return any(
        served == template or served.startswith(template) or template.startswith(served) for served in task.serves
    )
