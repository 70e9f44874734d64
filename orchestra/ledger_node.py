"""This node's copy of the Ledger: the version in force, every earlier version, and how it follows the network.

Until the Ledger is governed by quorum, one hotkey (the subnet owner's validator, by setting) commits changes and signs
what it serves; every other node follows it and refuses anything that does not extend, leaf by leaf, what it holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from ledger.canonical import canonical, parse_strict
from ledger.changes import Change, kind_of
from ledger.entry import SubnetEntry
from ledger.store import LedgerStore
from ledger.types import JSON, Signer, Verify
from ledger.view import LedgerView
from orchestra.protocol import LedgerChanges, LedgerLeaf

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
        self._log: tuple[Change, ...] = ()
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
        log = await store.changes(0)
        if not log and seed:
            await store.append(seed, onto=0, block=0)
            log = tuple[Change, ...](seed)
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
        entries = (change for change in self._log if isinstance(change, SubnetEntry))
        found = next((entry for entry in entries if entry.id == entry_id), None)
        if found is None:
            raise KeyError(f"the Ledger never held an entry {entry_id!r}")
        return found

    @property
    def log(self) -> tuple[Change, ...]:
        """Every committed change, in order."""
        return self._log

    async def commit(self, added: Sequence[Change], *, block: int) -> LedgerView:
        """Append changes as the committing node.

        Raises:
            ledger.store.LedgerConflict: another writer of the same file was first.
        """
        await self._store.append(added, onto=len(self._log), block=block)
        self._adopt((*self._log, *added))
        return self._view

    def changes_since(self, size: int, signer: Signer) -> LedgerChanges:
        """What a follower at `size` needs next, signed. At most `MAX_CHANGES_PER_MESSAGE` leaves a message."""
        upto = min(size + MAX_CHANGES_PER_MESSAGE, len(self._log))
        leaves = tuple(LedgerLeaf(index=i, kind=kind_of(self._log[i]), body=self._log[i]) for i in range(size, upto))
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
                await self._store.append(added, onto=len(self._log), block=block)
                self._adopt((*self._log, *added))
            if len(added) < MAX_CHANGES_PER_MESSAGE:
                return self._view

    def _check(self, message: LedgerChanges, committer: str, verify: Verify) -> tuple[Change, ...]:
        signed = changes_payload(message.since, message.version)
        if message.signer != committer or not verify(committer, signed, bytes.fromhex(message.signature[2:])):
            raise LedgerRefused(f"these changes are not signed by {committer}, who commits to this Ledger")
        if message.since != len(self._log) or [leaf.index for leaf in message.leaves] != list(
            range(message.since, message.since + len(message.leaves))
        ):
            raise LedgerRefused("the changes do not continue where this copy ends")
        added = tuple(leaf.body for leaf in message.leaves)
        if LedgerView((*self._log, *added)).version != message.version:
            raise LedgerRefused("the changes do not lead to the version that was signed: the histories differ")
        return added

    def _adopt(self, log: tuple[Change, ...]) -> None:
        if self._log:
            with self._lock:
                self._earlier[self._view.version] = self._view
        self._log = log
        self._view = LedgerView(log)


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
