"""Every route of a miner: who may call, what it answers and signs, and how it refuses. The subnets are scripted."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from bittensor.keyfiles import Keypair
from fastapi import FastAPI
from fastapi.routing import APIRoute

from ledger.canonical import canonical, sha256
from ledger.database import sqlite_url
from orchestra.chain import verify_signature
from orchestra.ledger_node import LedgerNode
from orchestra.mining.api import create_app
from orchestra.mining.service import Miner, audit_payload
from orchestra.proofs import SqliteEvidence
from orchestra.proofs.binding import proof_payload, response_digest
from orchestra.protocol import (
    MAX_REQUEST_BYTES,
    Evidence,
    EvidenceRequest,
    Health,
    LedgerAuditRequest,
    LedgerAuditResponse,
    Message,
    OrchestraResponse,
    OrchestraSynapse,
    Quote,
    QuoteRequest,
)
from orchestra.transport import AllowedCallers, SignedRequests, sign_request
from tests.builders import entry, operation
from tests.fakes import asgi
from tests.fakes.caller import Reply, ScriptedCaller
from tests.fakes.ledgers import ledger_with
from tests.fakes.nonces import MemoryNonces
from tests.fakes.orchestras import orchestrator

MINER = Keypair.create_from_uri("//Miner")
ALICE, BOB = Keypair.create_from_uri("//Alice"), Keypair.create_from_uri("//Bob")
STRANGER = Keypair.create_from_uri("//Stranger")
NOW_NS = 1_800_000_000_000_000_000
SIGNED = {"/v1/challenge", "/v1/evidence", "/v1/ledger-audit", "/v1/quote"}
ROUTES = {("POST", path) for path in SIGNED} | {("GET", "/v1/health")}
NONCES = count(NOW_NS)
ONE_CALL = {
    "local/web_search": [Reply({"results": [{"title": "Acme", "url": "https://a.example/", "snippet": "Acme"}]})]
}
HASH = "0x" + "cd" * 32


@dataclass
class Stand:
    """A miner's app, and how Alice asks it."""

    miner: Miner
    ready: bool = True
    caught_up: int = 0
    digest: str = ""
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        signed = SignedRequests(
            self_hotkey=MINER.ss58_address,
            nonces=MemoryNonces(),
            policy=AllowedCallers({ALICE.ss58_address, BOB.ss58_address}),
            max_body=MAX_REQUEST_BYTES,
            clock_ns=lambda: NOW_NS,
            clock=lambda: 0.0,
        )
        self.app = create_app(self.miner, signed, ready=lambda: self.ready)

    async def post(self, path: str, body: Message | bytes, *, signer: Keypair = ALICE) -> asgi.Reply:
        raw = body if isinstance(body, bytes) else body.to_wire()
        headers, self.digest = sign_request(
            signer, method="POST", path=path, body=raw, receiver=MINER.ss58_address, nonce_ns=next(NONCES)
        )
        message = [{"type": "http.request", "body": raw, "more_body": False}]
        return await asgi.request(self.app, [*headers.items(), ("Content-Length", str(len(raw)))], message, path=path)

    async def get(self, path: str) -> asgi.Reply:
        return await asgi.request(self.app, [], [{"type": "http.request", "body": b""}], method="GET", path=path)


Make = Callable[..., Awaitable[Stand]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Builds stands; what they open is closed."""
    async with AsyncExitStack() as stack:

        async def build(capabilities: tuple[str, ...] = (), script: Any = None, **changes: Any) -> Stand:
            view = ledger_with(capabilities)
            ledger = await LedgerNode.open(sqlite_url(tmp_path / "ledger"), seed=tuple(view.entries.values()))
            stack.push_async_callback(ledger.close)
            evidence = await stack.enter_async_context(
                await SqliteEvidence.open(tmp_path / "evidence", now_ms=lambda: NOW_NS // 10**6)
            )
            parts = orchestrator(script=script or {}, view=view)
            fields: dict[str, Any] = {"ledger": ledger, "evidence": evidence, "catch_up": None}
            return Stand(Miner(MINER, parts, **fields | changes))

        yield build


def synapse(stand: Stand, **changes: Any) -> OrchestraSynapse:
    fields: dict[str, Any] = {
        "challenge_id": HASH,
        "objective": "What does Acme cost?",
        "target_schema": {"offers": [{"name": "str", "price": "float"}]},
        "issued_block": 7,
        "beacon": "0x" + "11" * 32,
        "max_cost": 10**6,
        "ledger_version": stand.miner.ledger.view.version,
        "tag": "0x" + "22" * 32,
    }
    return OrchestraSynapse.model_validate(fields | changes)


def problem(reply: asgi.Reply, code: str, status: int) -> asgi.Reply:
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json"), reply.body
    document = json.loads(reply.body)
    assert set(document) == {"type", "title", "status", "code"}, "constant bytes: nothing of the request in it"
    assert (document["code"], document["status"]) == (code, status)
    return reply


async def test_the_routes_are_these(make: Make) -> None:
    app = (await make()).app
    assert {(m, r.path) for r in app.routes if isinstance(r, APIRoute) for m in r.methods} == ROUTES
    assert len(app.routes) == len(ROUTES)


async def test_a_challenge_is_answered_and_signed_for_whoever_asked(make: Make) -> None:
    stand = await make(("web_search",), ONE_CALL)
    reply = await stand.post("/v1/challenge", synapse(stand))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    answer = OrchestraResponse.from_wire(reply.body, max_bytes=1 << 22)
    assert reply.body == answer.to_wire(), "canonical: what is sent is what is hashed"
    proof = answer.proof
    assert (answer.challenge_id, proof.miner, proof.validator) == (HASH, MINER.ss58_address, ALICE.ss58_address)
    assert proof.request_digest == stand.digest
    assert answer.task_pipeline, "the search was made"
    payload = proof_payload(
        challenge_id=HASH,
        request_digest=proof.request_digest,
        root=proof.root,
        response_digest=response_digest(answer.model_dump(mode="json", exclude={"proof"})),
        ledger_version=answer.ledger_version,
        miner=proof.miner,
        validator=proof.validator,
    )
    assert verify_signature(MINER.ss58_address, payload, bytes.fromhex(proof.signature[2:]))


async def test_what_a_miner_notices_is_every_call_once_it_is_on_disk(make: Make) -> None:
    noticed: list[tuple[str, str]] = []
    stand = await make(("web_search",), ONE_CALL)
    stand.miner.notice = lambda attempts: noticed.extend((each.entry, each.operation) for each in attempts)
    reply = await stand.post("/v1/challenge", synapse(stand))
    steps = OrchestraResponse.from_wire(reply.body, max_bytes=1 << 22).task_pipeline
    assert noticed == [(each.entry, each.operation) for each in steps]
    assert noticed


async def test_the_bytes_behind_an_answer_are_shown_to_its_validator_only(make: Make) -> None:
    stand = await make(("web_search",), ONE_CALL)
    reply = await stand.post("/v1/challenge", synapse(stand))
    step = OrchestraResponse.from_wire(reply.body, max_bytes=1 << 22).task_pipeline[0]
    ask = EvidenceRequest(challenge_id=HASH, steps=(1, 200))
    evidence = Evidence.from_wire((await stand.post("/v1/evidence", ask)).body, max_bytes=1 << 22)
    (shown,) = evidence.steps
    assert base64.b64decode(shown.request) == canonical(step.query)
    assert sha256(base64.b64decode(shown.response or "")) == step.response_hash
    problem(await stand.post("/v1/evidence", ask, signer=BOB), "no_evidence", 404)


async def test_evidence_of_nothing(make: Make) -> None:
    ask = EvidenceRequest(challenge_id=HASH, steps=(1,))
    problem(await (await make()).post("/v1/evidence", ask), "no_evidence", 404)


async def test_a_challenge_is_answered_once(make: Make) -> None:
    stand = await make()
    assert (await stand.post("/v1/challenge", synapse(stand))).status == 200
    problem(await stand.post("/v1/challenge", synapse(stand)), "already_answered", 409)
    problem(await stand.post("/v1/challenge", synapse(stand), signer=BOB), "already_answered", 409)


async def test_a_challenge_that_arrives_twice_at_once_is_answered_once(make: Make) -> None:
    stand = await make(("web_search",), ONE_CALL)
    replies = await asyncio.gather(*(stand.post("/v1/challenge", synapse(stand)) for _ in range(4)))
    assert sorted(reply.status for reply in replies) == [200, 409, 409, 409]
    caller = stand.miner.orchestrator.caller
    assert isinstance(caller, ScriptedCaller)
    assert len({sent.query["query"] for sent in caller.sent}) == len(caller.sent), "no call was paid for twice"


async def test_no_more_challenges_than_it_takes(make: Make) -> None:
    stand = await make(("web_search",), {"local/web_search": [Reply({"results": []}, after_s=0.05)]}, most_at_once=1)
    first = asyncio.create_task(stand.post("/v1/challenge", synapse(stand)))
    caller = stand.miner.orchestrator.caller
    assert isinstance(caller, ScriptedCaller)
    while not caller.sent:
        await asyncio.sleep(0)
    refused = problem(await stand.post("/v1/challenge", synapse(stand, challenge_id="0x" + "ef" * 32)), "busy", 503)
    assert refused.headers["retry-after"] == "5"
    quote = await stand.post("/v1/quote", quote_request())
    assert (Quote.from_wire(quote.body).accepts, Quote.from_wire(quote.body).reason != "") == (False, True)
    assert (await first).status == 200
    assert Quote.from_wire((await stand.post("/v1/quote", quote_request())).body).accepts, "the place is free again"


def quote_request() -> QuoteRequest:
    return QuoteRequest(challenge_id=HASH, target_schema={"a": "str"}, deadline_ms=5000, max_cost=77)


async def test_a_quote_never_asks_for_more_than_is_offered(make: Make) -> None:
    quote = Quote.from_wire((await (await make()).post("/v1/quote", quote_request())).body)
    assert (quote.challenge_id, quote.accepts, quote.reason) == (HASH, True, "")
    assert quote.cost <= 77
    assert quote.latency_ms <= 5000


async def test_what_its_ledger_says_is_signed_with_the_question(make: Make) -> None:
    stand = await make(("web_search",))
    ask = LedgerAuditRequest(entries=("local", "nobody"), nonce=HASH)
    answer = LedgerAuditResponse.from_wire((await stand.post("/v1/ledger-audit", ask)).body)
    known = stand.miner.ledger.view.entry("local")
    assert known is not None
    assert {each.entry: each.digest for each in answer.entries} == {"local": known.digest, "nobody": None}
    assert (answer.ledger_version, answer.nonce) == (stand.miner.ledger.view.version, HASH)
    payload = audit_payload(answer.ledger_version, HASH, answer.entries, MINER.ss58_address)
    assert verify_signature(MINER.ss58_address, payload, bytes.fromhex(answer.signature[2:]))


async def test_its_health_is_nobodys_secret(make: Make) -> None:
    stand = await make()
    for stand.ready in (True, False):
        health = Health.from_wire((await stand.get("/v1/health")).body)
        assert (health.role, health.hotkey, health.ready) == ("miner", MINER.ss58_address, stand.ready)


async def test_a_bad_target_schema(make: Make) -> None:
    stand = await make()
    bad = synapse(stand, target_schema={"a": "flaot"})
    problem(await stand.post("/v1/challenge", bad), "bad_target_schema", 422)
    assert (await stand.post("/v1/challenge", synapse(stand))).status == 200, "the id was not used up"


@pytest.mark.parametrize("path", sorted(SIGNED))
@pytest.mark.parametrize(
    ("raw", "code", "status"),
    [
        (b"", "json_malformed", 400),
        (b"nonsense", "json_malformed", 400),
        (b"[]", "json_malformed", 400),
        (b'{"a": 1, "a": 2}', "json_duplicate_key", 400),
        (b'{"a": 1e999}', "json_bad_number", 400),
        (b"[" * 65 + b"]" * 65, "json_too_deep", 400),
        (b'{"a": "\xff"}', "json_bad_text", 400),
        (b"{}", "unsupported_version", 400),
        (b'{"protocol_version": 2}', "unsupported_version", 400),
        (b'{"protocol_version": true}', "unsupported_version", 400),
        (b'{"protocol_version": 1}', "invalid_message", 422),
    ],
)
async def test_a_body_that_is_not_the_message(path: str, raw: bytes, code: str, status: int, make: Make) -> None:
    problem(await (await make()).post(path, raw), code, status)


@pytest.mark.parametrize(
    ("path", "message", "changes"),
    [
        ("/v1/challenge", None, {"challenge_id": "0xAB"}),
        ("/v1/challenge", None, {"objective": ""}),
        ("/v1/challenge", None, {"deadline_ms": 600_001}),
        ("/v1/challenge", None, {"max_cost": "-1"}),
        ("/v1/challenge", None, {"hints": [{"entry": "x"}] * 17}),
        ("/v1/evidence", EvidenceRequest(challenge_id=HASH, steps=(1,)), {"steps": []}),
        ("/v1/evidence", EvidenceRequest(challenge_id=HASH, steps=(1,)), {"steps": [1] * 257}),
        ("/v1/ledger-audit", LedgerAuditRequest(entries=("a",), nonce=HASH), {"entries": ["x" * 65]}),
        ("/v1/ledger-audit", LedgerAuditRequest(entries=("a",), nonce=HASH), {"entries": []}),
        ("/v1/quote", quote_request(), {"max_cost": "all"}),
    ],
)
async def test_a_field_over_its_bounds(path: str, message: Message | None, changes: dict[str, Any], make: Make) -> None:
    stand = await make()
    whole = (message or synapse(stand)).model_dump(mode="json")
    problem(await stand.post(path, json.dumps(whole | changes).encode()), "invalid_message", 422)


async def test_fields_of_a_newer_peer_are_ignored(make: Make) -> None:
    stand = await make()
    newer = json.dumps(quote_request().model_dump(mode="json") | {"mood": "good"}).encode()
    assert (await stand.post("/v1/quote", newer)).status == 200


@pytest.mark.parametrize("path", sorted(SIGNED))
async def test_who_may_not_call(path: str, make: Make) -> None:
    stand = await make()
    problem(await stand.post(path, b"{}", signer=STRANGER), "hotkey_unknown", 403)
    unsigned = await asgi.request(stand.app, [], [{"type": "http.request", "body": b"{}"}], path=path)
    problem(unsigned, "auth_missing", 401)
    large = b" " * (MAX_REQUEST_BYTES + 1)
    problem(await stand.post(path, large), "body_too_large", 413)


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
async def test_another_method_or_path(method: str, path: str, make: Make) -> None:
    stand = await make()
    other = "GET" if method == "POST" else "POST"
    body = [{"type": "http.request", "body": b""}]
    problem(await asgi.request(stand.app, [], body, method=other, path=path), "method_not_allowed", 405)
    problem(await asgi.request(stand.app, [], body, method=method, path=path + "/"), "not_found", 404)


async def test_a_miner_that_follows_asks_for_what_it_lacks(make: Make) -> None:
    newest = entry("newcomer", netuid=9, operations=(operation("post", capability="social_search"),))

    async def catch_up() -> None:
        stand.caught_up += 1
        await stand.miner.ledger.commit([newest], block=8)

    stand = await make()
    stand.miner.catch_up = catch_up
    before = stand.miner.ledger.view.version
    assert (await stand.post("/v1/challenge", synapse(stand))).status == 200
    assert stand.caught_up == 0, "it was not behind"
    later = synapse(stand, challenge_id="0x" + "ef" * 32, ledger_version=f"9:{HASH}")
    answer = OrchestraResponse.from_wire((await stand.post("/v1/challenge", later)).body, max_bytes=1 << 22)
    assert (stand.caught_up, answer.ledger_version != before) == (1, True)


async def test_a_miner_that_does_not_follow_believes_the_hint_and_says_which_ledger_it_has(make: Make) -> None:
    stand = await make(("web_search",), ONE_CALL)
    hint = {"entry": "local", "operation": "web_search", "input_schema": {"type": "object", "properties": {"q": {}}}}
    behind = synapse(stand, ledger_version=f"9:{HASH}", hints=[hint])
    answer = OrchestraResponse.from_wire((await stand.post("/v1/challenge", behind)).body, max_bytes=1 << 22)
    assert answer.ledger_version == stand.miner.ledger.view.version
