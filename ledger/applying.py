"""What a proposal does to an entry: pure functions from the entry in force to the one that would be.

The part that a proposal replaces decides whether it still applies. A proposal can be true and yet not applicable: that
is a `CannotApply`, and nobody's fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ledger.canonical import StrictJSONError, digest, parse_strict
from ledger.changes import MAX_ENTRY_BYTES
from ledger.entry import Operation, SubnetEntry
from ledger.proposals import SCHEMA_PARTS, Deprecation, MetricsUpdate, NewSubnet, OwnerChange, Proposal, SchemaUpdate
from ledger.schemas import SchemaRefused, compile_schema
from ledger.types import Hash


class CannotApply(ValueError):
    """The entry is not what the proposal takes it for, or would not be valid with it."""


def base_of(entry: SubnetEntry | None, proposal: Proposal) -> Hash | None:
    """The digest of what the proposal replaces, as the entry has it now; None for a new subnet.

    Raises:
        CannotApply: there is no such entry or operation.
    """
    if isinstance(proposal, NewSubnet):
        return None
    found = _entry(entry, proposal.entry)
    if isinstance(proposal, Deprecation):
        return digest({"status": found.status})
    if isinstance(proposal, OwnerChange) and not proposal.operation:
        return digest({"netuid": found.netuid})
    return digest(_part(_operation(found, proposal.operation), proposal))


def part_name(kind: str, operation: str) -> str:
    """Which part of an entry a proposal of this kind replaces: changes of one part are ordered among themselves."""
    return f"{operation}/{kind}"


def apply(entry: SubnetEntry | None, proposal: Proposal, *, block: int) -> SubnetEntry:
    """The entry with the proposal in force from `block` on.

    Raises:
        CannotApply: `base` is not what the entry says now, or the result would not be a valid entry.
    """
    if isinstance(proposal, NewSubnet):
        if entry is not None and not _comes_back(entry, proposal):
            raise CannotApply(f"there is an entry {entry.id} already")
        return _storable(proposal.body)
    if base_of(entry, proposal) != proposal.base:
        raise CannotApply("the entry does not say any more what this proposal replaces")
    old = _entry(entry, proposal.entry)
    new = _changed(old, proposal, block)
    if new == old:
        raise CannotApply("the entry says that already")
    return _storable(new)


def _storable(entry: SubnetEntry) -> SubnetEntry:
    """An entry that every node can write down and read back: what grew too large or too deep would end them all."""
    try:
        parse_strict(entry.canonical(), max_bytes=MAX_ENTRY_BYTES)
    except StrictJSONError as error:
        raise CannotApply(f"{entry.id} would be no change that a log holds: {error.detail}") from None
    return entry


def _comes_back(entry: SubnetEntry, proposal: NewSubnet) -> bool:
    """A deprecated entry is replaced by its own netuid's owner alone."""
    return entry.status == "deprecated" and bool(proposal.consents) and entry.netuid == proposal.body.netuid


def _changed(entry: SubnetEntry, proposal: Proposal, block: int) -> SubnetEntry:
    if isinstance(proposal, Deprecation):
        return _valid(entry, {"status": "deprecated"})
    if isinstance(proposal, OwnerChange) and proposal.change.netuid is not None:
        return _valid(entry, {"netuid": proposal.change.netuid, "netuid_since": block})
    assert isinstance(proposal, SchemaUpdate | MetricsUpdate | OwnerChange)
    old = _operation(entry, proposal.operation)
    new = _valid_operation(old, _fields(proposal))
    return _valid(entry, {"operations": [new if each is old else each for each in entry.operations]})


def _fields(proposal: SchemaUpdate | MetricsUpdate | OwnerChange) -> dict[str, Any]:
    if isinstance(proposal, MetricsUpdate):
        return {"metrics": proposal.metrics}
    named: dict[str, Any] = (
        {name: getattr(proposal, name) for name in SCHEMA_PARTS}
        if isinstance(proposal, SchemaUpdate)
        else {name: getattr(proposal.change, name) for name in ("endpoint", "auth", "receipt_key")}
    )
    return {name: value for name, value in named.items() if value is not None}


def _part(operation: Operation, proposal: SchemaUpdate | MetricsUpdate | OwnerChange) -> dict[str, Any]:
    if isinstance(proposal, SchemaUpdate):
        names: set[str] = set(SCHEMA_PARTS)
    else:
        names = {"metrics"} if isinstance(proposal, MetricsUpdate) else {"endpoint", "auth", "receipt_key"}
    return operation.model_dump(mode="json", include=names)


def _entry(entry: SubnetEntry | None, entry_id: str) -> SubnetEntry:
    if entry is None:
        raise CannotApply(f"there is no entry {entry_id}")
    return entry


def _operation(entry: SubnetEntry, name: str) -> Operation:
    found = entry.operation(name)
    if found is None:
        raise CannotApply(f"{entry.id} has no operation {name}")
    return found


def _valid(entry: SubnetEntry, update: Mapping[str, Any]) -> SubnetEntry:
    fields = {name: getattr(entry, name) for name in SubnetEntry.model_fields}
    try:
        return SubnetEntry.model_validate(fields | dict(update))
    except ValidationError as error:
        raise CannotApply(f"{entry.id} would not be valid: {error.errors(include_url=False)[0]['msg']}") from None


def _valid_operation(operation: Operation, update: Mapping[str, Any]) -> Operation:
    fields = {name: getattr(operation, name) for name in Operation.model_fields}
    return Operation.model_validate(fields | dict(update))


def schemas_trouble(proposal: Proposal) -> str:
    """Why the compiler refuses a schema that is proposed, or nothing. Who judges a proposal asks this first; what the
    others' compilers say must not decide whether two nodes come to the same sums.
    """
    for schema in _schemas(proposal):
        try:
            compile_schema(schema)
        except SchemaRefused as error:
            return f"a schema is refused: {error}"[:200]
    return ""


def _schemas(proposal: Proposal) -> list[dict[str, Any]]:
    if isinstance(proposal, NewSubnet):
        pairs = [(each.input_schema, each.output_schema) for each in proposal.body.operations]
        return [schema for pair in pairs for schema in pair]
    if isinstance(proposal, SchemaUpdate):
        return [schema for schema in (proposal.input_schema, proposal.output_schema) if schema is not None]
    return []
