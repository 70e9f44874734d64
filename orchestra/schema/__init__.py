"""target_schema: what a caller wants back, as shorthand or JSON Schema, and how much of it a result holds."""

from ledger.schemas import SchemaViolation
from orchestra.schema.completeness import Completeness, Missing, completeness
from orchestra.schema.errors import TargetSchemaError
from orchestra.schema.pointers import (
    PointerError,
    leaf_pointers,
    resolve_pointer,
    set_pointer,
    split_pointer,
)
from orchestra.schema.shapes import (
    AnyShape,
    DictOf,
    Enum,
    Field,
    Leaf,
    ListOf,
    Nullable,
    Record,
    Scalar,
    Shape,
    is_free_text,
    is_leaf,
    to_shorthand,
)
from orchestra.schema.target import TargetSchema, describe
from orchestra.schema.values import CoercionError, coerce

__all__ = [
    "AnyShape",
    "CoercionError",
    "Completeness",
    "DictOf",
    "Enum",
    "Field",
    "Leaf",
    "ListOf",
    "Missing",
    "Nullable",
    "PointerError",
    "Record",
    "Scalar",
    "SchemaViolation",
    "Shape",
    "TargetSchema",
    "TargetSchemaError",
    "coerce",
    "completeness",
    "describe",
    "is_free_text",
    "is_leaf",
    "leaf_pointers",
    "resolve_pointer",
    "set_pointer",
    "split_pointer",
    "to_shorthand",
]
