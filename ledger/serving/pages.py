"""The bodies of one edition: each entry is serialised once, and what is asked for often is kept as the bytes to send.

A page exists in two kinds: whole entries, and the basic fields that every tier sees. Lists join ready pieces. Nothing
here waits; what takes longer (search, exports) is called from a thread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from ledger.catalogue import vocabulary
from ledger.entry import Operation, SubnetEntry
from ledger.search import Hit, SearchIndex
from ledger.search_limits import verdict
from ledger.search_query import Limits, Query
from ledger.serving.edition import Change, Edition
from ledger.serving.models import BasicOperation, BasicSubnet

MOST_LISTED = 100


class Pages:
    """What the API says of one edition. `full` is what the caller's tier sees."""

    def __init__(self, edition: Edition) -> None:
        self.edition = edition
        self._entries: dict[tuple[str, bool], bytes] = {}
        self._subnets: dict[tuple[str, bool], bytes] = {}
        attached = b"".join(hashlib.sha256(each or b"").digest() for each in edition.attached)
        mark = hashlib.sha256(attached).hexdigest()[:8]
        self._etags = tuple(f'"{edition.version}.{kind}.{mark}"' for kind in ("basic", "full"))

    def etag(self, full: bool) -> str:
        """Of everything that depends alone on the version, on what is attached to it and on what the caller sees."""
        return self._etags[full]

    # one entry

    def subnet(self, entry_id: str, full: bool) -> bytes | None:
        """The page of one entry; None when there is none."""
        known = self._subnets.get((entry_id, full))
        if known is None and entry_id in self.edition.entries:
            known = self._subnets[entry_id, full] = self._subnet(entry_id, full)
        return known

    def _subnet(self, entry_id: str, full: bool) -> bytes:
        change = self.edition.history(entry_id)[-1]
        proof = dumps(self.proof(change.index, self.edition.size)) if full else b"null"
        return self.page(subnet=self.entry(entry_id, full), change=dumps(self.line(change)), proof=proof)

    def entry(self, entry_id: str, full: bool) -> bytes:
        """An entry as JSON, whole or basic. Raises KeyError: there is none."""
        known = self._entries.get((entry_id, full))
        if known is None:
            entry = self.edition.entries[entry_id]
            shown = entry if full else basic(entry)
            known = self._entries[entry_id, full] = shown.model_dump_json().encode()
        return known

    def proof(self, index: int, size: int) -> dict[str, Any]:
        """That the leaf at `index` stands in the first `size` leaves. Raises IndexError: it does not."""
        log = self.edition.log
        return {
            "index": index,
            "leaf": log.leaf(index),
            "size": size,
            "root": log.root(size),
            "path": log.inclusion_proof(index, size),
            "checkpoint": self._checkpoint_of(size),
        }

    def vouched(self, index: int) -> int:
        """In how many leaves to prove the leaf at `index`: as many as the checkpoint names, if it is one of them."""
        size = self._checkpoint[1]
        return size if index < size <= self.edition.size else self.edition.size

    def _checkpoint_of(self, size: int) -> str | None:
        note, vouched = self._checkpoint
        return note if vouched == size else None

    @cached_property
    def _checkpoint(self) -> tuple[str, int]:
        """The note that is attached, and of how many leaves it is; nothing, and -1, without one."""
        note = (self.edition.attached.checkpoint or b"").decode()
        size = "".join(note.split("\n")[1:2])
        return note, int(size) if size.isdecimal() and len(size) < 17 else -1

    def line(self, change: Change) -> dict[str, Any]:
        """A change as the API shows it."""
        leaf = self.edition.log.leaf(change.index)
        return {
            "index": change.index,
            "kind": change.kind,
            "entry": change.entry,
            "block": change.block,
            "leaf": leaf,
        }

    # lists

    def page(self, **parts: bytes) -> bytes:
        """A body of ready pieces, with the version first."""
        version = f'"ledger_version":"{self.edition.version}"'.encode()
        return b"{" + b",".join((version, *(b'"%s":%s' % (name.encode(), part) for name, part in parts.items()))) + b"}"

    def subnets(self, full: bool, *, capability: str | None, status: str | None, after: str, limit: int) -> bytes:
        """Entries by id, at most `limit` of those behind `after`."""
        chosen = [
            entry.id
            for entry in self._by_id
            if entry.id > after
            and (capability is None or capability in entry.capabilities)
            and (status is None or entry.status == status)
        ]
        shown = chosen[:limit]
        following = dumps(shown[-1] if len(chosen) > limit else None)
        return self.page(subnets=_list(self.entry(each, full) for each in shown), next=following)

    @cached_property
    def _by_id(self) -> Sequence[SubnetEntry]:
        return sorted(self.edition.entries.values(), key=lambda entry: entry.id)

    def operations(
        self, capability: str | None, limits: Limits, after: str, limit: int, tao_usd: Decimal | None
    ) -> bytes:
        """Callable operations by name that keep the limits, or of which it is not known."""
        shown: list[dict[str, Any]] = []
        following: str | None = None
        for name, entry, operation in self._operations:
            if name <= after or (capability is not None and operation.capability != capability):
                continue
            said = verdict(operation, limits, tao_usd)
            if said.kept is False:
                continue
            if len(shown) == limit:
                following = f"{shown[-1]['subnet']}/{shown[-1]['operation']}"
                break
            shown.append(_operation_line(entry, operation, said.why))
        return self.page(operations=dumps(shown), next=dumps(following))

    @cached_property
    def _operations(self) -> Sequence[tuple[str, SubnetEntry, Operation]]:
        every = ((entry, each) for entry in self._by_id if entry.status != "deprecated" for each in entry.operations)
        return sorted(((f"{entry.id}/{each.name}", entry, each) for entry, each in every), key=lambda found: found[0])

    def search(self, text: str, limit: int, tao_usd: Decimal | None) -> bytes:
        """Entries for a question in plain words, with the limits that the words name."""
        hits = self.index.find(Query.parse(text), limit=limit, tao_usd=tao_usd)
        return self.page(hits=dumps([_hit(each) for each in hits]))

    @cached_property
    def index(self) -> SearchIndex:
        return SearchIndex(self.edition)

    def capabilities(self) -> bytes:
        """The vocabulary, with how many operations serve each."""
        counted = [
            {"name": name, "meaning": meaning, "operations": len(self.edition.operations(name))}
            for name, meaning in vocabulary().items()
        ]
        return self.page(capabilities=dumps(counted))

    def ledger(self) -> bytes:
        """The version in force."""
        edition = self.edition
        said = {
            "size": edition.size,
            "root": edition.root,
            "block": edition.changes[edition.size - 1].block if edition.size else 0,
            "subnets": len(edition.entries),
            "operations": sum(len(entry.operations) for entry in edition.entries.values()),
            "checkpoint": edition.attached.checkpoint is not None,
            "snapshot": edition.attached.snapshot is not None,
        }
        return self.page(**{name: dumps(value) for name, value in said.items()})

    # changes

    async def changes(self, chosen: Sequence[Change], full: bool, **more: bytes) -> bytes:
        """Leaves of the log in full, or only where they stand."""
        bodies = await self.edition.bodies([each.index for each in chosen] if full else ())
        lines = [dumps({**self.line(each), "body": None}) for each in chosen]
        if full:
            ends = [bodies[each.index] + b"}" for each in chosen]
            lines = [line.removesuffix(b"null}") + end for line, end in zip(lines, ends, strict=True)]
        return self.page(changes=_list(lines), **more)


def basic(entry: SubnetEntry) -> BasicSubnet:
    """What every tier sees of an entry."""
    shown = {name: getattr(entry, name) for name in BasicSubnet.model_fields if name != "operations"}
    operations = tuple(map(basic_operation, entry.operations))
    return BasicSubnet(**shown, operations=operations)


def basic_operation(each: Operation) -> BasicOperation:
    """What every tier sees of an operation."""
    return BasicOperation(name=each.name, capability=each.capability, role=each.role, protocol=each.protocol)


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _list(pieces: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(pieces) + b"]"


def _operation_line(entry: SubnetEntry, operation: Operation, why: tuple[str, ...]) -> dict[str, Any]:
    return {
        "subnet": entry.id,
        "netuid": entry.netuid,
        "operation": operation.name,
        "capability": operation.capability,
        "price": operation.price.model_dump() if operation.price else None,
        "expected_ms": operation.metrics.latency_ms if operation.metrics else operation.expected_ms,
        "status": entry.status,
        "why": why,
    }


def _hit(hit: Hit) -> dict[str, Any]:
    entry = hit.entry
    return {
        "id": entry.id,
        "netuid": entry.netuid,
        "name": entry.name,
        "description": entry.description,
        "status": entry.status,
        "operations": [each.operation.name for each in hit.operations],
        "score": round(hit.score, 3),
        "why": hit.why,
    }
