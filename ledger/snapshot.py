"""A whole copy of the log in one file, that anyone can check without asking anybody.

Lines of canonical JSON: the checkpoint that validators signed, every leaf of the log it names in order, and a digest of
all before it. Lines, because a leaf's line is exactly what the tree hashes, so that a copy of any size is checked while
it is read, one leaf in memory at a time, and a person reads it with `head`. Not compressed: what cannot expand needs no
bound but its own length, and a transport that wants to compress can. The same log and checkpoint give the same bytes.

The root covers the leaves and the signatures cover the root; the digest covers what neither does (lines of keys that do
not count), so that a copy is either the one that was written or refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ledger.canonical import StrictJSONError, canonical, parse_strict
from ledger.checkpoint import Checkpoint, CheckpointRefused, Trust, Verified, parse_checkpoint, verify_checkpoint
from ledger.leaves import MAX_LEAF_BYTES, LeafRefused, LogLeaf, read_leaf
from ledger.log import MerkleLog
from ledger.signed_note import MAX_BYTES, NoteRefused
from ledger.types import Hash, Verify

FORMAT = "orchestra-ledger-snapshot/1"
MAX_SNAPSHOT_BYTES = 1 << 30
_MAX_HEAD = 2 * MAX_BYTES
_TAIL_START = b'{"sha256":'


class SnapshotRefused(ValueError):
    """Why a copy is not believed. `code` is stable: one of `CheckpointRefused`, or `too_large`, `malformed`,
    `truncated`, `bad_leaf`, `wrong_root`, `damaged`.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class VerifiedSnapshot:
    """A copy that is believed: who vouches for it, its checkpoint as signed, and its tree."""

    verified: Verified
    note: bytes
    log: MerkleLog

    @property
    def checkpoint(self) -> Checkpoint:
        return self.verified.checkpoint


# Writing --------------------------------------------------------------------------------------------------------------


def write_snapshot(note: bytes, leaves: Iterable[LogLeaf]) -> Iterator[bytes]:
    """The file, a line at a time. `leaves` are those that the checkpoint in `note` names, in order.

    Raises:
        ValueError: the note is not a checkpoint, or the leaves are not those that it names.
    """
    checkpoint, _ = parse_checkpoint(note)
    log, seen = MerkleLog(), hashlib.sha256()
    for line in _body(note, leaves, log):
        seen.update(line)
        yield line
    if (log.size, log.root()) != (checkpoint.size, checkpoint.root):
        raise ValueError(f"the leaves lead to {log.version}, the checkpoint says {checkpoint.version}")
    yield canonical({"sha256": "0x" + seen.hexdigest()}) + b"\n"


def _body(note: bytes, leaves: Iterable[LogLeaf], log: MerkleLog) -> Iterator[bytes]:
    yield canonical({"checkpoint": note.decode(), "format": FORMAT}) + b"\n"
    for leaf in leaves:
        log.append(leaf.hash)
        yield leaf.line + b"\n"


# Reading --------------------------------------------------------------------------------------------------------------


def verify_snapshot(
    file: BinaryIO,
    trust: Trust,
    verify: Verify,
    *,
    now_ms: int,
    seen: Sequence[Checkpoint] = (),
    keep: Callable[[LogLeaf], object] | None = None,
    max_bytes: int = MAX_SNAPSHOT_BYTES,
) -> VerifiedSnapshot:
    """Read a copy to its end and believe it, or say why not. Signatures come first: nothing unsigned is read far.

    `seen` are checkpoints believed before; the copy must continue them all. `keep` gets every leaf as it is read: what
    it got is worth something only once this has returned.

    Raises:
        SnapshotRefused: as `verify_checkpoint`; `too_large`, `malformed`, `truncated` (fewer leaves than signed for),
            `bad_leaf`, `wrong_root` (leaves changed, added, reordered), `damaged` (anything else is not as written).
    """
    lines = _Lines(file, max_bytes)
    note = _read_head(lines.next(_MAX_HEAD))
    try:
        verified = _believe(note, trust, verify, now_ms, seen)
        log = _read_leaves(lines, verified.checkpoint, keep)
        for one in seen:
            _require_continuation(one, log)
    except CheckpointRefused as error:
        raise SnapshotRefused(error.code, error.detail) from None
    _read_tail(lines)
    return VerifiedSnapshot(verified, note, log)


def read_note(file: BinaryIO) -> bytes:
    """The checkpoint at the head of a copy, nothing checked.

    Raises:
        SnapshotRefused: `malformed`, `truncated`, `too_large`.
    """
    return _read_head(_Lines(file, _MAX_HEAD).next(_MAX_HEAD))


class _Lines:
    """A file's lines under one limit of bytes, with the digest of those read."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file = file
        self._left = left
        self._seen = hashlib.sha256()

    def next(self, most: int) -> bytes:
        """The next line, without its newline."""
        bound = min(most, self._left)
        line = self._file.readline(bound + 2)
        if len(line) > bound + 1 or (len(line) == bound + 1 and not line.endswith(b"\n")):
            raise SnapshotRefused("too_large", f"a line of more than {bound} bytes")
        if not line.endswith(b"\n"):
            raise SnapshotRefused("truncated", "the file ends in the middle")
        self._left -= len(line)
        self._seen.update(line)
        return line[:-1]

    def digest(self) -> Hash:
        """SHA-256 of everything read so far."""
        return Hash("0x" + self._seen.hexdigest())

    def ended(self) -> bool:
        return not self._file.read(1)


def _read_head(line: bytes) -> bytes:
    try:
        head = parse_strict(line, max_bytes=_MAX_HEAD, max_depth=1, max_values=8)
    except StrictJSONError as error:
        raise SnapshotRefused("malformed", f"the first line: {error.code}") from None
    note = head.get("checkpoint") if isinstance(head, dict) else None
    if not isinstance(note, str) or canonical({"checkpoint": note, "format": FORMAT}) != line:
        raise SnapshotRefused("malformed", f"the first line is not that of {FORMAT}")
    return note.encode()


def _believe(note: bytes, trust: Trust, verify: Verify, now_ms: int, seen: Sequence[Checkpoint]) -> Verified:
    """The checkpoint, as far as can be said before the leaves: they tell whether it continues a smaller one."""
    largest = max(seen, key=lambda one: one.size, default=None)
    try:
        longer = largest is None or parse_checkpoint(note)[0].size > largest.size
    except NoteRefused as error:
        raise CheckpointRefused("malformed", str(error)) from None
    return verify_checkpoint(note, trust, verify, now_ms=now_ms, last=None if longer else largest)


def _read_leaves(lines: _Lines, checkpoint: Checkpoint, keep: Callable[[LogLeaf], object] | None) -> MerkleLog:
    log = MerkleLog()
    for index in range(checkpoint.size):
        line = lines.next(MAX_LEAF_BYTES)
        if line.startswith(_TAIL_START):
            raise SnapshotRefused("truncated", f"{index} changes, the checkpoint names {checkpoint.size}")
        try:
            leaf = read_leaf(line)
        except LeafRefused as error:
            raise SnapshotRefused("bad_leaf", f"change {index}: {error}") from None
        log.append(leaf.hash)
        if keep is not None:
            keep(leaf)
    if log.root() != checkpoint.root:
        raise SnapshotRefused("wrong_root", f"the changes lead to {log.version}, signed is {checkpoint.version}")
    return log


def _require_continuation(before: Checkpoint, log: MerkleLog) -> None:
    if log.root(before.size) != before.root:
        raise CheckpointRefused("inconsistent", f"it does not continue the {before.size} changes seen before")


def _read_tail(lines: _Lines) -> None:
    expected = canonical({"sha256": lines.digest()})
    line = lines.next(MAX_LEAF_BYTES)
    if not line.startswith(_TAIL_START):
        raise SnapshotRefused("malformed", "more changes than the checkpoint names")
    if line != expected:
        raise SnapshotRefused("damaged", "not the bytes that were written")
    if not lines.ended():
        raise SnapshotRefused("malformed", "something follows the last line")
