"""Queries that an operation takes, made from its input schema alone: the smallest and cheapest that are valid.

A probe has to ask something. What a schema offers itself (`examples`, `default`, `const`, `enum`) comes first, what has
to be made up is as small as the schema allows, only required arguments are given, and arguments that bound the answer
are set to their least. Whatever was made is checked against the schema before anybody sends it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, cast

from ledger.canonical import MAX_SAFE_INTEGER, canonical
from ledger.entry import Operation
from ledger.schema_measure import SchemaRefused
from ledger.schemas import CompiledSchema, compile_schema

MAX_QUERIES = 8
_MAX_DEPTH = 12
_MAX_ITEMS = 8
_MAX_VALUES = 2_000
_CHARACTERS_PER_TOKEN = 4
_COUNTS = frozenset(
    {"limit", "count", "num", "size", "k", "n", "top_k", "max_results", "num_results", "page_size", "per_page"}
    | {"max_items", "max_tokens", "max_completion_tokens", "max_output_tokens"}
)
"""Arguments that bound how much comes back, by their usual names."""
_BY_FORMAT = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_TEXTS = ("test", "https://example.com/", "example.com", "1", "a", "A", "en", "2026-01-01", "0x00", "{}", "[]")


def example_queries(operation: Operation, known: Iterable[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """At most 8 valid queries, cheapest first by the price's units. `known` are queries that answered before: they
    come before made-up ones that cost the same. None when nothing valid can be made.
    """
    try:
        check = compile_schema(operation.input_schema)
    except SchemaRefused:
        return []
    counts = _counts(operation.input_schema)
    given = [dict(each) for each in islice(known, MAX_QUERIES)]
    made = _Maker(operation.input_schema).value(operation.input_schema, "", 0)
    made_up = [cast("dict[str, Any]", made)] if isinstance(made, dict) else []
    reduced = [each | counts for each in given], given, [each | counts for each in made_up], made_up
    ranked = [(query, order) for order, queries in enumerate(reduced) for query in queries if _fits(check, query)]
    ranked.sort(key=lambda each: (query_units(operation, each[0]), each[1]))
    return list({canonical(query): query for query, _ in ranked}.values())[:MAX_QUERIES]


def _fits(check: CompiledSchema, query: Mapping[str, Any]) -> bool:
    try:
        canonical(query)
        return check.is_valid(query)
    except ValueError:
        return False


def query_units(operation: Operation, query: Mapping[str, Any]) -> int:
    """The most units of the operation's price that this query can cost; 1 where the price is by the call or unknown."""
    price = operation.price
    if price is None or price.unit == "call":
        return 1
    stated = [value for name, value in query.items() if name in _COUNTS and isinstance(value, int)]
    if price.unit == "hour" or not stated:
        return price.max_units
    asked = len(canonical(query)) // _CHARACTERS_PER_TOKEN + 1 if price.unit == "token" else 0
    return min(price.max_units, max(1, asked + min(stated)))


def _counts(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The least that each argument which bounds the answer may be."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    maker = _Maker(schema)
    found = {name: maker.value(each, name, 0, plain=True) for name, each in properties.items() if name in _COUNTS}
    return {name: value for name, value in found.items() if isinstance(value, int) and not isinstance(value, bool)}


class _Maker:
    """Makes one value for a schema; whether it is valid is checked by whoever asked."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = _MAX_VALUES

    def value(self, schema: object, name: str, depth: int, *, plain: bool = False) -> Any:
        """`plain` passes over what the schema offers and makes the least."""
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self._left < 0:
            return "test"
        node = self._whole(cast("Mapping[str, Any]", schema))
        offered = [] if plain else _offered(node)
        if offered:
            return offered[0]
        match _kind(node):
            case "object":
                return self._object(node, depth)
            case "array":
                count = min(int(node.get("minItems", 0)), _MAX_ITEMS)
                return [self.value(node.get("items", {}), name, depth + 1) for _ in range(count)]
            case "integer":
                return int(_number(node, 1))
            case "number":
                return _number(node, 0)
            case "boolean":
                return False
            case "null":
                return None
            case _:
                return _text(node, name)

    def _object(self, node: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = node.get("properties", {})
        return {name: self.value(properties.get(name, {}), name, depth + 1) for name in node.get("required", ())}

    def _whole(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema with what it refers to, all of `allOf`, and the first of its alternatives written into it."""
        for _ in range(_MAX_DEPTH):
            parts: list[object] = [self._at(node["$ref"])] if "$ref" in node else []
            parts += node.get("allOf", [])
            parts += [each for keyword in ("anyOf", "oneOf") for each in node.get(keyword, [])[:1]]
            if not parts:
                break
            rest = {key: each for key, each in node.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
            for part in parts:
                if isinstance(part, Mapping):
                    rest = _joined(rest, cast("Mapping[str, Any]", part))
            node = rest
        return node

    def _at(self, reference: str) -> object:
        node: Any = self._root
        for part in reference.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            node = cast("list[Any]", node)[int(name)] if isinstance(node, list) else node[name]
        return cast("object", node)


def _kind(node: Mapping[str, Any]) -> str:
    kinds: Any = node.get("type", "object" if "properties" in node or "required" in node else "string")
    named = cast("list[str]", kinds if isinstance(kinds, list) else [kinds])
    return next((each for each in named if each != "null"), "null")


def _joined(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    required = [*left.get("required", ()), *right.get("required", ())]
    properties = {**left.get("properties", {}), **right.get("properties", {})}
    more = {"required": required} if required else {}
    return {**right, **left, **more, **({"properties": properties} if properties else {})}


def _offered(node: Mapping[str, Any]) -> list[Any]:
    single = [node[keyword] for keyword in ("const", "default") if keyword in node]
    return [*node.get("examples", []), *single, *node.get("enum", [])]


def _number(node: Mapping[str, Any], step: float) -> float:
    """The least that is allowed; where there is no least, one, or the most if that is less."""
    step = node.get("multipleOf", step)
    above = node.get("exclusiveMinimum")
    low = node.get("minimum", min(1, node.get("maximum", 1))) if above is None else above
    if not step or not abs(low / step) < MAX_SAFE_INTEGER:
        return low if above is None else low + 1
    return (math.ceil(low / step) if above is None else math.floor(low / step) + 1) * step


def _text(node: Mapping[str, Any], name: str) -> str:
    """The first of a few texts that fits, as long as it has to be."""
    shortest, longest = int(node.get("minLength", 0)), int(node.get("maxLength", 4096))
    first = _BY_FORMAT.get(str(node.get("format")), "https://example.com/" if "url" in name.lower() else "test")
    candidates = [text[:longest].ljust(min(shortest, 4096), "a") for text in (first, *_TEXTS)]
    own = {key: node[key] for key in ("pattern", "format", "minLength", "maxLength") if key in node}
    check = compile_schema(json.loads(json.dumps(own)))
    return next((text for text in candidates if check.is_valid(text)), candidates[0])
