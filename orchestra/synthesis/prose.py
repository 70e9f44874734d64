"""Text for people, made of what was found: every sentence states cited values, so it can say nothing else.

An endpoint's text is preferred where it is grounded: it names what was found and holds no number that was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from ledger.types import JSON
from orchestra.execution.run import Attempt, Run
from orchestra.planning.demands import Demand, identity
from orchestra.planning.plan import Plan
from orchestra.synthesis.figures import PREMIUM, UNDERCUT, Computed
from orchestra.synthesis.numbers import first_number, numbers_in
from orchestra.synthesis.rows import Row, label_of
from orchestra.synthesis.support import normalised

MAX_SENTENCE = 600
MAX_TEXT = 4_000
MAX_ROWS = 12
REASONS = frozenset({"rationale", "reasoning", "explanation", "reason", "justification", "why"})

_RULES = {
    "min": "the lowest is {value}",
    "max": "the highest is {value}",
    "mean": "their mean is {value}",
    "median": "their median is {value}",
    "sum": "their sum is {value}",
    "difference": "the highest minus the lowest is {value}",
    "undercut": f"{UNDERCUT} times the lowest of them is {{value}}",
    "premium": f"{PREMIUM} times the highest of them is {{value}}",
    "middle": "their median is {value}",
    "count": "these are {value}",
}


def row_sentence(row: Row, demand: Demand) -> str:
    """`Acme: founded 2019; regions EU West, UK South.`."""
    values = row.piece.value if isinstance(row.piece.value, dict) else {"value": row.piece.value}
    if demand.channel == "posts" and row.name and isinstance(text := values.get("text"), str):
        return f"{row.name}: “{_cut(text, MAX_SENTENCE)}”"
    own = identity(demand.record)
    named = values.get(own) if own else None
    stated = [f"{label_of(key)} {_said(value)}" for key, value in values.items() if key != own]
    name = str(named or row.name or "")
    text = f"{name}: {'; '.join(stated)}" if name and stated else name or "; ".join(stated)
    return _cut(text.rstrip(". "), MAX_SENTENCE) + "."


def computed_sentence(computed: Computed) -> str:
    """`price: Acme 1.10, Borealis 1.30; the lowest is 1.10.`"""
    members = ", ".join(f"{figure.row.name} {_said(figure.value)}" for figure in computed.figures.ordered())
    rule = _RULES[computed.rule].format(value=_said(computed.value)) if computed.rule in _RULES else ""
    return _cut(f"{computed.figures.label}: {members}", MAX_SENTENCE) + f"; {rule}."


def facts(rows: Iterable[tuple[Demand, Row]], numbers: Iterable[Computed]) -> str:
    """Everything found, a sentence a row, then what was computed."""
    sentences = [row_sentence(row, demand) for demand, row in list(rows)[:MAX_ROWS]]
    return _cut(" ".join([*sentences, *map(computed_sentence, numbers)]), MAX_TEXT)


def grounded_chat(
    plan: Plan, run: Run, rows: Sequence[tuple[Demand, Row]], known: Iterable[JSON], objective: str
) -> Attempt | None:
    """The endpoint's summary, when it is prose that names what was found and holds no number that was not."""
    told = [*known, objective]
    for task in plan.tasks:
        attempt = run.result(task.id) if task.capability == "chat_completion" else None
        text = attempt.output.get("text") if attempt and isinstance(attempt.output, dict) else None
        if attempt and isinstance(text, str) and _is_grounded(text, rows, told):
            return attempt
    return None


def _is_grounded(text: str, rows: Sequence[tuple[Demand, Row]], told: Iterable[JSON]) -> bool:
    said = normalised(text)
    if not said or len(text) > MAX_TEXT:
        return False
    named = [row.name for demand, row in rows if demand.channel == "web" and row.name]
    if named and (text.count(": ") > len(named) or not all(normalised(name) in said for name in named[:5])):
        return False
    allowed = set(_numbers(told))
    return not rows or all(number in allowed for number in numbers_in(text))


def _numbers(values: Iterable[JSON]) -> Iterator[Decimal]:
    for value in values:
        if isinstance(value, str):
            yield from numbers_in(value)
        elif (number := first_number(value)) is not None:
            yield number


def _said(value: JSON) -> str:
    match value:
        case dict():
            return ", ".join(f"{label_of(key)} {_said(part)}" for key, part in value.items())
        case list():
            return ", ".join(_said(part) for part in value)
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rsplit(" ", 1)[0] + "…"
