"""Between shapes and JSON Schema (draft 2020-12): shorthand is written as one, and a caller's own is read into shapes.

A caller's JSON Schema stays the law for validation. Reading it into shapes keeps what planning and completeness need
(names, types, required, lists) and turns what they cannot use (alternatives, conditions) into "any value, one leaf".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ledger.schemas import DIALECT, json_pointer
from ledger.types import JSON
from orchestra.schema.errors import TargetSchemaError
from orchestra.schema.pointers import resolve_pointer
from orchestra.schema.shapes import (
    FREE_TEXT_KEYWORD,
    AnyShape,
    DictOf,
    Enum,
    EnumValue,
    Field,
    ListOf,
    Nullable,
    Record,
    Scalar,
    Shape,
)
from orchestra.schema.shorthand import Budget, with_prose
from orchestra.schema.values import LEAF_SCHEMAS

TYPE_NAMES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})

_CORE = {"$schema", "$id", "$ref", "$defs", "$comment", "$anchor", "definitions"}
_GENERAL = {"type", "enum", "const", "format", "contentEncoding", "contentMediaType", "contentSchema"}
_NOTES = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
_LOGIC = {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependentRequired"}
_OBJECTS = {"properties", "patternProperties", "additionalProperties", "propertyNames", "unevaluatedProperties"}
_OBJECT_BOUNDS = {"required", "minProperties", "maxProperties"}
_LISTS = {"items", "prefixItems", "unevaluatedItems", "contains", "minContains", "maxContains"}
_BOUNDS = {"minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "pattern"}
_NUMBERS = {"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"}
_KEYWORDS = _CORE | _GENERAL | _NOTES | _LOGIC | _OBJECTS | _OBJECT_BOUNDS | _LISTS | _BOUNDS | _NUMBERS
_BY_TYPE = {"integer": Scalar("int"), "number": Scalar("float"), "boolean": Scalar("bool")}
_BY_FORMAT = {"date-time": Scalar("datetime"), "uri": Scalar("url"), "url": Scalar("url")}


def is_json_schema(raw: Mapping[str, object]) -> bool:
    """The rule that tells a JSON Schema from shorthand, which no valid shorthand meets by accident.

    It has the key `$schema`; or its `type` is one of JSON Schema's type names (none of which is a shorthand word), or
    a list of them, and every other key is a JSON Schema keyword or begins with `x-`.
    """
    if "$schema" in raw:
        return True
    declared = raw.get("type")
    names = cast("list[object]", declared) if isinstance(declared, list) else [declared]
    if not names or not all(isinstance(name, str) and name in TYPE_NAMES for name in names):
        return False
    return all(key in _KEYWORDS or key.startswith("x-") for key in raw)


# Writing -------------------------------------------------------------------------------------------------------------


def to_json_schema(shape: Shape) -> dict[str, Any]:
    """The shape as a whole JSON Schema document. Reading that of a shorthand gives the same shape back."""
    return {"$schema": DIALECT, **_write(shape)}


def _write(shape: Shape) -> dict[str, Any]:
    match shape:
        case Scalar(kind, free_text):
            return {**LEAF_SCHEMAS[kind], **({FREE_TEXT_KEYWORD: True} if free_text else {})}
        case Enum(values):
            return {"enum": list(values)}
        case AnyShape():
            return {}
        case Nullable(inner):
            return {"anyOf": [_write(inner), {"type": "null"}]}
        case ListOf(item, min_items):
            bound = {"minItems": min_items} if min_items else {}
            return {"type": "array", **({} if isinstance(item, AnyShape) else {"items": _write(item)}), **bound}
        case DictOf(value):
            values_of = {} if isinstance(value, AnyShape) else {"additionalProperties": _write(value)}
            return {"type": "object", **values_of}
        case Record():
            return _write_record(shape)


def _write_record(shape: Record) -> dict[str, Any]:
    described = {
        field.name: _write(field.shape) | ({"description": field.description} if field.description else {})
        for field in shape.fields
    }
    return {
        "type": "object",
        "properties": described,
        "required": [field.name for field in shape.fields if field.required],
        "additionalProperties": False if shape.extra is None else _write(shape.extra),
    }


# Reading -------------------------------------------------------------------------------------------------------------


def read_json_schema(document: Mapping[str, Any]) -> Record | DictOf:
    """The shape of a JSON Schema that `ledger.schemas.compile_schema` accepted (so its references end somewhere).

    Raises:
        TargetSchemaError: the root is not an object, it is too large, or free text is declared on what is no string.
    """
    shape = _Reader(document).read(document, (), "", 0)
    if isinstance(shape, Record | DictOf):
        return shape
    detail = 'a result is a JSON object: the root of a JSON Schema needs "type": "object"'
    raise TargetSchemaError("", detail=detail, allowed=())


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._budget = Budget()

    def read(self, node: object, path: tuple[str, ...], key: str, depth: int) -> Shape:
        self._budget.spend(json_pointer(path), depth)
        if not isinstance(node, Mapping):
            return AnyShape()
        schema = cast("Mapping[str, object]", node)
        shape = self._core(schema, path, key, depth)
        return self._prose(shape, schema, path, key)

    def _core(self, schema: Mapping[str, object], path: tuple[str, ...], key: str, depth: int) -> Shape:
        if "const" in schema:
            return _enum([schema["const"]])
        if isinstance(options := schema.get("enum"), list):
            return _enum(cast("list[object]", options))
        if types := _types(schema):
            return self._typed(schema, types, path, depth)
        if isinstance(reference := schema.get("$ref"), str):
            return self.read(resolve_pointer(cast("JSON", self._document), reference[1:]), path, key, depth)
        for keyword in ("anyOf", "oneOf", "allOf"):
            if isinstance(branches := schema.get(keyword), list):
                return self._branches(keyword, cast("list[object]", branches), path, key, depth)
        return AnyShape()

    def _typed(self, schema: Mapping[str, object], types: list[str], path: tuple[str, ...], depth: int) -> Shape:
        kept = [name for name in types if name != "null"]
        if sorted(kept) == ["integer", "number"]:
            kept = ["number"]
        if len(kept) != 1:
            return AnyShape()
        shape = self._of_type(kept[0], schema, path, depth)
        return Nullable(shape) if "null" in types and not isinstance(shape, AnyShape) else shape

    def _of_type(self, name: str, schema: Mapping[str, object], path: tuple[str, ...], depth: int) -> Shape:
        match name:
            case "object":
                return self._object(schema, path, depth)
            case "array":
                return self._array(schema, path, depth)
            case "string":
                return _BY_FORMAT.get(str(schema.get("format")), Scalar("str"))
            case _:
                return _BY_TYPE[name]

    def _array(self, schema: Mapping[str, object], path: tuple[str, ...], depth: int) -> ListOf:
        least = schema.get("minItems", 0)
        min_items = int(least) if isinstance(least, int | float) else 0
        items = schema.get("items")
        if "prefixItems" in schema or not isinstance(items, Mapping) or not items:
            return ListOf(AnyShape(), min_items)
        return ListOf(self.read(cast("object", items), (*path, "items"), "", depth + 1), min_items)

    def _object(self, schema: Mapping[str, object], path: tuple[str, ...], depth: int) -> Record | DictOf:
        named = cast("Mapping[str, object]", schema.get("properties") or {})
        required = cast("list[str]", schema.get("required") or [])
        extra = self._extra(schema, path, depth)
        if not named and not required and extra is not None:
            return DictOf(extra)
        fields = [self._field(name, named[name], name in required, path, depth) for name in named]
        unnamed = [Field(name, extra or AnyShape()) for name in required if name not in named]
        return Record((*fields, *unnamed), extra)

    def _extra(self, schema: Mapping[str, object], path: tuple[str, ...], depth: int) -> Shape | None:
        declared = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
        if declared is False and "patternProperties" not in schema:
            return None
        if not isinstance(declared, Mapping) or not declared or "patternProperties" in schema:
            return AnyShape()
        return self.read(cast("object", declared), (*path, "additionalProperties"), "", depth + 1)

    def _field(self, name: str, node: object, required: bool, path: tuple[str, ...], depth: int) -> Field:
        shape = self.read(node, (*path, "properties", name), name, depth + 1)
        said = cast("Mapping[str, object]", node).get("description") if isinstance(node, Mapping) else ""
        return Field(name, shape, required, said if isinstance(said, str) else "")

    def _branches(self, keyword: str, branches: list[object], path: tuple[str, ...], key: str, depth: int) -> Shape:
        kept = [(index, branch) for index, branch in enumerate(branches) if branch != {"type": "null"}]
        if len(kept) != 1 or (keyword == "allOf" and len(branches) != 1):
            return AnyShape()
        index, branch = kept[0]
        shape = self.read(branch, (*path, keyword, str(index)), key, depth)
        return shape if len(branches) == 1 or isinstance(shape, AnyShape | Nullable) else Nullable(shape)

    def _prose(self, shape: Shape, schema: Mapping[str, object], path: tuple[str, ...], key: str) -> Shape:
        declared = schema.get(FREE_TEXT_KEYWORD)
        if declared is None:
            return with_prose(shape, key)
        inner = shape.inner if isinstance(shape, Nullable) else shape
        if not isinstance(declared, bool) or not isinstance(inner, Scalar) or inner.kind != "str":
            here = json_pointer((*path, FREE_TEXT_KEYWORD))
            detail = f"{FREE_TEXT_KEYWORD} is true or false, on a string without a format"
            raise TargetSchemaError(here, detail=detail, allowed=())
        marked = Scalar("str", free_text=declared)
        return Nullable(marked) if isinstance(shape, Nullable) else marked


def _types(schema: Mapping[str, object]) -> list[str]:
    """The declared types; a schema that names properties or items and no type means objects or lists."""
    declared = schema.get("type")
    if isinstance(declared, str):
        return [declared]
    if isinstance(declared, list):
        return cast("list[str]", declared)
    if "properties" in schema:
        return ["object"]
    return ["array"] if "items" in schema else []


def _enum(options: list[object]) -> Shape:
    kept = [option for option in options if option is not None]
    if not kept or not all(isinstance(option, str | int | float | bool) for option in kept):
        return AnyShape()
    shape = Enum(tuple(cast("list[EnumValue]", kept)))
    return shape if len(kept) == len(options) else Nullable(shape)
