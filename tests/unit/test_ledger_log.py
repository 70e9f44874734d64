"""The log against what others publish, and checkpoints against everyone who might lie with one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ledger import canonical
from ledger.canonical import leaf_hash
from ledger.checkpoint import (
    MAX_CLOCK_SKEW_MS,
    Checkpoint,
    CheckpointRefused,
    EntryProof,
    Trust,
    cosign,
    cosignature_bytes,
    hotkey_id,
    parse_checkpoint,
    parse_entry_proof,
    verify_checkpoint,
    verify_entry,
    write_checkpoint,
)
from ledger.log import MerkleLog
from ledger.signed_note import Note, NoteRefused, NoteSignature, key_id, parse_note
from ledger.types import Hash
from orchestra.chain.keys import dev_signer, verify_signature

VECTORS = Path(__file__).parents[1] / "fixtures" / "merkle"
ALICE, BOB, CAROL, DAVE = (dev_signer(f"//{name}") for name in ("Alice", "Bob", "Carol", "Dave"))
ORIGIN = "orchestra.example/sn42"
NOW = 1_760_000_000_000
STAKES = {ALICE.ss58_address: 40, BOB.ss58_address: 30, CAROL.ss58_address: 30}
TRUST = Trust(ORIGIN, STAKES)


def vectors(name: str) -> list[Any]:
    cases = json.loads((VECTORS / f"{name}.json").read_text())
    return [pytest.param(case, id=case["file"]) for case in cases]


def wire(value: str) -> str:
    return "0x" + base64.b64decode(value).hex()


def log_of(size: int, name: str = "change") -> MerkleLog:
    return MerkleLog(leaf_hash(f"{name} {index}".encode()) for index in range(size))


def checkpoint_of(log: MerkleLog, size: int | None = None) -> Checkpoint:
    size = log.size if size is None else size
    return Checkpoint(ORIGIN, size, log.root(size))


def signed(checkpoint: Checkpoint, *signers: Any, time_ms: int = NOW) -> bytes:
    return write_checkpoint(checkpoint, [cosign(checkpoint, signer, time_ms=time_ms) for signer in signers])


def refusal(raw: bytes, trust: Trust = TRUST, **seen: Any) -> str:
    with pytest.raises(CheckpointRefused) as refused:
        verify_checkpoint(raw, trust, verify_signature, now_ms=NOW, **seen)
    return refused.value.code


# The tree ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", vectors("inclusion"))
def test_inclusion_proofs_of_transparency_dev(case: dict[str, Any]) -> None:
    proof, leaf, root = [wire(part) for part in case["proof"] or []], wire(case["leafHash"]), wire(case["root"])
    holds = canonical.verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)
    assert holds is not case["wantErr"]


@pytest.mark.parametrize("case", vectors("consistency"))
def test_consistency_proofs_of_transparency_dev(case: dict[str, Any]) -> None:
    proof, first, second = [wire(part) for part in case["proof"] or []], wire(case["root1"]), wire(case["root2"])
    holds = canonical.verify_consistency(case["size1"], case["size2"], first, second, proof)
    assert holds is not case["wantErr"]


def test_our_proofs_are_theirs() -> None:
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    log = MerkleLog(leaf_hash(bytes.fromhex(one)) for one in inputs)
    for param in vectors("inclusion"):
        if not (case := param.values[0])["wantErr"]:
            assert list(log.inclusion_proof(case["leafIdx"], case["treeSize"])) == list(map(wire, case["proof"] or []))
            assert log.root(case["treeSize"]) == wire(case["root"])
    for param in vectors("consistency"):
        if not (case := param.values[0])["wantErr"]:
            assert list(log.consistency_proof(case["size1"], case["size2"])) == list(map(wire, case["proof"] or []))


def test_golden_roots_of_our_own_leaves() -> None:
    log = log_of(5)
    assert log.leaf(3) == canonical.sha256(b"\0change 3")
    assert base64.b64encode(canonical.to_bytes(log.root())).decode() == "/PoCzxDtS1jRxA/KZQTCJ8AlrS6d80ZUA4aid9IhEcE="


def test_the_empty_log() -> None:
    log = MerkleLog()
    assert log.version == "0:0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with pytest.raises(IndexError):
        log.inclusion_proof(0)


@pytest.mark.parametrize(
    "ask",
    [
        lambda log: log.leaf(3),
        lambda log: log.leaf(-1),
        lambda log: log.root(4),
        lambda log: log.inclusion_proof(3),
        lambda log: log.inclusion_proof(2, 2),
        lambda log: log.inclusion_proof(-1),
        lambda log: log.consistency_proof(0),
        lambda log: log.consistency_proof(3, 2),
        lambda log: log.consistency_proof(2, 4),
    ],
)
def test_what_the_log_does_not_hold(ask: Callable[[MerkleLog], object]) -> None:
    with pytest.raises(IndexError):
        ask(log_of(3))


def test_a_leaf_is_a_hash() -> None:
    with pytest.raises(ValueError, match="0x"):
        MerkleLog().append("change")


def test_a_consistency_proof_of_garbage_is_false() -> None:
    log = log_of(6)
    proof = log.consistency_proof(3)
    assert canonical.verify_consistency(3, 6, log.root(3), log.root(), proof)
    assert not canonical.verify_consistency(3, 6, log.root(3), log.root(), ("garbage", *proof[1:]))
    assert not canonical.verify_consistency(0, 6, log.root(0), log.root(), ())
    assert not canonical.verify_consistency(6, 6, log.root(), log.root(), proof)
    assert canonical.verify_consistency(6, 6, log.root(), log.root(), ())
    with pytest.raises(IndexError):
        canonical.consistency_proof([log.leaf(0)], 2)


# Signed notes --------------------------------------------------------------------------------------------------------

PUBLISHED_NOTE = (VECTORS / "published-note.txt").read_bytes()
PUBLISHED_CHECKPOINT = (VECTORS / "published-checkpoint.txt").read_bytes()


def test_the_example_of_the_signed_note_specification() -> None:
    note = parse_note(PUBLISHED_NOTE)
    assert note.text.endswith("raggio di sole:\n\ned è subito sera.\n")
    assert [one.name for one in note.signatures] == ["quasimodo.example/salvatore"]
    assert len(note.signatures[0].signature) == 64
    assert note.encode() == PUBLISHED_NOTE


def test_the_example_of_the_checkpoint_specification() -> None:
    checkpoint, note = parse_checkpoint(PUBLISHED_CHECKPOINT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == note.text
    assert [one.name for one in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]


def test_key_ids_are_those_of_the_specification() -> None:
    """The verifier key of Go's checksum database begins with sum.golang.org+033de0ae."""
    public = base64.b64decode("Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
    assert key_id("sum.golang.org", public[:1], public[1:]).hex() == "033de0ae"


TEXT = checkpoint_of(log_of(1)).text
LINE = NoteSignature("a.example", b"abcd", b"x" * 64).line()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        TEXT.encode(),
        (TEXT + "\n").encode(),
        (TEXT + LINE).encode(),
        (TEXT + "\n" + LINE)[:-1].encode(),
        (TEXT + "\n" + LINE + "x").encode(),
        (TEXT + "\n" + LINE + LINE).encode(),
        (TEXT + "\r\n" + LINE).encode(),
        (TEXT + "\t\n\n" + LINE).encode(),
        (TEXT + "\n" + LINE.replace("— ", "- ")).encode(),
        (TEXT + "\n" + LINE.replace(" a.example", "  a.example")).encode(),
        (TEXT + "\n" + LINE.replace("a.example", "")).encode(),
        (TEXT + "\n" + LINE.replace("a.example", "a+example")).encode(),
        (TEXT + "\n" + LINE.replace("a.example", "a\u2003example")).encode(),
        (TEXT + "\n" + LINE.replace("=\n", "\n")).encode(),
        (TEXT + "\n" + "— a YWJjZB==\n").encode(),
        (TEXT + "\n" + "— a YWJjZGU\n").encode(),
        (TEXT + "\n" + "— a YWJjZA==\n").encode(),
        (TEXT + "\n" + "— a YWJjZ*GU=\n").encode(),
        (TEXT + "\n" + LINE).encode("utf-16"),
        (TEXT + "\n" + "".join(NoteSignature(f"a{i}", b"abcd", b"x").line() for i in range(257))).encode(),
        ("x" * (128 << 10) + TEXT + "\n" + LINE).encode(),
    ],
)
def test_what_is_not_a_note(raw: bytes) -> None:
    with pytest.raises(NoteRefused):
        parse_note(raw)


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        TEXT + "an extension line\n",
        TEXT.replace("\n1\n", "\n01\n"),
        TEXT.replace("\n1\n", "\n+1\n"),
        TEXT.replace("\n1\n", "\n１\n"),
        TEXT.replace("\n1\n", "\n-1\n"),
        TEXT.replace("\n1\n", "\n0\n"),
        TEXT.replace("\n1\n", f"\n{2**53}\n"),
        TEXT.replace("\n1\n", "\n" + "9" * 10_000 + "\n"),
        TEXT.replace(ORIGIN, ""),
        TEXT.replace("=\n", "\n"),
        "origin\n1\nYWJjZGU=\n",
    ],
)
def test_what_is_not_a_checkpoint(text: str) -> None:
    with pytest.raises(NoteRefused):
        parse_checkpoint(Note(text, (NoteSignature("a", b"abcd", b"x"),)).encode())


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 1, log_of(1).root()),
        ("two\nlines", 1, log_of(1).root()),
        (ORIGIN, -1, log_of(1).root()),
        (ORIGIN, 0, log_of(1).root()),
        (ORIGIN, 1, MerkleLog().root()),
        (ORIGIN, 1, "0x"),
    ],
)
def test_a_checkpoint_says_only_what_a_log_can_be(origin: str, size: int, root: Hash) -> None:
    with pytest.raises(ValueError):
        Checkpoint(origin, size, root)


# Cosignatures --------------------------------------------------------------------------------------------------------

GOLDEN = (VECTORS / "golden-checkpoint.txt").read_bytes()
GOLDEN_PROOF = (VECTORS / "golden-proof.txt").read_bytes()


def test_the_golden_checkpoint() -> None:
    result = verify_checkpoint(GOLDEN, TRUST, verify_signature, now_ms=NOW + 10)
    assert result.checkpoint == checkpoint_of(log_of(5))
    assert [(one.hotkey, one.stake, one.time_ms) for one in result.signers] == [
        (ALICE.ss58_address, 40, NOW),
        (BOB.ss58_address, 30, NOW + 1),
    ]
    assert (result.stake, result.total, result.time_ms) == (70, 100, NOW)


def test_the_golden_bytes_that_are_signed() -> None:
    assert cosignature_bytes("a.example\n0\nroot\n", 7) == b"orchestra-sr25519-v1\ntime 7\na.example\n0\nroot\n"
    assert hotkey_id(ALICE.ss58_address).hex() == "ceeebceb"
    assert hotkey_id(BOB.ss58_address).hex() == "e89a4187"


def test_signatures_may_be_collected_in_any_order() -> None:
    checkpoint = checkpoint_of(log_of(3))
    lines = [cosign(checkpoint, signer, time_ms=NOW) for signer in (ALICE, BOB, CAROL)]
    assert write_checkpoint(checkpoint, lines) == write_checkpoint(checkpoint, reversed(lines))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "alice",
        "0" * 48,
        "1" * 48,
        "z" * 64,
        "z" * 100_000,
        ALICE.ss58_address[:-1],
        ALICE.ss58_address[:-1] + "Z",
        "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
    ],
)
def test_a_name_that_is_no_address_of_bittensor(name: str) -> None:
    with pytest.raises(ValueError, match="SS58"):
        hotkey_id(name)


# Who is believed -----------------------------------------------------------------------------------------------------


def test_more_than_two_thirds_of_stake_is_needed() -> None:
    checkpoint = checkpoint_of(log_of(4))
    assert refusal(signed(checkpoint, BOB, CAROL)) == "not_enough_stake"
    assert verify_checkpoint(signed(checkpoint, ALICE, BOB), TRUST, verify_signature, now_ms=NOW).stake == 70
    exactly = Trust(ORIGIN, {ALICE.ss58_address: 2, BOB.ss58_address: 1})
    assert refusal(signed(checkpoint, ALICE), exactly) == "not_enough_stake"
    half = Trust(ORIGIN, exactly.stakes, threshold=Fraction(1, 2))
    assert verify_checkpoint(signed(checkpoint, ALICE), half, verify_signature, now_ms=NOW).stake == 2


def test_a_stranger_adds_nothing_and_harms_nothing() -> None:
    checkpoint = checkpoint_of(log_of(4))
    forged = NoteSignature("log.example", b"abcd", b"x" * 64)
    wrong_key_id = NoteSignature(CAROL.ss58_address, b"abcd", b"x" * 64)
    lines = [cosign(checkpoint, signer, time_ms=NOW) for signer in (ALICE, BOB, DAVE)]
    result = verify_checkpoint(
        write_checkpoint(checkpoint, [*lines, forged, wrong_key_id]), TRUST, verify_signature, now_ms=NOW
    )
    assert {one.hotkey for one in result.signers} == {ALICE.ss58_address, BOB.ss58_address}
    assert refusal(write_checkpoint(checkpoint, [*lines[1:], forged, wrong_key_id])) == "not_enough_stake"


@pytest.mark.parametrize("size", [0, 8, 71, 73])
def test_a_known_key_whose_signature_is_wrong_spoils_the_note(size: int) -> None:
    checkpoint = checkpoint_of(log_of(4))
    lines = [cosign(checkpoint, signer, time_ms=NOW) for signer in (ALICE, BOB)]
    wrong = NoteSignature(CAROL.ss58_address, hotkey_id(CAROL.ss58_address), b"x" * max(size, 1))
    assert refusal(write_checkpoint(checkpoint, [*lines, wrong])) == "bad_signature"


def test_no_byte_of_a_checkpoint_can_change() -> None:
    raw = GOLDEN
    for at in range(len(raw)):
        for changed in (raw[at] ^ 1, raw[at] ^ 0x20):
            refusal(raw[:at] + bytes([changed]) + raw[at + 1 :])


def test_a_signature_holds_for_its_time_only() -> None:
    checkpoint = checkpoint_of(log_of(4))
    line = cosign(checkpoint, ALICE, time_ms=NOW - 1000)
    younger = NoteSignature(line.name, line.key_id, NOW.to_bytes(8, "big") + line.signature[8:])
    assert refusal(write_checkpoint(checkpoint, [younger, cosign(checkpoint, BOB, time_ms=NOW)])) == "bad_signature"


def test_a_checkpoint_of_another_log() -> None:
    other = Checkpoint("orchestra.example/sn43", 4, log_of(4).root())
    assert refusal(signed(other, ALICE, BOB, CAROL)) == "wrong_origin"
    assert refusal(b"garbage") == "malformed"


def test_an_old_checkpoint_is_not_new_because_a_few_signed_again() -> None:
    checkpoint = checkpoint_of(log_of(4))
    trust = Trust(ORIGIN, STAKES, max_age_ms=60_000)
    old = [cosign(checkpoint, signer, time_ms=NOW - 60_001) for signer in (ALICE, BOB)]
    assert refusal(write_checkpoint(checkpoint, old), trust) == "stale"
    again = cosign(checkpoint, CAROL, time_ms=NOW)
    assert refusal(write_checkpoint(checkpoint, [*old, again]), trust) == "stale"
    in_time = cosign(checkpoint, ALICE, time_ms=NOW - 60_000)
    raw = write_checkpoint(checkpoint, [in_time, old[1], cosign(checkpoint, CAROL, time_ms=NOW)])
    result = verify_checkpoint(raw, trust, verify_signature, now_ms=NOW)
    assert (result.time_ms, result.stake) == (NOW - 60_000, 100)


def test_a_signature_from_the_future_does_not_count() -> None:
    checkpoint = checkpoint_of(log_of(4))
    ahead = NOW + MAX_CLOCK_SKEW_MS
    assert verify_checkpoint(
        signed(checkpoint, ALICE, BOB, time_ms=ahead), TRUST, verify_signature, now_ms=NOW
    ).time_ms == (ahead)
    assert refusal(signed(checkpoint, ALICE, BOB, time_ms=ahead + 1)) == "not_enough_stake"


def test_a_log_only_grows() -> None:
    log = log_of(9)
    last = checkpoint_of(log, 6)
    everyone = (ALICE, BOB, CAROL)
    same = verify_checkpoint(signed(last, *everyone), TRUST, verify_signature, now_ms=NOW, last=last)
    assert same.checkpoint == last
    grown = signed(checkpoint_of(log), *everyone)
    proof = log.consistency_proof(6)
    assert verify_checkpoint(grown, TRUST, verify_signature, now_ms=NOW, last=last, consistency=proof).stake == 100
    assert verify_checkpoint(grown, TRUST, verify_signature, now_ms=NOW, last=Checkpoint(ORIGIN, 0, MerkleLog().root()))
    assert refusal(signed(checkpoint_of(log, 5), *everyone), last=last) == "rollback"
    assert refusal(signed(checkpoint_of(log_of(6, "other")), *everyone), last=last) == "split_view"
    assert refusal(grown, last=last) == "inconsistent"
    assert refusal(grown, last=last, consistency=proof * 20) == "inconsistent"
    rewritten = signed(checkpoint_of(log_of(9, "other")), *everyone)
    for forged in (proof, log_of(9, "other").consistency_proof(6)):
        assert refusal(rewritten, last=last, consistency=forged) == "inconsistent"


@pytest.mark.parametrize(
    ("stakes", "threshold"),
    [
        ({}, Fraction(2, 3)),
        ({ALICE.ss58_address: 0}, Fraction(2, 3)),
        ({ALICE.ss58_address: 3, BOB.ss58_address: -1}, Fraction(2, 3)),
        ({"alice": 3}, Fraction(2, 3)),
        ({ALICE.ss58_address: 3}, Fraction(1)),
        ({ALICE.ss58_address: 3}, Fraction(1, 3)),
    ],
)
def test_trust_that_means_nothing(stakes: dict[str, int], threshold: Fraction) -> None:
    with pytest.raises(ValueError):
        Trust(ORIGIN, stakes, threshold)


# One entry -----------------------------------------------------------------------------------------------------------


def test_the_golden_proof_of_an_entry() -> None:
    log = log_of(5)
    proof = EntryProof(3, log.inclusion_proof(3), GOLDEN)
    assert proof.encode() == GOLDEN_PROOF
    assert parse_entry_proof(GOLDEN_PROOF) == proof
    assert verify_entry(GOLDEN_PROOF, log.leaf(3), TRUST, verify_signature, now_ms=NOW).checkpoint == checkpoint_of(log)


def test_a_proof_of_another_entry_is_refused() -> None:
    log = log_of(5)
    for leaf, proof in [
        (log.leaf(2), GOLDEN_PROOF),
        ("garbage", GOLDEN_PROOF),
        (log.leaf(3), GOLDEN_PROOF.replace(b"index 3", b"index 2")),
        (log.leaf(3), GOLDEN_PROOF.replace(b"index 3", b"index 9")),
        (log.leaf(3), EntryProof(3, log.inclusion_proof(3)[:-1], GOLDEN).encode()),
    ]:
        with pytest.raises(CheckpointRefused, match="not_included"):
            verify_entry(proof, leaf, TRUST, verify_signature, now_ms=NOW)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        GOLDEN,
        GOLDEN_PROOF[: -len(GOLDEN)],
        GOLDEN_PROOF.replace(b"v1", b"v2"),
        GOLDEN_PROOF.replace(b"index 3", b"index 03"),
        GOLDEN_PROOF.replace(b"index 3", b"extra AA==\nindex 3"),
        GOLDEN_PROOF.replace(b"4xNl", b""),
        GOLDEN_PROOF.replace(b"4xNl", b"\xff\xff\xff\xff"),
        b"c2sp.org/tlog-proof@v1\n\n" + GOLDEN,
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"4xNl/F67CwWichOTmIIlQC3a9vF1kNkxq51AHf91PI8=\n" * 65 + b"\n" + GOLDEN,
        b"x" * 1_000_000,
    ],
)
def test_what_is_not_a_proof(raw: bytes) -> None:
    with pytest.raises(CheckpointRefused, match="malformed"):
        verify_entry(raw, log_of(5).leaf(3), TRUST, verify_signature, now_ms=NOW)
