"""What changed between two schemas of an operation, and whether those who work with it notice.

One side writes documents and the other reads them: a subnet writes outputs that consumers of the old schema read, and
callers of the old schema write inputs that the subnet reads. A writer writes what its schema describes, so where an
object names its properties and does not say `additionalProperties`, the writer adds none; a reader takes whatever its
schema accepts. A change is compatible when the reader accepts all that the writer may write, and breaking if not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from ledger.shape_reader import read
from ledger.shapes import (
    BOOLEAN,
    EVERYTHING,
    NOTHING,
    NULL,
    ROOTED,
    Alternative,
    Items,
    Members,
    Number,
    Shape,
    Text,
    Values,
    Work,
    alternatives,
    closed,
    within,
)

Kind: TypeAlias = Literal["identical", "compatible", "breaking"]
Direction: TypeAlias = Literal["output", "input"]

MAX_CHANGES = 200
"""Changes that are listed; the kind is judged on all of them."""

_MAX_SHOWN = 120
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_One = TypeVar("_One", Members, Items)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` and `after` say what the value may be, `absent` where the schema does not name it."""

    path: str
    before: str
    after: str
    kind: Literal["compatible", "breaking"]

    def __str__(self) -> str:
        return f"{self.path}: {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class Difference:
    """`changes` is empty exactly when `kind` is `identical`, and holds a breaking one exactly when it is `breaking`."""

    kind: Kind
    changes: tuple[Change, ...]


def diff(old: Mapping[str, Any], new: Mapping[str, Any], *, direction: Direction = "output") -> Difference:
    """Classify a change of an `output_schema` or (`direction="input"`) an `input_schema`.

    `identical`: both accept the same documents, however they are spelled. `compatible`, for an output: every answer
    that the new schema describes fits the old one, so consumers of the old one go on working (a new property, a
    narrower type, an optional property that is gone). For an input: every request that the old schema describes fits
    the new one (a new optional property, a wider type). Everything else is `breaking`: a required output that is gone,
    renamed or optional now, a wider or newly nullable type; a new required input. Against what `ledger.schemas` accepts
    this is exact for types, enums, ranges, lengths, formats, properties, items and unions of different types; elsewhere
    (`pattern`, `not`, overlapping `anyOf`, a format against a length, ...) it may call breaking what is not, never the
    other way round.

    A path names properties from the root (`output_schema.results.snippet`); items of an array add nothing to it, and
    `*` stands for properties without a name.

    Raises:
        SchemaRefused: a schema that `compile_schema` refuses, or one that is too much work to compare.
    """
    comparison = _Comparison(direction, Work())
    before, after = read(old, Work()), read(new, Work())
    if comparison.same(before, after):
        return Difference("identical", ())
    kind = comparison.judge(before, after)
    root = f"{direction}_schema"
    changes = list(comparison.changes(root, before, after))
    if kind == "compatible":
        changes = [Change(one.path, one.before, one.after, kind) for one in changes]
    elif all(one.kind == "compatible" for one in changes):
        changes.insert(0, Change(root, show(before), show(after), kind))
    changes.sort(key=lambda one: one.kind != "breaking")
    return Difference(kind, tuple(changes[:MAX_CHANGES]))


class _Comparison:
    def __init__(self, direction: Direction, work: Work) -> None:
        self._output = direction == "output"
        self._work = work

    def same(self, before: Shape, after: Shape) -> bool:
        return within(before, after, self._work) and within(after, before, self._work)

    def judge(
        self, before: Shape, after: Shape, was_required: bool = False, is_required: bool = False
    ) -> Literal["compatible", "breaking"]:
        """Is all that the writer may write, presence included, what the reader accepts?"""
        writer, reader, surely, needed = before, after, was_required, is_required
        if self._output:
            writer, reader, surely, needed = after, before, is_required, was_required
        fits = within(closed(writer), reader, self._work) and (surely or not needed)
        return "compatible" if fits else "breaking"

    def changes(self, path: str, before: Shape, after: Shape) -> Iterator[Change]:
        """Differences at and below a place: inside objects and arrays where both have one, of types otherwise."""
        if self.same(before, after):
            return
        rest_before, rest_after = alternatives(before), alternatives(after)
        inner: list[Iterator[Change]] = []
        if pair := _both(rest_before, rest_after, Members):
            rest_before, rest_after = _without(rest_before, pair[0]), _without(rest_after, pair[1])
            inner.append(self._in_members(path, *pair))
        if pair := _both(rest_before, rest_after, Items):
            rest_before, rest_after = _without(rest_before, pair[0]), _without(rest_after, pair[1])
            inner.append(self._in_items(path, *pair))
        if not self.same(rest_before, rest_after):
            yield Change(path, show(before), show(after), self.judge(rest_before, rest_after))
        for changes in inner:
            yield from changes

    def _in_items(self, path: str, before: Items, after: Items) -> Iterator[Change]:
        if (before.low, before.high, before.extra) != (after.low, after.high, after.extra):
            bare = Items(None, before.low, before.high, before.extra), Items(None, after.low, after.high, after.extra)
            yield Change(path, show((before,)), show((after,)), self.judge(bare[:1], bare[1:]))
        yield from self.changes(path, before.items, after.items)

    def _in_members(self, path: str, before: Members, after: Members) -> Iterator[Change]:
        if before.extra != after.extra:
            kind = self.judge((Members(extra=before.extra),), (Members(extra=after.extra),))
            yield Change(path, show((before,)), show((after,)), kind)
        for name in sorted({*before.named(), *after.named()}):
            yield from self._in_property(_step(path, name), name, before, after)
        if before.said and after.said:
            yield from self.changes(f"{path}.*", before.additional, after.additional)
        elif not self.same(before.additional, after.additional):
            yield Change(f"{path}.*", show(before.additional), show(after.additional), self._judge_named(before, after))

    def _in_property(self, path: str, name: str, before: Members, after: Members) -> Iterator[Change]:
        was, now = before.of(name), after.of(name)
        steady = (name in before.required) is (name in after.required)
        if steady and name in before.named() and name in after.named():
            yield from self.changes(path, was, now)
        elif not steady or not self.same(was, now):
            kind = self._judge_named(before, after, name)
            yield Change(path, _presence(before, name), _presence(after, name), kind)

    def _judge_named(
        self, before: Members, after: Members, name: str | None = None
    ) -> Literal["compatible", "breaking"]:
        """Judge one property; without a name, those that neither side names."""
        was = before.additional if name is None else before.of(name)
        now = after.additional if name is None else after.of(name)
        if self._output:
            now = NOTHING if _is_unwritten(after, name) else now
        else:
            was = NOTHING if _is_unwritten(before, name) else was
        return self.judge(was, now, name in before.required, name in after.required)


def _is_unwritten(members: Members, name: str | None) -> bool:
    """Does a writer leave it out? An object that names other properties, and does not say what else it may hold."""
    return bool(members.properties) and not members.said and name not in members.named()


def _presence(members: Members, name: str) -> str:
    if name not in members.named():
        return "absent" if members.additional in (None, NOTHING) else f"{show(members.additional)} (any name)"
    return show(members.of(name)) + ("" if name in members.required else " (optional)")


def _both(
    before: tuple[Alternative, ...], after: tuple[Alternative, ...], kind: type[_One]
) -> tuple[_One, _One] | None:
    """The only alternative of this class on each side."""
    mine = [one for one in before if isinstance(one, kind)]
    theirs = [one for one in after if isinstance(one, kind)]
    return (mine[0], theirs[0]) if len(mine) == len(theirs) == 1 else None


def _without(shape: tuple[Alternative, ...], one: Alternative) -> tuple[Alternative, ...]:
    return tuple(other for other in shape if other is not one)


def _step(path: str, name: str) -> str:
    return f"{path}.{name if _PLAIN.fullmatch(name) else _cut(json.dumps(name, ensure_ascii=False))}"


# In words


def show(shape: Shape) -> str:
    """A type in one line: `str | null`, `list[object]`, `"a" | "b"`, `int 0..9`, `str date-time`."""
    if shape is None or set(EVERYTHING) <= set(shape):
        return "any"
    if not shape:
        return "never"
    ordered = sorted(shape, key=lambda one: one == NULL)
    return _cut(" | ".join(dict.fromkeys(map(_show, ordered))))


def _show(one: Alternative) -> str:
    match one:
        case Values():
            text = "bool" if one.texts == BOOLEAN.texts else " | ".join(sorted(one.texts))
        case Number():
            text = ("int" if one.integer else "number") + _range(one.low and one.low[0], one.high and one.high[0])
        case Text():
            text = "str" + (f" {one.format}" if one.format else "") + _range(one.low or None, one.high, " characters")
        case Items():
            inner = "" if one.items is None else f"[{show(one.items)}]"
            text = "list" + inner + _range(one.low or None, one.high, " items")
        case Members():
            text = "object" if one.properties or one.additional in (None, NOTHING) else f"map[{show(one.additional)}]"
    extras = [extra.partition(ROOTED)[0] for extra in sorted(one.extra)]
    return _cut(text + "".join(f" with {extra}" for extra in extras))


def _range(low: float | None, high: float | None, unit: str = "") -> str:
    if low is None and high is None:
        return ""
    return f" {'' if low is None else low}..{'' if high is None else high}{unit}"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
