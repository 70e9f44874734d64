"""Numbers that are computed from found ones, each as a declared derivation over figures that can be compared.

Figures are comparable when they stand under the same key and in the same unit in the records of different things. Of
several such keys the one counts that holds the objective's product words (`A100`), then the one that speaks of what
the asked number measures, then the one that most records have, then the first. `orchestra.planning.computed` says
which word means which rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.canonical import is_exact
from ledger.types import JSON
from orchestra.planning.asks import product_words
from orchestra.planning.computed import Rule, metric_words
from orchestra.planning.demands import Number
from orchestra.planning.objective import Objective
from orchestra.planning.words import name_tokens, stem
from orchestra.protocol import Derivation, Source
from orchestra.schema import leaf_pointers
from orchestra.synthesis.derivation import DerivationError, evaluate
from orchestra.synthesis.numbers import first_number
from orchestra.synthesis.rows import Row

_OF_ALL = ("mean", "median", "sum", "difference", "rank")
MAX_COUNTED = 8
"""More things than this may be more than a search of ten results has shown: their number is not told."""
UNDERCUT = "0.9"
PREMIUM = "1.1"
_IDENTIFIERS = frozenset(map(stem, ("netuid", "id", "uid", "number", "rank", "year", "founded")))
_AMOUNT = re.compile(r"[-+−]?[$€£]?\s?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing's number under a key."""

    row: Row
    source: Source
    value: JSON


@dataclass(frozen=True, slots=True)
class Figures:
    """Comparable figures: at most one a row, in the rows' order."""

    key: str
    members: tuple[Figure, ...]

    @property
    def label(self) -> str:
        return " ".join(name_tokens(self.key.rpartition("/")[2])) or "value"

    def ordered(self) -> list[Figure]:
        """Lowest first."""
        return sorted(self.members, key=lambda figure: first_number(figure.value) or 0)


@dataclass(frozen=True, slots=True)
class Computed:
    """A computed leaf: its value, how it was computed, and from what."""

    value: int | float
    derivation: Derivation
    rule: Rule
    figures: Figures


def comparable(rows: Sequence[Row], path: tuple[str, ...], objective: Objective) -> Figures | None:
    """The figures that a number at `path` is computed from; None where nothing can be compared."""
    groups: dict[str, list[Figure]] = {}
    for row in rows:
        for pointer, value in leaf_pointers(row.piece.value).items():
            source = row.piece.sources.get(pointer)
            if source and _is_figure(value) and not _indexed(pointer):
                groups.setdefault(pointer, []).append(Figure(row, source, value))
    metric, products = set(metric_words(path)), product_words(objective)
    candidates = [Figures(key, tuple(members)) for key, members in groups.items() if _one_unit(members)]
    spoken = [group for group in candidates if metric & _stems(group.key)]
    others = [group for group in candidates if not _stems(group.key) & _IDENTIFIERS]
    pool = spoken or [group for group in others if _holds(group.key, products)] or (others if len(others) == 1 else [])
    return max(pool, key=lambda group: (_holds(group.key, products), len(group.members)), default=None)


def compute(
    number: Number, rows: Sequence[Row], objective: Objective, lookup: Callable[[Source], JSON]
) -> Computed | None:
    """A computed leaf, or None: too few figures, or none that can be compared."""
    if number.rule == "count":
        return _counted(rows, lookup)
    figures = _within(rows, number) or comparable(rows, number.path, objective)
    if figures is None or len(figures.members) < _needed(number.rule, objective):
        return None
    derivation = _derivation(number.rule, figures)
    if derivation is None:
        return None
    try:
        value = evaluate(derivation, lookup)
    except DerivationError:
        return None
    if not is_exact(value):
        return None
    if number.shape.kind == "int" and not float(value).is_integer():
        return None
    return Computed(int(value) if number.shape.kind == "int" else value, derivation, number.rule, figures)


def _needed(rule: Rule, objective: Objective) -> int:
    """How many figures there must be: an average or a sum of things named is one of all of them."""
    named = len(objective.entities)
    return max(1, named if rule in _OF_ALL else min(2, named))


def _counted(rows: Sequence[Row], lookup: Callable[[Source], JSON]) -> Computed | None:
    """How many different things the rows are about: the rank of the largest of their numbers."""
    members = [Figure(row, row.number.sources[""], row.number.value) for row in rows if row.number]
    ordered = sorted(members, key=lambda figure: first_number(figure.value) or 0, reverse=True)
    distinct = len({first_number(figure.value) for figure in ordered})
    if not ordered or len(ordered) > MAX_COUNTED or distinct < len(rows):
        return None
    derivation = Derivation(op="rank", of=tuple(figure.source for figure in ordered))
    return Computed(int(evaluate(derivation, lookup)), derivation, "count", Figures("/netuid", tuple(ordered)))


def _within(rows: Sequence[Row], number: Number) -> Figures | None:
    """The two figures of the only thing, for what is the difference between them."""
    if number.rule != "difference" or len(rows) != 1:
        return None
    found = leaf_pointers(rows[0].piece.value)
    figures = [
        Figure(rows[0], rows[0].piece.sources[key], value) for key, value in found.items() if isinstance(value, float)
    ]
    return Figures("/difference", tuple(figures)) if len(figures) == 2 else None


def rank_of(row: Row, figures: Figures, lookup: Callable[[Source], JSON]) -> tuple[int, Derivation] | None:
    """A row's place among all, lowest first."""
    own = [figure.source for figure in figures.members if figure.row is row]
    if not own:
        return None
    others = tuple(figure.source for figure in figures.members if figure.row is not row)
    derivation = Derivation(op="rank", of=(*own, *others))
    return int(evaluate(derivation, lookup)), derivation


def _derivation(rule: Rule, figures: Figures) -> Derivation | None:
    sources = tuple(figure.source for figure in figures.members)
    match rule:
        case "undercut":
            return Derivation(op="scale", by=UNDERCUT, of=Derivation(op="min", of=sources))
        case "premium":
            return Derivation(op="scale", by=PREMIUM, of=Derivation(op="max", of=sources))
        case "middle":
            return Derivation(op="median", of=sources)
        case "difference":
            ordered = figures.ordered()
            ends = (ordered[-1].source, ordered[0].source)
            return Derivation(op="difference", of=ends) if len(ordered) > 1 else None
        case "rank" | "count":
            return None
        case _:
            return Derivation(op=rule, of=sources)


def _is_figure(value: JSON) -> bool:
    if isinstance(value, str):
        return bool(_AMOUNT.match(value.strip())) and len(value) < 40
    return first_number(value) is not None


def _indexed(pointer: str) -> bool:
    return any(part.isdigit() for part in pointer.split("/"))


def _one_unit(members: Sequence[Figure]) -> bool:
    units = {
        _AMOUNT.sub("", figure.value).strip().casefold() if isinstance(figure.value, str) else None
        for figure in members
    }
    return len(units) == 1


def _stems(key: str) -> set[str]:
    return {stem(word) for part in key.split("/") for word in name_tokens(part)}


def _holds(key: str, products: frozenset[str]) -> int:
    return len(products & {word for part in key.split("/") for word in name_tokens(part)})
