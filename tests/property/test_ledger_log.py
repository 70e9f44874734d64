"""The log against the definitions, at every size, and whatever a stranger sends as a note."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canonical
from ledger.canonical import leaf_hash
from ledger.checkpoint import EntryProof, parse_checkpoint, parse_entry_proof
from ledger.log import MerkleLog
from ledger.signed_note import Note, NoteRefused, NoteSignature, parse_note

LEAVES = [leaf_hash(str(index).encode()) for index in range(130)]
LOG = MerkleLog(LEAVES)
sizes = st.integers(1, len(LEAVES))


@settings(deadline=None)
@given(sizes, st.data())
def test_roots_and_proofs_are_those_of_the_definition(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root = canonical.merkle_root(LEAVES[:size])
    assert LOG.root(size) == root
    assert LOG.inclusion_proof(index, size) == canonical.inclusion_proof(LEAVES[:size], index)
    assert LOG.consistency_proof(old, size) == canonical.consistency_proof(LEAVES[:size], old)
    assert canonical.verify_inclusion(LEAVES[index], index, size, LOG.inclusion_proof(index, size), root)
    assert canonical.verify_consistency(old, size, LOG.root(old), root, LOG.consistency_proof(old, size))


@settings(deadline=None)
@given(sizes, st.data())
def test_no_proof_holds_for_a_log_that_forgot(size: int, data: st.DataObject) -> None:
    """A leaf among the first `old` is another one: no way of cutting or mixing honest proofs joins the two logs."""
    old = data.draw(st.integers(1, size))
    changed = data.draw(st.integers(0, old - 1))
    other = MerkleLog([*LEAVES[:changed], leaf_hash(b"other"), *LEAVES[changed + 1 : size]])
    proof = list(data.draw(st.sampled_from([LOG.consistency_proof(old, size), other.consistency_proof(old)])))
    extra = data.draw(st.lists(st.sampled_from([LOG.root(old), other.root(), *LEAVES[:4]]), max_size=2))
    for attempt in (proof, [*extra, *proof], [*proof, *extra], proof[1:], proof[:-1]):
        assert not canonical.verify_consistency(old, size, LOG.root(old), other.root(), attempt)


@settings(deadline=None)
@given(sizes, st.data())
def test_a_consistency_proof_holds_for_its_sizes_only(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    wrong = data.draw(st.integers(1, len(LEAVES)).filter(lambda one: one != old))
    proof, root = LOG.consistency_proof(old, size), LOG.root(size)
    assert not canonical.verify_consistency(wrong, size, LOG.root(old), root, proof)


names = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "Cc"], exclude_characters="+"), min_size=1)
signatures = st.builds(NoteSignature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80))
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.just("\n"), max_size=80)


@settings(deadline=None)
@given(texts, st.lists(signatures, min_size=1, max_size=4, unique_by=lambda one: (one.name, one.key_id)))
def test_a_note_reads_back_as_it_was_written(text: str, lines: list[NoteSignature]) -> None:
    note = Note(text + "\n", tuple(lines))
    assert parse_note(note.encode()) == note


pieces = st.sampled_from(["— ", "\n", "\n\n", " ", "origin", "0", "1", "=", "+", "a" * 43 + "=", "YWJjZGVm", "\0", "é"])
hostile = st.binary(max_size=80) | st.lists(pieces, max_size=12).map(lambda parts: "".join(parts).encode())


@settings(deadline=None, max_examples=300)
@given(hostile)
def test_hostile_bytes_are_refused_or_spelled_in_the_only_way(raw: bytes) -> None:
    try:
        assert parse_note(raw).encode() == raw
    except NoteRefused:
        with pytest.raises(NoteRefused):
            parse_checkpoint(raw)


@settings(deadline=None)
@given(sizes, st.data(), hostile)
def test_a_proof_reads_back_as_it_was_written(size: int, data: st.DataObject, checkpoint: bytes) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = EntryProof(index, LOG.inclusion_proof(index, size), checkpoint)
    assert parse_entry_proof(proof.encode()) == proof
