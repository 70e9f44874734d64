"""From what is accepted (`ledger.shapes`) to a JSON Schema (2020-12) that accepts exactly that: flat if it can be."""

from __future__ import annotations

import json
from typing import cast

from ledger.shapes import BOOLEAN, EVERYTHING, NULL, ROOTED, Alternative, Items, Members, Number, Shape, Text, Values
from ledger.types import JSON


def write(shape: Shape) -> dict[str, JSON]:
    """A schema that accepts exactly this (`{"not": {}}` for nothing at all)."""
    written = _write(shape)
    return written if isinstance(written, dict) else {"not": {}}


def _write(shape: Shape) -> JSON:
    if shape is None or set(EVERYTHING) <= set(shape):
        return {}
    if not shape:
        return False
    parts = [_part(one) for one in sorted(shape, key=_order)]
    types = [name for part in parts for name in cast("list[str]", part["type"])]
    if len(parts) == 1 or (len({*types}) == len(types) and not any(_stands_alone(one) for one in shape)):
        return {**{key: value for part in parts for key, value in part.items()}, "type": _one_or_many(types)}
    if all(isinstance(one, Values) and not one.extra for one in shape):
        listed = sorted(text for one in shape for text in cast("Values", one).texts)
        return {"type": _one_or_many(list(dict.fromkeys(types))), "enum": [json.loads(text) for text in listed]}
    return {"anyOf": [_write((one,)) for one in sorted(shape, key=_order)]}


def _order(one: Alternative) -> tuple[bool, str, str]:
    return one.kind == "null", one.kind, repr(one) if isinstance(one, Values) else ""


def _stands_alone(one: Alternative) -> bool:
    """Would its keywords bind values of other types too?"""
    return bool(one.extra) or (isinstance(one, Values) and one not in (NULL, BOOLEAN))


def _one_or_many(types: list[str]) -> JSON:
    return types[0] if len(types) == 1 else cast("JSON", types)


def _part(one: Alternative) -> dict[str, JSON]:
    keywords: dict[str, JSON] = {"type": ["integer" if isinstance(one, Number) and one.integer else one.kind]}
    match one:
        case Values():
            if one not in (NULL, BOOLEAN):
                keywords |= _listed(one)
        case Number():
            keywords |= _bound("Minimum", one.low) | _bound("Maximum", one.high)
        case Text():
            lengths = {"minLength": one.low or None, "maxLength": one.high, "format": one.format}
            keywords |= {key: value for key, value in lengths.items() if value is not None}
        case Items():
            lengths = {"minItems": one.low or None, "maxItems": one.high}
            keywords |= {key: value for key, value in lengths.items() if value is not None}
            if one.items is not None:
                keywords["items"] = _write(one.items)
        case Members():
            keywords |= _members(one)
    return _with_extras(keywords, one.extra)


def _listed(one: Values) -> dict[str, JSON]:
    """An enum; whole numbers in a row as their range."""
    found = sorted(json.loads(text) for text in one.texts) if one.kind == "number" else []
    if len(found) > 2 and all(isinstance(value, int) for value in found) and found[-1] - found[0] == len(found) - 1:
        return {"type": ["integer"], "minimum": found[0], "maximum": found[-1]}
    return {"enum": [json.loads(text) for text in sorted(one.texts)]}


def _bound(name: str, bound: tuple[float, int] | None) -> dict[str, JSON]:
    if bound is None:
        return {}
    return {(f"exclusive{name}" if bound[1] else name.lower()): bound[0]}


def _members(one: Members) -> dict[str, JSON]:
    keywords: dict[str, JSON] = {}
    if one.properties:
        keywords["properties"] = {name: _write(value) for name, value in one.properties}
    if one.required:
        keywords["required"] = cast("JSON", sorted(one.required))
    if one.said:
        keywords["additionalProperties"] = True if one.additional is None else _write(one.additional)
    return keywords


def _with_extras(keywords: dict[str, JSON], extras: frozenset[str]) -> dict[str, JSON]:
    apart: list[JSON] = []
    for text in sorted(extras):
        extra: dict[str, JSON] = json.loads(text.partition(ROOTED)[0])
        if keywords.keys().isdisjoint(extra):
            keywords |= extra
        else:
            apart.append(extra)
    return {**keywords, "allOf": apart} if apart else keywords
