"""The last checkpoint that this machine believed, in a file of its own: what makes a shrunk log a refused one.

The file is the signed note itself, so that it can be handed on as a trusted checkpoint, and together with another note
for the same size it is the proof of a split. Whoever checks a copy holds the file meanwhile: two checks at once cannot
overwrite the larger checkpoint with the smaller.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.signed_note import MAX_BYTES, NoteRefused


class MemoryUnusable(Exception):
    """The file cannot be read or written, or is no checkpoint of this log. The message is one line for a person."""


def default_path(origin: str) -> Path:
    """Where checkpoints of one log are remembered when nobody says where."""
    return Path.home() / ".orchestra" / "checkpoints" / hashlib.sha256(origin.encode()).hexdigest()[:32]


@contextmanager
def remembering(path: Path, origin: str) -> Generator[Memory]:
    """Hold the memory of one log; others wait.

    Raises:
        MemoryUnusable: see there.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = stack.enter_context(path.with_name(path.name + ".lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            last = _read(path, origin)
        except OSError as error:
            raise _unusable(path, error) from None
        yield Memory(path, last)


def _unusable(path: Path, error: OSError) -> MemoryUnusable:
    return MemoryUnusable(f"cannot use {path} ({error.strerror}): choose another file with --remember")


class Memory:
    """What is remembered; use it inside `remembering`."""

    def __init__(self, path: Path, last: Checkpoint | None) -> None:
        self._path = path
        self.last = last

    def keep(self, note: bytes) -> None:
        """Remember a believed checkpoint, on disk before this returns, unless as large a one is remembered.

        Raises:
            MemoryUnusable: it cannot be written.
        """
        checkpoint, _ = parse_checkpoint(note)
        if self.last is not None and checkpoint.size <= self.last.size:
            return
        draft = self._path.with_name(self._path.name + ".new")
        try:
            with draft.open("wb") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise _unusable(self._path, error) from None
        self.last = checkpoint


def _read(path: Path, origin: str) -> Checkpoint | None:
    try:
        with path.open("rb") as file:
            checkpoint, _ = parse_checkpoint(file.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return None
    except NoteRefused as error:
        raise MemoryUnusable(f"{path} is no checkpoint ({error}): put a backup in its place, or move it away") from None
    if checkpoint.origin != origin:
        raise MemoryUnusable(f"{path} remembers {checkpoint.origin!r}, this is {origin!r}: pass another --remember")
    return checkpoint
