"""What was seen at one place of many samples, within bounds, and the shape that this much evidence supports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from ledger.schemas import compile_schema
from ledger.shapes import BOOLEAN, NOTHING, NULL, Alternative, Items, Members, Number, Shape, Text, kind_of, values
from ledger.types import JSON

MAX_VALUES = 500_000
MAX_NESTING = 64
MAX_DEPTH = 24
"""Levels that are described; what lies deeper may be anything."""
MAX_NAMES = 256
"""Properties of one object; with more, its names are taken for data."""
MAX_NAME = 128
MAX_PLACES = 1500
MAX_TEXTS = 64
MAX_TEXT = 64

_FORMATS = ("date-time", "uri")
_DATA_NAME = re.compile(
    r"[0-9]+|[0-9a-f]{16,}|0x[0-9a-f]+|[0-9]{4}-[0-9]{2}(-[0-9]{2}.*)?|[1-9A-HJ-NP-Za-km-z]{46,50}"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""Numbers, hashes, dates, addresses, UUIDs: nobody calls a property that."""


class SamplesRefused(ValueError):
    """Samples that are more, or nest deeper, than an inference looks at."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How many observations a claim takes.

    `types`: what a place holds (of less than 30 samples, half); `required`: objects that all had the property;
    `whole`: numbers that were all whole; `format`: texts that were all of it; `texts` and `each_text`: texts, and of
    each, to call 2 to `most_texts` of them an enum; `names`: names, each rare, to call them data. `literal` says null,
    empty array and empty object of places where nothing else was seen; otherwise they say nothing. Without `quotes` no
    text of a sample becomes part of a schema.
    """

    types: int = 16
    required: int = 16
    whole: int = 8
    format: int = 8
    texts: int = 60
    each_text: int = 6
    most_texts: int = 10
    names: int = 12
    literal: bool = False
    quotes: bool = True


def check_samples(samples: Iterable[JSON]) -> None:
    """Refuse what strict JSON would not have read, and what is too much, before anything recurses.

    Raises:
        SamplesRefused: more than 500,000 values, or nested deeper than 64.
        ValueError: not JSON.
    """
    total, depth, level = 0, 0, list(cast("Iterable[object]", samples))
    while level:
        total, depth = total + len(level), depth + 1
        if total > MAX_VALUES or depth > MAX_NESTING + 1:
            raise SamplesRefused(f"samples of more than {MAX_VALUES} values, or nested deeper than {MAX_NESTING}")
        level = [child for value in level for child in _children(value)]


def _children(value: object) -> Iterable[object]:
    if kind_of(value) == "array":
        return cast("list[object]", value)
    if isinstance(value, dict):
        found = cast("dict[object, object]", value)
        if not all(isinstance(name, str) for name in found):
            raise ValueError("a name that is not a text")
        return found.values()
    return ()


class Places:
    """How many places one inference may still tell apart."""

    def __init__(self, left: int = MAX_PLACES) -> None:
        self.left = left


class Observed:
    """Values seen at one place."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.total = 0
        self._kinds: Counter[str] = Counter()
        self._fractions = 0
        self._low: float | None = None
        self._high: float | None = None
        self._texts: Counter[str] | None = Counter()
        self._formats = set(_FORMATS)
        self._items: Observed | None = None
        self._names: dict[str, Observed] = {}
        self._any_name: Observed | None = None
        self._is_too_deep = False

    def add(self, value: JSON, depth: int = 0) -> None:
        """Look at a value that `check_samples` let through."""
        self.total += 1
        self._kinds[kind_of(value)] += 1
        if isinstance(value, list | dict) and depth >= MAX_DEPTH:
            self._is_too_deep = True
        elif isinstance(value, str):
            self._add_text(value)
        elif isinstance(value, list):
            for item in value:
                self._items = self._items or Observed(self._places)
                self._items.add(item, depth + 1)
        elif isinstance(value, dict):
            for name, member in value.items():
                self._at(name).add(member, depth + 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._fractions += isinstance(value, float)
            self._low = value if self._low is None else min(self._low, value)
            self._high = value if self._high is None else max(self._high, value)

    def _add_text(self, value: str) -> None:
        if self._texts is not None:
            self._texts[value] += 1
            if len(self._texts) > MAX_TEXTS or len(value) > MAX_TEXT:
                self._texts = None
        self._formats = {name for name in self._formats if compile_schema({"format": name}).is_valid(value)}

    def _at(self, name: str) -> Observed:
        if self._any_name is None and name not in self._names:
            if len(self._names) >= MAX_NAMES or len(name) > MAX_NAME or self._places.left <= 0:
                self._any_name = _together(self._names.values(), self._places)
                self._names = {}
            else:
                self._places.left -= 1
                self._names[name] = Observed(self._places)
        return self._names[name] if self._any_name is None else self._any_name

    def absorb(self, other: Observed) -> None:
        """All that was seen at another place, as if it had been here."""
        self.total += other.total
        self._kinds += other._kinds
        self._fractions += other._fractions
        if other._low is not None and other._high is not None:
            self._low = other._low if self._low is None else min(self._low, other._low)
            self._high = other._high if self._high is None else max(self._high, other._high)
        if self._texts is not None:
            self._texts = None if other._texts is None else self._texts + other._texts
            self._texts = self._texts if self._texts is not None and len(self._texts) <= MAX_TEXTS else None
        self._formats &= other._formats
        self._is_too_deep |= other._is_too_deep
        if other._items is not None:
            self._items = self._items or Observed(self._places)
            self._items.absorb(other._items)
        for name, member in other._names.items():
            self._at(name).absorb(member)
        if other._any_name is not None:
            self._any_name = self._any_name or _together(self._names.values(), self._places)
            self._names = {}
            self._any_name.absorb(other._any_name)

    def shape(self, evidence: Evidence, *, ranges: bool = False, depth: int = MAX_DEPTH, needed: int = 0) -> Shape:
        """What the evidence supports; `depth` levels of it, and `needed` observations for any claim at all."""
        needed = needed or min(evidence.types, 1 + self.total // 2)
        if self._is_too_deep or depth < 1 or self.total < needed:
            return None
        if not evidence.literal and (set(self._kinds) <= {"null"} or self._is_mixed()):
            return None
        below: Any = {"ranges": ranges, "depth": depth - 1, "needed": needed}
        found: list[Alternative] = []
        for kind in self._kinds:
            match kind:
                case "null":
                    found.append(NULL)
                case "boolean":
                    found.append(BOOLEAN)
                case "number":
                    found.append(self._number(evidence, ranges))
                case "string":
                    found.extend(self._text(evidence))
                case "array":
                    found.append(self._array(evidence, below))
                case _:
                    found.append(self._object(evidence, below))
        return tuple(found)

    def _is_mixed(self) -> bool:
        """Types so mixed that another one would be no surprise: three beside null, or two and one of them rare."""
        counts = [count for kind, count in self._kinds.items() if kind != "null"]
        return len(counts) > 2 or (len(counts) == 2 and min(counts) < 4)

    def _number(self, evidence: Evidence, ranges: bool) -> Number:
        whole = not self._fractions and self._kinds["number"] >= evidence.whole
        if not ranges or self._low is None or self._high is None:
            return Number(whole)
        return Number(whole, (self._low, 0), (self._high, 0))

    def _text(self, evidence: Evidence) -> Iterable[Alternative]:
        total = self._kinds["string"]
        stated = min(self._formats, default=None) if total >= evidence.format else None
        texts = self._texts if evidence.quotes and stated is None and total >= evidence.texts else None
        if texts and 2 <= len(texts) <= evidence.most_texts and min(texts.values()) >= evidence.each_text:
            return values(list(texts))
        return (Text(format=stated),)

    def _array(self, evidence: Evidence, below: Any) -> Items:
        if self._items is not None:
            return Items(self._items.shape(evidence, **below))
        return Items(NOTHING, 0, 0) if evidence.literal else Items()

    def _object(self, evidence: Evidence, below: Any) -> Members:
        any_name = self._any_name
        if any_name is None and not evidence.literal and self._are_data(evidence):
            any_name = _together(self._names.values(), Places())
        if any_name is not None:
            return Members(additional=any_name.shape(evidence, **below), said=True)
        if not self._names:
            return Members(additional=NOTHING, said=True) if evidence.literal else Members()
        objects = self._kinds["object"]
        enough = objects >= evidence.required
        required = frozenset(name for name, one in self._names.items() if enough and one.total == objects)
        properties = sorted((name, one.shape(evidence, **below)) for name, one in self._names.items())
        return Members(tuple(properties), required)

    def _are_data(self, evidence: Evidence) -> bool:
        """Are the names data? They look it, or there are many, each is rare, and all hold the same types."""
        if self._names and all(map(_DATA_NAME.fullmatch, self._names)):
            return True
        held = {frozenset(one._kinds) for one in self._names.values()}
        often = sum(one.total for one in self._names.values()) * 3
        return (
            len(self._names) >= evidence.names and often < len(self._names) * self._kinds["object"] and len(held) == 1
        )


def _together(places: Iterable[Observed], left: Places) -> Observed:
    found = Observed(left)
    for place in places:
        found.absorb(place)
    return found
