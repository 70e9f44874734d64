"""Schemas from life: what a subnet's answers look like, and what became of what the Ledger says they look like.

A schema inferred from samples must accept the next one too, so `infer` claims only what enough samples support: that a
property is required, that a text is one of a few or always a date, that a number is always whole. `extend` starts from
the schema that is known and widens it exactly where a sample does not fit, so that `diff` then names the very place
that drifted. Samples come from strangers: what is beyond a bound is described by less, never wrongly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from ledger.difference import Change, Difference, diff
from ledger.observed import MAX_DEPTH, MAX_NAME, MAX_NAMES, Evidence, Observed, Places, SamplesRefused, check_samples
from ledger.schema_measure import SchemaRefused
from ledger.schemas import compile_schema
from ledger.shape_join import join
from ledger.shape_reader import read
from ledger.shape_writer import write
from ledger.shapes import Shape, Work, closed, union, values
from ledger.types import JSON

__all__ = [
    "GENERAL",
    "LITERAL",
    "Change",
    "Difference",
    "Evidence",
    "SamplesRefused",
    "diff",
    "extend",
    "infer",
    "merge",
]

GENERAL = Evidence()
LITERAL = Evidence(types=1, required=1, whole=1, format=1, texts=10**9, literal=True)
"""Exactly what was seen, for merging into what is known: the first sample counts, and no enum is guessed."""

_MOST_LISTED = 32
_COMMENTS = ("title", "description", "examples", "default", "$comment")
_DEFINITIONS = ("$defs", "definitions")
_PLAIN = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "enum", "const"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minLength", "maxLength", "pattern", "format", "$schema", *_COMMENTS, *_DEFINITIONS}
)
"""A schema of these keywords alone is widened part by part; any other as a whole."""


def infer(samples: Iterable[JSON], *, evidence: Evidence = GENERAL, ranges: bool = False) -> dict[str, JSON]:
    """A schema that accepts every sample, and claims about further ones what `evidence` supports.

    Types (whole numbers apart), nullability, unions, properties and which of them are required, items, maps whose
    names are data, enums of few and repeated texts, the formats date-time and uri; bounds of numbers only with
    `ranges`. Objects stay open: a property that was never seen is accepted.

    Raises:
        SamplesRefused: more than 500,000 values, or nested deeper than 64.
        ValueError: something that is not JSON.
    """
    found = list(samples)
    check_samples(found)
    seen = Observed(Places())
    for sample in found:
        seen.add(sample)
    for depth in (MAX_DEPTH, 12, 6, 3, 2):
        schema = write(seen.shape(evidence, ranges=ranges, depth=depth) if found else None)
        if _is_accepted(schema):
            return schema
    return {}


def _is_accepted(schema: dict[str, JSON]) -> bool:
    try:
        compile_schema(schema)
    except SchemaRefused:
        return False
    return True


def merge(known: Mapping[str, Any], inferred: Mapping[str, Any]) -> dict[str, JSON]:
    """A schema that accepts what either describes; `known` itself when that says it all.

    Each is read as the side that writes (`ledger.difference`), so a property that only one of them names becomes
    optional. Where they disagree the result covers both; what has no shape (`pattern`, `not`, ...) is dropped there and
    kept elsewhere. Comments of `known` stay. To follow drift, prefer `extend`, which has the samples themselves.

    Raises:
        SchemaRefused: as `compile_schema`, or too much work.
    """
    work = Work()
    before = read(known, work)
    after = join(before, closed(read(inferred, work)), work)
    return dict(known) if after == before else {**_commented(known, write(after)), **_definitions(known)}


def extend(known: Mapping[str, Any], samples: Sequence[JSON], *, evidence: Evidence = GENERAL) -> dict[str, JSON]:
    """`known`, widened where a sample does not fit and nowhere else, and with properties that described objects lack:
    of those it claims what `evidence` supports.

    Accepts every sample; where the bounds on a schema forbid it to grow, it tells less.
    `diff(known, extend(known, samples))` is what drifted, and `identical` as long as nothing did. What merely was not
    seen stays, except that a property which an object lacks is no longer required. References should point into
    `$defs` or `definitions`: with others, a misfit is described beside what is known.

    Raises:
        SchemaRefused: `known` is refused.
        SamplesRefused: as `infer`.
    """
    check_samples(samples)
    check = compile_schema(known)
    definitions = _definitions(known)
    for adds in (True, False):
        try:
            extended = _Extender(definitions, adds, evidence).extend(known, samples)
        except SchemaRefused:
            continue
        result = {**cast("dict[str, JSON]", extended), **definitions}
        if _accepts(result, samples):
            return result
    misfits = [sample for sample in samples if not check.is_valid(sample)]
    beside = write(union((read(known, Work()), read(infer(misfits, evidence=evidence), Work()))))
    return beside if _accepts(beside, samples) else infer(samples, evidence=evidence)


def _accepts(schema: dict[str, JSON], samples: Sequence[JSON]) -> bool:
    return _is_accepted(schema) and all(map(compile_schema(schema).is_valid, samples))


class _Extender:
    def __init__(self, definitions: dict[str, JSON], adds: bool, evidence: Evidence) -> None:
        self._definitions = definitions
        self._adds = adds
        self._evidence = evidence
        self._work = Work()

    def extend(self, schema: object, found: Sequence[JSON]) -> object:
        """The schema of one place, given the values there."""
        if not found or schema is True:
            return schema
        if not isinstance(schema, Mapping):
            return infer(found, evidence=self._evidence)
        known = cast("Mapping[str, Any]", schema)
        if known.keys() - set(_COMMENTS) == {"$ref"}:
            return self._reference(known, found)
        result = dict(known)
        if known.keys() <= _PLAIN:
            result |= self._members(known, [one for one in found if isinstance(one, dict)])
            if isinstance(known.get("items"), dict):
                items = [item for one in found if isinstance(one, list) for item in one]
                result["items"] = self.extend(known["items"], items)
        check = compile_schema({**result, **self._definitions})
        misfits = [one for one in found if not check.is_valid(one)]
        return self._widened(result, misfits) if misfits else result

    def _reference(self, known: Mapping[str, Any], found: Sequence[JSON]) -> object:
        """What a reference names is copied to where it has to differ."""
        node: Any = self._definitions
        for part in str(known["$ref"]).split("/")[1:]:
            node = node[part.replace("~1", "/").replace("~0", "~")]
        extended = self.extend(node, found)
        return known if extended == node else {**_comments(known), **cast("dict[str, Any]", extended)}

    def _members(self, known: Mapping[str, Any], objects: list[dict[str, JSON]]) -> dict[str, Any]:
        if not objects:
            return {}
        changed: dict[str, Any] = {}
        if dropped := {name for name in known.get("required", ()) if not all(name in one for one in objects)}:
            changed["required"] = [name for name in known["required"] if name not in dropped]
        properties: dict[str, Any] = dict(known.get("properties", {}))
        others: dict[str, list[JSON]] = {}
        for one in objects:
            for name in one.keys() - properties.keys():
                others.setdefault(name, []).append(one[name])
        for name, schema in properties.items():
            properties[name] = self.extend(schema, [one[name] for one in objects if name in one])
        additional: object = known.get("additionalProperties")
        if isinstance(additional, Mapping):
            rest = [value for some in others.values() for value in some]
            changed["additionalProperties"] = self.extend(cast("object", additional), rest)
        elif self._adds and (additional is False or (properties and additional is None)) and _are_few(others):
            properties |= {name: infer(some, evidence=self._evidence) for name, some in sorted(others.items())}
        return {**changed, "properties": properties} if properties else changed

    def _widened(self, schema: dict[str, Any], misfits: list[JSON]) -> dict[str, JSON]:
        """The schema, grown by values that do not fit it: an enum by these values, anything else by their types."""
        scalars = [one for one in misfits if not isinstance(one, list | dict)]
        is_listed = "enum" in schema and len(scalars) <= _MOST_LISTED and self._evidence.quotes
        listed = scalars if is_listed else []
        rest = [one for one in misfits if not listed or isinstance(one, list | dict)]
        seen: list[Shape] = [values(listed)]
        if rest:
            literal = LITERAL if self._evidence.quotes else replace(self._evidence, types=1, literal=True)
            seen.append(closed(read(infer(rest, evidence=literal), self._work)))
        before = read({**schema, **self._definitions}, self._work)
        return _commented(schema, write(join(before, union(seen), self._work)))


def _are_few(names: Collection[str]) -> bool:
    return len(names) <= MAX_NAMES and all(len(name) <= MAX_NAME for name in names)


def _definitions(schema: Mapping[str, Any]) -> dict[str, JSON]:
    return {key: schema[key] for key in _DEFINITIONS if key in schema}


def _comments(schema: Mapping[str, Any]) -> dict[str, JSON]:
    return {key: schema[key] for key in _COMMENTS if key in schema}


def _commented(known: Mapping[str, Any], written: dict[str, JSON]) -> dict[str, JSON]:
    """`written` with the comments of `known` at the same places."""
    result = {**_comments(known), **written}
    for key in ("items", "additionalProperties"):
        if isinstance(known.get(key), dict) and isinstance(inner := result.get(key), dict):
            result[key] = _commented(known[key], inner)
    if isinstance(known.get("properties"), dict) and isinstance(inner := result.get("properties"), dict):
        result["properties"] = {
            name: _commented(known["properties"].get(name, {}), one) if isinstance(one, dict) else one
            for name, one in inner.items()
        }
    return result
