"""What changed between two versions of an entry: operations, fields, and schemas by what they accept.

Two entries may differ in spelling and mean the same, and may differ in one word and break every caller. So schemas are
compared by `ledger.difference`, with its paths; a change of where an operation is, who may call it or how its wire is
mapped is breaking; the rest (a price, a note, a name) is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from ledger.difference import Change, Direction, Kind, diff
from ledger.entry import Operation, SubnetEntry
from ledger.schema_measure import SchemaRefused
from ledger.types import JSON

_MAX_SHOWN = 120
_BREAKING = ("endpoint", "auth", "protocol", "request", "response", "capability", "receipt_key")
_SCHEMAS: dict[str, Direction] = {"input_schema": "input", "output_schema": "output"}
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@dataclass(frozen=True, slots=True)
class OperationDifference:
    """One operation. `changes` are those of a changed one, breaking ones first."""

    name: str
    state: Literal["added", "removed", "changed"]
    kind: Literal["compatible", "breaking"]
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryDifference:
    """`is_new`: there was no such entry. `kind` is `identical` exactly when nothing else is listed."""

    entry: str
    is_new: bool
    kind: Kind
    fields: tuple[Change, ...] = ()
    operations: tuple[OperationDifference, ...] = field(default=())

    def lines(self) -> list[str]:
        """The difference for a person: a head, then a line for each change."""
        head = f"{self.entry}: {'a new entry' if self.is_new else self.kind}"
        lines = [head, *(f"~ {change}" for change in self.fields)]
        for each in self.operations:
            lines.append(f"{_SIGNS[each.state]} operation {each.name}")
            lines += [f"    {change}{' (breaking)' if change.kind == 'breaking' else ''}" for change in each.changes]
        return lines

    def document(self) -> dict[str, JSON]:
        """The difference as JSON."""
        operations: list[JSON] = [
            {"name": each.name, "state": each.state, "kind": each.kind, "changes": _documents(each.changes)}
            for each in self.operations
        ]
        return {
            "entry": self.entry,
            "is_new": self.is_new,
            "kind": self.kind,
            "fields": _documents(self.fields),
            "operations": operations,
        }


def difference(old: SubnetEntry | None, new: SubnetEntry) -> EntryDifference:
    """Compare two versions of one entry; `old` is None for one that is new."""
    if old is None:
        added = tuple(OperationDifference(each.name, "added", "compatible") for each in new.operations)
        return EntryDifference(new.id, True, "compatible", operations=added)
    fields = tuple(_fields(_plain(old, "operations"), _plain(new, "operations"), ""))
    operations = tuple(_operations(old, new))
    kinds = {each.kind for each in (*fields, *operations)}
    kind: Kind = "breaking" if "breaking" in kinds else "compatible" if kinds else "identical"
    return EntryDifference(new.id, False, kind, fields, operations)


def _operations(old: SubnetEntry, new: SubnetEntry) -> Iterator[OperationDifference]:
    for each in new.operations:
        before = old.operation(each.name)
        if before is None:
            yield OperationDifference(each.name, "added", "compatible")
        elif changes := sorted(_changes(before, each), key=lambda one: one.kind != "breaking"):
            yield OperationDifference(each.name, "changed", changes[0].kind, tuple(changes))
    for each in old.operations:
        if new.operation(each.name) is None:
            yield OperationDifference(each.name, "removed", "breaking")


def _changes(before: Operation, after: Operation) -> Iterator[Change]:
    yield from _fields(_plain(before, *_SCHEMAS), _plain(after, *_SCHEMAS), "")
    for name, direction in _SCHEMAS.items():
        was, now = getattr(before, name), getattr(after, name)
        if was == now:
            continue
        try:
            found = diff(was, now, direction=direction)
        except SchemaRefused as refused:
            yield Change(name, "what was known", f"cannot be compared ({refused.code})", "breaking")
        else:
            yield from found.changes or (Change(name, "what was known", "the same in other words", "compatible"),)


def _plain(model: SubnetEntry | Operation, *without: str) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude={*without})


def _fields(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Change]:
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        here = f"{path}.{name}" if path else name
        if was == now:
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            yield from _fields(cast("dict[str, Any]", was), cast("dict[str, Any]", now), here)
        else:
            kind = "breaking" if here.partition(".")[0] in _BREAKING else "compatible"
            yield Change(here, _shown(cast("object", was)), _shown(cast("object", now)), kind)


def _shown(value: object) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    if len(text) > _MAX_SHOWN and isinstance(value, list):
        return f"a list of {len(cast('list[object]', value))}"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _documents(changes: tuple[Change, ...]) -> list[JSON]:
    return [{"path": one.path, "before": one.before, "after": one.after, "kind": one.kind} for one in changes]
