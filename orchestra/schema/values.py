"""Which values a leaf takes. One definition for coercion, completeness and the pydantic model, taken from the very
JSON Schema that the leaf compiles to, so that none of them can disagree with what is validated.

Nothing is converted silently: `"1"` is no int and `1` no string. Only what JSON itself does not tell apart passes for
both (an int where a float is wanted, `2.0` where an int is).
"""

from __future__ import annotations

import math
from typing import Any

from ledger.schemas import compile_schema
from ledger.types import JSON
from orchestra.schema.pointers import children
from orchestra.schema.shapes import AnyShape, DictOf, Enum, ListOf, Nullable, Record, Scalar, ScalarKind, Shape

LEAF_SCHEMAS: dict[ScalarKind, dict[str, Any]] = {
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
    "url": {"type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?# ]+"},
}
"""What each word is in JSON Schema: a datetime is RFC 3339 (with its offset), a url absolute http or https."""

_FORMATTED = {kind: compile_schema(LEAF_SCHEMAS[kind]) for kind in ("datetime", "url")}


class CoercionError(ValueError):
    """A value that does not fit its shape. `pointer` is relative to the value given."""

    def __init__(self, pointer: str, wanted: str, found: object) -> None:
        super().__init__(f"at {pointer or 'the value'}: expected {wanted}, found {_name(found)}")
        self.pointer = pointer
        self.wanted = wanted


def fits(value: object, leaf: Scalar | Enum) -> bool:
    """Whether a value is one of this leaf's, strictly."""
    if isinstance(leaf, Enum):
        return any(same(value, option) for option in leaf.values)
    match leaf.kind:
        case "bool":
            return isinstance(value, bool)
        case "int":
            return _is_number(value) and float(value).is_integer() if isinstance(value, float) else _is_number(value)
        case "float":
            return _is_number(value)
        case "str":
            return isinstance(value, str) and _is_text(value)
        case "datetime" | "url":
            return isinstance(value, str) and _FORMATTED[leaf.kind].is_valid(value)


def same(left: object, right: object) -> bool:
    """Equality as JSON sees it: `1` equals `1.0` and neither equals `true`."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def coerce(value: JSON, shape: Shape, pointer: str = "") -> JSON:
    """`value` as a value of `shape`: itself, except that an integral float becomes an int where an int is wanted.

    Types only: how many items a list must have, ranges and patterns are for `TargetSchema.violations`.

    Raises:
        CoercionError: what is wrong, and where.
    """
    match shape:
        case AnyShape():
            return value
        case Nullable(inner):
            return None if value is None else coerce(value, inner, pointer)
        case Scalar() | Enum():
            if not fits(value, shape):
                raise CoercionError(pointer, shape.kind if isinstance(shape, Scalar) else "an enum value", value)
            return (
                int(value) if isinstance(shape, Scalar) and shape.kind == "int" and isinstance(value, float) else value
            )
        case ListOf(item):
            if not isinstance(value, list):
                raise CoercionError(pointer, "a list", value)
            return [coerce(part, item, f"{pointer}/{index}") for index, part in enumerate(value)]
        case DictOf() | Record():
            if not isinstance(value, dict):
                raise CoercionError(pointer, "an object", value)
            return _coerce_object(value, shape, pointer)


def _coerce_object(value: dict[str, JSON], shape: DictOf | Record, pointer: str) -> JSON:
    known = {field.name: field for field in shape.fields} if isinstance(shape, Record) else {}
    for field in known.values():
        if field.required and field.name not in value:
            raise CoercionError(pointer, f"the key {field.name!r}", None)
    extra = shape.extra if isinstance(shape, Record) else shape.value
    result: dict[str, JSON] = {}
    for key, part in children(value):
        wanted = known[key].shape if key in known else extra
        if wanted is None:
            raise CoercionError(pointer, f"no key {key[:60]!r}", part)
        result[key] = coerce(part, wanted, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    return result


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
