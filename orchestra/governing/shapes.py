"""What miner and validator both ask of an answer: is the promise kept, how much is given, what does a schema tell?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from ledger.entry import Operation
from ledger.shape_reader import read
from ledger.shapes import NOTHING, Items, Members, Shape, Work, alternatives
from ledger.types import JSON
from orchestra.subnets.caller import promise_violation
from orchestra.subnets.mapping import MappingFailed, map_wire

Path: TypeAlias = tuple[str, ...]
"""Names from the root; the elements of an array add `[]`."""


def keeps_promise(operation: Operation, answer: JSON) -> bool:
    """Does the answer map to what the operation's capability promises?"""
    try:
        return promise_violation(operation.capability, map_wire(operation, answer)) is None
    except MappingFailed:
        return False


def filled(value: JSON) -> int:
    """How many values there are that are not null."""
    if isinstance(value, dict):
        return sum(map(filled, value.values()))
    if isinstance(value, list):
        return sum(map(filled, value))
    return value is not None


class Told(NamedTuple):
    """Of the places of an answer, those that a schema names, and those of which it says a type."""

    named: frozenset[Path]
    typed: frozenset[Path]


def told(schema: Mapping[str, Any], answer: JSON) -> Told:
    """What a schema tells of one answer.

    Raises:
        ledger.schema_measure.SchemaRefused
    """
    found = list(_told(read(schema, Work()), answer, ()))
    return Told(frozenset(path for path, _ in found), frozenset(path for path, is_typed in found if is_typed))


def _told(shape: Shape, value: JSON, path: Path) -> Iterator[tuple[Path, bool]]:
    yield path, shape is not None
    if shape is None:
        return
    if isinstance(value, dict):
        for one in alternatives(shape):
            if isinstance(one, Members):
                yield from _members(one, value, path)
    elif isinstance(value, list):
        for one in alternatives(shape):
            if isinstance(one, Items):
                for item in value:
                    yield from _told(one.items, item, (*path, "[]"))


def _members(shape: Members, value: dict[str, JSON], path: Path) -> Iterator[tuple[Path, bool]]:
    named = shape.named()
    for name, item in value.items():
        if name in named:
            yield from _told(named[name], item, (*path, name))
        elif shape.additional not in (None, NOTHING):
            yield from _told(shape.additional, item, (*path, name))
