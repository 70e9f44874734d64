"""A neuron's folder of databases: one process at a time, and files that open or say why not.

Two neurons on one folder would answer for one hotkey from two addresses and write into each other's Ledger, so whoever
comes second is turned away; the kernel drops the lock with its process, however that ends. A database that does not
open (damaged, read-only, disk full) is an operator's matter, not a bug: one line instead of a traceback.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from ledger.store import LedgerCorrupt
from ledger.upgrade import DatabaseTooNew
from orchestra.settings import NeuronSettings, SettingsError
from orchestra.transport import NonceStoreFailed

OURS_TO_FIX = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""What SQLite says of a mistake in a program; everything else it says is about the file or the disk."""


@contextmanager
def alone_in(settings: NeuronSettings) -> Generator[None]:
    """Hold the folder for this process.

    Raises:
        SettingsError: another process has it, or it cannot be written to.
    """
    path = settings.database("neuron").with_suffix(".lock")
    try:
        file = path.open("a+")
    except OSError as error:
        raise SettingsError(
            f"cannot write to {settings.data} ({error.strerror}): choose another folder with --data"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"another neuron{_holder(path)} runs on {settings.data}: stop it first, or choose another --data"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _holder(path: Path) -> str:
    pid = path.read_text(errors="replace").strip()
    return f" (process {pid})" if pid.isdigit() else ""


@contextmanager
def opening(path: Path) -> Generator[None]:
    """Around opening one database: what is wrong with the file or the disk becomes one line.

    Raises:
        SettingsError: it cannot be used.
    """
    try:
        yield
    except DatabaseTooNew as error:
        raise SettingsError(f"cannot use {path} ({error}): run the newer release, or a copy from before it") from None
    except (sqlite3.Error, DatabaseError, NonceStoreFailed, LedgerCorrupt, OSError) as error:
        reason = disk_trouble(error)
        if reason is None:
            raise
        raise SettingsError(
            f"cannot use {path} ({reason}): make room if the disk is full, otherwise put a backup in its place,"
            " or move it away and lose what is in it"
        ) from None


def disk_trouble(error: BaseException) -> str | None:
    """What is wrong with a file or the disk, in a few words; None for an error that is not about that."""
    told = error.orig if isinstance(error, DatabaseError) else error
    cause = told.__cause__ if isinstance(told, NonceStoreFailed) else told
    if isinstance(cause, OURS_TO_FIX):
        return None
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return str(cause) if isinstance(cause, (sqlite3.Error, LedgerCorrupt)) else None
