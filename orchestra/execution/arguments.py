"""From a task's arguments with Refs to values: what earlier tasks produced, put where the capability wants it.

Where a capability wants a string and gets a list or an object, the parts are joined with blank lines, objects as
compact JSON; null parts fall out. What a capability requires must not be null in the end: the task fails with the
path that gave nothing, before anything is paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ledger.canonical import canonical
from ledger.capabilities import CONTRACTS
from ledger.types import JSON
from orchestra.planning.plan import Ref, Task, refs_in
from orchestra.subnets.mapping import MappingFailed, select


class MissingArgument(Exception):
    """A required argument has no value. The message names it and the Ref that gave nothing."""


def resolve(task: Task, outputs: Mapping[str, JSON]) -> dict[str, Any]:
    """The task's arguments with every Ref replaced. `outputs` holds the mapped output of every task that is done; a
    Ref to any other reads as null, and arguments that are null are left out.

    Raises:
        MissingArgument: a required argument is null, or a Ref is no JMESPath that fits the output.
    """
    contract = CONTRACTS.get(task.capability)
    wanted: dict[str, Any] = contract.arguments["properties"] if contract else {}
    required: list[str] = contract.arguments["required"] if contract else []
    resolved: dict[str, Any] = {}
    for name, argument in task.arguments.items():
        value = _value(argument, outputs)
        if wanted.get(name, {}).get("type") == "string":
            value = _text(value)
        if value is not None:
            resolved[name] = value
        elif name in required:
            raise MissingArgument(f"{name} of {task.capability} is empty: {_sources(argument)}")
    return resolved


def _sources(argument: Any) -> str:
    named = [f"{ref.path} of {ref.task!r}" for ref in refs_in(argument)]
    return f"{', '.join(named)} gave nothing" if named else "the plan gives null"


def _value(argument: Any, outputs: Mapping[str, JSON]) -> Any:
    if isinstance(argument, Ref):
        return _read(argument, outputs)
    if isinstance(argument, dict):
        items = {key: _value(item, outputs) for key, item in cast("dict[str, Any]", argument).items()}
        return {key: item for key, item in items.items() if item is not None}
    if isinstance(argument, list | tuple):
        values = [_value(item, outputs) for item in cast("list[Any]", argument)]
        return [value for value in values if value is not None] or None
    return argument


def _read(ref: Ref, outputs: Mapping[str, JSON]) -> Any:
    if ref.task not in outputs:
        return None
    try:
        return select(ref.path, outputs[ref.task])
    except MappingFailed as failed:
        raise MissingArgument(f"{ref.path} of {ref.task!r} cannot be read: {failed.detail}") from None


def _text(value: Any) -> str | None:
    """A string from whatever was found; None when there is nothing in it."""
    if isinstance(value, list):
        parts = [part for part in map(_text, cast("list[Any]", value)) if part]
        return "\n\n".join(parts) or None
    if value is None or isinstance(value, str):
        return value or None
    return canonical(value).decode()
