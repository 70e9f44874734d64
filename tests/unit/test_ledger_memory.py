"""The last believed checkpoint survives, only grows, and is one file's business at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from orchestra.ledger_memory import MemoryUnusable, default_path, remembering
from tests.snapshots import ORIGIN, checkpoint_of, leaves_of, signed

LARGE, SMALL = (signed(checkpoint_of(leaves_of(size))) for size in (5, 3))


def test_it_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "memory"
    for note, size in ((SMALL, 3), (LARGE, 5), (SMALL, 5)):
        with remembering(path, ORIGIN) as memory:
            memory.keep(note)
        with remembering(path, ORIGIN) as memory:
            assert memory.last is not None
            assert memory.last.size == size
    assert path.read_bytes() == LARGE, "the note itself: it can be handed on"


def test_whoever_checks_meanwhile_waits_and_then_sees_what_was_remembered(tmp_path: Path) -> None:
    path, seen, started = tmp_path / "memory", list[int](), threading.Event()

    def second() -> None:
        started.set()
        with remembering(path, ORIGIN) as memory:
            seen.append(memory.last.size if memory.last else 0)

    with remembering(path, ORIGIN) as memory:
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        assert seen == []
        memory.keep(LARGE)
    thread.join()
    assert seen == [5]


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path, reason in ((tmp_path / "file", "is no checkpoint"), (tmp_path / "file" / "below", "cannot use")):
        with pytest.raises(MemoryUnusable, match=reason), remembering(path, ORIGIN):
            raise AssertionError("unreachable")


def test_an_error_of_whoever_checks_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), remembering(tmp_path / "memory", ORIGIN):
        (tmp_path / "nothing").read_bytes()


def test_logs_do_not_share_a_memory() -> None:
    assert default_path(ORIGIN) != default_path("another.example")
