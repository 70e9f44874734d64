"""Between what a capability promises and what a provider's wire wants: the two JMESPath expressions of an operation.

Pure, so that the auditor derives from revealed bytes exactly what the miner derived when it made the call. The
expressions come from the Ledger, which strangers propose to, so evaluation runs on a budget: an expression that doubles
its input at every step ends in `MappingFailed`, not in a full memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter

from ledger.canonical import StrictJSONError, is_exact, parse_strict
from ledger.entry import Operation
from ledger.schema_measure import children
from ledger.types import JSON

MAX_BODY_BYTES = 4 << 20
MAX_WORK = 32 << 20
MAX_NODES = 1 << 20
_STEP_WORK = 16


class MappingFailed(ValueError):
    """`code`: `malformed` (the body is not what its media type says) or `unmappable` (the expression and the value do
    not fit).
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def map_query(operation: Operation, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The operation's complete wire arguments for a capability's arguments; arguments that map to null are dropped.

    Raises:
        MappingFailed: `unmappable`.
    """
    mapped = select(operation.request, dict(arguments)) if operation.request else dict(arguments)
    if not isinstance(mapped, dict):
        raise MappingFailed("unmappable", f"the request mapping of {operation.name} gives no object")
    return {name: value for name, value in cast("dict[str, Any]", mapped).items() if value is not None}


def parse_wire(operation: Operation, body: bytes) -> JSON:
    """The provider's answer as it stands on the wire: strict JSON, or the whole body as a string for `text/plain`.

    Raises:
        MappingFailed: `malformed`.
    """
    if operation.endpoint.media_type == "text/plain":
        return _text(body)
    try:
        return parse_strict(body, max_bytes=MAX_BODY_BYTES)
    except StrictJSONError as error:
        raise MappingFailed("malformed", error.detail) from None


def map_wire(operation: Operation, wire: JSON) -> JSON:
    """A wire answer in the shape that the operation's capability promises.

    Raises:
        MappingFailed: `unmappable`.
    """
    return cast(JSON, select(operation.response, wire)) if operation.response else wire


def map_output(operation: Operation, body: bytes) -> JSON:
    """`map_wire(parse_wire(body))`: from raw body bytes to what pointers in provenance resolve in.

    Raises:
        MappingFailed: `malformed` or `unmappable`.
    """
    return map_wire(operation, parse_wire(operation, body))


def _text(body: bytes) -> str:
    if len(body) > MAX_BODY_BYTES:
        raise MappingFailed("malformed", f"{len(body)} bytes, at most {MAX_BODY_BYTES}")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise MappingFailed("malformed", "not UTF-8") from None


class _Budgeted(TreeInterpreter):
    """Counts every step of an evaluation, and what functions and comparisons look at, and stops at `MAX_WORK`.

    What a step builds is counted once it stands; what would be walked or built at one go (an argument written out, a
    flattened list) is counted before.
    """

    def __init__(self) -> None:
        super().__init__(Options(custom_functions=_Charged(self.charge)))
        self._left = MAX_WORK

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        result: Any = super().visit(node, *args, **kwargs)
        self._spend(_own_work(cast(object, result)))
        return result

    def visit_comparator(self, node: Any, value: Any) -> Any:
        sides: list[Any] = [self.visit(child, value) for child in node["children"]]
        self.charge(sides)
        return super().visit_comparator(cast(Any, {**node, "children": list(map(_literal, sides))}), value)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base: Any = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self._spend(sum(map(_own_work, cast("list[object]", base))))
        return super().visit_flatten(cast(Any, {**node, "children": [_literal(base)]}), value)

    def charge(self, value: Any) -> None:
        """Pay for a value as it would be written out, shared parts as often as they stand there."""
        pending: list[object] = [value]
        while pending:
            found = pending.pop()
            self._spend(_own_work(found))
            pending.extend(children(found))

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise MappingFailed("unmappable", "the mapping produces more than it may")


class _Charged(Functions):
    """JMESPath's functions, each paying for its arguments before it looks at them."""

    def __init__(self, charge: Callable[[Any], None]) -> None:
        self._charge = charge

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        self._charge(resolved_args)
        return super().call_function(function_name, resolved_args)


def _own_work(value: object) -> int:
    """A step and, of a value, what stands in it directly."""
    if isinstance(value, list | dict):
        return _STEP_WORK * (1 + len(cast("list[object]", value)))
    return _STEP_WORK + (len(value) if isinstance(value, str) else 0)


def _literal(value: Any) -> dict[str, Any]:
    return {"type": "literal", "value": value, "children": []}


@lru_cache(maxsize=1024)
def _compile(expression: str) -> Any:
    try:
        return jmespath.compile(expression).parsed
    except JMESPathError as error:
        raise MappingFailed("unmappable", f"not JMESPath: {error}"[:200]) from None


def select(expression: str, value: Any) -> Any:
    """What a JMESPath expression finds in a JSON value, within the budget; null where it finds nothing.

    Raises:
        MappingFailed: `unmappable`.
    """
    try:
        result: Any = _Budgeted().visit(_compile(expression), value)
    except (JMESPathError, TypeError, AttributeError, RecursionError) as error:
        raise MappingFailed("unmappable", f"{type(error).__name__}: {error}"[:200]) from None
    _check_size(result)
    return result


def _check_size(result: Any) -> None:
    """Shared parts make a small value in memory a huge one on the wire: count what serialising it would visit. And a
    text made a number may be one that no JSON can carry.
    """
    pending, nodes = [result], 0
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(cast("dict[str, Any]", value).values())
        elif isinstance(value, list):
            pending.extend(cast("list[Any]", value))
        elif isinstance(value, int | float) and not is_exact(value):
            raise MappingFailed("unmappable", "the mapping gives a number that JSON cannot carry")
        nodes += 1
        if nodes + len(pending) > MAX_NODES:
            raise MappingFailed("unmappable", f"the mapping produces more than {MAX_NODES} values")
