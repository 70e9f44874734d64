"""The one compiler of JSON Schemas (draft 2020-12), locked down because a schema that came from a stranger is hostile.

The validator itself (`jsonschema-rs`) is fast and never fetches anything here, but it does not bound work: forty levels
of doubled `allOf` or `$ref` are a few hundred bytes that take longer than the universe, nested `unevaluatedProperties`
double at each level, recursion makes both depend on the instance, and listing errors copies the offending value once
per error. So a schema is measured before it is compiled: bytes, nesting, how many subschemas it becomes once every
reference is written out, and how many of them can meet at one value. That last measure bounds each validation too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from operator import mul
from typing import Any, NoReturn, cast

import jsonschema_rs

from ledger.canonical import canonical, sha256
from ledger.schema_measure import (
    DIALECT,
    MAX_BYTES,
    RefusalCode,
    SchemaRefused,
    check_document,
    children,
    json_pointer,
    measure,
)
from ledger.types import Hash

__all__ = ["DIALECT", "CompiledSchema", "SchemaRefused", "SchemaViolation", "compile_schema", "json_pointer"]

CACHE_SIZE = 256

_REGEX_BYTES = 1 << 16
_NARROW = 32
_MAX_VISITS = 5_000_000
_MAX_COPIES = 500_000
_MAX_MESSAGE = 200
_MAX_INSTANCE_DEPTH = 255


@dataclass(frozen=True, slots=True)
class SchemaViolation:
    """Why an instance does not fit: `pointer` into the instance, the failed `keyword`, a bounded `message`."""

    pointer: str
    message: str
    keyword: str


class CompiledSchema:
    """A schema that passed every bound. Immutable; safe to keep and to share between tasks."""

    def __init__(
        self, digest: Hash, widths: Sequence[int], branching: bool, validator: jsonschema_rs.Validator
    ) -> None:
        self.digest = digest
        self._widths = tuple(widths)
        self._wide = max(widths) > _NARROW
        self._branching = branching
        self._validator = validator

    def is_valid(self, instance: object) -> bool:
        """True when `instance` fits; False also for what is not a JSON value.

        Raises:
            SchemaRefused: `too_costly`, when a schema of many parts meets an instance of many values.
        """
        if self._wide and sum(map(mul, self._widths, _census(instance, len(self._widths)))) > _MAX_VISITS:
            raise SchemaRefused("too_costly", "", "this schema times this instance is more work than a check may cost")
        try:
            return self._validator.is_valid(instance)
        except (ValueError, TypeError):
            return False

    def errors(self, instance: object, limit: int = 20) -> list[SchemaViolation]:
        """At most `limit` violations, none when `instance` fits.

        Every violation costs a copy of the offending value. Where all of them might cost too much only the first is
        given, and where even that might (wide `anyOf` over a large value) one that names the root.

        Raises:
            SchemaRefused: as `is_valid`.
        """
        if self.is_valid(instance):
            return []
        try:
            found = [_violation(error) for error in islice(self._found(instance), limit)]
        except (ValueError, TypeError) as error:
            found = [SchemaViolation("", _bounded(str(error)), "json")]
        return found

    def _found(self, instance: object) -> Iterator[jsonschema_rs.ValidationError]:
        if self._copies(instance) <= _MAX_COPIES:
            yield from self._validator.iter_errors(instance)
            return
        if self._branching:
            raise ValueError("does not fit the schema, and is too large to say where")
        try:
            self._validator.validate(instance)
        except jsonschema_rs.ValidationError as error:
            yield error

    def _copies(self, instance: object) -> int:
        """A bound on the values copied by listing all errors: at each depth, subschemas times what lies below."""
        below = _census(instance, None)
        for depth in range(len(below) - 2, -1, -1):
            below[depth] += below[depth + 1]
        return sum(map(mul, self._widths, below))


def compile_schema(schema: Mapping[str, Any], *, max_bytes: int = MAX_BYTES) -> CompiledSchema:
    """Check every bound, then compile; equal schemas share one compiled form (a cache of the last 256).

    `max_bytes` bounds the canonical form. References may only point inside the document (`#/...`), never in a circle;
    regular expressions are those a linear-time engine runs (no look-around, no back-references). A `$id` at the root
    is ignored. Formats are checked.

    Raises:
        SchemaRefused: with the code, the place and the reason.
    """
    check_document(schema, max_bytes)
    try:
        text = canonical(schema)
    except (ValueError, RecursionError) as error:
        raise SchemaRefused("not_json", "", _bounded(str(error))) from None
    if len(text) > max_bytes:
        raise SchemaRefused("too_large", "", f"{len(text)} bytes, at most {max_bytes}")
    return _compile(_Source(sha256(text), text))


@dataclass(frozen=True, slots=True)
class _Source:
    digest: Hash
    text: bytes = field(compare=False)


@lru_cache(maxsize=CACHE_SIZE)
def _compile(source: _Source) -> CompiledSchema:
    schema = cast("dict[str, Any]", json.loads(source.text))
    schema.pop("$id", None)
    measured = measure(schema)
    try:
        validator = jsonschema_rs.Draft202012Validator(
            schema,
            retriever=_refuse_fetch,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES),
            validate_formats=True,
        )
    except jsonschema_rs.ValidationError as error:
        raise SchemaRefused(
            _invalid_code(error.kind), json_pointer(error.instance_path), _bounded(error.message)
        ) from None
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise SchemaRefused("invalid", "", _bounded(str(error))) from None
    return CompiledSchema(source.digest, measured.widths, measured.branching, validator)


def _invalid_code(kind: jsonschema_rs.ValidationErrorKind) -> RefusalCode:
    match kind:
        case jsonschema_rs.ValidationErrorKind.Format("regex"):
            return "bad_regex"
        case _:
            return "invalid"


def _refuse_fetch(uri: str) -> NoReturn:
    raise ValueError(f"nothing is fetched: {uri[:100]}")


def _census(instance: object, depth: int | None) -> list[int]:
    """Values at each depth of an instance (a string counts one more per 16 characters), down to `depth` or its end."""
    counts: list[int] = []
    level: list[object] = [instance]
    while level and (depth is None or len(counts) < depth) and len(counts) <= _MAX_INSTANCE_DEPTH:
        counts.append(sum(1 + len(node) // 16 if isinstance(node, str) else 1 for node in level))
        level = [child for node in level for child in children(node)]
    return counts


def _bounded(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else message[: _MAX_MESSAGE - 1] + "…"


def _violation(error: jsonschema_rs.ValidationError) -> SchemaViolation:
    return SchemaViolation(json_pointer(error.instance_path), _bounded(error.message), error.kind.name)
