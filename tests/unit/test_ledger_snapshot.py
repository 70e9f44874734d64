"""A copy of the log is the one that was signed, or it is refused with the reason."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ledger.canonical import canonical
from ledger.changes import change_leaf
from ledger.checkpoint import Checkpoint, Trust
from ledger.leaves import MAX_LEAF_BYTES, LeafRefused, LogLeaf, read_leaf
from ledger.log import MerkleLog
from ledger.snapshot import SnapshotRefused, read_note, verify_snapshot, write_snapshot
from ledger.view import LedgerView
from orchestra.chain.keys import verify_signature
from tests.builders import entry
from tests.snapshots import (
    ALICE,
    BOB,
    DAVE,
    NOW,
    ORIGIN,
    STAKES,
    TRUST,
    believe,
    checkpoint_of,
    leaves_of,
    resealed,
    signed,
    snapshot_of,
)

LEAVES = leaves_of(5)
COPY = snapshot_of(LEAVES)
LINES = COPY.splitlines()


def refusal(raw: bytes, trust: Trust = TRUST, **options: Any) -> str:
    with pytest.raises(SnapshotRefused) as refused:
        believe(raw, trust, **options)
    return refused.value.code


def test_a_copy_is_believed_with_its_signers_and_leaves() -> None:
    kept: list[LogLeaf] = []
    found = believe(COPY, keep=kept.append)
    assert kept == LEAVES
    assert (found.verified.stake, found.verified.total, found.checkpoint.size) == (70, 100, 5)
    assert found.log.version == checkpoint_of(LEAVES).version
    assert found.note == read_note(io.BytesIO(COPY))
    assert found.note.startswith(checkpoint_of(LEAVES).text.encode())


def test_an_empty_log_has_a_copy_too() -> None:
    assert believe(snapshot_of([])).checkpoint.size == 0


def test_the_leaf_of_an_entry_is_the_one_that_the_version_counts() -> None:
    entries = [entry("a", netuid=1), entry("b", netuid=2)]
    assert [LogLeaf.from_change(each).hash for each in entries] == [change_leaf(each) for each in entries]
    assert MerkleLog(LogLeaf.from_change(each).hash for each in entries).version == LedgerView(entries).version


def test_the_bytes_of_a_copy_are_pinned() -> None:
    leaf = LogLeaf.of("bond", {"rao": "5", "at": 1})
    assert leaf.line == b'{"body":{"at":1,"rao":"5"},"kind":"bond"}'
    assert leaf.hash == "0xc8d63e9dbf14c9eeb83917e41f99ec8b7bca505767ed545e9db7b38412ed3751"
    checkpoint = Checkpoint(ORIGIN, 1, leaf.hash)
    written = b"".join(write_snapshot((checkpoint.text + "\n— x AAAAAAA=\n").encode(), [leaf]))
    assert written == (
        b'{"checkpoint":"orchestra.example/sn42\\n1\\nyNY+nb8Uye64ORfkH5nsi3vKUFdn7VRenbezhBLtN1E=\\n\\n'
        b'\xe2\x80\x94 x AAAAAAA=\\n","format":"orchestra-ledger-snapshot/1"}\n'
        b'{"body":{"at":1,"rao":"5"},"kind":"bond"}\n'
        b'{"sha256":"0x61dc06ea44cc2fe2206807138ca02aa51ffdb7d6a5ef24e2a4aa96fa3fa27778"}\n'
    )


def test_a_writer_cannot_write_what_its_checkpoint_does_not_name() -> None:
    with pytest.raises(ValueError, match="the checkpoint says"):
        list(write_snapshot(signed(checkpoint_of(LEAVES)), LEAVES[:-1]))


# what a liar might serve ----------------------------------------------------------------------------------------------


def swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (swapped(LINES[:-1]), "wrong_root"),
        ([LINES[0], *LINES[2:-1]], "truncated"),
        ([*LINES[:-1], LINES[3]], "malformed"),
        ([*LINES[:2], LINES[1], *LINES[3:-1]], "wrong_root"),
        ([LINES[0], LINES[1].replace(b'"netuid":0', b'"netuid":9'), *LINES[2:-1]], "wrong_root"),
        ([LINES[0], LINES[1].replace(b'"netuid":0', b'"netuid":-1'), *LINES[2:-1]], "bad_leaf"),
        ([LINES[0], LINES[1].replace(b'{"body"', b'{ "body"'), *LINES[2:-1]], "bad_leaf"),
        ([LINES[0], LINES[1] + b" ", *LINES[2:-1]], "bad_leaf"),
        ([LINES[0], b'{"body":{},"body":1,"kind":"x"}', *LINES[2:-1]], "bad_leaf"),
        ([LINES[0].replace(b"snapshot/1", b"snapshot/2"), *LINES[1:-1]], "malformed"),
        ([b"[]", *LINES[1:-1]], "malformed"),
        ([canonical({"checkpoint": "no note", "format": "orchestra-ledger-snapshot/1"}), *LINES[1:-1]], "malformed"),
    ],
)
def test_a_changed_copy_is_refused_even_when_it_is_sealed_anew(lines: list[bytes], code: str) -> None:
    assert refusal(resealed(lines)) == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "truncated"),
        (COPY[:-1], "truncated"),
        (COPY[: len(COPY) // 2], "truncated"),
        (COPY + b"\n", "malformed"),
        (COPY + COPY, "malformed"),
        (b"".join(line + b"\n" for line in LINES[:-1]), "truncated"),
    ],
)
def test_a_file_that_was_cut_or_went_on_is_refused(raw: bytes, code: str) -> None:
    assert refusal(raw) == code


def test_a_signature_line_that_does_not_count_cannot_be_changed_either() -> None:
    """No key vouches for it; the digest at the end still covers it."""
    raw = snapshot_of(LEAVES, ALICE, BOB, DAVE)
    assert believe(raw).verified.stake == 70
    name = DAVE.ss58_address.encode()
    assert refusal(raw.replace(name, name[:-1] + b"x")) == "damaged"


def test_who_signed_is_who_counts() -> None:
    assert refusal(snapshot_of(LEAVES, ALICE)) == "not_enough_stake"
    assert refusal(snapshot_of(LEAVES, DAVE)) == "not_enough_stake"
    forged = signed(checkpoint_of(LEAVES)).replace(BOB.ss58_address.encode(), DAVE.ss58_address.encode())
    assert refusal(b"".join(write_snapshot(forged, LEAVES))) == "not_enough_stake"
    assert refusal(COPY, Trust("another.example", STAKES)) == "wrong_origin"


def test_signatures_of_another_log_vouch_for_nothing() -> None:
    other = signed(checkpoint_of(leaves_of(4)))
    lines = [canonical({"checkpoint": other.decode(), "format": "orchestra-ledger-snapshot/1"}), *LINES[1:5]]
    assert believe(resealed(lines)).checkpoint.size == 4, "the first four are the same log"
    assert refusal(resealed([lines[0], *lines[2:], LINES[5]])) == "wrong_root"


def test_nothing_is_read_beyond_what_is_signed() -> None:
    """A copy without signatures that count costs its reader one line."""

    class Counting(io.BytesIO):
        lines = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.lines += 1
            return super().readline(-1 if size is None else size)

    file = Counting(snapshot_of(LEAVES, DAVE))
    with pytest.raises(SnapshotRefused):
        verify_snapshot(file, TRUST, verify_signature, now_ms=NOW)
    assert file.lines == 1


# age and history ------------------------------------------------------------------------------------------------------


def test_an_old_copy_is_refused_and_cannot_be_made_young() -> None:
    hour = Trust(ORIGIN, STAKES, max_age_ms=3_600_000)
    old = snapshot_of(LEAVES, time_ms=NOW - 3_600_001)
    assert believe(snapshot_of(LEAVES, time_ms=NOW - 3_600_000), hour).checkpoint.size == 5
    assert refusal(old, hour) == "stale"
    young = read_note(io.BytesIO(snapshot_of(LEAVES, DAVE)))
    late = read_note(io.BytesIO(old)) + young.partition(b"\n\n")[2]
    assert refusal(b"".join(write_snapshot(late, LEAVES)), hour) == "stale"


def test_a_copy_continues_the_last_one_seen() -> None:
    before = checkpoint_of(LEAVES[:3])
    assert believe(COPY, seen=[before]).checkpoint.size == 5
    assert believe(COPY, seen=[checkpoint_of(LEAVES)]).checkpoint.size == 5
    assert believe(COPY, seen=[checkpoint_of([])]).checkpoint.size == 5
    assert refusal(COPY, seen=[checkpoint_of(leaves_of(6))]) == "rollback"
    assert refusal(COPY, seen=[checkpoint_of(LEAVES[::-1])]) == "split_view"
    assert refusal(COPY, seen=[checkpoint_of(LEAVES[1:4])]) == "inconsistent"
    assert refusal(COPY, seen=[before, checkpoint_of(LEAVES[1:3])]) == "inconsistent"


# bounds ---------------------------------------------------------------------------------------------------------------


def test_sizes_are_bounded_while_reading() -> None:
    assert believe(COPY, max_bytes=len(COPY)).checkpoint.size == 5
    assert refusal(COPY, max_bytes=len(COPY) // 2) == "too_large"
    assert refusal(b"x" * (4 << 20)) == "too_large"
    long = resealed([LINES[0], b'{"body":{"a":"' + b"x" * MAX_LEAF_BYTES + b'"},"kind":"x"}', *LINES[2:-1]])
    assert refusal(long) == "too_large"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b'{"body":{}}',
        b'{"body":{},"kind":"Entry"}',
        b'{"body":{},"kind":1}',
        b'{"body":{},"kind":"a b"}',
        b'{"body":{},"kind":"abcdefghijklmnopq"}',
        b'{"kind":"x","body":{}}',
        b'{"body":{"a":1.0},"kind":"x"}',
        b'{"body":{"a":NaN},"kind":"x"}',
        b'{"body":{"a":9007199254740993},"kind":"x"}',
        b'{"body":{"b":1,"a":2},"kind":"x"}',
        b'{"body":{"a":"\\u0041"},"kind":"x"}',
        b'{"body":{"a":' + b"[" * 70 + b"]" * 70 + b'},"kind":"x"}',
        b'{"body":{},"kind":"entry"}',
        b'{"body":{},"extra":1,"kind":"x"}',
        b'{"body":1,"kind":"x"}',
    ],
)
def test_a_line_that_is_no_leaf_is_refused(line: bytes) -> None:
    with pytest.raises(LeafRefused):
        read_leaf(line)


def test_a_kind_that_nobody_knows_is_carried() -> None:
    leaf = LogLeaf.of("slash", {"of": ["ü", None, 1.5]})
    assert read_leaf(leaf.line) == leaf
    with pytest.raises(LeafRefused, match="unknown kind"):
        leaf.change()
    assert believe(snapshot_of([*LEAVES, leaf])).checkpoint.size == 6
    with pytest.raises(LeafRefused):
        LogLeaf.of("Slash", {})


def test_an_entry_that_leaves_defaults_out_can_be_checked_but_not_taken_over() -> None:
    """It hashes to what was signed; a Ledger that wrote it its own way would have another root."""
    body = entry("a", netuid=1).model_dump(mode="json")
    leaf = LogLeaf.of("entry", {name: value for name, value in body.items() if name != "status"})
    assert read_leaf(leaf.line) == leaf
    with pytest.raises(LeafRefused, match="spelled"):
        leaf.change()
