"""What validators sign: pinned payloads, one slot each, and proofs that stand by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from bittensor.keyfiles import Keypair
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.canonical import leaf_hash, merkle_root
from ledger.changes import BatchHeader, StakeOf
from ledger.frontier import Frontier
from ledger.statements import (
    Batch,
    Certificate,
    Equivocation,
    Final,
    Seal,
    Verdict,
    header_digest,
    sign_final,
    sign_seal,
    sign_verdict,
)
from ledger.types import Signer
from orchestra.chain import verify_signature
from tests.governed import SEED, Key, schema_update, send_off

ALICE: Signer = Keypair.create_from_uri("//Alice")
BOB: Signer = Keypair.create_from_uri("//Bob")
A, B = "0x" + "aa" * 32, "0x" + "bb" * 32
EMPTY = Frontier().version
ENTRIES = {each.id: each for each in SEED}
MINER = Key("miner")
SENT = send_off(schema_update(MINER.ss58_address, ENTRIES, "alpha", "x"), MINER)


def verdict(signer: Signer = ALICE, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {"proposal": SENT.digest, "anchor": 120, "answer": "confirm", "seen": 122, "probed": 124}
    return sign_verdict(signer, **(fields | changes))


def certificate(**changes: Any) -> Certificate:
    verdicts = sorted([verdict(ALICE), verdict(BOB)], key=lambda each: each.signer)
    fields = {"proposal": SENT, "anchor": 120, "answer": "confirm", "verdicts": verdicts}
    return Certificate.model_validate(fields | changes)


def header(*certificates: Certificate, leader: Signer = ALICE) -> BatchHeader:
    return BatchHeader(
        window=2,
        block=200,
        beacon=A,
        leader=leader.ss58_address,
        parent=EMPTY,
        certificates=tuple(each.digest for each in certificates),
        validators=(StakeOf(hotkey=ALICE.ss58_address, stake="10"),),
    )


def test_payloads_are_pinned() -> None:
    assert verdict().payload.decode() == (
        f'{{"about":"verdict","anchor":120,"answer":"confirm","domain":"orchestra-verdict/1","probed":124,'
        f'"proposal":"{SENT.digest}","seen":122,"signer":"{ALICE.ss58_address}"}}'
    )
    assert sign_final(ALICE, window=2, batch=None, version=EMPTY).payload.decode() == (
        f'{{"about":"final","batch":null,"domain":"orchestra-final/1","signer":"{ALICE.ss58_address}",'
        f'"version":"{EMPTY}","window":2}}'
    )
    one = BatchHeader.model_validate(header(certificate()).model_dump() | {"certificates": (A,)})
    assert sign_seal(ALICE, header=one, version=EMPTY).payload.decode() == (
        f'{{"about":"seal","domain":"orchestra-batch/1","header":"{header_digest(one)}",'
        f'"signer":"{ALICE.ss58_address}","version":"{EMPTY}","window":2}}'
    )
    assert header_digest(one) == "0xfff2da3ef51e575d5be583f51615ebb00f177c098165d567a564bbb4cb3a3c3a"
    fixed = [each.model_copy(update={"signature": "0x" + "ab" * 64}) for each in certificate().verdicts]
    assert certificate(verdicts=fixed).digest == "0xa670fdf0fb6dbd9b32cdac613ab9a7a8b7075e2361bc883168d295b07b5af613"


@pytest.mark.parametrize(
    ("first", "second", "proves"),
    [
        (verdict(), verdict(answer="deny"), True),
        (verdict(), verdict(probed=125), True),
        (verdict(), verdict(), False),
        (verdict(), verdict(BOB, answer="deny"), False),
        (verdict(), verdict(proposal=A, answer="deny"), False),
        (verdict(), verdict(answer="deny").model_copy(update={"signature": verdict().signature}), False),
        (
            sign_final(ALICE, window=2, batch=A, version=EMPTY),
            sign_final(ALICE, window=2, batch=B, version=EMPTY),
            True,
        ),
        (
            sign_final(ALICE, window=2, batch=A, version=EMPTY),
            sign_final(ALICE, window=3, batch=B, version=EMPTY),
            False,
        ),
        (sign_final(ALICE, window=2, batch=A, version=EMPTY), verdict(), False),
        (
            sign_seal(ALICE, header=header(certificate()), version=EMPTY),
            sign_seal(ALICE, header=header(certificate(anchor=120)), version="1:" + A),
            True,
        ),
    ],
)
def test_two_statements_for_one_slot_prove_it_alone(
    first: Verdict | Seal | Final, second: Verdict | Seal | Final, proves: bool
) -> None:
    proof = Equivocation(first=first, second=second)
    assert proof.is_proven(verify_signature) is proves
    again = Equivocation.model_validate_json(proof.model_dump_json())
    assert again.is_proven(verify_signature) is proves
    assert proof.culprit == ALICE.ss58_address


@pytest.mark.parametrize(
    "changes",
    [
        {"anchor": 121},
        {"answer": "deny"},
        {"verdicts": ()},
        {"verdicts": (verdict(), verdict())},
        {"verdicts": (verdict(proposal=A),)},
        {"verdicts": sorted([verdict(ALICE), verdict(BOB)], key=lambda each: each.signer, reverse=True)},
    ],
)
def test_a_certificate_is_about_one_answer_to_one_proposal(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        certificate(**changes)


def test_a_batch_holds_together_or_is_none() -> None:
    one = certificate()
    seal = sign_seal(ALICE, header=header(one), version="1:" + A)
    batch = Batch(seal=seal, header=header(one), certificates=(one,))
    assert batch.digest == seal.digest
    assert Batch.model_validate_json(batch.model_dump_json()) == batch
    other = certificate(verdicts=(verdict(),))
    twice = (certificate(), certificate(anchor=121, verdicts=(verdict(anchor=121),)))
    wrong: list[dict[str, Any]] = [
        {
            "seal": sign_seal(ALICE, header=header(*twice), version=EMPTY),
            "header": header(*twice),
            "certificates": twice,
        },
        {"certificates": (other,)},
        {"header": header(other), "certificates": (other,)},
        {"seal": sign_seal(BOB, header=header(one), version="1:" + A)},
        {"header": header(one, leader=BOB)},
        {
            "seal": sign_seal(ALICE, header=header(one, one), version=EMPTY),
            "header": header(one, one),
            "certificates": (one, one),
        },
    ]
    for changes in wrong:
        with pytest.raises(ValidationError):
            batch.model_copy(update=changes)


@given(st.integers(0, 70), st.integers(0, 70))
def test_the_right_edge_of_a_log_knows_its_root(first: int, then: int) -> None:
    leaves = [leaf_hash(str(number).encode()) for number in range(first + then)]
    edge = Frontier().extended(leaves[:first])
    assert edge.extended(leaves[first:]).version == f"{first + then}:{merkle_root(leaves)}"
    assert edge.root == merkle_root(leaves[:first])
