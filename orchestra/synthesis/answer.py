"""Run -> a result that fits the target_schema, every value traced to its source; what was not found is said, not made
up.

The target_schema is sorted into demands as the planner sorted it, each demand is filled from the items of the run,
numbers are derived and prose is written last, from what stands in the result by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, cast

from ledger.schemas import json_pointer
from ledger.types import JSON
from orchestra.execution.run import Run
from orchestra.planning.asks import ordering
from orchestra.planning.computed import rule_for
from orchestra.planning.demands import Demand, Layout, Number, bare, identity, nouns_of, sort_schema
from orchestra.planning.objective import Objective, read
from orchestra.planning.plan import Plan
from orchestra.protocol import Derivation, Gap, Pointer, Provenance, Source
from orchestra.schema import (
    CoercionError,
    Scalar,
    Shape,
    TargetSchema,
    coerce,
    completeness,
    leaf_pointers,
    resolve_pointer,
)
from orchestra.synthesis.derivation import sources_of
from orchestra.synthesis.evidence import Item, items_of
from orchestra.synthesis.figures import Computed, Figures, comparable, compute, rank_of
from orchestra.synthesis.fitting import Piece, joined, part_of
from orchestra.synthesis.gaps import gaps_of
from orchestra.synthesis.lookup import Fields
from orchestra.synthesis.prose import REASONS, computed_sentence, facts, grounded_chat, row_sentence
from orchestra.synthesis.rows import Row, rows_of

MAX_LINES = 24
Path = tuple[str | int, ...]
"""Keys and list indices from the root of the result to a place in it."""


@dataclass(frozen=True, slots=True)
class LocalStep:
    """Work done here: a text composed from cited values. `query` lists them; `output` is `{"text": ...}`."""

    task: str
    query: dict[str, Any]
    output: JSON
    depends_on: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What came of a run. Local steps are numbered on from the run's attempts, in the order of `local`."""

    data: dict[str, Any]
    provenance: Provenance
    final_synthesis: str
    gaps: tuple[Gap, ...] = ()
    local: tuple[LocalStep, ...] = ()


def synthesise(schema: TargetSchema, plan: Plan, run: Run, *, objective: str) -> Synthesis:
    """Fill the target_schema from a run. Pure, and never raises for anything a subnet answered.

    Every leaf of `data` has an entry in `provenance`, whose source supports it (`support.supports`) or whose derivation
    evaluates to it (`derivation.evaluate`). Leaves that nothing supports are absent from `data` and named in `gaps`.
    """
    asked = read(objective, nouns_of(schema))
    draft = _Draft(asked, sort_schema(schema, asked), plan, run, items_of(asked, plan, run))
    draft.fill()
    filled = completeness(schema, draft.data, draft.provenance)
    gaps = gaps_of(filled, schema, plan, run, asked)
    text = draft.conclusion(gaps)
    return Synthesis(draft.data, draft.provenance, text, gaps, tuple(draft.local))


@dataclass(slots=True)
class _Draft:
    objective: Objective
    layout: Layout
    plan: Plan
    run: Run
    items: tuple[Item, ...]
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    provenance: dict[Pointer, tuple[Source, ...] | Derivation] = field(
        default_factory=dict[Pointer, tuple[Source, ...] | Derivation]
    )
    rows: list[tuple[Demand, Row]] = field(default_factory=list[tuple[Demand, Row]])
    figured: list[Row] = field(default_factory=list[Row])
    numbers: list[tuple[Path, Computed]] = field(default_factory=list[tuple[Path, Computed]])
    local: list[LocalStep] = field(default_factory=list[LocalStep])

    def fill(self) -> None:
        fields = Fields(self.objective, self.items)
        found = [(demand, rows_of(demand, self.objective, self.items, fields)) for demand in self.layout.demands]
        tables = [pair for pair in found if pair[0].kind in ("hidden", "table", "map") and pair[0].channel == "web"]
        records = [rows for demand, rows in found if demand.kind in ("record", "column") and demand.channel == "web"]
        alone = self._feeding(records)
        self.figured = self._feeding([rows for _, rows in tables]) or alone
        for demand, rows in found:
            self._place(demand, rows)
        for number in self.layout.numbers:
            computed = compute(number, self.figured, self.objective, self._lookup)
            computed = computed or compute(number, alone, self.objective, self._lookup)
            if computed:
                self.numbers.append((number.path, computed))
                self._put(number.path, computed.value, computed.derivation)
        for path in self.layout.prose:
            if _pointer(path) not in self.provenance:
                self._write(path)

    @staticmethod
    def _feeding(tables: list[tuple[Row, ...]]) -> list[Row]:
        """The rows that computations read: those of the table that holds most."""
        return list(max(tables, key=len, default=()))

    # records ----------------------------------------------------------------------------------------------------------

    def _place(self, demand: Demand, rows: tuple[Row, ...]) -> None:
        match demand.kind:
            case "table":
                rows = self._ordered(rows)
                for index, row in enumerate(rows):
                    self._row((*demand.path, index), demand, row)
                self._ranks(demand, rows)
            case "column":
                self._column(demand, rows)
            case "map":
                for row in rows:
                    self._row((*demand.path, row.name), demand, row)
            case "record":
                for row in rows[:1]:
                    self._row(demand.path, demand, _agreed(row, rows) if self._of_several(demand) else row)
            case "choice":
                self._choice(demand)
            case "hidden":
                computes = self.layout.numbers or any(other.kind == "choice" for other in self.layout.demands)
                self.rows += [(demand, row) for row in rows if not computes]

    def _ordered(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """`the three cheapest`, `sorted by price`: in the order of a comparable figure, and no more than asked."""
        order = ordering(self.objective)
        figures = comparable(rows, (order.metric,), self.objective) if order else None
        if order is None or figures is None:
            return rows
        ranked = [figure.row for figure in figures.ordered()]
        ranked = ranked[::-1] if order.descending else ranked
        return tuple(ranked[: order.count] if order.count else [*ranked, *(row for row in rows if row not in ranked)])

    def _of_several(self, demand: Demand) -> bool:
        return demand.channel == "web" and demand.entity is None and len(self.objective.entities) > 1

    def _row(self, path: Path, demand: Demand, row: Row) -> None:
        self.rows.append((demand, row))
        self._piece(path, _only(row.piece) if demand.plain else row.piece)

    def _column(self, demand: Demand, rows: tuple[Row, ...]) -> None:
        seen: list[JSON] = []
        for row in rows:
            piece = _only(row.piece)
            if piece.value not in seen:
                self._piece((*demand.path, len(seen)), piece)
                self.rows.append((demand, row))
                seen.append(piece.value)

    def _ranks(self, demand: Demand, rows: tuple[Row, ...]) -> None:
        for part in demand.record.fields:
            shape = bare(part.shape)
            ranked = isinstance(shape, Scalar) and shape.kind in ("int", "float")
            if not ranked or rule_for((*demand.path, part.name), self.objective) != "rank":
                continue
            figures = comparable(rows, ("price",), self.objective)
            for index, row in enumerate(rows):
                place = rank_of(row, figures, self._lookup) if figures and part.name not in _values(row) else None
                if place:
                    self._put((*demand.path, index, part.name), place[0], place[1])

    def _choice(self, demand: Demand) -> None:
        """The record of the thing with the lowest or highest comparable figure."""
        named = tuple(part.name for part in demand.record.fields)
        beside = tuple(number.path[-1] for number in self.layout.numbers if number.path[:-1] == demand.path)
        figures = comparable(self.figured, (*demand.path, *named, *beside), self.objective)
        if figures is None or demand.rule is None:
            return
        ordered = figures.ordered()
        chosen = ordered[0 if demand.rule == "min" else -1].row
        placed: dict[str, Piece] = {}
        for part in demand.record.fields:
            shape = bare(part.shape)
            path = (*demand.path, part.name)
            if isinstance(shape, Scalar) and shape.kind in ("int", "float"):
                self._chosen_number(path, shape, demand, figures)
            elif (piece := self._chosen_part(part.name, chosen, demand)) and _is_of(piece.value, part.shape):
                self._piece(path, piece)
                placed[part.name] = piece
        if piece := joined(placed):
            self.rows.append((demand, Row(chosen.name, piece, chosen.entity)))

    def _chosen_number(self, path: Path, shape: Scalar, demand: Demand, figures: Figures) -> None:
        assert demand.rule is not None
        number = Number(tuple(map(str, path)), shape, demand.rule)
        if computed := compute(number, [figure.row for figure in figures.members], self.objective, self._lookup):
            self.numbers.append((path, computed))
            self._put(path, computed.value, computed.derivation)

    def _chosen_part(self, name: str, row: Row, demand: Demand) -> Piece | None:
        values = _values(row)
        key = name if name in values else None
        if key is None and (name == identity(demand.record) or len(demand.record.fields) == 1):
            key = next((key for key in ("name", "provider", "title") if key in values), None)
            key = key or next((key for key, value in values.items() if isinstance(value, str)), None)
        return part_of(row.piece, key) if key else None

    # prose ------------------------------------------------------------------------------------------------------------

    def _write(self, path: Path) -> None:
        numbers = [computed for at, computed in self.numbers if at[:-1] == path[:-1]] or [c for _, c in self.numbers]
        is_reason = str(path[-1]) in REASONS
        known = [value for _, row in self.rows for value in _leaf_values(row)] + [c.value for _, c in self.numbers]
        chat = (
            None if is_reason and numbers else grounded_chat(self.plan, self.run, self.rows, known, self.objective.text)
        )
        if chat is not None and isinstance(chat.output, dict):
            self._put(path, str(chat.output["text"]).strip(), (Source(step=chat.step, pointer="/text"),))
            return
        text = " ".join(map(computed_sentence, numbers)) if is_reason and numbers else facts(self.rows, numbers)
        if text:
            self._compose(path, text, numbers if is_reason else None)

    def _compose(self, path: Path, text: str, numbers: list[Computed] | None) -> None:
        cited = [source for _, row in self.rows for source in row.piece.sources.values()] if numbers is None else []
        for computed in numbers if numbers is not None else [c for _, c in self.numbers]:
            cited += sources_of(computed.derivation)
        unique = sorted({(source.step, source.pointer) for source in cited})[:200]
        query = {"field": _pointer(path), "cites": [{"step": step, "pointer": at} for step, at in unique]}
        steps = tuple(sorted({step for step, _ in unique}))
        number = len(self.run.attempts) + len(self.local) + 1
        self.local.append(
            LocalStep(f"compose {_pointer(path)} from what was found"[:256], query, {"text": text}, steps)
        )
        self._put(path, text, (Source(step=number, pointer="/text"),))

    def conclusion(self, gaps: tuple[Gap, ...]) -> str:
        """A summary for people, with the steps it rests on."""
        told = [(demand, row) for demand, row in self.rows[:MAX_LINES] if row.piece.sources]
        lines = [f"{row_sentence(row, demand)} {_citation(row.steps)}" for demand, row in told]
        for path, computed in self.numbers:
            steps = tuple(sorted({source.step for source in sources_of(computed.derivation)}))
            name = " ".join(map(str, path)).replace("_", " ")
            lines.append(f"{name}: {computed.value} ({computed_sentence(computed)[:-1]}). {_citation(steps)}")
        missing = [f"{', '.join(gap.fields[:6]) or gap.capability}: {gap.reason}" for gap in (*self.plan.gaps, *gaps)]
        if not lines:
            lines.append("Nothing was found that answers this objective.")
        if missing:
            lines.append("Missing: " + "; ".join(dict.fromkeys(missing)) + ".")
        return "\n".join(lines)[:32_000]

    # the result -------------------------------------------------------------------------------------------------------

    def _piece(self, path: Path, piece: Piece) -> None:
        for below, value in _parts(piece.value):
            _set(self.data, (*path, *below), value)
        for pointer, source in piece.sources.items():
            self.provenance[_pointer(path) + pointer] = (source,)

    def _put(self, path: Path, value: JSON, grounds: tuple[Source, ...] | Derivation) -> None:
        _set(self.data, path, value)
        self.provenance[_pointer(path)] = grounds

    def _lookup(self, source: Source) -> JSON:
        return resolve_pointer(self.run.attempts[source.step - 1].output, source.pointer)


def _agreed(row: Row, rows: tuple[Row, ...]) -> Row:
    """What is true of all the things asked about: one record cannot say it of each."""
    values = [_values(other) for other in rows]
    kept = [key for key, value in _values(row).items() if all(other.get(key, value) == value for other in values)]
    piece = joined({key: part_of(row.piece, key) for key in kept})
    return replace(row, piece=piece or Piece({}, {}))


def _is_of(value: JSON, shape: Shape) -> bool:
    try:
        coerce(value, shape)
    except CoercionError:
        return False
    return True


def _values(row: Row) -> Mapping[str, JSON]:
    return row.piece.value if isinstance(row.piece.value, dict) else {}


def _leaf_values(row: Row) -> list[JSON]:
    return list(leaf_pointers(row.piece.value).values())


def _only(piece: Piece) -> Piece:
    """The one value of a record of one."""
    return part_of(piece, next(iter(piece.value))) if isinstance(piece.value, dict) else piece


def _parts(value: JSON) -> list[tuple[Path, JSON]]:
    """An object by its keys, so that it joins what stands there already; anything else whole."""
    return [((key,), part) for key, part in value.items()] if isinstance(value, dict) else [((), value)]


def _set(data: dict[str, Any], path: Path, value: JSON) -> None:
    """Put a value where the path leads, making what is missing on the way; an index is at most one past the end."""
    place: Any = data
    for key, following in pairwise(path):
        place = _enter(place, key, cast("Any", [] if isinstance(following, int) else {}))
    _enter(place, path[-1], value)
    place[path[-1]] = value


def _enter(place: Any, key: str | int, fresh: Any) -> Any:
    if isinstance(key, str):
        return place.setdefault(key, fresh)
    if key == len(place):
        place.append(fresh)
    return place[key]


def _pointer(path: Path) -> str:
    return json_pointer(tuple(map(str, path)))


def _citation(steps: tuple[int, ...]) -> str:
    return " ".join(f"[step {step}]" for step in steps[:4])
