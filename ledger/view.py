"""One committed version of the Ledger, in memory and immutable: what planning, routing and auditing read.

Hot reads never touch the database (DESIGN §10). Two views with the same `version` hold the same entries, bit for bit:
the version is `<size>:<root>` of the log whose leaves are the committed changes in order. A view shows the entries; the
other leaves (`ledger.changes`) count in its version and say how it came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ledger.canonical import merkle_root
from ledger.changes import Change, change_leaf
from ledger.entry import Operation, SubnetEntry


@dataclass(frozen=True, slots=True)
class OperationRef:
    """An operation with the entry it belongs to."""

    entry: SubnetEntry
    operation: Operation

    @property
    def name(self) -> str:
        """`desearch/web_search`: unique within one version."""
        return f"{self.entry.id}/{self.operation.name}"


class LedgerView:
    """The Ledger after some number of committed changes; a later change of an entry replaces the earlier one."""

    def __init__(self, changes: Iterable[Change]) -> None:
        log = tuple(changes)
        self.leaves = tuple(change_leaf(change) for change in log)
        entries = {change.id: change for change in log if isinstance(change, SubnetEntry)}
        self.entries: Mapping[str, SubnetEntry] = MappingProxyType(entries)
        self.version = f"{len(log)}:{merkle_root(self.leaves)}"
        self._by_capability = _index(self.entries.values())

    @property
    def size(self) -> int:
        """How many changes were committed."""
        return len(self.leaves)

    def entry(self, entry_id: str) -> SubnetEntry | None:
        return self.entries.get(entry_id)

    def operation(self, entry_id: str, name: str) -> OperationRef | None:
        entry = self.entries.get(entry_id)
        operation = entry.operation(name) if entry else None
        return OperationRef(entry, operation) if entry and operation else None

    def operations(self, capability: str) -> tuple[OperationRef, ...]:
        """Operations of which one call gives what the capability promises (role `task`), in order of their names.

        Deprecated entries are not among them.
        """
        return self._by_capability.get(capability, ())

    @property
    def capabilities(self) -> frozenset[str]:
        """Capabilities that at least one callable operation serves."""
        return frozenset(self._by_capability)


def _index(entries: Iterable[SubnetEntry]) -> dict[str, tuple[OperationRef, ...]]:
    found: dict[str, list[OperationRef]] = {}
    for entry in entries:
        if entry.status != "deprecated":
            for operation in entry.operations:
                if operation.role == "task":
                    found.setdefault(operation.capability, []).append(OperationRef(entry, operation))
    return {name: tuple(sorted(refs, key=lambda ref: ref.name)) for name, refs in found.items()}
