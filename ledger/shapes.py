"""What a JSON Schema accepts, as data that can be compared: a union of alternatives, each of one JSON type.

Two schemas can be spelled differently and mean the same, so differences are judged on what is accepted. The algebra is
exact for types, nullability, unions of different types, enums, ranges, lengths, formats, arrays and objects. A keyword
beyond that (`pattern`, `not`, `patternProperties`, ...) is kept as an `extra`: a condition of which only equality is
known. Then "is inside" errs on the side of no. Whoever compares pays for every step from a `Work`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

from ledger.canonical import MAX_SAFE_INTEGER, canonical
from ledger.schema_measure import SchemaRefused
from ledger.schemas import compile_schema
from ledger.types import JSON

Kind: TypeAlias = Literal["null", "boolean", "number", "string", "array", "object"]

MAX_FINITE = 256
"""Integers of a range that is no longer than this are written out, so that ranges and enums compare."""
MAX_ALTERNATIVES = 64
WORK = 200_000

ROOTED = "\0"
"""Separates an extra from the digest of the document that its references point into."""


class Work:
    """Steps that a comparison may still take. Two hostile schemas are thousands of parts each, compared in pairs."""

    def __init__(self, steps: int = WORK) -> None:
        self._left = steps

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise SchemaRefused("too_costly", "", "comparing this schema is more work than it may cost")


@dataclass(frozen=True, slots=True)
class Values:
    """Some of the values of one type, as canonical JSON. Null and booleans are always this."""

    kind: Kind
    texts: frozenset[str]
    extra: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Number:
    """A bound is a value and 0, or +-1 where the value itself is outside: `(0, 1)` is above zero, `(9, -1)` below 9."""

    integer: bool = False
    low: tuple[float, int] | None = None
    high: tuple[float, int] | None = None
    extra: frozenset[str] = frozenset()
    kind: Kind = "number"


@dataclass(frozen=True, slots=True)
class Text:
    low: int = 0
    high: int | None = None
    format: str | None = None
    extra: frozenset[str] = frozenset()
    kind: Kind = "string"


@dataclass(frozen=True, slots=True)
class Items:
    items: Shape = None
    low: int = 0
    high: int | None = None
    extra: frozenset[str] = frozenset()
    kind: Kind = "array"


@dataclass(frozen=True, slots=True)
class Members:
    """`additional` is what a property without a name here may be; `said` when the schema states it."""

    properties: tuple[tuple[str, Shape], ...] = ()
    required: frozenset[str] = frozenset()
    additional: Shape = None
    said: bool = False
    extra: frozenset[str] = frozenset()
    kind: Kind = "object"

    def named(self) -> dict[str, Shape]:
        return dict(self.properties)

    def of(self, name: str) -> Shape:
        """What the property may be."""
        return self.named().get(name, self.additional)


Alternative: TypeAlias = "Values | Number | Text | Items | Members"
Shape: TypeAlias = "tuple[Alternative, ...] | None"
"""None accepts everything, the empty tuple nothing."""

NULL = Values("null", frozenset({"null"}))
BOOLEAN = Values("boolean", frozenset({"false", "true"}))
EVERYTHING: tuple[Alternative, ...] = (NULL, BOOLEAN, Number(), Text(), Items(), Members())
NOTHING: tuple[Alternative, ...] = ()


def alternatives(shape: Shape) -> tuple[Alternative, ...]:
    return EVERYTHING if shape is None else shape


def kind_of(value: object) -> Kind:
    """The JSON type of a value. Raises ValueError: it has none."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            raise ValueError(f"a {type(value).__name__} is not a JSON value")


def values(found: Iterable[JSON]) -> tuple[Alternative, ...]:
    """Exactly these values."""
    by_kind: dict[Kind, set[str]] = {}
    for value in found:
        by_kind.setdefault(kind_of(value), set()).add(canonical(value).decode())
    return tuple(Values(kind, frozenset(texts)) for kind, texts in by_kind.items())


def settle(one: Alternative) -> Iterator[Alternative]:
    """The alternative in its simplest form; nothing when no value fits it."""
    match one:
        case Values():
            kept, rooted = _judged(one)
            if kept:
                yield Values(one.kind, kept, rooted)
        case Number():
            yield from _settle_number(one)
        case Text():
            if one.high == 0 and one.low == 0 and one.format is None:
                yield from settle(Values("string", frozenset({'""'}), one.extra))
            elif one.high is None or one.low <= one.high:
                yield one
        case Items():
            high = 0 if one.items == NOTHING else one.high
            if high is None or one.low <= high:
                yield replace(one, items=NOTHING if high == 0 else one.items, high=high)
        case Members():
            named = {**dict.fromkeys(one.required, one.additional), **one.named()}
            if all(named[name] != NOTHING for name in one.required):
                yield replace(one, properties=tuple(sorted(named.items(), key=lambda item: item[0])))


def _settle_number(one: Number) -> Iterator[Alternative]:
    low, high = one.low, one.high
    if one.integer:
        low = None if low is None else (math.floor(low[0]) + 1 if low[1] else math.ceil(low[0]), 0)
        high = None if high is None else (math.ceil(high[0]) - 1 if high[1] else math.floor(high[0]), 0)
    if low is not None and high is not None:
        span = high[0] - low[0]
        if span < 0 or (span == 0 and (low[1] or high[1])):
            return
        if max(-low[0], high[0]) <= MAX_SAFE_INTEGER and (span == 0 or (one.integer and span < MAX_FINITE)):
            whole = range(int(low[0]), int(high[0]) + 1) if one.integer else [low[0]]
            yield from settle(Values("number", frozenset(canonical(value).decode() for value in whole), one.extra))
            return
    yield replace(one, low=low, high=high)


def _judged(one: Values) -> tuple[frozenset[str], frozenset[str]]:
    """Extras that stand by themselves are decided here, value by value."""
    rooted = frozenset(extra for extra in one.extra if ROOTED in extra)
    checks = [compile_schema(json.loads(extra)) for extra in one.extra - rooted]
    if not checks:
        return one.texts, rooted
    kept = (text for text in one.texts if all(check.is_valid(json.loads(text)) for check in checks))
    return frozenset(kept), rooted


def union(shapes: Iterable[Shape]) -> Shape:
    """What any of them accepts; values of one type become one alternative."""
    found: dict[Alternative, None] = {}
    merged: dict[tuple[Kind, frozenset[str]], frozenset[str]] = {}
    for shape in shapes:
        if shape is None:
            return None
        for one in shape:
            if isinstance(one, Values):
                key = (one.kind, one.extra)
                merged[key] = merged.get(key, frozenset()) | one.texts
            else:
                found[one] = None
    return (*(Values(kind, texts, extra) for (kind, extra), texts in merged.items()), *found)


# Inside


def within(a: Shape, b: Shape, work: Work) -> bool:
    """Does `b` accept all that `a` accepts? True is certain; False may be caution where either has extras, or where
    several alternatives of one type cover one of `a` only together."""
    if b is None:
        return True
    return all(_is_covered(one, b, work) for one in alternatives(a))


def _is_covered(one: Alternative, b: tuple[Alternative, ...], work: Work) -> bool:
    if isinstance(one, Values):
        listed = [other.texts for other in b if isinstance(other, Values) and other.extra <= one.extra]
        left = [json.loads(text) for text in one.texts.difference(*listed)]
        return all(any(holds(value, other, work, one.extra) for other in b) for value in left)
    return any(_is_inside(one, other, work) for other in b)


def _is_inside(one: Alternative, other: Alternative, work: Work) -> bool:
    work.spend()
    if not other.extra <= one.extra:
        return False
    match one, other:
        case Number(), Number():
            return (one.integer or not other.integer) and _narrower(one.low, other.low, one.high, other.high)
        case Text(), Text():
            lengths = _narrower(one.low, other.low, one.high, other.high)
            return lengths and other.format in (None, one.format)
        case Items(), Items():
            lengths = _narrower(one.low, other.low, one.high, other.high)
            return lengths and (one.high == 0 or within(one.items, other.items, work))
        case Members(), Members():
            if not other.required <= one.required or not within(one.additional, other.additional, work):
                return False
            mine, theirs = one.named(), other.named()
            return all(
                within(mine.get(name, one.additional), theirs.get(name, other.additional), work)
                for name in {*mine, *theirs}
            )
        case _:
            return False


def _narrower(low: Any, other_low: Any, high: Any, other_high: Any) -> bool:
    """Bounds of one type, None where there is none."""
    above = other_low is None or (low is not None and low >= other_low)
    return above and (other_high is None or (high is not None and high <= other_high))


def holds(value: JSON, one: Alternative, work: Work, granted: frozenset[str] = frozenset()) -> bool:
    """Does the alternative accept the value? Extras in `granted` are taken to hold."""
    work.spend()
    if kind_of(value) != one.kind:
        return False
    for extra in one.extra - granted:
        if ROOTED in extra or not compile_schema(json.loads(extra)).is_valid(value):
            return False
    match one, value:
        case Values(), _:
            return canonical(value).decode() in one.texts
        case Number(), int() | float():
            return (not one.integer or float(value).is_integer()) and _in_range(value, one)
        case Text(), str():
            if not one.low <= len(value) <= (len(value) if one.high is None else one.high):
                return False
            return one.format is None or compile_schema({"format": one.format}).is_valid(value)
        case Items(), list():
            lengths = one.low <= len(value) <= (len(value) if one.high is None else one.high)
            return lengths and all(accepts(item, one.items, work) for item in value)
        case Members(), dict():
            return one.required <= value.keys() and all(accepts(v, one.of(k), work) for k, v in value.items())
        case _:
            return False


def _in_range(value: float, one: Number) -> bool:
    return (one.low is None or (value, 0) >= one.low) and (one.high is None or (value, 0) <= one.high)


def accepts(value: JSON, shape: Shape, work: Work) -> bool:
    return shape is None or any(holds(value, one, work) for one in shape)


# Both


class TooManyAlternatives(Exception):
    """The intersection of unions has more alternatives than are worth comparing."""


def meet(a: Shape, b: Shape, work: Work) -> Shape:
    """What both accept. Raises TooManyAlternatives."""
    if a is None or b is None:
        return b if a is None else a
    found = union(tuple(_both(one, other, work)) for one in a for other in b)
    if len(alternatives(found)) > MAX_ALTERNATIVES:
        raise TooManyAlternatives
    return found


def _both(one: Alternative, other: Alternative, work: Work) -> Iterator[Alternative]:
    work.spend()
    extra = one.extra | other.extra
    match one, other:
        case (Values(), _) | (_, Values()):
            finite, rest = (one, other) if isinstance(one, Values) else (cast("Values", other), one)
            rooted = frozenset(text for text in rest.extra if ROOTED in text)
            kept = frozenset(text for text in finite.texts if holds(json.loads(text), rest, work, rooted))
            yield from settle(Values(finite.kind, kept, finite.extra | rooted))
        case Number(), Number():
            low, high = _tighter(one.low, other.low, max), _tighter(one.high, other.high, min)
            yield from settle(Number(one.integer or other.integer, low, high, extra))
        case Text(), Text():
            low, high = max(one.low, other.low), _tighter(one.high, other.high, min)
            if one.format and other.format and one.format != other.format:
                extra |= {canonical({"format": other.format}).decode()}
            yield from settle(Text(low, high, one.format or other.format, extra))
        case Items(), Items():
            low, high = max(one.low, other.low), _tighter(one.high, other.high, min)
            yield from settle(Items(meet(one.items, other.items, work), low, high, extra))
        case Members(), Members():
            names = dict(one.properties) | dict(other.properties)
            properties = {name: meet(one.of(name), other.of(name), work) for name in names}
            additional = meet(one.additional, other.additional, work)
            required = one.required | other.required
            members = Members(tuple(properties.items()), required, additional, one.said or other.said, extra)
            yield from settle(members)
        case _:
            return


def _tighter(a: Any, b: Any, choose: Callable[[Any, Any], Any]) -> Any:
    """The tighter of two bounds, None where there is none."""
    return b if a is None else a if b is None else choose(a, b)


# Read as the side that writes


def closed(shape: Shape) -> Shape:
    """What somebody writes who writes only what the schema describes.

    An object that names properties and does not say `additionalProperties` then has no others; one that names none is
    undescribed and may still hold anything.
    """
    if shape is None:
        return None
    return tuple(settled for one in shape for settled in settle(_closed(one)))


def _closed(one: Alternative) -> Alternative:
    match one:
        case Items():
            return replace(one, items=closed(one.items))
        case Members():
            properties = tuple((name, closed(value)) for name, value in one.properties)
            undescribed = not one.said and not one.properties
            additional = closed(one.additional) if one.said or undescribed else NOTHING
            return replace(one, properties=properties, additional=additional)
        case _:
            return one
