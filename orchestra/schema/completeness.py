"""How much of what was asked for is there: the share of required leaves that are present, filled, right and sourced."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ledger.schemas import json_pointer
from ledger.types import JSON
from orchestra.schema.pointers import children
from orchestra.schema.shapes import AnyShape, DictOf, Enum, ListOf, Nullable, Record, Scalar, Shape, is_leaf
from orchestra.schema.values import fits

if TYPE_CHECKING:
    from orchestra.schema.target import TargetSchema

MAX_LISTED = 1000
"""At most so many missing leaves are listed; all of them are counted."""

Reason: TypeAlias = Literal["absent", "empty", "wrong_type", "unsourced"]


class _Absent:
    """Stands for a key that is not there, which null is not."""


_ABSENT: Final = _Absent()
_Value: TypeAlias = "JSON | _Absent"


@dataclass(frozen=True, slots=True)
class Missing:
    """A required leaf that does not count, and why."""

    pointer: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Completeness:
    """`score` = found / required, in [0, 1]; 1.0 when nothing is required. `missing` lists the first 1,000."""

    score: float
    present: tuple[str, ...]
    missing: tuple[Missing, ...]
    found: int
    required: int


def completeness(schema: TargetSchema, data: JSON, sourced: Container[str]) -> Completeness:
    """The share of required leaves of `data` that count.

    A leaf is a scalar, an enum, or a `list` or `dict` without item type (these count once). It counts when it is
    there (`absent`), not null where null is not allowed, not blank, and no empty or too short list or dict (`empty`),
    of its type (`wrong_type`), and sourced (`unsourced`): `sourced` holds its pointer or one above it, or those of
    every leaf inside it. Null counts where it is allowed and sourced, and stands for the record it replaces.

    Required are the leaves on a path of required keys; what is below an optional key never counts, present or not.
    Every item of a list and every value of a dict brings its own leaves. An empty or absent list or dict is one
    missing leaf; with `minItems` each missing item misses all its leaves instead. Where an object is absent or
    something else, all its required leaves are missing.

    So taking away a source, or a leaf that counts, never raises the score. Dropping a whole list of which most is
    missing can: that is what `minItems` is for.
    """
    tally = _Tally(sourced)
    tally.visit(schema.shape, data, "", covered=False)
    score = tally.found / tally.required if tally.required else 1.0
    return Completeness(score, tuple(tally.present), tuple(tally.missing), tally.found, tally.required)


def required_count(shape: Shape) -> int:
    """How many required leaves are missing when nothing of `shape` is there."""
    match shape:
        case _ if is_leaf(shape):
            return 1
        case Nullable(inner):
            return required_count(inner)
        case ListOf(item, min_items):
            return min_items * required_count(item) if min_items else 1
        case Record(fields):
            return sum(required_count(field.shape) for field in fields if field.required)
        case _:
            return 1


class _Tally:
    def __init__(self, sourced: Container[str]) -> None:
        self._sourced = sourced
        self._counts: dict[int, int] = {}
        self.present: list[str] = []
        self.missing: list[Missing] = []
        self.required = 0
        self.found = 0

    def visit(self, shape: Shape, value: _Value, pointer: str, *, covered: bool) -> None:
        covered = covered or pointer in self._sourced
        match shape:
            case _ if is_leaf(shape) or (isinstance(shape, Nullable) and value is None):
                self._leaf(shape, value, pointer, covered)
            case Nullable(inner):
                self.visit(inner, value, pointer, covered=covered)
            case ListOf(item, min_items) if isinstance(value, list):
                self._parts(item, value, pointer, covered, min_items)
            case DictOf(inner) if isinstance(value, dict):
                self._parts(inner, value, pointer, covered, 0)
            case Record(fields) if isinstance(value, dict):
                for field in fields:
                    if field.required:
                        below = pointer + json_pointer((field.name,))
                        self.visit(field.shape, value.get(field.name, _ABSENT), below, covered=covered)
            case _:
                self._miss_all(shape, pointer, _why(value))

    def _parts(self, shape: Shape, value: JSON, pointer: str, covered: bool, min_items: int) -> None:
        parts = children(value)
        if not parts and not min_items:
            self._miss(pointer, "empty")
        for key, part in parts:
            self.visit(shape, part, pointer + json_pointer((key,)), covered=covered)
        for index in range(len(parts), min_items):
            self._miss_all(shape, f"{pointer}/{index}", "absent")

    def _leaf(self, shape: Shape, value: _Value, pointer: str, covered: bool) -> None:
        reason = _fault(shape, value)
        if value is None and reason is None and not covered:
            reason = "empty"
        elif reason is None and not (covered or self._all_sourced(value, pointer)):
            reason = "unsourced"
        if reason is not None:
            self._miss(pointer, reason)
            return
        self.required += 1
        self.found += 1
        self.present.append(pointer)

    def _all_sourced(self, value: _Value, pointer: str) -> bool:
        if pointer in self._sourced:
            return True
        parts = [] if isinstance(value, _Absent) else children(value)
        return bool(parts) and all(self._all_sourced(part, pointer + json_pointer((key,))) for key, part in parts)

    def _miss(self, pointer: str, reason: Reason) -> None:
        self.required += 1
        if len(self.missing) < MAX_LISTED:
            self.missing.append(Missing(pointer, reason))

    def _miss_all(self, shape: Shape, pointer: str, reason: Reason) -> None:
        count = self._counts.setdefault(id(shape), required_count(shape))
        self.required += count
        room = max(0, MAX_LISTED - len(self.missing))
        self.missing.extend(Missing(leaf, reason) for leaf in islice(_template(shape, pointer), room))


def _template(shape: Shape, pointer: str) -> Iterator[str]:
    """The pointers that `required_count` counts."""
    match shape:
        case Nullable(inner) if not is_leaf(inner):
            yield from _template(inner, pointer)
        case ListOf(item, min_items) if min_items and not is_leaf(shape):
            for index in range(min_items):
                yield from _template(item, f"{pointer}/{index}")
        case Record(fields):
            for field in fields:
                if field.required:
                    yield from _template(field.shape, pointer + json_pointer((field.name,)))
        case _:
            yield pointer


def _why(value: _Value) -> Reason:
    if isinstance(value, _Absent):
        return "absent"
    return "empty" if value is None else "wrong_type"


def _fault(shape: Shape, value: _Value) -> Reason | None:
    """Why a leaf's own value does not count, sources aside."""
    if isinstance(shape, Nullable):
        return None if value is None else _fault(shape.inner, value)
    if isinstance(value, _Absent) or value is None:
        return _why(value)
    if not _right_type(shape, value):
        return "wrong_type"
    blank = not value.strip() if isinstance(value, str) else value in ([], {})
    short = isinstance(shape, ListOf) and isinstance(value, list) and len(value) < shape.min_items
    return "empty" if blank or short else None


def _right_type(shape: Shape, value: JSON) -> bool:
    match shape:
        case Scalar() | Enum():
            return fits(value, shape)
        case ListOf():
            return isinstance(value, list)
        case DictOf():
            return isinstance(value, dict)
        case _:
            return isinstance(shape, AnyShape)
