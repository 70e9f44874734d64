"""How much work a JSON Schema can cause, counted before anything compiles or runs it.

A count is the only bound that holds: time differs between machines, and a few hundred bytes of doubled references are
more subschemas than there are atoms. Every distinct subschema is visited once, so counting stays cheap where the
expansion is not. What is not understood exactly as the validator understands it (`$id` inside, anchors, dynamic
references) is refused, because then the count would be of another schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from operator import add
from typing import Any, Literal, NamedTuple, TypeAlias, cast

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MAX_BYTES = 64 * 1024
MAX_DEPTH = 64
MAX_EXPANSIONS = 4096
"""Subschemas once every reference is written out; a `pattern` counts up to 128 more, `unevaluated*` all fourfold."""

_PATTERN_COST = 128
_UNEVALUATED_FACTOR = 4

_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas")
_SINGLES = (
    *("not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_DEFINITIONS = ("$defs", "definitions")
_DESCENDS = frozenset(
    {"prefixItems", "properties", "patternProperties", "items", "contains", "additionalProperties", "propertyNames"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
"""Keywords whose subschemas apply to a part of the instance; the others apply to the same value again."""
_NAMED = frozenset({"properties", "prefixItems"})
"""Keywords of which one subschema at most applies to any one value."""
_UNSUPPORTED = ("$dynamicRef", "$recursiveRef", "$vocabulary", "dependencies", "additionalItems")

RefusalCode: TypeAlias = Literal[
    "not_json",
    "too_large",
    "too_deep",
    "dialect",
    "remote_ref",
    "bad_ref",
    "recursive_ref",
    "too_many_expansions",
    "unsupported",
    "bad_regex",
    "invalid",
    "too_costly",
]


class SchemaRefused(ValueError):
    """A schema that this network does not run. `code` is stable; `pointer` is the place in the schema."""

    def __init__(self, code: RefusalCode, pointer: str, detail: str) -> None:
        super().__init__(f"{code} at {pointer or 'the root'}: {detail}")
        self.code: RefusalCode = code
        self.pointer = pointer
        self.detail = detail


def json_pointer(path: Sequence[str | int]) -> str:
    """RFC 6901 text of a path of keys and indices."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def check_document(schema: object, max_bytes: int) -> None:
    """Refuse by size and depth before anything is copied. Iterative: a document of depth 10,000 is walked 65 deep."""
    if not isinstance(schema, Mapping):
        raise SchemaRefused("invalid", "", "a schema is a JSON object")
    spent = 0
    level: list[object] = [cast("object", schema)]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for node in level:
            spent += _own_bytes(node)
            if spent > max_bytes:
                raise SchemaRefused("too_large", "", f"more than {max_bytes} bytes")
            below.extend(children(node))
        if not below:
            return
        level = below
    raise SchemaRefused("too_deep", "", f"nested deeper than {MAX_DEPTH}")


def _own_bytes(node: object) -> int:
    """A lower bound on the canonical bytes of a node without its children, its keys included."""
    if isinstance(node, str):
        return len(node) + 2
    if isinstance(node, Mapping):
        keys = cast("Mapping[object, object]", node)
        for key in keys:
            if not isinstance(key, str):
                raise SchemaRefused("not_json", "", "a key that is not a string")
        return 2 + sum(len(cast("str", key)) + 3 for key in keys)
    if node is None or isinstance(node, bool | int | float | list | tuple):
        return 1
    raise SchemaRefused("not_json", "", f"a {type(node).__name__} is not a JSON value")


def children(node: object) -> Sequence[object]:
    if isinstance(node, Mapping):
        return list(cast("Mapping[str, object]", node).values())
    if isinstance(node, list | tuple):
        return cast("Sequence[object]", node)
    return ()


class Measure(NamedTuple):
    """What a schema comes to with references written out.

    `total` subschemas; `height` of their nesting; `widths`, at each depth of an instance, how many subschemas meet at
    one value at most (properties of different names never do, so the widest one counts); `branching` when an `anyOf`
    or `oneOf` is among them.
    """

    total: int
    height: int
    widths: tuple[int, ...]
    branching: bool = False


def measure(document: dict[str, Any]) -> Measure:
    """Measure a document without `$id` at its root.

    Raises:
        SchemaRefused: dialect, references, recursion, unsupported keywords, depth, or too many expansions.
    """
    dialect = document.get("$schema", DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
        raise SchemaRefused("dialect", "/$schema", f"only {DIALECT}")
    meter = _Meter(document)
    return meter.measure()._replace(branching=meter.branching)


class _Meter:
    """Measures one document, every distinct subschema once."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._known: dict[int, Measure] = {}
        self._open: set[int] = set()
        self._visited = 0
        self.branching = False

    def measure(self) -> Measure:
        return self._of(self._document, (), 0)

    def _of(self, node: object, path: tuple[str, ...], depth: int) -> Measure:
        if not isinstance(node, dict):
            return Measure(1, 1, (1,))
        schema = cast("dict[str, object]", node)
        if id(schema) in self._open:
            raise SchemaRefused("recursive_ref", json_pointer(path), "the schema refers to itself")
        known = self._known.get(id(schema))
        if depth + (known.height if known else 1) > MAX_DEPTH:
            raise SchemaRefused("too_deep", json_pointer(path), f"subschemas nest deeper than {MAX_DEPTH}")
        if known is None:
            self._open.add(id(schema))
            known = self._known[id(schema)] = self._measure(schema, path, depth)
            self._open.discard(id(schema))
        return known

    def _measure(self, schema: dict[str, object], path: tuple[str, ...], depth: int) -> Measure:
        self._count(path)
        self._check_keywords(schema, path)
        own = 1 + self._weight(schema)
        total, height, widths, named = own, 1, (own,), ()
        for keyword, key, child in self._subschemas(schema):
            below = self._of(child, (*path, keyword, *key), depth + 1)
            if keyword in _DEFINITIONS:
                continue
            total, height = total + below.total, max(height, 1 + below.height)
            if keyword in _NAMED:
                named = _merge(max, named, below.widths)
            else:
                widths = _merge(add, widths, (0, *below.widths) if keyword in _DESCENDS else below.widths)
        if isinstance(reference := schema.get("$ref"), str):
            below = self._of(*self._resolve(reference, path), depth + 1)
            total, height = total + below.total, max(height, 1 + below.height)
            widths = _merge(add, widths, below.widths)
        factor = _UNEVALUATED_FACTOR if "unevaluatedProperties" in schema or "unevaluatedItems" in schema else 1
        if total * factor > MAX_EXPANSIONS:
            raise self._too_many(path)
        return Measure(total * factor, height, tuple(width * factor for width in _merge(add, widths, (0, *named))))

    def _count(self, path: tuple[str, ...]) -> None:
        self._visited += 1
        if self._visited > MAX_EXPANSIONS:
            raise self._too_many(path)

    def _too_many(self, path: tuple[str, ...]) -> SchemaRefused:
        detail = f"more than {MAX_EXPANSIONS} subschemas once references are written out"
        return SchemaRefused("too_many_expansions", json_pointer(path), detail)

    def _check_keywords(self, schema: dict[str, object], path: tuple[str, ...]) -> None:
        for keyword in _UNSUPPORTED:
            if keyword in schema:
                raise SchemaRefused("unsupported", json_pointer((*path, keyword)), f"{keyword} is not supported")
        if "$id" in schema:
            raise SchemaRefused("unsupported", json_pointer((*path, "$id")), "a $id inside the document")
        if path and "$schema" in schema:
            raise SchemaRefused("dialect", json_pointer((*path, "$schema")), "$schema belongs at the root")
        self.branching = self.branching or "anyOf" in schema or "oneOf" in schema

    def _weight(self, schema: dict[str, object]) -> int:
        """What a schema costs beyond a plain one: its patterns, and an `enum` that is searched from end to end."""
        mapped, options = schema.get("patternProperties"), schema.get("enum")
        patterns = list(cast("dict[str, object]", mapped)) if isinstance(mapped, dict) else []
        patterns = [*patterns, str(schema["pattern"])] if "pattern" in schema else patterns
        searched = cast("list[object]", options) if isinstance(options, list) else []
        hashed = all(isinstance(option, str) for option in searched)
        return sum(map(_pattern_cost, patterns)) + (0 if hashed else len(searched))

    def _subschemas(self, schema: dict[str, object]) -> Iterator[tuple[str, tuple[str, ...], object]]:
        for keyword in _SINGLES:
            if keyword in schema:
                yield keyword, (), schema[keyword]
        for keyword in _LISTS:
            if isinstance(children := schema.get(keyword), list):
                for index, child in enumerate(cast("list[object]", children)):
                    yield keyword, (str(index),), child
        for keyword in (*_MAPS, *_DEFINITIONS):
            if isinstance(children := schema.get(keyword), dict):
                for name, child in cast("dict[str, object]", children).items():
                    yield keyword, (name,), child

    def _resolve(self, reference: str, path: tuple[str, ...]) -> tuple[object, tuple[str, ...]]:
        """The schema that a local reference names, and its path. Strict: what it does not understand it refuses."""
        here = json_pointer((*path, "$ref"))
        if not reference.startswith("#"):
            raise SchemaRefused("remote_ref", here, f"only references inside the document: {reference[:100]}")
        if "%" in reference or (len(reference) > 1 and reference[1] != "/"):
            raise SchemaRefused("bad_ref", here, f"write a plain JSON pointer (#/$defs/name): {reference[:100]}")
        parts = tuple(part.replace("~1", "/").replace("~0", "~") for part in reference.split("/")[1:])
        node: object = self._document
        for part in parts:
            node = _child(node, part)
        if not isinstance(node, dict | bool):
            raise SchemaRefused("bad_ref", here, f"no schema there: {reference[:100]}")
        return cast("object", node), parts


def _pattern_cost(pattern: str) -> int:
    """A plain pattern by its length; one that repeats by count or uses Unicode classes may be a large automaton."""
    return _PATTERN_COST if "{" in pattern or "\\" in pattern else 1 + len(pattern) // 16


def _child(node: object, part: str) -> object:
    if isinstance(node, dict):
        return cast("dict[str, object]", node).get(part)
    if isinstance(node, list) and re.fullmatch(r"0|[1-9][0-9]{0,5}", part):
        items = cast("list[object]", node)
        return items[int(part)] if int(part) < len(items) else None
    return None


def _merge(how: Callable[[int, int], int], left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(how(a, b) for a, b in zip_longest(left, right, fillvalue=0))
