"""Canonical JSON and Merkle trees over everything hypothesis can think of."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical as c

SAFE = 2**53 - 1


def _readable(value: float) -> bool:
    return not SAFE < abs(value) < 1e21


floats = st.floats(allow_nan=False, allow_infinity=False).filter(_readable) | st.floats(0, 1000).map(
    lambda x: round(x, 2)
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | floats | text
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=20
)


@settings(deadline=None)
@given(documents)
def test_the_fast_way_writes_what_rfc_8785_writes(document: Any) -> None:
    assert c.canonical(document) == rfc8785.dumps(document)


@settings(deadline=None)
@given(documents)
def test_what_is_written_is_read_back_equal(document: Any) -> None:
    read = c.parse_strict(c.canonical(document))
    assert read == document
    assert c.canonical(read) == c.canonical(document)


@settings(deadline=None)
@given(documents, st.integers(0, 4), st.booleans())
def test_spelling_does_not_matter(document: Any, indent: int, ascii_only: bool) -> None:
    spelled = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    assert c.canonical(c.parse_strict(spelled)) == c.canonical(document)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text('[]{}",:\\ue0123456789.-+truefalsn \x00', max_size=60).map(str.encode))
def test_hostile_bytes_give_a_value_or_a_coded_refusal(raw: bytes) -> None:
    code, value = _read(raw)
    if code is None:
        assert value == json.loads(raw)
        c.canonical(value)
    else:
        assert code in {"too_large", "too_deep", "duplicate_key", "bad_number", "bad_text", "malformed"}


@given(documents, st.integers(0, 12))
def test_a_document_is_refused_for_its_values_and_not_for_what_its_texts_say(document: Any, bound: int) -> None:
    raw = c.canonical(document)
    held = _marks(document)
    if held <= bound:
        assert c.canonical(c.parse_strict(raw, max_values=bound)) == raw
    else:
        with pytest.raises(c.StrictJSONError, match="too_many_values"):
            c.parse_strict(raw, max_values=bound)


def _marks(value: Any) -> int:
    """Opening brackets and commas."""
    if not isinstance(value, dict | list):
        return 0
    items: list[Any] = list(value.values()) if isinstance(value, dict) else value
    return max(1, len(items)) + sum(map(_marks, items))


def _read(raw: bytes) -> tuple[str | None, Any]:
    try:
        return None, c.parse_strict(raw, max_depth=8)
    except c.StrictJSONError as refused:
        return refused.code, None


@settings(deadline=None)
@given(documents, st.integers(1, 8))
def test_depth_is_counted_as_the_parser_nests(document: Any, limit: int) -> None:
    def depth(value: Any) -> int:
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if items is None else 1 + max(map(depth, items), default=0)

    raw = json.dumps(document).encode()
    if depth(document) <= limit:
        assert c.parse_strict(raw, max_depth=limit) == document
    else:
        with pytest.raises(c.StrictJSONError, match="too_deep"):
            c.parse_strict(raw, max_depth=limit)


def _root(leaves: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1 as it is written, recursively."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + _root(leaves[:k]) + _root(leaves[k:])).digest()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_merkle_trees_follow_the_definition_and_prove_every_leaf(leaves: list[bytes], data: st.DataObject) -> None:
    hashes = [c.leaf_hash(leaf) for leaf in leaves]
    root = c.merkle_root(hashes)
    assert root == "0x" + _root(leaves).hex()
    index = data.draw(st.integers(0, len(leaves) - 1))
    path = c.inclusion_proof(hashes, index)
    assert c.verify_inclusion(hashes[index], index, len(leaves), path, root)
    wrong = c.leaf_hash(leaves[index] + b"x")
    assert not c.verify_inclusion(wrong, index, len(leaves), path, root)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not c.verify_inclusion(hashes[index], index, len(leaves), (*path[:at], wrong, *path[at + 1 :]), root)
