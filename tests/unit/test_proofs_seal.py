"""Golden vectors of what is hashed and signed, computed here once more with hashlib and json alone; and sealing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from ledger.canonical import merkle_root
from orchestra.chain import verify_signature
from orchestra.proofs.binding import proof_payload, response_digest, step_leaf
from orchestra.protocol import OrchestraResponse, Receipt
from orchestra.subnets.receipts import receipt_payload
from tests import proofkit as kit

CHALLENGE_ID, BEACON = "0x" + "11" * 32, "0x" + "22" * 32

STEP: dict[str, Any] = {
    "step": 1,
    "subnet": "SN22",
    "entry": "desearch",
    "task": "web_search: GPU-Preise",
    "operation": "web_search",
    "query": {"query": "GPU-Preise für A100", "limit": 3, "max_price": 1.5},
    "hash": "0x" + "00" * 32,
    "response_hash": "0x" + "33" * 32,
    "latency_ms": 120,
    "cost": "100000",
    "error": None,
    "depends_on": [],
    "attempt": 1,
    "receipt": None,
    "salt": "0x" + "44" * 32,
}
LEAF = "0x5972a6a03b51f2bcf533685a88bd41a798152d324ffdc9c32ec1c2d664f13928"
ROOT = "0xadc505e99f1e9887777a6aa5d140106fcc012a2e4430875f3c2e135124145842"
RESPONSE_DIGEST = "0x4d81acaa972c62ff1850cad37ab9dd706eb2b9b0180c3b7f11d7d075be522fde"
PROOF_SHA256 = "0x9066614adab710a84d46a0a07bf75822d688100f65dfa8f335fc7db2dcbe9ee6"
RECEIPT_SHA256 = "0x0322f9ad0519f165a73373a1c363020be2d613a9167497423f6f2435a64a9c8a"


def jcs(value: Any) -> bytes:
    """RFC 8785 for ASCII keys and numbers that every language writes alike."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_leaf() -> None:
    fields = {name: value for name, value in STEP.items() if name != "hash"}
    expected = sha(b"\x00" + jcs({**fields, "challenge_id": CHALLENGE_ID, "beacon": BEACON}))
    assert step_leaf(STEP, challenge_id=CHALLENGE_ID, beacon=BEACON) == "0x" + expected.hex() == LEAF


def test_the_leaf_does_not_depend_on_the_hash_and_depends_on_everything_else() -> None:
    leaf = step_leaf(STEP, challenge_id=CHALLENGE_ID, beacon=BEACON)
    assert step_leaf(STEP | {"hash": BEACON}, challenge_id=CHALLENGE_ID, beacon=BEACON) == leaf
    others = [
        step_leaf(STEP | {name: "x"}, challenge_id=CHALLENGE_ID, beacon=BEACON) for name in STEP.keys() - {"hash"}
    ]
    others += [step_leaf(STEP, challenge_id=BEACON, beacon=BEACON)]
    others += [step_leaf(STEP, challenge_id=CHALLENGE_ID, beacon=CHALLENGE_ID)]
    others += [step_leaf(STEP | {"new": 1}, challenge_id=CHALLENGE_ID, beacon=BEACON)]
    assert leaf not in others
    assert len(set(others)) == len(others)


def test_root_of_three_leaves() -> None:
    leaves = [bytes.fromhex(pair * 32) for pair in ("11", "22", "33")]
    expected = sha(b"\x01" + sha(b"\x01" + leaves[0] + leaves[1]) + leaves[2])
    assert merkle_root(["0x" + leaf.hex() for leaf in leaves]) == "0x" + expected.hex() == ROOT


def test_the_root_of_an_answer_is_over_its_leaves_in_step_order() -> None:
    made = [kit.attempt(step, LEDGER, "desearch/web_search", {"query": "gpu pricing"}) for step in (1, 2, 3)]
    response, _ = story(made).seal()
    leaves = [bytes.fromhex(step.hash[2:]) for step in response.task_pipeline]
    assert len(set(leaves)) == 3
    expected = sha(b"\x01" + sha(b"\x01" + leaves[0] + leaves[1]) + leaves[2])
    assert response.proof.root == "0x" + expected.hex()


def test_proof_payload() -> None:
    fields = {
        "challenge_id": CHALLENGE_ID,
        "request_digest": "0x" + "55" * 32,
        "root": "0x" + "66" * 32,
        "response_digest": "0x" + "77" * 32,
        "ledger_version": "3:0x" + "88" * 32,
        "miner": kit.MINER.ss58_address,
        "validator": kit.VALIDATOR.ss58_address,
    }
    payload = proof_payload(**fields)
    assert payload == jcs({"domain": "orchestra-proof/1", **fields})
    assert "0x" + sha(payload).hex() == PROOF_SHA256


def test_receipt_payload() -> None:
    fields: dict[str, Any] = {
        "entry": "atlas",
        "operation": "search",
        "caller": kit.MINER.ss58_address,
        "tag": "0x" + "99" * 32,
        "request_hash": "0x" + "aa" * 32,
        "response_hash": "0x" + "bb" * 32,
        "time_ms": 1_800_000_000_123,
    }
    payload = receipt_payload(**fields)
    assert payload == jcs({"domain": "orchestra-receipt/1", **fields})
    assert "0x" + sha(payload).hex() == RECEIPT_SHA256


def test_response_digest_leaves_out_the_proof_alone() -> None:
    document = {"challenge_id": CHALLENGE_ID, "unknown": [1, 1.5, "é"], "proof": {"root": "x"}}
    expected = "0x" + sha(jcs({"challenge_id": CHALLENGE_ID, "unknown": [1, 1.5, "é"]})).hex()
    assert response_digest(document) == expected == RESPONSE_DIGEST


def test_the_signature_of_a_sealed_answer_is_over_the_document_as_it_travels() -> None:
    response, _ = kit.make_story().seal()
    document = json.loads(response.to_wire())
    proof = document.pop("proof")
    payload = jcs(
        {
            "domain": "orchestra-proof/1",
            "challenge_id": document["challenge_id"],
            "request_digest": "0x" + sha(kit.make_story().synapse.to_wire()).hex(),
            "root": proof["root"],
            "response_digest": "0x" + sha(jcs(document)).hex(),
            "ledger_version": document["ledger_version"],
            "miner": kit.MINER.ss58_address,
            "validator": kit.VALIDATOR.ss58_address,
        }
    )
    assert verify_signature(kit.MINER.ss58_address, payload, bytes.fromhex(proof["signature"][2:]))


LEDGER = kit.make_ledger()


def story(made: list[Any]) -> kit.Story:
    return kit.Story(LEDGER, kit.make_synapse(LEDGER), made, {}, {})


def test_a_sealed_answer_tells_what_happened() -> None:
    told = kit.make_story()
    response, bundle = told.seal()
    for step, made in zip(response.task_pipeline, told.attempts, strict=True):
        assert (step.subnet, step.entry, step.operation, step.query) == (
            made.subnet,
            made.entry,
            made.operation,
            made.query,
        )
        assert (step.cost, step.error, step.depends_on, step.attempt) == (
            made.cost,
            made.error,
            made.depends_on,
            made.attempt,
        )
        body = None if made.response is None else "0x" + sha(made.response).hex()
        assert step.response_hash == body
    assert response.total_cost == sum(made.cost for made in told.attempts) == 700_000
    assert len({step.salt for step in response.task_pipeline}) == len(told.attempts)
    assert response.protocol_version == 1
    assert bundle.challenge_id == told.synapse.challenge_id
    assert bundle.validator == told.validator
    assert OrchestraResponse.from_wire(response.to_wire()) == response


def test_an_answer_without_steps_can_be_sealed() -> None:
    response, bundle = story([]).seal()
    assert response.proof.root == "0x" + sha(b"").hex()
    assert bundle.steps == ()


@pytest.mark.parametrize("numbers", [(2,), (1, 1), (1, 3), (2, 1)])
def test_attempts_out_of_order_are_refused(numbers: tuple[int, ...]) -> None:
    first = kit.make_story().attempts[0]
    with pytest.raises(ValueError, match=r"1\.\.n"):
        story([replace(first, step=number) for number in numbers]).seal()


def test_what_canonical_json_cannot_hold_is_refused() -> None:
    told = kit.make_story()
    told.data["big"] = 2**60
    with pytest.raises(ValueError, match=r"2\^53|safe"):
        told.seal()


def test_receipts_travel_inside_the_leaf() -> None:
    response, _ = kit.make_story().seal()
    step = response.task_pipeline[4]
    assert isinstance(step.receipt, Receipt)
    dumped = step.model_dump(mode="json")
    synapse = kit.make_story().synapse
    assert step_leaf(dumped, challenge_id=synapse.challenge_id, beacon=synapse.beacon) == step.hash
    dumped["receipt"]["time_ms"] += 1
    assert step_leaf(dumped, challenge_id=synapse.challenge_id, beacon=synapse.beacon) != step.hash
