"""From a JSON Schema (2020-12) to what it accepts (`ledger.shapes`).

Every keyword narrows what the others left. What the shapes cannot express is attached to the types it concerns as an
extra, in canonical JSON, so that two schemas which say the same still compare as equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Any, cast

from ledger.canonical import canonical, digest
from ledger.schemas import compile_schema
from ledger.shapes import (
    BOOLEAN,
    EVERYTHING,
    NOTHING,
    NULL,
    ROOTED,
    Alternative,
    Items,
    Kind,
    Members,
    Number,
    Shape,
    Text,
    TooManyAlternatives,
    Work,
    alternatives,
    meet,
    settle,
    union,
    values,
)

ASSERTED_FORMATS = frozenset(
    {"date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6"}
    | {"uri", "uri-reference", "iri", "iri-reference", "uri-template", "uuid", "json-pointer", "relative-json-pointer"}
    | {"regex"}
)
"""Formats that our validator checks; any other is a comment."""

_COMMENTS = frozenset({"$schema", "$id", "$comment", "title", "description", "examples"})
_EXTRAS: tuple[tuple[tuple[str, ...], tuple[Kind, ...]], ...] = (
    (("not",), ()),
    (("if", "then", "else"), ()),
    (("pattern",), ("string",)),
    (("multipleOf",), ("number",)),
    (("uniqueItems",), ("array",)),
    (("contains", "minContains", "maxContains"), ("array",)),
    (("propertyNames",), ("object",)),
    (("minProperties",), ("object",)),
    (("maxProperties",), ("object",)),
    (("dependentRequired",), ("object",)),
    (("dependentSchemas",), ("object",)),
)
"""Keywords that are judged together, and the types they concern (none: all)."""


def read(schema: Mapping[str, Any], work: Work) -> Shape:
    """What the schema accepts.

    Raises:
        SchemaRefused: `compile_schema` refuses it, or it is more work than `work` allows.
    """
    compile_schema(schema)
    return _Reader(dict(schema), work).read(dict(schema))


class _Reader:
    def __init__(self, document: dict[str, Any], work: Work) -> None:
        self._document = document
        self._work = work
        self._rooted = ROOTED + digest(document)

    def read(self, schema: object) -> Shape:
        self._work.spend()
        if not isinstance(schema, dict):
            return NOTHING if schema is False else None
        found = cast("dict[str, Any]", schema)
        try:
            return reduce(lambda a, b: meet(a, b, self._work), self._conditions(found), None)
        except TooManyAlternatives:
            return _with(EVERYTHING, self._text(found), ())

    def _conditions(self, schema: dict[str, Any]) -> list[Shape]:
        conditions = [self._by_type(schema)]
        if "$ref" in schema:
            conditions.append(self.read(self._resolve(schema["$ref"])))
        if "enum" in schema:
            conditions.append(values(schema["enum"]))
        if "const" in schema:
            conditions.append(values([schema["const"]]))
        if "anyOf" in schema:
            conditions.append(union(map(self.read, schema["anyOf"])))
        if "oneOf" in schema:
            conditions.append(self._one_of(schema["oneOf"]))
        conditions += map(self.read, schema.get("allOf", ()))
        return conditions

    def _one_of(self, branches: list[Any]) -> Shape:
        """A union, where no two branches accept the same."""
        shapes = [self.read(branch) for branch in branches]
        apart = all(meet(a, b, self._work) == NOTHING for at, a in enumerate(shapes) for b in shapes[:at])
        return union(shapes) if apart else _with(alternatives(union(shapes)), self._text({"oneOf": branches}), ())

    def _resolve(self, reference: str) -> object:
        node: object = self._document
        for part in reference.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            inside = cast("dict[str, object] | list[object]", node)
            node = inside[key] if isinstance(inside, dict) else inside[int(key)]
        return node

    def _by_type(self, schema: dict[str, Any]) -> Shape:
        """What the keywords for values of one type leave of the types that are allowed."""
        found = (NULL, BOOLEAN, _number(schema), _text(schema), self._items(schema), self._members(schema))
        shape = tuple(settled for one in found for settled in settle(one))
        for text, kinds in self._extras(schema):
            shape = _with(shape, text, kinds)
        if (types := schema.get("type")) is not None:
            names = cast("list[str]", types if isinstance(types, list) else [types])
            shape = union(_of_type(shape, name) for name in names if name != "integer" or "number" not in names)
        return None if shape == EVERYTHING else shape

    def _items(self, schema: dict[str, Any]) -> Items:
        items = None if "prefixItems" in schema else self.read(schema.get("items", True))
        return Items(items, int(schema.get("minItems", 0)), _whole(schema.get("maxItems")))

    def _members(self, schema: dict[str, Any]) -> Members:
        said = "additionalProperties" in schema
        additional = None if "patternProperties" in schema else self.read(schema.get("additionalProperties", True))
        properties = {name: self.read(value) for name, value in schema.get("properties", {}).items()}
        return Members(tuple(properties.items()), frozenset(schema.get("required", ())), additional, said)

    def _extras(self, schema: dict[str, Any]) -> list[tuple[str, tuple[Kind, ...]]]:
        found: list[tuple[str, tuple[Kind, ...]]] = []
        for keywords, kinds in _EXTRAS:
            group = {key: schema[key] for key in keywords if key in schema}
            if group and group not in ({"uniqueItems": False}, {"minProperties": 0}):
                found.append((self._text(group), kinds))
        if "prefixItems" in schema:
            group = {key: schema[key] for key in ("prefixItems", "items") if key in schema}
            found.append((self._text(group), ("array",)))
        if "patternProperties" in schema:
            keywords = ("patternProperties", "additionalProperties")
            group = {key: schema[key] for key in keywords if key in schema}
            group |= {"properties": dict.fromkeys(schema.get("properties", ()), True)}
            found.append((self._text(group), ("object",)))
        for keyword, kind in (("unevaluatedItems", "array"), ("unevaluatedProperties", "object")):
            if keyword in schema:
                found.append((self._text(schema), (cast("Kind", kind),)))
        return found

    def _text(self, keywords: dict[str, Any]) -> str:
        text = canonical(_bare(keywords)).decode()
        return text + self._rooted if '"$ref"' in text else text


def _bare(node: Any) -> Any:
    """Without comments, which judge nothing. A property of such a name holds a schema, not a text or a list."""
    if isinstance(node, list):
        return [_bare(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    items = cast("dict[str, Any]", node).items()
    return {key: _bare(value) for key, value in items if key not in _COMMENTS or isinstance(value, dict)}


def _number(schema: dict[str, Any]) -> Number:
    lows = [(schema["minimum"], 0)] if "minimum" in schema else []
    lows += [(schema["exclusiveMinimum"], 1)] if "exclusiveMinimum" in schema else []
    highs = [(schema["maximum"], 0)] if "maximum" in schema else []
    highs += [(schema["exclusiveMaximum"], -1)] if "exclusiveMaximum" in schema else []
    return Number(False, max(lows, default=None), min(highs, default=None))


def _text(schema: dict[str, Any]) -> Text:
    stated = schema.get("format")
    return Text(
        int(schema.get("minLength", 0)),
        _whole(schema.get("maxLength")),
        stated if stated in ASSERTED_FORMATS else None,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _of_type(shape: tuple[Alternative, ...], name: str) -> tuple[Alternative, ...]:
    if name != "integer":
        return tuple(one for one in shape if one.kind == name)
    work = Work()
    return cast("tuple[Alternative, ...]", meet(shape, (Number(integer=True),), work))


def _with(shape: tuple[Alternative, ...], extra: str, kinds: tuple[Kind, ...]) -> tuple[Alternative, ...]:
    """The extra added to alternatives of these types."""
    return tuple(
        settled
        for one in shape
        for settled in (settle(replace(one, extra=one.extra | {extra})) if not kinds or one.kind in kinds else (one,))
    )
