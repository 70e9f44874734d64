"""This node's copy of the Ledger: the version in force, every earlier version, and how it follows the network.

Until the Ledger is governed by quorum, one hotkey (the subnet owner's validator, by setting) commits changes and signs
what it serves; every other node follows it and refuses anything that does not extend, leaf by leaf, what it holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from ledger.canonical import as_object, canonical, parse_strict
from ledger.entry import SubnetEntry
from ledger.leaves import ENTRY, MAX_LEAF_BYTES, LogLeaf
from ledger.store import LedgerStore
from ledger.types import JSON, Signer, Verify
from ledger.view import Committed, LedgerView
from orchestra.protocol import LedgerChanges, LedgerLeaf, OtherLeaf

MAX_CHANGES_PER_MESSAGE = 500
_KEPT_VERSIONS = 8


class LedgerRefused(RuntimeError):
    """What a peer served as the Ledger is not an extension of ours, or not signed by the hotkey that commits."""


class LedgerSource(Protocol):
    """Where changes come from: one signed request to the committing validator."""

    async def changes_since(self, size: int) -> LedgerChanges: ...


class LedgerNode:
    """Owner of the store and of the current view. `view` is replaced, never changed, so readers need no lock."""

    def __init__(self, store: LedgerStore, view: LedgerView) -> None:
        self._store = store
        self._view = view
        self._log: tuple[Committed, ...] = ()
        self._earlier: OrderedDict[str, LedgerView] = OrderedDict()
        self._lock = threading.Lock()  # around `_earlier` alone: audits look versions up from their threads

    @classmethod
    async def open(cls, url: str, *, seed: Sequence[SubnetEntry] = ()) -> LedgerNode:
        """Open the node's copy; an empty one starts from `seed`.

        Raises:
            ledger.store.LedgerCorrupt: the file is damaged.
        """
        store = await LedgerStore.open(url)
        node = cls(store, LedgerView(()))
        log = await store.log()
        if not log and seed:
            log = tuple(map(Committed.of, seed))
            await store.extend(log, onto=0, block=0)
        node._adopt(log)
        return node

    async def close(self) -> None:
        await self._store.close()

    @property
    def view(self) -> LedgerView:
        return self._view

    def at(self, version: str) -> LedgerView | None:
        """The Ledger as it was at `version`, or None when that is not a version of this log."""
        view = self._view
        if version == view.version:
            return view
        with self._lock:
            if version in self._earlier:
                self._earlier.move_to_end(version)
                return self._earlier[version]
        size = int(version.partition(":")[0])
        if size > len(self._log):
            return None
        earlier = LedgerView(self._log[:size])
        if earlier.version != version:
            return None
        with self._lock:
            self._earlier[version] = earlier
            while len(self._earlier) > _KEPT_VERSIONS:
                self._earlier.popitem(last=False)
        return earlier

    def first(self, entry_id: str) -> SubnetEntry:
        """An entry as this log has it for the first time.

        Raises:
            KeyError: it never had it.
        """
        found = next((each.entry for each in self._log if each.entry and each.entry.id == entry_id), None)
        if found is None:
            raise KeyError(f"the Ledger never held an entry {entry_id!r}")
        return found

    async def commit(self, entries: Sequence[SubnetEntry], *, block: int) -> LedgerView:
        """Append entries as the committing node.

        Raises:
            ledger.store.LedgerConflict: another writer of the same file was first.
        """
        return await self._extend(tuple(map(Committed.of, entries)), block)

    async def adopt(self, leaves: Sequence[LogLeaf], *, block: int) -> LedgerView:
        """Append changes of any kind that were checked elsewhere: a verified snapshot's, or an agreed batch's.

        Raises:
            ledger.leaves.LeafRefused: an entry that is none; nothing is committed.
            ledger.store.LedgerConflict: another writer of the same file was first.
        """
        return await self._extend(tuple(map(Committed.read, leaves)), block)

    def leaves(self, size: int) -> tuple[LogLeaf, ...]:
        """The first `size` leaves of the log.

        Raises:
            IndexError: it has fewer.
        """
        if size > len(self._log):
            raise IndexError(f"{size} leaves of {len(self._log)}")
        return tuple(each.leaf for each in self._log[:size])

    async def _extend(self, added: tuple[Committed, ...], block: int) -> LedgerView:
        await self._store.extend(added, onto=len(self._log), block=block)
        self._adopt((*self._log, *added))
        return self._view

    def changes_since(self, size: int, signer: Signer) -> LedgerChanges:
        """What a follower at `size` needs next, signed. At most `MAX_CHANGES_PER_MESSAGE` leaves a message."""
        upto = min(size + MAX_CHANGES_PER_MESSAGE, len(self._log))
        leaves = tuple(_to_wire(i, self._log[i]) for i in range(size, upto))
        version = self._view.version if upto == len(self._log) else LedgerView(self._log[:upto]).version
        signature = "0x" + signer.sign(changes_payload(size, version)).hex()
        return LedgerChanges(
            since=size, version=version, leaves=leaves, signer=signer.ss58_address, signature=signature
        )

    async def follow(self, source: LedgerSource, *, committer: str, verify: Verify, block: int) -> LedgerView:
        """Fetch and commit what is new, in one step per message, until this node is where the source is.

        Raises:
            LedgerRefused: not signed by `committer`, or not an extension of what this node holds.
        """
        while True:
            message = await source.changes_since(len(self._log))
            added = self._check(message, committer, verify)
            if added:
                await self._extend(added, block)
            if len(added) < MAX_CHANGES_PER_MESSAGE:
                return self._view

    def _check(self, message: LedgerChanges, committer: str, verify: Verify) -> tuple[Committed, ...]:
        signed = changes_payload(message.since, message.version)
        if message.signer != committer or not verify(committer, signed, bytes.fromhex(message.signature[2:])):
            raise LedgerRefused(f"these changes are not signed by {committer}, who commits to this Ledger")
        if message.since != len(self._log) or [leaf.index for leaf in message.leaves] != list(
            range(message.since, message.since + len(message.leaves))
        ):
            raise LedgerRefused("the changes do not continue where this copy ends")
        added = tuple(map(_from_wire, message.leaves))
        if LedgerView((*self._log, *added)).version != message.version:
            raise LedgerRefused("the changes do not lead to the version that was signed: the histories differ")
        return added

    def _adopt(self, log: tuple[Committed, ...]) -> None:
        if self._log:
            with self._lock:
                self._earlier[self._view.version] = self._view
        self._log = log
        self._view = LedgerView(log)


def _to_wire(index: int, change: Committed) -> LedgerLeaf | OtherLeaf:
    if change.entry is not None:
        return LedgerLeaf(index=index, kind=ENTRY, body=change.entry)
    body = as_object(parse_strict(change.leaf.body, max_bytes=MAX_LEAF_BYTES))
    return OtherLeaf(index=index, kind=change.leaf.kind, body=body)


def _from_wire(leaf: LedgerLeaf | OtherLeaf) -> Committed:
    if isinstance(leaf, LedgerLeaf):
        return Committed.of(leaf.body)
    try:
        return Committed.read(LogLeaf.of(leaf.kind, leaf.body))
    except ValueError as error:
        raise LedgerRefused(f"change {leaf.index}: {error}") from None


def changes_payload(since: int, version: str) -> bytes:
    """What a committer signs: the version already covers every leaf before it."""
    return canonical({"domain": "orchestra-ledger-changes/1", "since": since, "version": version})


def read_seed(raw: bytes) -> tuple[SubnetEntry, ...]:
    """Entries from a seed file: a JSON list of entries.

    Raises:
        ValueError: not strict JSON, not a list, or an entry that is not valid (the message names its place).
    """
    entries: JSON = parse_strict(raw, max_bytes=64 << 20, max_values=10_000_000)
    if not isinstance(entries, list):
        raise ValueError("a Ledger seed is a JSON list of entries")
    return tuple(SubnetEntry.model_validate(each) for each in entries)
