"""Whatever happens to a copy on its way, it is the one that was written or it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.leaves import LogLeaf, read_leaf
from ledger.snapshot import SnapshotRefused
from tests.snapshots import ALICE, BOB, DAVE, believe, leaves_of, resealed, snapshot_of

SMALL = snapshot_of(leaves_of(3), ALICE, BOB, DAVE)
LARGE = snapshot_of(leaves_of(80), ALICE, BOB, DAVE)
LINES = LARGE.splitlines()[:-1]


def is_refused(raw: bytes) -> bool:
    try:
        believe(raw)
    except SnapshotRefused:
        return True
    return False


def flipped(raw: bytes, at: int, mask: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= mask
    return bytes(changed)


def test_no_single_byte_of_a_copy_can_change() -> None:
    assert not is_refused(SMALL)
    believed = [
        (at, mask) for at in range(len(SMALL)) for mask in (1, 0x20) if not is_refused(flipped(SMALL, at, mask))
    ]
    assert believed == []


@settings(deadline=None, max_examples=100)
@given(st.integers(0, len(LARGE) - 1), st.integers(1, 255))
def test_no_byte_of_a_larger_copy_can_change(at: int, mask: int) -> None:
    assert is_refused(flipped(LARGE, at, mask))


@settings(deadline=None, max_examples=100)
@given(st.integers(1, len(LINES) - 1), st.data())
def test_no_byte_of_a_leaf_can_change_though_the_copy_is_sealed_anew(line: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(LINES[line]) - 1))
    changed = flipped(LINES[line], at, data.draw(st.integers(1, 255)))
    assert is_refused(resealed([*LINES[:line], changed, *LINES[line + 1 :]]))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, len(LINES) - 1), max_size=len(LINES) + 2).filter(lambda order: order != ORDER))
def test_leaves_in_another_order_or_number_are_refused(order: list[int]) -> None:
    assert is_refused(resealed([LINES[0], *(LINES[at] for at in order)]))


@settings(deadline=None, max_examples=50)
@given(st.permutations(range(1, len(LINES))).filter(lambda order: list(order) != ORDER))
def test_a_reordered_log_is_refused(order: list[int]) -> None:
    assert is_refused(resealed([LINES[0], *(LINES[at] for at in order)]))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, len(LARGE) - 1), st.integers(1, 200))
def test_bytes_that_are_missing_or_repeated_are_noticed(at: int, count: int) -> None:
    assert is_refused(LARGE[:at] + LARGE[at + count :])
    assert is_refused(LARGE[: at + count] + LARGE[at:])


ORDER = list(range(1, len(LINES)))

scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
bodies = st.dictionaries(st.text(max_size=5), values, max_size=4)
kinds = st.from_regex(r"\A[a-z][a-z0-9_]{0,15}\Z").filter(lambda kind: kind != "entry")


@settings(deadline=None)
@given(kinds, bodies)
def test_a_leaf_of_any_kind_reads_back_as_it_was_written(kind: str, body: dict[str, Any]) -> None:
    leaf = LogLeaf.of(kind, body)
    again = read_leaf(leaf.line)
    assert (again, again.hash) == (leaf, leaf.hash)
    assert b"\n" not in leaf.line


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(SMALL.splitlines(keepends=True)), max_size=6).map(b"".join))
def test_hostile_bytes_are_refused(raw: bytes) -> None:
    if raw != SMALL:
        with pytest.raises(SnapshotRefused):
            believe(raw)
