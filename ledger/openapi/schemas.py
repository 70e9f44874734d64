"""Schemas of an OpenAPI document as JSON Schemas (2020-12) that stand alone.

A schema takes along what it refers to, as `$defs` of its own, and nothing else; OpenAPI 3.0's dialect is translated
(`nullable`, Boolean `exclusiveMinimum`, `example`). Whether the result may be used at all is for `ledger.schemas` to
say, which refuses recursion and whatever expands beyond its bounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from ledger.openapi.document import Document, NotExpressible, items
from ledger.schema_measure import MAX_DEPTH, MAX_EXPANSIONS, SchemaRefused
from ledger.schemas import compile_schema

Direction = Literal["input", "output"]

_SINGLES = frozenset(
    {"not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_DROPPED = frozenset(
    {"nullable", "discriminator", "xml", "externalDocs", "example", "readOnly", "writeOnly", "$defs", "definitions"}
)
"""Definitions inside a schema are dropped, too: references start at the document's root, and take along what they name.
"""
_COMBINED = frozenset({"$ref", "allOf", "anyOf", "oneOf", "enum"})
_HIDDEN = {"input": "readOnly", "output": "writeOnly"}


class Purse:
    """How many schemas may still be translated for one document, references included."""

    def __init__(self, left: int = 500_000) -> None:
        self.left = left

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise NotExpressible("too_large: the document's schemas are more than an import translates")


class Closure:
    """Schemas that will be parts of one, with what they refer to."""

    def __init__(self, document: Document, direction: Direction, purse: Purse) -> None:
        self._document = document
        self._direction: Direction = direction
        self._purse = purse
        self._names: dict[str, str] = {}
        self._waiting: list[str] = []
        self._definitions: dict[str, Any] = {}
        self._left = MAX_EXPANSIONS

    def add(self, node: object) -> Any:
        """A schema of the document, translated. A reference at its root is followed.

        Raises:
            NotExpressible: references that leave the document or lead nowhere; not a schema; deeper than 64.
        """
        if isinstance(node, dict):
            found = cast("dict[str, object]", node)
            if "$ref" in found and (self._is_old() or len(found) == 1):
                return self._of(self._document.follow(found), 0)
        return self._of(cast("object", node), 0)

    def finish(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """`schema`, made of what was added, with its definitions.

        Raises:
            NotExpressible: the reason why `ledger.schemas` refuses it.
        """
        while self._waiting:
            reference = self._waiting.pop()
            self._definitions[self._names[reference]] = self._of(self._document.at(reference), 0)
        whole = dict(schema)
        if self._definitions:
            whole["$defs"] = dict(sorted(self._definitions.items()))
        try:
            compile_schema(whole)
        except SchemaRefused as refused:
            raise NotExpressible(f"{self._direction} schema: {refused}") from None
        return whole

    def types(self, schema: object, depth: int = 0) -> set[str]:
        """The types that a translated schema names, through its alternatives; none when it does not say."""
        if not isinstance(schema, dict) or depth > 8:
            return set()
        node = cast("dict[str, Any]", schema)
        named = node.get("type")
        listed = cast("list[object]", named) if isinstance(named, list) else [named]
        found = {each for each in listed if isinstance(each, str)}
        if isinstance(reference := node.get("$ref"), str):
            source = next((each for each, name in self._names.items() if reference == _pointer(name)), reference)
            found |= self.types(self._document.at(source), depth + 1)
        for keyword in ("anyOf", "oneOf", "allOf"):
            for each in items(node, keyword):
                found |= self.types(each, depth + 1)
        return found | ({"object"} if "properties" in node else set())

    def _is_old(self) -> bool:
        return self._document.version == "3.0"

    def _of(self, node: object, depth: int) -> Any:
        if isinstance(node, bool):
            return node
        self._purse.spend()
        self._left -= 1
        if self._left < 0:
            raise NotExpressible(f"too_many_expansions: more than {MAX_EXPANSIONS} subschemas")
        if not isinstance(node, dict):
            raise NotExpressible("malformed: a schema that is no object")
        if depth > MAX_DEPTH:
            raise NotExpressible(f"too_deep: schemas nested deeper than {MAX_DEPTH}")
        schema = cast("dict[str, Any]", node)
        if isinstance(reference := schema.get("$ref"), str):
            named = {"$ref": self._name(reference)}
            if self._is_old():
                return named
            return {**self._translated({k: v for k, v in schema.items() if k != "$ref"}, depth), **named}
        return self._translated(schema, depth)

    def _translated(self, schema: dict[str, Any], depth: int) -> Any:
        result: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in _DROPPED or keyword.startswith("x-"):
                continue
            if keyword in _SINGLES:
                result[keyword] = self._of(value, depth + 1)
            elif keyword in _LISTS and isinstance(value, list):
                result[keyword] = [self._of(each, depth + 1) for each in cast("list[object]", value)]
            elif keyword in _MAPS and isinstance(value, dict):
                members = cast("dict[str, object]", value)
                shown = self._shown(members) if keyword == "properties" else members
                result[keyword] = {name: self._of(each, depth + 1) for name, each in shown.items()}
            else:
                result[keyword] = value
        self._leave_out_hidden(schema, result)
        if "example" in schema and "examples" not in result:
            result["examples"] = [schema["example"]]
        return _from_old(schema, result) if self._is_old() else result

    def _shown(self, properties: dict[str, object]) -> dict[str, object]:
        """Without what is not sent in this direction."""
        hidden = _HIDDEN[self._direction]
        return {
            name: each
            for name, each in properties.items()
            if not (isinstance(each, dict) and cast("dict[str, Any]", each).get(hidden) is True)
        }

    def _leave_out_hidden(self, schema: dict[str, Any], result: dict[str, Any]) -> None:
        properties, required = schema.get("properties"), schema.get("required")
        if isinstance(properties, dict) and isinstance(required, list):
            gone = [name for name in cast("dict[str, Any]", properties) if name not in result["properties"]]
            if gone:
                result["required"] = [name for name in cast("list[Any]", required) if name not in gone]

    def _name(self, reference: str) -> str:
        """A reference into the `$defs` of the finished schema; what it names joins them."""
        if reference not in self._names:
            self._document.at(reference)
            wanted = re.sub(r"[^A-Za-z0-9_.-]", "_", reference.rpartition("/")[2])[:64] or "root"
            taken = set(self._names.values())
            name, number = wanted, 2
            while name in taken:
                name, number = f"{wanted}_{number}", number + 1
            self._names[reference] = name
            self._waiting.append(reference)
        return _pointer(self._names[reference])


def _pointer(name: str) -> str:
    return f"#/$defs/{name}"


def _from_old(schema: dict[str, Any], result: dict[str, Any]) -> Any:
    """What OpenAPI 3.0 spells in its own way. `nullable` beside a combination is taken at its word: null, too."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(result.get(exclusive), bool) and result.pop(exclusive) and bound in result:
            result[exclusive] = result.pop(bound)
    if schema.get("nullable") is not True:
        return result
    if isinstance(result.get("type"), str) and not _COMBINED.intersection(result):
        return {**result, "type": [result["type"], "null"]}
    return {"anyOf": [result, {"type": "null"}]} if _COMBINED.intersection(result) else result
