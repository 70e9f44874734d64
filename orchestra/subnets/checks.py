"""Does what goes over the wire fit what the Ledger says of the operation? Pure, and quick enough for every call.

Compiling a schema costs far more than using it, and an `Operation` is immutable: the compiled pair is kept beside the
operation object itself, for as many operations as a Ledger view is likely to hold. Audits ask from their threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ledger.entry import Operation
from ledger.schemas import CompiledSchema, SchemaRefused, compile_schema
from ledger.types import JSON

CACHE_SIZE = 2_048


def input_violation(operation: Operation, query: Mapping[str, Any]) -> str | None:
    """Why the wire query does not fit the operation's `input_schema`; None when it does."""
    return _violation(operation, "input_schema", query)


def output_violation(operation: Operation, wire: JSON) -> str | None:
    """Why a parsed answer does not fit the operation's `output_schema`; None when it does. Names places, not values."""
    return _violation(operation, "output_schema", wire)


def _violation(operation: Operation, which: str, instance: object) -> str | None:
    try:
        schema = _SCHEMAS.of(operation, which)
        if schema.is_valid(instance):
            return None
        first = schema.errors(instance, limit=1)[0]
    except SchemaRefused as refused:
        return f"{which} of {operation.name} cannot be used: {refused.code} at {refused.pointer or 'the root'}"
    return f"does not fit {which} at {first.pointer or 'the root'}: {first.keyword}"


class Schemas:
    """The compiled schemas of the `size` operations that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[int, str], tuple[Operation, CompiledSchema]] = OrderedDict()

    def of(self, operation: Operation, which: str) -> CompiledSchema:
        """`input_schema` or `output_schema` of an operation.

        Raises:
            SchemaRefused: it is none that this network runs.
        """
        key = (id(operation), which)
        with self._lock:
            known = self._compiled.get(key)
            if known is not None and known[0] is operation:
                self._compiled.move_to_end(key)
                return known[1]
        schema = compile_schema(operation.input_schema if which == "input_schema" else operation.output_schema)
        with self._lock:
            self._compiled[key] = (operation, schema)
            self._compiled.move_to_end(key)
            while len(self._compiled) > self._size:
                self._compiled.popitem(last=False)
        return schema


_SCHEMAS = Schemas(CACHE_SIZE)
