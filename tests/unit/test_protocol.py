"""Messages: strict where we write, tolerant where a newer peer reads on, bounded before anything else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ledger.canonical import canonical, parse_strict
from ledger.statements import BatchRequest
from orchestra import protocol as p
from tests import proofkit as kit

LEDGER = kit.make_ledger()
KEY, HASH = kit.MINER.ss58_address, kit.h("x")
SIGNATURE = "0x" + "ab" * 64
RESPONSE = kit.make_story().seal()[0]

MESSAGES: list[p.Message] = [
    kit.make_synapse(LEDGER, hints=(p.Hint(entry="desearch", output_schema={"type": "object"}),)),
    RESPONSE,
    p.EvidenceRequest(challenge_id=HASH, steps=(1, 2)),
    p.Evidence(challenge_id=HASH, steps=(p.StepEvidence(step=1, request="e30=", response=None),)),
    p.LedgerAuditRequest(entries=("desearch",), nonce=HASH),
    p.LedgerAuditResponse(
        ledger_version=LEDGER.version,
        nonce=HASH,
        entries=(p.EntryView(entry="desearch", digest=HASH), p.EntryView(entry="nobody", digest=None)),
        signature=SIGNATURE,
    ),
    p.QuoteRequest(challenge_id=HASH, target_schema={"a": "str"}, deadline_ms=1000, max_cost=5),
    p.Quote(challenge_id=HASH, cost=2**62, latency_ms=5, accepts=True),
    p.ReplayRequest(entry="desearch", operation="web_search", query={"q": 1.5}, ledger_version=LEDGER.version),
    p.ReplayVerdict(response_hash=None, signature=SIGNATURE),
    p.LedgerChangesRequest(since=3),
    p.LedgerChanges(
        since=0,
        version=LEDGER.version,
        leaves=(p.LedgerLeaf(index=0, kind="entry", body=next(iter(LEDGER.entries.values()))),),
        signer=KEY,
        signature=SIGNATURE,
    ),
    p.GovernanceMessage(body=BatchRequest(batch=HASH)),
    p.GovernanceReply(refused="busy"),
    p.Health(role="miner", hotkey=None, ledger_version=LEDGER.version, software="x", ready=True),
]
EACH = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)


def fields(message: p.Message) -> dict[str, Any]:
    return kit.as_object(parse_strict(message.to_wire()))


def test_every_message_is_here() -> None:
    ours = {each for each in p.Message.__subclasses__() if each.__module__ == p.__name__}
    assert {type(message) for message in MESSAGES} == ours


@EACH
def test_what_is_written_is_read_back_and_is_canonical(message: p.Message) -> None:
    raw = message.to_wire()
    assert type(message).from_wire(raw, max_bytes=p.MAX_RESPONSE_BYTES) == message
    assert canonical(parse_strict(raw)) == raw
    assert fields(message)["protocol_version"] == 1


@EACH
def test_fields_of_a_newer_peer_are_ignored_at_every_depth(message: p.Message) -> None:
    def enrich(model: Any, value: Any) -> None:
        if isinstance(model, p.Part):
            value["from_a_newer_version"] = {"a": [1]}
            for name in type(model).model_fields:
                enrich(getattr(model, name), value[name])
        elif isinstance(model, tuple):
            for item, inner in zip(model, value, strict=True):
                enrich(item, inner)

    document = fields(message)
    enrich(message, document)
    assert type(message).from_fields(document) == message


@EACH
def test_what_we_write_forbids_unknown_fields(message: p.Message) -> None:
    with pytest.raises(ValidationError, match="forbidden"):
        type(message)(**{**message.model_dump(), "extra": 1})


@EACH
@pytest.mark.parametrize("version", [0, 2, "1", True, None, 1.5, [1]])
def test_another_version_is_refused_before_anything_is_read(message: p.Message, version: Any) -> None:
    with pytest.raises(p.MessageRefused) as refused:
        type(message).from_fields({"protocol_version": version})
    assert refused.value.code == "unsupported_version"


@EACH
def test_a_missing_field_is_named(message: p.Message) -> None:
    required = [name for name, field in type(message).model_fields.items() if field.is_required()]
    document = fields(message)
    del document[required[0]]
    with pytest.raises(p.MessageRefused) as refused:
        type(message).from_fields(document)
    assert refused.value.code == "invalid_message"
    assert f"/{required[0]}" in refused.value.detail


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"[" * 1000, "too_deep"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":1e999}', "bad_number"),
        (b'"\xff"', "bad_text"),
        (b"7", "malformed"),
        (b"{}", "unsupported_version"),
        (b" " * (p.MAX_REQUEST_BYTES + 1), "too_large"),
    ],
)
def test_refusals_have_codes(raw: bytes, code: str) -> None:
    with pytest.raises(p.MessageRefused) as refused:
        p.OrchestraSynapse.from_wire(raw)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("challenge_id", "0x12"),
        ("challenge_id", HASH.upper()),
        ("challenge_id", HASH + "\n"),
        ("objective", ""),
        ("objective", "x" * 8_193),
        ("target_schema", []),
        ("deadline_ms", 99),
        ("deadline_ms", 600_001),
        ("deadline_ms", 1000.5),
        ("hints", [{"entry": "x"}] * 17),
        ("hints", [{"entry": "x" * 65}]),
        ("issued_block", -1),
        ("max_cost", -1),
        ("max_cost", "-1"),
        ("max_cost", "1.5"),
        ("max_cost", "٣"),
        ("max_cost", True),
        ("max_cost", str(2**63)),
        ("ledger_version", "1"),
        ("ledger_version", "x:" + HASH),
        ("tag", None),
    ],
)
def test_a_challenge_is_bounded_in_every_field(name: str, value: Any) -> None:
    document = fields(MESSAGES[0]) | {name: value}
    with pytest.raises(p.MessageRefused) as refused:
        p.OrchestraSynapse.from_fields(document)
    assert refused.value.code == "invalid_message"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("task_pipeline/0/step", 0),
        ("task_pipeline/0/step", 257),
        ("task_pipeline/0/subnet", "SN123456"),
        ("task_pipeline/0/subnet", "22"),
        ("task_pipeline/0/hash", None),
        ("task_pipeline/0/cost", "1e3"),
        ("task_pipeline/0/latency_ms", -1),
        ("task_pipeline/0/salt", "0x00"),
        ("task_pipeline/1/error/kind", "bad luck"),
        ("task_pipeline/1/error/detail", "x" * 301),
        ("task_pipeline/4/receipt/key", "0OIl" * 12),
        ("task_pipeline/4/receipt/signature", "0x"),
        ("provenance", {"no-slash": []}),
        ("provenance", {"/a": {"op": "guess", "of": []}}),
        ("provenance", {"/a": {"op": "scale", "of": [], "by": "1e9"}}),
        ("provenance", {"/a": [{"step": 0, "pointer": ""}]}),
        ("proof/miner", "//Alice"),
        ("proof/signature", SIGNATURE.upper()),
        ("gaps", [{"reason": "x" * 301}]),
        ("ledger_proposals", [{"kind": "rename", "entry": "x", "change": {}}]),
        ("final_synthesis", "x" * 32_769),
    ],
)
def test_an_answer_is_bounded_in_every_field(path: str, value: Any) -> None:
    document = fields(RESPONSE)
    kit.put(path, value)(document)
    with pytest.raises(p.MessageRefused) as refused:
        p.OrchestraResponse.from_fields(document)
    assert refused.value.code == "invalid_message"


@pytest.mark.parametrize("amount", [0, 1, 2**53, 2**63 - 1])
def test_money_is_a_string_of_digits_on_the_wire_and_an_int_here(amount: int) -> None:
    quote = p.Quote(challenge_id=HASH, cost=amount, latency_ms=1, accepts=True)
    assert fields(quote)["cost"] == str(amount)
    assert p.Quote.from_wire(quote.to_wire()).cost == amount


def test_derivations_nest_and_keep_their_decimals() -> None:
    inner = p.Derivation(op="min", of=(p.Source(step=1, pointer="/a"),))
    outer = p.Derivation(op="scale", by="0.9", of=inner)
    assert p.Derivation.model_validate(outer.model_dump(mode="json")) == outer
    assert outer.model_dump(mode="json")["of"]["of"] == [{"step": 1, "pointer": "/a"}]


def test_messages_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RESPONSE.total_cost = 1  # type: ignore[misc]


def test_a_refusal_never_repeats_what_was_sent() -> None:
    with pytest.raises(p.MessageRefused) as refused:
        p.OrchestraSynapse.from_fields({**fields(MESSAGES[0]), "tag": "s3cret" * 50})
    assert "s3cret" not in str(refused.value)
    assert len(str(refused.value)) < 400
