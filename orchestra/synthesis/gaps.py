"""What was asked for and is not there, and why: said by field, so that a caller need not look for holes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ledger.types import JSON
from orchestra.execution.run import Run
from orchestra.planning.asks import product_words
from orchestra.planning.computed import is_price
from orchestra.planning.objective import Objective
from orchestra.planning.plan import Plan, Task
from orchestra.protocol import Gap
from orchestra.schema import Completeness, TargetSchema

MAX_GAPS = 40
MAX_FIELDS = 24
MAX_CHOICES = 4
_INDEX = re.compile(r"/\d+(?=/|$)")


def gaps_of(found: Completeness, schema: TargetSchema, plan: Plan, run: Run, objective: Objective) -> tuple[Gap, ...]:
    """A Gap for each reason, with the required leaves that it explains; those that the plan gave up are the plan's."""
    planned = {pointer for gap in plan.gaps for pointer in gap.fields}
    reasons: dict[tuple[str, str], list[str]] = {}
    vague = () if product_words(objective) else tuple(leaf for leaf in schema.required_leaves() if _is_price(leaf))
    for missing in found.missing:
        template = _INDEX.sub("/*", missing.pointer)
        if template in planned or missing.pointer in planned or _above(template, planned):
            continue
        reasons.setdefault(_why(template, vague, plan, run), []).append(missing.pointer)
    gaps = [
        Gap(fields=tuple(fields[:MAX_FIELDS]), capability=capability, reason=reason)
        for (capability, reason), fields in reasons.items()
    ]
    return tuple(gaps[:MAX_GAPS])


def _above(template: str, planned: set[str]) -> bool:
    """A missing list stands for the leaves below it."""
    return any(pointer.startswith(template.rstrip("*") + "/") for pointer in planned)


def _why(template: str, vague: tuple[str, ...], plan: Plan, run: Run) -> tuple[str, str]:
    """`vague` are prices asked for without saying of what."""
    tasks = [task for task in plan.tasks if not task.optional and _serves(task, template)]
    if not tasks:
        return "", "no task of the plan serves it"
    failed = [task for task in tasks if run.result(task.id) is None]
    if len(failed) == len(tasks):
        outcome = run.outcomes.get(failed[0].id)
        cause = outcome.cause if outcome else "the task was not run"
        return failed[0].capability, f"every call failed; the first: {cause}"[:300]
    if any(leaf == template or leaf.startswith(template + "/") for leaf in vague):
        names = (name for task in tasks if (attempt := run.result(task.id)) for name in _priced(attempt.output))
        if choices := list(dict.fromkeys(names))[:MAX_CHOICES]:
            return "", f"several prices were read ({', '.join(choices)}): say in the objective which one"[:300]
    return "", "nothing that was read states it"


def _is_price(pointer: str) -> bool:
    return is_price(pointer.rpartition("/")[2])


def _priced(output: JSON) -> Iterator[str]:
    """What the tables of prices in an answer are about; a table of one entry is no choice."""
    parts = output.items() if isinstance(output, dict) else enumerate(output) if isinstance(output, list) else ()
    for key, part in parts:
        if isinstance(part, dict) and is_price(str(key)) and len(part) > 1:
            yield from part
        else:
            yield from _priced(part)


def _serves(task: Task, template: str) -> bool:
    return any(
        served == template or served.startswith(template) or template.startswith(served) for served in task.serves
    )
