"""`TargetSchema`: what a caller wants back, parsed once and asked many things by planner, synthesiser and auditor."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, cast

from pydantic import BaseModel

from ledger.canonical import StrictJSONError, digest, parse_strict
from ledger.schema_measure import check_document
from ledger.schemas import CompiledSchema, SchemaRefused, SchemaViolation, compile_schema
from ledger.types import JSON, Hash
from orchestra.schema import shapes, values
from orchestra.schema.completeness import required_count
from orchestra.schema.errors import TargetSchemaError
from orchestra.schema.json_schema import is_json_schema, read_json_schema, to_json_schema
from orchestra.schema.model import build_model
from orchestra.schema.shapes import DictOf, Leaf, Record, Shape
from orchestra.schema.shorthand import read_shorthand

MAX_BYTES = 64 * 1024
MAX_REQUIRED = 10_000

Dialect: TypeAlias = Literal["shorthand", "json-schema"]


@dataclass(frozen=True)
class TargetSchema:
    """A parsed target_schema. `raw` as the caller wrote it, `dialect` which of the two it was, `shape` its tree,
    `json_schema` the JSON Schema that a result must fit (the caller's own where they wrote one)."""

    raw: dict[str, Any]
    dialect: Dialect
    shape: Record | DictOf
    json_schema: dict[str, Any]

    @classmethod
    def parse(cls, raw: Mapping[str, Any] | str) -> TargetSchema:
        """Read shorthand or JSON Schema, as an object or as JSON text; `is_json_schema` says which it is.

        Raises:
            TargetSchemaError: over 64 KB, 500 nodes or 16 levels; a word that does not exist; a hostile JSON Schema.
        """
        document = _document(raw)
        if not is_json_schema(document):
            shape: Record | DictOf = read_shorthand(document)
            return cls(document, "shorthand", shape, to_json_schema(shape))
        _compile(document)
        shape = read_json_schema(document)
        if (wanted := required_count(shape)) > MAX_REQUIRED:
            detail = f"minItems asks for {wanted} leaves, at most {MAX_REQUIRED}"
            raise TargetSchemaError("", detail=detail, allowed=())
        return cls(document, "json-schema", shape, document)

    @cached_property
    def compiled(self) -> CompiledSchema:
        """The validator of `json_schema`."""
        return _compile(self.json_schema)

    @cached_property
    def digest(self) -> Hash:
        """The hash of `json_schema`: equal for two schemas that ask for the same in the same words."""
        return digest(self.json_schema)

    @cached_property
    def model(self) -> type[BaseModel]:
        """A pydantic model class; keys that cannot be attributes get a safe name and keep the key as alias."""
        return build_model(self.shape, self._unfit)

    @cached_property
    def partial_model(self) -> type[BaseModel]:
        """The same model with every key optional: what a partial result fits, absent values being None."""
        return build_model(shapes.optional(self.shape), lambda _: "", "Partial")

    def leaves(self) -> tuple[Leaf, ...]:
        """Every leaf in order, required or not."""
        return tuple(shapes.leaves(self.shape))

    def required_leaves(self) -> tuple[str, ...]:
        """Pointers of the required leaves, `*` standing for list items and dict values."""
        return tuple(leaf.pointer for leaf in self.leaves() if leaf.required)

    def violations(self, data: JSON, limit: int = 20) -> list[SchemaViolation]:
        """Why `data` does not fit, at most `limit` reasons; none when it fits."""
        return self.compiled.errors(data, limit)

    def coerce(self, value: JSON, shape: Shape | None = None) -> JSON:
        """`value` as one of `shape` (by default the whole schema), strictly. See `orchestra.schema.values.coerce`.

        Raises:
            CoercionError: it is not.
        """
        return values.coerce(value, self.shape if shape is None else shape)

    def _unfit(self, data: JSON) -> str:
        """The first violation of what types cannot say, or an empty string."""
        if self.dialect == "shorthand":
            return ""
        found = self.violations(data, 1)
        return f"at {found[0].pointer or 'the root'}: {found[0].message}" if found else ""


def describe(schema: TargetSchema, limit: int = 2000) -> str:
    """One line for people: the shorthand as JSON."""
    return shapes.describe(schema.shape, limit)


def _document(raw: Mapping[str, Any] | str) -> dict[str, Any]:
    """The schema as an object of our own, size and depth checked."""
    try:
        parsed = parse_strict(raw.encode(), max_bytes=MAX_BYTES) if isinstance(raw, str) else raw
        check_document(parsed, MAX_BYTES)
    except (StrictJSONError, UnicodeEncodeError) as error:
        raise TargetSchemaError("", detail=f"not usable JSON ({error})", allowed=()) from None
    except SchemaRefused as refused:
        raise TargetSchemaError(refused.pointer, detail=refused.detail, allowed=()) from None
    return copy.deepcopy(dict(cast("Mapping[str, Any]", parsed)))


def _compile(document: Mapping[str, Any]) -> CompiledSchema:
    try:
        return compile_schema(document, max_bytes=2 * MAX_BYTES)
    except SchemaRefused as refused:
        detail = f"not a JSON Schema this network runs ({refused.code}: {refused.detail})"
        raise TargetSchemaError(refused.pointer, detail=detail, allowed=()) from None
