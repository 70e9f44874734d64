"""Proposals: digests are pinned, a miner has no field for what is the owner's, signatures bind what they say."""

from __future__ import annotations

import time
from typing import Any

import pytest
from bittensor.keyfiles import Keypair
from pydantic import TypeAdapter, ValidationError

from ledger.applying import CannotApply, apply, base_of, schemas_trouble
from ledger.canonical import sha256
from ledger.entry import Auth, Metrics, SubnetEntry
from ledger.proposals import (
    MAX_PROPOSAL_BYTES,
    Consent,
    Deprecation,
    MetricsUpdate,
    NewSubnet,
    Owned,
    OwnerChange,
    Proposal,
    SchemaUpdate,
    SignedProposal,
    consent_payload,
    consents_trouble,
    proposal_leaf,
    proposal_payload,
    sign,
    sponsor_payload,
    substance,
)
from ledger.types import Signer
from orchestra.chain import verify_signature
from tests.builders import entry, operation
from tests.governed import send_off

MINER: Signer = Keypair.create_from_uri("//Miner")
OTHER: Signer = Keypair.create_from_uri("//Other")
OWNER: Signer = Keypair.create_from_uri("//Owner")
SPONSOR: Signer = Keypair.create_from_uri("//Sponsor")
SALT = "0x" + "5a" * 32
ZERO = "0x" + "00" * 32
DESEARCH = entry("desearch", netuid=22)
METRICS = Metrics(latency_ms=120, latency_p95_ms=400, reliability_permille=990)
ANY: TypeAdapter[Proposal] = TypeAdapter(Proposal)
SAID: dict[str, Any] = {"proposer": MINER.ss58_address, "entry": "desearch", "salt": SALT}


def based(proposal: Any) -> Any:
    return proposal.model_copy(update={"base": base_of(DESEARCH, proposal)})


SCHEMA = based(SchemaUpdate(**SAID, operation="web_search", base=ZERO, output_schema={"type": "array"}))
DEAD = based(Deprecation(**SAID, base=ZERO, evidence=("0x" + "11" * 32,)))
MEASURED = based(MetricsUpdate(**SAID, operation="web_search", base=ZERO, metrics=METRICS, sample=20))
NEW = NewSubnet(**{**SAID, "entry": "atlas"}, body=entry("atlas", netuid=7))


def owner_change(change: Owned, *, operation: str = "web_search", netuids: tuple[int, ...] = (22,)) -> OwnerChange:
    """Signed by the owner of each netuid."""
    fields = {**SAID, "operation": operation, "base": ZERO, "change": change, "valid_until": 500}
    unsigned = [{"owner": OWNER.ss58_address, "netuid": netuid, "signature": "0x" + "00" * 64} for netuid in netuids]
    made = based(OwnerChange.model_validate(fields | {"consents": unsigned}))
    consents = [
        Consent(owner=OWNER.ss58_address, netuid=netuid, signature=sign(OWNER, consent_payload(made, netuid)))
        for netuid in netuids
    ]
    return made.model_copy(update={"consents": consents})


MOVED_KEY = owner_change(Owned(receipt_key=OTHER.ss58_address))
FIXED = Consent(owner=OWNER.ss58_address, netuid=22, signature="0x" + "ab" * 64)  # signatures are random, pins are not
PINNED = MOVED_KEY.model_copy(update={"consents": (FIXED,)})


@pytest.mark.parametrize(
    ("proposal", "digest", "claim"),
    [
        (
            SCHEMA,
            "0x133425110365050d63c35682a5ae6b9fbba81583b66c9f050ca949d23ed9f4e8",
            "0x63736085e614e12d2245b1a5548469c478e0c4909930b02e98e9e757260ba12b",
        ),
        (
            DEAD,
            "0xf92b70b7cf72879a3a18f842bee9cb340203f5f4f72b5d9170082a1aaa1103a5",
            "0x800ea126609b807792f136cb757c8236a869e0bab200f91b5eb92cf240528fc5",
        ),
        (
            MEASURED,
            "0x59e8753e24f2230acac53a04c44fcc3edef457ac45cee763bdbe5d6c21a2e9c6",
            "0xd84ef7a1abd71c92da209859f4f8c502e8e4f447931985e8136a90dde28e12ee",
        ),
        (
            NEW,
            "0x460500ae1d617856fc2861158269f364f04a44f736c4ee4679f3ff17b6ae6011",
            "0x02a2e3e0be86bf6c8544c1481b255e7b9e3237f2cab190fa9ce6dfe8391ef0e3",
        ),
        (
            PINNED,
            "0xbadf76e62e6899bb4df3eb1639bda400a7644c015505c9c223672f77e1b9080d",
            "0xb4ddb220918913938231184dd5ccd5ce837fa900e322978b62a0932dcaaa04ae",
        ),
    ],
    ids=["schema_update", "deprecation", "metrics_update", "new_subnet", "owner_change"],
)
def test_a_proposal_is_pinned(proposal: Proposal, digest: str, claim: str) -> None:
    assert (sha256(proposal_payload(proposal)), substance(proposal)) == (digest, claim)
    assert ANY.validate_json(proposal.model_dump_json()) == proposal


def test_what_else_is_signed_is_pinned() -> None:
    assert sponsor_payload(ZERO, SPONSOR.ss58_address).decode() == (
        f'{{"domain":"orchestra-sponsor/1","proposal":"{ZERO}","sponsor":"{SPONSOR.ss58_address}"}}'
    )
    assert consent_payload(MOVED_KEY, 22).decode() == (
        f'{{"base":"{MOVED_KEY.base}","change":{{"auth":null,"endpoint":null,"netuid":null,'
        f'"receipt_key":"{OTHER.ss58_address}"}},"domain":"orchestra-owner/1","entry":"desearch",'
        '"kind":"owner_change","netuid":22,"operation":"web_search","valid_until":500}'
    )
    assert proposal_leaf(ZERO) == "0x35117e2fe4686ad25858111cb8b77d8fc0467a935bb4b1d4f3ffc23f5b20703d"


def test_substance_is_the_claim_without_who_makes_it() -> None:
    again = SCHEMA.model_copy(update={"proposer": OTHER.ss58_address, "salt": ZERO, "evidence": (ZERO,)})
    assert substance(again) == substance(SCHEMA)
    assert proposal_payload(again) != proposal_payload(SCHEMA)
    assert substance(SCHEMA.model_copy(update={"output_schema": {"type": "object"}})) != substance(SCHEMA)


@pytest.mark.parametrize("field", ["endpoint", "auth", "receipt_key", "netuid", "price"])
@pytest.mark.parametrize("proposal", [SCHEMA, DEAD, MEASURED], ids=lambda each: each.kind)
def test_a_miner_has_no_field_for_what_is_the_owners(field: str, proposal: Proposal) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ANY.validate_python(proposal.model_dump() | {field: "x"})


@pytest.mark.parametrize(
    "changes",
    [
        {"operations": (operation(receipt_key="key"),)},
        {"operations": (operation(auth=Auth(kind="header", name="X-Key", secret="SN22")),)},
        {"operations": (operation(metrics=METRICS),)},
        {"status": "deprecated"},
    ],
    ids=["receipt_key", "auth", "metrics", "status"],
)
def test_a_new_subnet_claims_nothing_that_is_not_its_finders(changes: dict[str, Any]) -> None:
    body = entry("atlas", netuid=7, **changes)
    with pytest.raises(ValidationError, match=r"nobody has measured|need its owner"):
        NewSubnet(**{**SAID, "entry": "atlas"}, body=body)


@pytest.mark.parametrize(
    ("change", "operation"),
    [
        (Owned(), ""),
        (Owned(netuid=4), "web_search"),
        (Owned(receipt_key="k"), ""),
        (Owned(netuid=4, receipt_key="k"), ""),
    ],
)
def test_an_owner_changes_a_netuid_or_fields_of_an_operation(change: Owned, operation: str) -> None:
    with pytest.raises(ValidationError, match="either a netuid"):
        OwnerChange(**SAID, operation=operation, base=ZERO, change=change, valid_until=9, consents=MOVED_KEY.consents)


def test_a_proposal_is_bounded() -> None:
    large = SCHEMA.model_copy(update={"output_schema": {"description": "x" * MAX_PROPOSAL_BYTES}})
    with pytest.raises(ValueError, match="at most"):
        proposal_payload(large)
    with pytest.raises(ValidationError):
        SCHEMA.model_copy(update={"evidence": (ZERO,) * 33})
    with pytest.raises(ValidationError):
        MEASURED.model_copy(update={"sample": 9})


# How it travels


def test_a_proposal_is_signed_and_stands_in_its_proposers_log() -> None:
    sent = send_off(SCHEMA, MINER, before=[proposal_leaf(ZERO)] * 5)
    assert sent.trouble(verify_signature) == ""
    assert not sent.is_sponsored
    assert SignedProposal.model_validate_json(sent.model_dump_json()) == sent


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"proposal": SCHEMA.model_copy(update={"salt": ZERO})}, "not signed by its proposer"),
        ({"signature": "0x" + "00" * 64}, "not signed by its proposer"),
        ({"anchor": {"root": ZERO}}, "path does not lead"),
        ({"anchor": {"index": 1}}, "path does not lead"),
        ({"anchor": {"hotkey": SPONSOR.ss58_address}}, "not signed by the sponsor"),
    ],
)
def test_a_changed_one_says_why_not(change: dict[str, Any], reason: str) -> None:
    sent = send_off(SCHEMA, MINER)
    if "anchor" in change:
        change = {"anchor": sent.anchor.model_copy(update=change["anchor"])}
    assert reason in sent.model_copy(update=change).trouble(verify_signature)


def test_a_sponsor_vouches_for_one_proposal() -> None:
    sent = send_off(SCHEMA, OTHER, sponsor=SPONSOR)  # the proposer is MINER, so OTHER cannot sign for it
    assert "not signed by its proposer" in sent.trouble(verify_signature)
    sent = send_off(SCHEMA, MINER, sponsor=SPONSOR)
    assert sent.is_sponsored
    assert sent.trouble(verify_signature) == ""
    stolen = send_off(DEAD, MINER, sponsor=SPONSOR).sponsor_signature
    assert "sponsor" in sent.model_copy(update={"sponsor_signature": stolen}).trouble(verify_signature)


def test_a_consent_is_of_the_owner_of_that_netuid_for_that_change() -> None:
    owners = {22: OWNER.ss58_address}
    assert consents_trouble(MOVED_KEY, owners, {22}, verify_signature) == ""
    assert "netuid 23" in consents_trouble(MOVED_KEY, owners | {23: OWNER.ss58_address}, {22, 23}, verify_signature)
    assert "not signed by the owner" in consents_trouble(MOVED_KEY, {22: OTHER.ss58_address}, {22}, verify_signature)
    assert "not signed by the owner" in consents_trouble(MOVED_KEY, {}, {22}, verify_signature)
    later = MOVED_KEY.model_copy(update={"valid_until": 501})
    assert "is wrong" in consents_trouble(later, owners, {22}, verify_signature)
    carried = MOVED_KEY.model_copy(update={"proposer": OTHER.ss58_address, "salt": ZERO})
    assert consents_trouble(carried, owners, {22}, verify_signature) == ""


def test_a_move_is_signed_by_both_owners() -> None:
    moved = owner_change(Owned(netuid=23), operation="", netuids=(22, 23))
    owners = {22: OWNER.ss58_address, 23: OWNER.ss58_address}
    assert consents_trouble(moved, owners, {22, 23}, verify_signature) == ""
    alone = moved.model_copy(update={"consents": moved.consents[1:]})
    assert "netuid 22" in consents_trouble(alone, owners, {22, 23}, verify_signature)


# What it does to an entry


def test_each_kind_changes_its_own_part_only() -> None:
    after = apply(DESEARCH, SCHEMA, block=9)
    changed = DESEARCH.operations[0].model_copy(update={"output_schema": {"type": "array"}})
    assert after == DESEARCH.model_copy(update={"operations": (changed,)})
    assert apply(DESEARCH, DEAD, block=9) == DESEARCH.model_copy(update={"status": "deprecated"})
    assert apply(DESEARCH, MEASURED, block=9).operations[0].metrics == METRICS
    assert apply(None, NEW, block=9) == NEW.body
    assert apply(DESEARCH, MOVED_KEY, block=9).operations[0].receipt_key == OTHER.ss58_address
    moved = apply(DESEARCH, owner_change(Owned(netuid=23), operation="", netuids=(22, 23)), block=9)
    assert (moved.netuid, moved.netuid_since) == (23, 9)


@pytest.mark.parametrize(
    ("before", "proposal", "why"),
    [
        (None, SCHEMA, "no entry"),
        (entry("desearch", netuid=22, operations=()), SCHEMA, "no operation"),
        (apply(DESEARCH, SCHEMA, block=1), SCHEMA, "does not say any more"),
        (DESEARCH.model_copy(update={"status": "degraded"}), DEAD, "does not say any more"),
        (entry("atlas", netuid=7), NEW, "already"),
        (entry("atlas", netuid=7, status="deprecated"), NEW, "already"),
        (
            DESEARCH,
            based(SCHEMA.model_copy(update={"output_schema": {"type": "object", "required": ["data"]}})),
            "says that",
        ),
    ],
)
def test_what_does_not_apply_says_why(before: SubnetEntry | None, proposal: Proposal, why: str) -> None:
    with pytest.raises(CannotApply, match=why):
        apply(before, proposal, block=9)


def test_a_deprecated_entry_comes_back_by_its_owners_word_alone() -> None:
    dead = entry("atlas", netuid=7, status="deprecated")
    consent = Consent(owner=OWNER.ss58_address, netuid=7, signature="0x" + "00" * 64)
    signed = NEW.model_copy(update={"consents": (consent,)})
    assert apply(dead, signed, block=9) == NEW.body
    with pytest.raises(CannotApply):
        apply(dead.model_copy(update={"netuid": 8}), signed, block=9)


def test_a_hostile_schema_is_noticed_before_it_is_judged() -> None:
    assert schemas_trouble(SCHEMA) == ""
    assert "refused" in schemas_trouble(SCHEMA.model_copy(update={"input_schema": {"$ref": "https://a.example/s"}}))
    hostile = entry("atlas", netuid=7, operations=(operation(output_schema={"$ref": "https://a.example/s"}),))
    assert "refused" in schemas_trouble(NEW.model_copy(update={"body": hostile}))


def test_a_changed_copy_has_a_digest_of_its_own() -> None:
    sent = send_off(SCHEMA, MINER)
    before = sent.digest
    assert sent.model_copy(update={"proposal": DEAD}).digest != before == sent.digest


@pytest.mark.parametrize(
    "schema",
    [{"x": [[]] * 400_000}, {f"k{number}": 1 for number in range(100_000)}, {"description": "a" * 1_000_000}],
    ids=["lists", "keys", "text"],
)
def test_a_schema_that_cannot_fit_is_refused_before_it_is_written_out(schema: dict[str, Any]) -> None:
    large = SCHEMA.model_copy(update={"output_schema": schema})
    began = time.process_time()
    with pytest.raises(ValueError, match="at most"):
        proposal_payload(large)
    assert time.process_time() - began < 1.0
