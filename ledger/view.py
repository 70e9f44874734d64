"""One committed version of the Ledger, in memory and immutable: what planning, routing and auditing read.

Hot reads never touch the database (DESIGN §10). Two views with the same `version` hold the same entries, bit for bit:
the version is `<size>:<root>` of the log whose leaves are the committed changes in order, of whatever kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from ledger.canonical import merkle_root
from ledger.entry import Operation, SubnetEntry
from ledger.leaves import LogLeaf, entry_leaf
from ledger.types import Hash


@dataclass(frozen=True, slots=True)
class OperationRef:
    """An operation with the entry it belongs to."""

    entry: SubnetEntry
    operation: Operation

    @property
    def name(self) -> str:
        """`desearch/web_search`: unique within one version."""
        return f"{self.entry.id}/{self.operation.name}"


def change_leaf(entry: SubnetEntry) -> Hash:
    """The log leaf of a committed entry: what is hashed is the kind of the change and the whole entry."""
    return entry_leaf(entry).hash


@dataclass(frozen=True, slots=True)
class Committed:
    """A change as the log has it, and the entry that it leaves behind, if that is what it changes."""

    leaf: LogLeaf
    entry: SubnetEntry | None

    @classmethod
    def read(cls, leaf: LogLeaf) -> Self:
        """A leaf of any kind, understood as far as we do.

        Raises:
            ledger.leaves.LeafRefused: it says it is an entry and is none.
        """
        return cls(leaf, leaf.entry())

    @classmethod
    def of(cls, entry: SubnetEntry) -> Self:
        return cls(entry_leaf(entry), entry)


class LedgerView:
    """The Ledger after some number of committed changes; a later change of an entry replaces the earlier one."""

    def __init__(self, changes: Iterable[SubnetEntry | Committed]) -> None:
        log = [Committed.of(each) if isinstance(each, SubnetEntry) else each for each in changes]
        self.leaves = tuple(each.leaf.hash for each in log)
        self.entries: Mapping[str, SubnetEntry] = MappingProxyType(
            {each.entry.id: each.entry for each in log if each.entry}
        )
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
