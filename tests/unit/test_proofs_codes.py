"""Every reason code has a case that produces it, and the page lists them all: an honest answer, one thing wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from ledger.canonical import canonical
from orchestra.proofs import Audit, Code
from orchestra.proofs.provenance import MAX_WORK
from orchestra.protocol import MAX_RESPONSE_BYTES
from tests import proofkit as kit

Case: TypeAlias = Callable[[], Awaitable[Audit]]


def raw(data: bytes) -> Case:
    return partial(kit.of_raw, data)


def document(change: kit.DocumentChange) -> Case:
    return partial(kit.of_document, change)


def resealed(change: kit.DocumentChange) -> Case:
    return partial(kit.of_resealed, change)


def story(change: kit.StoryChange, **audit_changes: object) -> Case:
    return partial(kit.of_story, change, **audit_changes)


def honest(**audit_changes: object) -> Case:
    return story(lambda told: None, **audit_changes)


def too_long_to_compare(told: kit.Story) -> None:
    page = b"$1.45 is what Vast.ai asks. " + b"x" * (1 << 20)
    told.change(4, response=page)
    rows = range(2, MAX_WORK // len(page) + 3)
    told.data["offers"] += [{"name": "Vast.ai"} for _ in rows]
    for row in rows:
        kit.cite(f"/offers/{row}/name", (4, "/text"))(told)


def another_challenge() -> kit.Revealer:
    return kit.Revealer(kit.make_story("two").seal()[1])


def unreachable() -> kit.Revealer:
    return kit.Revealer(kit.make_story().seal()[1], broken=True)


def unexpected_receipt(told: kit.Story) -> None:
    query = told.attempts[0].query
    told.change(1, receipt=kit.receipt(query, kit.body_of("desearch/web_search", query), tag=told.synapse.tag))


CASES: dict[Code, Case] = {
    Code.TOO_LARGE: raw(b" " * (MAX_RESPONSE_BYTES + 1)),
    Code.TOO_DEEP: raw(b"[" * 65 + b"]" * 65),
    Code.TOO_MANY_VALUES: raw(b'{"a":[' + b"[]," * 100_000 + b"[]]}"),
    Code.DUPLICATE_KEY: raw(b'{"a":1,"a":2}'),
    Code.BAD_NUMBER: raw(b'{"a":NaN}'),
    Code.BAD_TEXT: raw(b'{"a":"\xff"}'),
    Code.MALFORMED: raw(b"[]"),
    Code.UNSUPPORTED_VERSION: raw(b'{"protocol_version":2}'),
    Code.INVALID_MESSAGE: raw(b'{"protocol_version":1}'),
    Code.AMBIGUOUS_VALUE: document(kit.put("total_cost", 800_000)),
    Code.BOUND: honest(),
    Code.CHALLENGE_MISMATCH: document(kit.put("challenge_id", kit.h("another"))),
    Code.VALIDATOR_MISMATCH: document(kit.put("proof/validator", kit.OTHER.ss58_address)),
    Code.MINER_MISMATCH: document(kit.put("proof/miner", kit.OTHER.ss58_address)),
    Code.REQUEST_DIGEST_MISMATCH: document(kit.put("proof/request_digest", kit.h("another"))),
    Code.UNSIGNED_FIELD: document(kit.put("proof/note", 1)),
    Code.STEP_NUMBERS: resealed(kit.put("task_pipeline/3/step", 5)),
    Code.DEPENDS_ON_INVALID: resealed(kit.put("task_pipeline/3/depends_on", [2])),
    Code.RESPONSE_HASH_MISSING: resealed(kit.put("task_pipeline/3/response_hash", None)),
    Code.TOTAL_COST_MISMATCH: resealed(kit.put("total_cost", "1")),
    Code.LATENCY_IMPOSSIBLE: resealed(kit.put("total_latency_ms", 100)),
    Code.LEDGER_VERSION_FORKED: resealed(kit.put("ledger_version", "1:" + kit.h("fork"))),
    Code.LEDGER_VERSION_AHEAD: resealed(kit.put("ledger_version", "9:" + kit.h("new"))),
    Code.SUBNET_MISMATCH: resealed(kit.put("task_pipeline/3/subnet", "SN13")),
    Code.OPERATION_UNKNOWN: resealed(kit.put("task_pipeline/3/operation", "web_telepathy")),
    Code.LEAF_MISMATCH: document(kit.put("task_pipeline/2/latency_ms", 99)),
    Code.ROOT_MISMATCH: document(kit.put("proof/root", kit.h("another"))),
    Code.SIGNATURE_INVALID: document(kit.put("final_synthesis", "Buy.")),
    Code.OVER_MAX_COST: story(lambda told: told.change(1, cost=2 * 10**9)),
    Code.QUERY_SCHEMA_MISMATCH: story(lambda told: told.change(1, query={"q": "gpu pricing"})),
    Code.OPERATION_SUPERSEDED: kit.of_older_ledger,
    Code.REVEALED: honest(),
    Code.EVIDENCE_UNAVAILABLE: honest(evidence=unreachable()),
    Code.EVIDENCE_MALFORMED: honest(evidence=another_challenge()),
    Code.EVIDENCE_MISSING: honest(evidence=kit.withheld(4)),
    Code.REQUEST_BYTES_MISMATCH: honest(evidence=kit.tampered(3, request=canonical({"url": kit.VAST}))),
    Code.RESPONSE_BYTES_MISMATCH: honest(evidence=kit.tampered(3, response=b"{}")),
    Code.OUTPUT_MALFORMED: story(lambda told: told.change(3, response=b"<html>")),
    Code.OUTPUT_SCHEMA_MISMATCH: story(lambda told: told.change(3, response=b'{"records":[]}')),
    Code.FLOWS: honest(),
    Code.DATAFLOW_UNREVEALED: honest(evidence=kit.withheld(1)),
    Code.DATAFLOW_UNDECLARED: story(lambda told: told.change(4, depends_on=())),
    Code.DATAFLOW_UNFOUNDED: story(
        lambda told: told.change(4, query={"url": "https://known.example/by-heart"}), replay=kit.down()
    ),
    Code.SUPPORTED: honest(),
    Code.DERIVED: honest(),
    Code.VALUE_UNSOURCED: story(lambda told: told.provenance.pop("/offers/0/name")),
    Code.SOURCE_UNREVEALED: honest(evidence=kit.withheld(3)),
    Code.SOURCE_NOT_ALLOWED: story(kit.cite("/offers/0/price", (7, "/~1summary"))),
    Code.TOO_MUCH_TO_CHECK: story(too_long_to_compare, replay=kit.down()),
    Code.PROVENANCE_DANGLING: story(kit.cite("/offers/7/name", (3, "/data/0/name"))),
    Code.SOURCE_INVALID: story(kit.cite("/offers/0/name", (2, "/data/0/name"))),
    Code.SOURCE_UNRESOLVED: story(kit.cite("/offers/0/name", (3, "/data/1/name"))),
    Code.VALUE_UNSUPPORTED: story(lambda told: told.data["offers"][0].update(price=1.89)),
    Code.DERIVATION_MISMATCH: story(lambda told: told.data.update(cheapest=1.44)),
    Code.RECEIPT_VALID: honest(),
    Code.RECEIPT_MISSING: story(lambda told: told.change(5, receipt=None)),
    Code.RECEIPT_UNEXPECTED: story(unexpected_receipt),
    Code.RECEIPT_UNREGISTERED: honest(is_registered=kit.Registry(frozenset())),
    Code.REGISTRY_UNREADABLE: honest(is_registered=kit.Registry(readable=False)),
    Code.RECEIPT_OUT_OF_WINDOW: story(kit.with_receipt(time_ms=kit.SENT_MS + 7_000)),
    Code.RECEIPT_WRONG_KEY: story(kit.with_receipt(signer=kit.OTHER)),
    Code.RECEIPT_REQUEST_MISMATCH: story(kit.with_receipt(query={"q": "x"})),
    Code.RECEIPT_INVALID: story(kit.with_receipt(tag=kit.h("tag of another challenge"))),
    Code.REPLAY_MATCHES: honest(),
    Code.NOT_REPLAYABLE: honest(),
    Code.REPLAY_TOO_LATE: lambda: kit.audit_story(kit.make_story(web_extract={"stability_s": 1})),
    Code.REPLAY_BEYOND_TRUST: lambda: kit.audit_many(20),
    Code.REPLAY_FAILED: honest(replay=kit.down()),
    Code.REPLAY_REFUSED: honest(replay=kit.TableSubnets(kit.make_ledger(), {}, strict=False)),
    Code.REPLAY_MISMATCH_UNCONFIRMED: story(kit.invent, confirm=kit.down().confirm),
    Code.REPLAY_MISMATCH_CONFIRMED: story(kit.invent),
    Code.ANCHOR_NOT_REQUIRED: honest(),
}


@pytest.mark.parametrize("code", list(Code))
async def test_the_code_is_produced_and_means_its_outcome(code: Code) -> None:
    found = await CASES[code]()
    mine = [finding for finding in found.findings if finding.code is code]
    assert mine
    assert found.refuted == (code.outcome == "refuted"), found.reasons()
    if found.refuted:
        assert (found.hash_credit(), found.sourced_pointers) == (0, frozenset())
    if code.outcome == "verified" or code.check == "anchor":
        assert found.hash_credit() == 1
        assert not kit.codes(found)
    else:
        assert any(code.value in reason for reason in found.reasons())


def test_the_page_lists_every_code_as_the_table_has_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text()
    rows = [line for line in page.partition("## Reason codes")[2].splitlines() if line.startswith("| `")]
    assert rows == [f"| `{code.value}` | {code.check} | {code.outcome} | {code.meaning} |" for code in Code]
