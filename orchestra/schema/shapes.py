"""What a target_schema says, as a tree: the one form that planning, synthesis, completeness and the model walk.

The shorthand and a full JSON Schema both become these nodes; nothing downstream asks which of the two a caller wrote.
What a JSON Schema can say beyond them (ranges, patterns, alternatives) stays in the JSON Schema and is checked there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from ledger.schemas import json_pointer
from ledger.types import JSON

ScalarKind: TypeAlias = Literal["int", "bool", "float", "str", "datetime", "url"]
EnumValue: TypeAlias = str | int | float | bool

FREE_TEXT_KEYWORD = "x-orchestra-free-text"
PROSE_NAMES = frozenset(
    {"summary", "rationale", "description", "explanation", "reasoning", "analysis", "answer", "conclusion"}
    | {"overview", "notes"}
)
"""A `str` leaf under one of these keys is free text unless its JSON Schema says otherwise."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `free_text` (only ever on `str`): prose that a local step may write from cited material."""

    kind: ScalarKind
    free_text: bool = False


@dataclass(frozen=True, slots=True)
class Enum:
    """One of a closed list of values, none of them null."""

    values: tuple[EnumValue, ...]


@dataclass(frozen=True, slots=True)
class AnyShape:
    """Whatever JSON value; always a leaf."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list. Of `AnyShape` it is a leaf (the word `list`). `min_items` comes from JSON Schema's `minItems`."""

    item: Shape
    min_items: int = 0


@dataclass(frozen=True, slots=True)
class DictOf:
    """An object with keys of the data's own choosing. Of `AnyShape` it is a leaf (the word `dict`)."""

    value: Shape


@dataclass(frozen=True, slots=True)
class Field:
    """One named key of a record."""

    name: str
    shape: Shape
    required: bool = True
    description: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """An object with known keys. `extra` is the shape of unknown ones, None where they are refused."""

    fields: tuple[Field, ...]
    extra: Shape | None = None


@dataclass(frozen=True, slots=True)
class Nullable:
    """`inner`, or null."""

    inner: Shape


Shape: TypeAlias = Scalar | Enum | AnyShape | ListOf | DictOf | Record | Nullable


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of a schema: its path as a JSON Pointer with `*` for list items and dict values, and whether it counts."""

    pointer: str
    shape: Shape
    required: bool


def is_leaf(shape: Shape) -> bool:
    """True for what counts as one value: scalars, enums, `list`, `dict`, anything, and these or null."""
    match shape:
        case Nullable(inner):
            return is_leaf(inner)
        case ListOf(item):
            return isinstance(item, AnyShape)
        case DictOf(value):
            return isinstance(value, AnyShape)
        case Record():
            return False
        case _:
            return True


def leaves(shape: Shape, path: tuple[str, ...] = (), *, required: bool = True) -> Iterator[Leaf]:
    """Every leaf in order. One below an optional key is not required, whatever its own record says."""
    match shape:
        case _ if is_leaf(shape):
            yield Leaf(json_pointer(path), shape, required)
        case Nullable(inner):
            yield from leaves(inner, path, required=required)
        case ListOf(item):
            yield from leaves(item, (*path, "*"), required=required)
        case DictOf(value):
            yield from leaves(value, (*path, "*"), required=required)
        case Record(fields):
            for field in fields:
                yield from leaves(field.shape, (*path, field.name), required=required and field.required)
        case _:
            raise AssertionError(shape)


def optional(shape: Shape) -> Any:
    """The same shape with no key required anywhere: what a partial result has. Same type as it was given."""
    match shape:
        case Record(fields, extra):
            loose = (Field(each.name, Nullable(optional(each.shape)), False, each.description) for each in fields)
            return Record(tuple(loose), extra)
        case ListOf(item):
            return ListOf(optional(item))
        case DictOf(value):
            return DictOf(optional(value))
        case Nullable(inner):
            return optional(inner)
        case _:
            return shape


def is_free_text(leaf: Shape | Mapping[str, Any]) -> bool:
    """Whether prose from a local step may fill this leaf: a shape, or a leaf of `TargetSchema.json_schema`."""
    match leaf:
        case Nullable(inner):
            return is_free_text(inner)
        case Scalar(_, free_text):
            return free_text
        case Mapping():
            return cast("Mapping[str, object]", leaf).get(FREE_TEXT_KEYWORD) is True
        case _:
            return False


def to_shorthand(shape: Shape) -> JSON:
    """The shorthand that says nearest the same: exact for what shorthand can say, a wider word for the rest."""
    match shape:
        case Record(fields) if fields:
            return {field.name + ("" if field.required else "?"): to_shorthand(field.shape) for field in fields}
        case ListOf(item) if not isinstance(item, AnyShape):
            inner = to_shorthand(item)
            return f"list[{inner}]" if isinstance(inner, str) else [inner]
        case _:
            return _word(shape)


def _word(shape: Shape) -> str:
    match shape:
        case Scalar(kind):
            return kind
        case Enum(values):
            return f"enum({', '.join(map(str, values))})" if all(isinstance(value, str) for value in values) else "str"
        case Nullable(inner):
            return f"{_word(inner)} | null"
        case ListOf(item):
            return "list" if isinstance(item, AnyShape) else f"list[{_word(item)}]"
        case DictOf(value):
            return "dict" if isinstance(value, AnyShape) else f"dict[str, {_word(value)}]"
        case Record():
            return "dict"
        case AnyShape():
            return "str"


def describe(shape: Shape, limit: int = 2000) -> str:
    """One line for people: the shorthand as JSON, cut at `limit` characters."""
    text = json.dumps(to_shorthand(shape), ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 1] + "…"
