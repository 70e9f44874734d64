"""Does what goes over the wire fit what the Ledger says of the operation? Pure, and quick enough for every call.

Compiling a schema costs far more than using it, and an `Operation` is immutable: the compiled pair is kept beside the
operation object itself, for as many operations as a Ledger view is likely to hold.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ledger.entry import Operation
from ledger.schemas import CompiledSchema, SchemaRefused, compile_schema
from ledger.types import JSON

CACHE_SIZE = 2_048

_compiled: OrderedDict[tuple[int, str], tuple[Operation, CompiledSchema]] = OrderedDict()


def input_violation(operation: Operation, query: Mapping[str, Any]) -> str | None:
    """Why the wire query does not fit the operation's `input_schema`; None when it does."""
    return _violation(operation, "input_schema", query)


def output_violation(operation: Operation, wire: JSON) -> str | None:
    """Why a parsed answer does not fit the operation's `output_schema`; None when it does. Names places, not values."""
    return _violation(operation, "output_schema", wire)


def _violation(operation: Operation, which: str, instance: object) -> str | None:
    try:
        schema = _schema(operation, which)
        if schema.is_valid(instance):
            return None
        first = schema.errors(instance, limit=1)[0]
    except SchemaRefused as refused:
        return f"{which} of {operation.name} cannot be used: {refused.code} at {refused.pointer or 'the root'}"
    return f"does not fit {which} at {first.pointer or 'the root'}: {first.keyword}"


def _schema(operation: Operation, which: str) -> CompiledSchema:
    key = (id(operation), which)
    known = _compiled.get(key)
    if known is not None and known[0] is operation:
        _compiled.move_to_end(key)
        return known[1]
    schema = compile_schema(operation.input_schema if which == "input_schema" else operation.output_schema)
    _compiled[key] = (operation, schema)
    _compiled.move_to_end(key)
    while len(_compiled) > CACHE_SIZE:
        _compiled.popitem(last=False)
    return schema
