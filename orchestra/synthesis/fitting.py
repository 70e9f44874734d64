"""A found value as the target_schema wants it, leaf by leaf with its source; nothing that the source does not contain.

What does not fit is left out: a record loses the field, a list the item. Conversions only re-spell (`"$1.99"` as 1.99,
`"2026-08-07"` as an RFC 3339 instant, `"yes"` as true), and `supports` checks every one of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.canonical import is_exact
from ledger.schemas import json_pointer
from ledger.types import JSON
from orchestra.planning.demands import bare
from orchestra.protocol import Source
from orchestra.schema import AnyShape, DictOf, Enum, ListOf, Record, Scalar, Shape, leaf_pointers
from orchestra.schema.values import fits
from orchestra.synthesis.instants import instants_in
from orchestra.synthesis.numbers import numbers_in
from orchestra.synthesis.support import normalised, supports, yes_or_no

_URL = re.compile(r"https?://[^\s<>\"'`()\[\]{}]+", re.IGNORECASE)
MAX_TEXT = 2_000
MAX_PARTS = 200
"""Items of one list, or entries of one dict, that are taken."""
MAX_POINTER = 512
"""Longer pointers are not cited: a message takes 1,024 characters, and a value's place in the result is longer yet."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A value with the source of each of its leaves, by pointer relative to the value."""

    value: JSON
    sources: Mapping[str, Source]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a found value stands. `text`: it was read from this text, which is what the pointer points at."""

    step: int
    pointer: str
    text: str | None = None

    def below(self, key: str | int) -> Place:
        return self if self.text is not None else Place(self.step, self.pointer + json_pointer((str(key),)))

    @property
    def source(self) -> Source:
        return Source(step=self.step, pointer=self.pointer)


def fit(found: JSON, shape: Shape, place: Place) -> Piece | None:
    """`found`, which stands at `place`, as a value of `shape`; None when there is nothing of it."""
    inner = bare(shape)
    match inner:
        case Scalar() | Enum():
            return _leaf(found, inner, place)
        case AnyShape():
            return _anything(found, place)
        case ListOf(item):
            return _list(found, item, place)
        case DictOf(value):
            return _dict(found, value, place)
        case Record():
            return _record(found, inner, place)
        case _:
            return None


def as_value(found: JSON, shape: Scalar | Enum) -> JSON:
    """A found scalar re-spelled as a value of a scalar shape; None when it is none."""
    if isinstance(found, list | dict) or found is None:
        return None
    value = _spelled(found, shape)
    return value if value is not None and fits(value, shape) else None


def _spelled(found: JSON, shape: Scalar | Enum) -> JSON:
    if isinstance(shape, Enum):
        return _option(found, shape)
    if fits(found, shape):
        return found.strip()[:MAX_TEXT] if isinstance(found, str) else _whole(found, shape)
    match shape.kind:
        case "int" | "float" if isinstance(found, str):
            return _only_number(found, shape.kind)
        case "bool" if isinstance(found, str):
            return yes_or_no(found)
        case "str" if isinstance(found, bool):
            return "yes" if found else "no"
        case "str":
            return str(found)
        case "datetime" if isinstance(found, str):
            said = set(instants_in(found))
            return said.pop().strftime("%Y-%m-%dT%H:%M:%SZ") if len(said) == 1 else None
        case "url" if isinstance(found, str):
            said = {match[0].rstrip(".,;:!?") for match in _URL.finditer(found)}
            return said.pop() if len(said) == 1 else None
        case _:
            return None


def _whole(found: JSON, shape: Scalar) -> JSON:
    return int(found) if shape.kind == "int" and isinstance(found, float) else found


def _only_number(text: str, kind: str) -> JSON:
    said = set(numbers_in(text))
    if len(said) != 1:
        return None
    number = said.pop()
    if kind == "int" and number != number.to_integral_value():
        return None
    value = int(number) if kind == "int" else float(number)
    return value if is_exact(value) else None


def _option(found: JSON, shape: Enum) -> JSON:
    for option in shape.values:
        if fits(found, Enum((option,))):
            return option
    if not isinstance(found, str):
        return None
    said = [option for option in shape.values if isinstance(option, str) and supports(found, option)]
    exact = [option for option in said if normalised(option) == normalised(found)]
    return (exact or said)[0] if len(exact or said) == 1 else None


def _leaf(found: JSON, shape: Scalar | Enum, place: Place) -> Piece | None:
    if isinstance(found, list) and isinstance(shape, Scalar) and shape.kind == "str" and len(found) == 1:
        return _leaf(found[0], shape, place.below(0))
    value = as_value(found, shape)
    grounds: JSON = found if place.text is None else place.text
    if value is None or not (_citable(place.pointer) and supports(grounds, value)):
        return None
    return Piece(value, {"": place.source})


def _anything(found: JSON, place: Place) -> Piece | None:
    leaves = leaf_pointers(found)
    sources: dict[str, Source] = {}
    for pointer, value in leaves.items():
        grounds: JSON = value if place.text is None else place.text
        if value in (None, "", [], {}) or not (_citable(place.pointer + pointer) and supports(grounds, value)):
            return None
        sources[pointer] = Source(step=place.step, pointer=place.pointer + ("" if place.text is not None else pointer))
    return Piece(found, sources) if sources and len(sources) <= MAX_PARTS else None


def _citable(pointer: str) -> bool:
    return len(pointer) <= MAX_POINTER and "\x00" not in pointer


def _list(found: JSON, item: Shape, place: Place) -> Piece | None:
    parts = found if isinstance(found, list) else None
    if parts is None and isinstance(found, str | int | float) and not isinstance(found, bool):
        piece = fit(found, item, place)
        return listed([piece]) if piece else None
    pieces = [fit(part, item, place.below(index)) for index, part in enumerate((parts or [])[:MAX_PARTS])]
    return listed([piece for piece in pieces if piece])


def listed(pieces: list[Piece]) -> Piece | None:
    """One list of its items."""
    if not pieces:
        return None
    sources = {f"/{i}{pointer}": source for i, piece in enumerate(pieces) for pointer, source in piece.sources.items()}
    return Piece([piece.value for piece in pieces], sources)


def _dict(found: JSON, shape: Shape, place: Place) -> Piece | None:
    if not isinstance(found, dict):
        return None
    entries = [(key, part) for key, part in found.items() if _citable(key)][:MAX_PARTS]
    pieces = {key: fit(part, shape, place.below(key)) for key, part in entries}
    return joined({key: piece for key, piece in pieces.items() if piece})


def _record(found: JSON, shape: Record, place: Place) -> Piece | None:
    if not isinstance(found, dict):
        return None
    pieces: dict[str, Piece] = {}
    for part in shape.fields:
        piece = fit(found.get(part.name), part.shape, place.below(part.name)) if part.name in found else None
        if piece:
            pieces[part.name] = piece
    return joined(pieces)


def joined(pieces: Mapping[str, Piece]) -> Piece | None:
    """One object of its parts."""
    if not pieces:
        return None
    value: dict[str, Any] = {key: piece.value for key, piece in pieces.items()}
    sources = {
        json_pointer((key,)) + pointer: source
        for key, piece in pieces.items()
        for pointer, source in piece.sources.items()
    }
    return Piece(value, sources)


def part_of(piece: Piece, key: str) -> Piece:
    """The value under one key of an object."""
    prefix = json_pointer((key,))
    value = piece.value[key] if isinstance(piece.value, dict) else None
    sources = {at.removeprefix(prefix): source for at, source in piece.sources.items() if _below(at, prefix)}
    return Piece(value, sources)


def _below(pointer: str, prefix: str) -> bool:
    return pointer == prefix or pointer.startswith(prefix + "/")
