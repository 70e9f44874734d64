"""The least description that covers what is known and what was seen: how a schema widens (`ledger.inference`).

A plain union would keep `{a}` and `{a, b}` apart, as if they were two kinds of answers. Here alternatives of one type
grow together: a property that one side lacks becomes optional, bounds move out, enums add up.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ledger.shapes import (
    NOTHING,
    Alternative,
    Items,
    Members,
    Number,
    Shape,
    Text,
    Values,
    Work,
    holds,
    within,
)


def join(known: Shape, seen: Shape, work: Work) -> Shape:
    """`known`, as it is, where it covers `seen`; widened where it does not. `seen` is read as the side that writes."""
    if known is None or seen is None:
        return None
    found = list(known)
    for one in seen:
        if within((one,), tuple(found), work):
            continue
        at = next((at for at, other in enumerate(found) if _grows(other, one)), None)
        if at is None:
            found.append(one)
        else:
            found[at] = _joined(found[at], one, work)
    return tuple(found)


def _grows(known: Alternative, one: Alternative) -> bool:
    """Scalars of one type grow into each other, arrays into arrays and objects into objects, but not single values."""
    scalar = known.kind not in ("array", "object")
    return known.kind == one.kind and (scalar or type(known) is type(one))


def _joined(known: Alternative, one: Alternative, work: Work) -> Alternative:
    match known, one:
        case Values(), Values():
            return Values(known.kind, known.texts | one.texts)
        case (Number() | Values(), Number() | Values()) if known.kind == "number":
            a, b = _as_number(known), _as_number(one)
            return Number(a.integer and b.integer, _outer(a.low, b.low, min), _outer(a.high, b.high, max))
        case (Text() | Values(), Text() | Values()):
            return _text(known, one, work)
        case Items(), Items():
            return Items(join(known.items, one.items, work), min(known.low, one.low), _outer(known.high, one.high, max))
        case Members(), Members():
            return _members(known, one, work)
        case _:
            raise AssertionError("alternatives of different types do not grow together")


def _outer(a: Any, b: Any, choose: Callable[[Any, Any], Any]) -> Any:
    """The wider of two bounds; None, which is no bound, is the widest."""
    return None if a is None or b is None else choose(a, b)


def _as_number(one: Number | Values) -> Number:
    if isinstance(one, Number):
        return one
    found: list[float] = [json.loads(text) for text in one.texts]
    return Number(all(float(value).is_integer() for value in found), (min(found), 0), (max(found), 0))


def _text(known: Text | Values, one: Text | Values, work: Work) -> Text:
    a, b = _as_text(known), _as_text(one)
    stated = a.format or b.format
    kept = stated if stated and _keeps(known, stated, work) and _keeps(one, stated, work) else None
    return Text(min(a.low, b.low), _outer(a.high, b.high, max), kept)


def _as_text(one: Text | Values) -> Text:
    if isinstance(one, Text):
        return one
    lengths = [len(json.loads(text)) for text in one.texts]
    return Text(min(lengths), max(lengths))


def _keeps(one: Text | Values, stated: str, work: Work) -> bool:
    if isinstance(one, Text):
        return one.format == stated
    return all(holds(json.loads(text), Text(format=stated), work) for text in one.texts)


def _members(known: Members, one: Members, work: Work) -> Members:
    mine, theirs = known.named(), one.named()
    is_map = known.said and known.additional not in (None, NOTHING)
    properties: dict[str, Shape] = {}
    additional = known.additional
    for name in {**mine, **theirs}:
        if name in mine and name in theirs:
            properties[name] = join(mine[name], theirs[name], work)
        elif name in mine:
            properties[name] = join(mine[name], one.additional, work)
        elif is_map:
            additional = join(additional, theirs[name], work)
        elif not known.said or known.additional == NOTHING:
            properties[name] = theirs[name]
    if known.said:
        additional = join(additional, one.additional, work)
    ordered = tuple(sorted(properties.items(), key=lambda item: item[0]))
    return Members(ordered, known.required & one.required, additional, known.said)
