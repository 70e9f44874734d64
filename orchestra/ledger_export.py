"""A copy of this node's Ledger, from its databases: to hand to somebody, to keep, or to check later what was said.

Reads beside a running node. The copy ends at the last checkpoint that the node signed or believed, so it may be a few
changes behind the node's own Ledger: nobody has vouched for those yet.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.cosigning import CheckpointStore
from ledger.database import sqlite_url
from ledger.leaves import LogLeaf
from ledger.snapshot import write_snapshot
from ledger.store import LedgerCorrupt, LedgerStore


class CannotExport(Exception):
    """There is nothing to write, or nowhere to write it. The message is one line for a person."""


async def export(folder: Path, out: Path, *, force: bool) -> Checkpoint:
    """Write the copy that a node's folder holds, whole or not at all; return its checkpoint.

    Raises:
        CannotExport: see there.
    """
    note = await _newest(folder)
    checkpoint, _ = parse_checkpoint(note)
    _require_free(out, force=force)
    try:
        async with await LedgerStore.open(sqlite_url(_existing(folder / "ledger.sqlite"))) as ledger:
            changes = await ledger.changes(0, checkpoint.size)
        _write(out, note, [LogLeaf.from_change(each) for each in changes])
    except LedgerCorrupt as error:
        raise CannotExport(f"the Ledger in {folder} is damaged: {error}") from None
    except ValueError as error:
        raise CannotExport(f"the Ledger in {folder} is not the one that was signed: {error}") from None
    except OSError as error:
        raise CannotExport(f"cannot write {out}: {error.strerror}") from None
    return checkpoint


async def _newest(folder: Path) -> bytes:
    async with await CheckpointStore.open(sqlite_url(_existing(folder / "checkpoints.sqlite"))) as store:
        notes = await store.notes()
    if len(notes) != 1:
        raise CannotExport(f"{folder} holds {len(notes)} checkpoints, expected one: has this node run yet?")
    return notes[0]


def _require_free(out: Path, *, force: bool) -> None:
    if out.exists() and not force:
        raise CannotExport(f"{out} exists: name another file, or overwrite it with --force")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise CannotExport(f"no {path}: name the node's folder with --data, or its network, netuid and wallet")
    return path


def _write(out: Path, note: bytes, leaves: Sequence[LogLeaf]) -> None:
    draft = out.with_name(out.name + ".new")
    try:
        with draft.open("wb") as file:
            file.writelines(write_snapshot(note, leaves))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
