"""Every refusal of a signed endpoint: reachable, in the documented order, of constant bytes, and never an echo."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bittensor.keyfiles import Keypair
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.types import Message

from ledger.types import Hash, Hotkey
from orchestra.protocol import MessageRefused, OrchestraSynapse
from orchestra.transport import (
    PROBLEMS,
    AllowedCallers,
    AnyCaller,
    CallerPolicy,
    Limits,
    MetagraphPolicy,
    NonceStore,
    NonceStoreFailed,
    NonceStoreFull,
    Refused,
    SignedCall,
    SignedRequests,
    Snapshot,
    SqliteNonceStore,
    install_problems,
    refused_body,
    sign_request,
)
from tests.fakes.asgi import Reply, request
from tests.fakes.clock import VirtualClock
from tests.fakes.nonces import FailingNonces, MemoryNonces

ALICE = Keypair.create_from_uri("//Alice")
BOB = Keypair.create_from_uri("//Bob")
CHARLIE = Keypair.create_from_uri("//Charlie")
NOW = 1_800_000_000_000_000_000
SECOND = 10**9
BODY = b'{"objective":"price"}'
LIMITS = Limits(hotkey_per_s=1, hotkey_burst=3, hotkey_in_flight=2, peer_per_s=1, peer_burst=5, peer_in_flight=2)

Headers = list[tuple[str, str]]


@dataclass
class Neuron:
    """Bob's neuron, with everything around it in the test's hands."""

    policy: CallerPolicy = field(default_factory=AnyCaller)
    nonces: NonceStore = field(default_factory=MemoryNonces)
    limits: Limits = field(default_factory=lambda: Limits(hotkey_burst=1000, peer_burst=1000))
    now_ns: int = NOW
    clock: VirtualClock = field(default_factory=VirtualClock)
    served: list[SignedCall] = field(default_factory=list[SignedCall])
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.app = FastAPI()
        install_problems(self.app)
        signed = SignedRequests(
            self_hotkey=BOB.ss58_address,
            nonces=self.nonces,
            policy=self.policy,
            max_body=64,
            limits=self.limits,
            body_timeout_s=0.01,
            clock_ns=lambda: self.now_ns,
            clock=self.clock,
        )

        @self.app.post("/v1/{name:path}")
        async def echo(call: SignedCall = signed.call) -> Response:  # pyright: ignore[reportUnusedFunction]
            self.served.append(call)
            await self.gate.wait()
            call.json()
            return Response(call.request_digest)

    async def post(self, headers: Headers, *bodies: bytes, **options: Any) -> Reply:
        return await request(self.app, headers, messages(*bodies or (BODY,)), **options)


def messages(*bodies: bytes, more: bool = False) -> Iterable[Message]:
    last = len(bodies) - 1
    return [{"type": "http.request", "body": body, "more_body": more or at < last} for at, body in enumerate(bodies)]


def signed(
    body: bytes = BODY,
    *,
    path: str = "/v1/echo",
    nonce_ns: int = NOW,
    receiver: str = BOB.ss58_address,
    signer: Keypair = ALICE,
    method: str = "POST",
) -> Headers:
    headers, _ = sign_request(signer, method=method, path=path, body=body, receiver=receiver, nonce_ns=nonce_ns)
    return [*headers.items(), ("Content-Length", str(len(body)))]


def without(headers: Headers, *names: str) -> Headers:
    return [(name, value) for name, value in headers if name not in names]


def refused(reply: Reply, code: str) -> Reply:
    """The reply is this refusal and nothing else."""
    problem = PROBLEMS[code]
    assert (reply.status, reply.body) == (problem.status, problem.body)
    assert reply.headers["content-type"] == "application/problem+json"
    assert set(reply.headers) <= {"content-type", "content-length", "retry-after", "www-authenticate"}
    return reply


def test_a_problem_is_small_and_constant() -> None:
    for code, problem in PROBLEMS.items():
        document = json.loads(problem.body)
        assert document == {
            "type": f"urn:orchestra:problem:{code}",
            "title": problem.title,
            "status": problem.status,
            "code": code,
        }
        assert len(problem.body) <= 200
        assert 400 <= problem.status <= 599


async def test_a_signed_request_is_served_with_its_caller_and_digest() -> None:
    neuron = Neuron()
    reply = await neuron.post(signed())
    _, digest = sign_request(ALICE, method="POST", path="/v1/echo", body=BODY, receiver=BOB.ss58_address, nonce_ns=NOW)
    assert (reply.status, reply.body.decode()) == (200, digest)
    assert neuron.served[0].hotkey == ALICE.ss58_address
    assert neuron.served[0].body == BODY


# size ----------------------------------------------------------------------------------------------------------------


async def test_a_declared_size_over_the_limit_costs_no_body() -> None:
    for length in ("65", "9" * 30, "-1", "0x10", ""):
        reply = await Neuron().post([*without(signed(), "Content-Length"), ("Content-Length", length)])
        refused(reply, "body_too_large")
        assert reply.received == 0


async def test_size_is_judged_before_anything_else() -> None:
    refused(await Neuron().post([("Content-Length", "65")]), "body_too_large")


async def test_a_chunked_body_is_cut_at_the_limit() -> None:
    body = b"x" * 65
    reply = await Neuron().post(without(signed(body), "Content-Length"), *[b"x" * 16] * 100)
    refused(reply, "body_too_large")
    assert reply.received == 5


async def test_a_body_at_the_limit_is_taken_whole() -> None:
    body = b'"' + b"x" * 62 + b'"'
    reply = await Neuron().post(without(signed(body), "Content-Length"), body[:20], b"", body[20:])
    assert reply.status == 200


async def test_a_slow_body_times_out() -> None:
    neuron = Neuron()
    refused(await request(neuron.app, signed(), messages(BODY[:4], more=True)), "body_timeout")
    refused(await request(neuron.app, signed(), []), "body_timeout")


async def test_a_peer_that_leaves_mid_body() -> None:
    script: list[Message] = [*messages(b"{", more=True), {"type": "http.disconnect"}]
    refused(await request(Neuron().app, signed(), script), "body_incomplete")


# headers and signature -----------------------------------------------------------------------------------------------


async def test_unsigned() -> None:
    reply = refused(await Neuron().post([]), "auth_missing")
    assert reply.received == 0
    assert reply.headers["www-authenticate"] == 'btauth version="1"'


async def test_malformed_headers() -> None:
    headers = [*without(signed(), "X-Bittensor-Nonce"), ("X-Bittensor-Nonce", "yesterday")]
    assert refused(await Neuron().post(headers), "auth_malformed").received == 0


async def test_for_another_receiver_or_for_none() -> None:
    reply = refused(await Neuron().post(signed(receiver=CHARLIE.ss58_address)), "wrong_receiver")
    assert reply.received == 0
    refused(await Neuron().post(without(signed(), "X-Bittensor-Receiver")), "wrong_receiver")


@pytest.mark.parametrize("age_s", [10.001, 3600, -2.001, -3600])
async def test_stale_and_future_nonces_cost_no_body(age_s: float) -> None:
    reply = await Neuron().post(signed(nonce_ns=NOW - round(age_s * SECOND)))
    assert refused(reply, "stale_request").received == 0


@pytest.mark.parametrize("age_s", [9.999, 0, -1.999])
async def test_fresh_nonces(age_s: float) -> None:
    assert (await Neuron().post(signed(nonce_ns=NOW - round(age_s * SECOND)))).status == 200


async def test_a_request_that_goes_stale_while_its_body_arrives() -> None:
    neuron = Neuron()

    def ageing() -> Iterable[Message]:
        yield {"type": "http.request", "body": BODY[:4], "more_body": True}
        neuron.now_ns += 11 * SECOND
        yield {"type": "http.request", "body": BODY[4:], "more_body": False}

    refused(await request(neuron.app, signed(), ageing()), "stale_request")


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(lambda: {"bodies": (BODY.replace(b"price", b"prize"),)}, id="body"),
        pytest.param(lambda: {"bodies": (BODY + b" ",)}, id="longer body"),
        pytest.param(lambda: {"path": "/v1/other"}, id="path"),
        pytest.param(lambda: {"query": b"x=1"}, id="query added"),
        pytest.param(lambda: {"raw_path": b"/v1/%65cho"}, id="path encoded otherwise"),
        pytest.param(lambda: {"signer": CHARLIE}, id="another key's signature"),
    ],
)
async def test_tampering(tamper: Callable[[], dict[str, Any]]) -> None:
    options = tamper()
    headers = without(signed(), "Content-Length")
    if signer := options.pop("signer", None):
        forged = dict(signed(signer=signer))
        headers = [(name, forged[name] if name.endswith("Signature") else value) for name, value in headers]
    bodies = options.pop("bodies", (BODY,))
    neuron = Neuron()
    refused(await neuron.post(headers, *bodies, **options), "bad_signature")
    assert neuron.served == []


@pytest.mark.parametrize(
    ("raw_path", "query"),
    [
        (b"/v1/a%2Fb", b""),
        (b"/v1/caf%C3%A9%20x", b"q=a%26b&r=%7E"),
        (b"/v1/echo", b"a=1&a=2&b="),
        (b"/v1/~tilde", b"x=~"),
    ],
)
async def test_percent_encoded_targets_are_signed_as_sent(raw_path: bytes, query: bytes) -> None:
    target = (raw_path + (b"?" + query if query else b"")).decode()
    reply = await Neuron().post(signed(path=target), path="/v1/decoded", raw_path=raw_path, query=query)
    assert reply.status == 200
    for other in (raw_path.replace(b"%", b"%25"), raw_path + b"x"):
        if other != raw_path:
            tampered = await Neuron().post(signed(path=target), path="/v1/decoded", raw_path=other, query=query)
            refused(tampered, "bad_signature")


async def test_a_header_that_names_another_hotkey_is_a_bad_signature() -> None:
    headers = without(signed(), "X-Bittensor-Hotkey")
    refused(await Neuron().post([*headers, ("X-Bittensor-Hotkey", CHARLIE.ss58_address)]), "bad_signature")


# replay --------------------------------------------------------------------------------------------------------------


async def test_a_replay_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    headers = signed()
    async with SqliteNonceStore(tmp_path / "nonces.sqlite", clock_ns=lambda: NOW) as nonces:
        neuron = Neuron(nonces=nonces)
        assert (await neuron.post(headers)).status == 200
        refused(await neuron.post(headers), "replayed_request")
    async with SqliteNonceStore(tmp_path / "nonces.sqlite", clock_ns=lambda: NOW) as nonces:
        neuron = Neuron(nonces=nonces)
        refused(await neuron.post(headers), "replayed_request")
        assert (await neuron.post(signed(nonce_ns=NOW + 1))).status == 200


async def test_of_a_request_sent_many_times_at_once_one_is_served(tmp_path: Path) -> None:
    headers = signed()
    async with SqliteNonceStore(tmp_path / "nonces.sqlite", clock_ns=lambda: NOW) as nonces:
        neuron = Neuron(nonces=nonces)
        replies = await asyncio.gather(*(neuron.post(headers) for _ in range(20)))
    assert sorted(reply.status for reply in replies) == [200] + [401] * 19
    assert len(neuron.served) == 1


async def test_a_forgery_does_not_burn_the_nonce() -> None:
    neuron = Neuron()
    refused(await neuron.post(without(signed(), "Content-Length"), b"{}"), "bad_signature")
    assert (await neuron.post(signed())).status == 200


async def test_a_full_nonce_store_refuses(tmp_path: Path) -> None:
    async with SqliteNonceStore(tmp_path / "nonces.sqlite", capacity=1, clock_ns=lambda: NOW) as nonces:
        neuron = Neuron(nonces=nonces)
        assert (await neuron.post(signed())).status == 200
        reply = refused(await neuron.post(signed(nonce_ns=NOW + 1)), "nonce_store_full")
    assert reply.headers["retry-after"] == "10"


@pytest.mark.parametrize(
    ("error", "code"),
    [(NonceStoreFailed("disk"), "nonce_store_failed"), (NonceStoreFull("full"), "nonce_store_full")],
)
async def test_a_failing_nonce_store_fails_closed(error: Exception, code: str) -> None:
    neuron = Neuron(nonces=FailingNonces(error))
    refused(await neuron.post(signed()), code)
    assert neuron.served == []


def test_a_nonce_store_that_forgets_too_soon_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 12 s"):
        SignedRequests(self_hotkey=BOB.ss58_address, nonces=MemoryNonces(retention_s=11.9), policy=AnyCaller())


# who may call --------------------------------------------------------------------------------------------------------


async def test_policy_refuses_before_the_body_is_read() -> None:
    reply = await Neuron(policy=AllowedCallers({CHARLIE.ss58_address})).post(signed())
    assert refused(reply, "hotkey_unknown").received == 0


@dataclass(frozen=True)
class Standing:
    permit: bool
    stake_rao: int

    def by_hotkey(self, hotkey: str) -> Standing:
        """The only neuron of its subnet: whoever asks is this one."""
        return self


@pytest.mark.parametrize(
    ("standing", "code"), [(Standing(False, 9), "no_permit"), (Standing(True, 1), "stake_too_low")]
)
async def test_too_little_standing(standing: Standing, code: str) -> None:
    policy = MetagraphPolicy(
        source=lambda: Snapshot(standing, 0.0), require_permit=True, min_stake_rao=2, clock=lambda: 0.0
    )
    assert refused(await Neuron(policy=policy).post(signed()), code).received == 0


async def test_a_stale_metagraph_refuses_everybody() -> None:
    reply = await Neuron(policy=MetagraphPolicy(source=lambda: None, require_permit=True)).post(signed())
    assert refused(reply, "metagraph_stale").headers["retry-after"] == "12"


# how much ------------------------------------------------------------------------------------------------------------


async def test_a_hotkey_s_rate() -> None:
    neuron = Neuron(limits=LIMITS)
    for n in range(3):
        assert (await neuron.post(signed(nonce_ns=NOW + n))).status == 200
    reply = refused(await neuron.post(signed(nonce_ns=NOW + 3)), "hotkey_rate_limited")
    assert (reply.received, reply.headers["retry-after"]) == (0, "1")
    assert (await neuron.post(signed(signer=CHARLIE))).status == 200
    neuron.clock.advance(1)
    assert (await neuron.post(signed(nonce_ns=NOW + 3))).status == 200


async def test_an_address_s_rate_counts_what_is_refused_too() -> None:
    neuron = Neuron(limits=LIMITS)
    for n in range(5):
        refused(await neuron.post(without(signed(nonce_ns=NOW + n), "Content-Length"), b"{}"), "bad_signature")
    reply = refused(await neuron.post(signed()), "peer_rate_limited")
    assert (reply.received, reply.headers["retry-after"]) == (0, "1")
    assert (await neuron.post(signed(), peer="192.0.2.8")).status == 200


async def test_claiming_a_name_does_not_use_up_its_allowance() -> None:
    neuron = Neuron(limits=LIMITS)
    for n in range(5):
        forged = without(signed(nonce_ns=NOW + n), "Content-Length")
        refused(await neuron.post(forged, b"{}", peer="198.51.100.1"), "bad_signature")
    assert (await neuron.post(signed())).status == 200


async def test_too_many_in_flight_by_one_hotkey() -> None:
    neuron = Neuron(limits=LIMITS)
    neuron.gate.clear()
    async with asyncio.TaskGroup() as group:
        pending = [group.create_task(neuron.post(signed(nonce_ns=NOW + n))) for n in range(2)]
        while len(neuron.served) < 2:
            await asyncio.sleep(0)
        reply = refused(await neuron.post(signed(nonce_ns=NOW + 2)), "too_many_in_flight")
        assert (reply.received, reply.headers["retry-after"]) == (0, "1")
        neuron.gate.set()
    assert [task.result().status for task in pending] == [200, 200]
    assert (await neuron.post(signed(nonce_ns=NOW + 2))).status == 200


async def test_too_many_bodies_in_flight_from_one_address() -> None:
    neuron = Neuron(limits=LIMITS)
    async with asyncio.TaskGroup() as group:
        slow = [group.create_task(request(neuron.app, signed(nonce_ns=NOW + n), [])) for n in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused(await neuron.post(signed(nonce_ns=NOW + 2)), "too_many_in_flight")
    for task in slow:
        refused(task.result(), "body_timeout")
    assert (await neuron.post(signed(nonce_ns=NOW + 2))).status == 200


# what it says --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"a":1,"a":2}', "json_duplicate_key"),
        (b'{"a":NaN}', "json_bad_number"),
        (b'{"a":9007199254740993}', "json_bad_number"),
        (b'{"a":"\xff"}', "json_bad_text"),
        (b"{", "json_malformed"),
        (b"", "json_malformed"),
    ],
)
async def test_bodies_that_are_not_strict_json(body: bytes, code: str) -> None:
    refused(await Neuron().post(signed(body), body), code)


def test_json_too_deep() -> None:
    call = SignedCall(Hotkey(ALICE.ss58_address), b"[" * 65 + b"]" * 65, Hash("0x" + "0" * 64), NOW)
    with pytest.raises(Refused) as caught:
        call.json()
    assert caught.value.problem.code == "json_too_deep"


@pytest.mark.parametrize(
    ("body", "max_bytes", "code"),
    [
        (b"[1,2,3]", 6, "json_too_large"),
        (b'{"protocol_version":2}', 100, "unsupported_version"),
        (b'{"protocol_version":1}', 100, "invalid_message"),
    ],
)
async def test_a_message_that_is_refused_has_its_problem(body: bytes, max_bytes: int, code: str) -> None:
    neuron = Neuron()

    @neuron.app.put("/v1/message")
    async def message(request: Request) -> None:  # pyright: ignore[reportUnusedFunction]
        try:
            OrchestraSynapse.from_wire(await request.body(), max_bytes=max_bytes)
        except MessageRefused as error:
            raise refused_body(error.code) from None

    refused(await neuron.post([], body, path="/v1/message", method="PUT"), code)


def test_a_code_that_is_not_known_is_still_a_problem() -> None:
    assert refused_body("a code from a newer version").problem.code == "json_malformed"


# the framework's own -------------------------------------------------------------------------------------------------


async def test_the_framework_s_errors_have_the_same_shape() -> None:
    neuron = Neuron()

    @neuron.app.get("/number/{n}")
    async def number(n: int) -> int:  # pyright: ignore[reportUnusedFunction]
        return 1 // n

    @neuron.app.get("/teapot")
    async def teapot() -> None:  # pyright: ignore[reportUnusedFunction]
        raise HTTPException(418, "secret detail")

    refused(await neuron.post([], path="/nowhere", method="GET"), "not_found")
    refused(await neuron.post([], path="/number/1"), "method_not_allowed")
    refused(await neuron.post([], path="/number/x", method="GET"), "unprocessable")
    refused(await neuron.post([], path="/teapot", method="GET"), "bad_request")
    assert (await neuron.post([], path="/number/1", method="GET")).status == 200


async def test_a_crash_is_ours_and_says_nothing() -> None:
    neuron = Neuron()
    replies: list[Reply] = []

    @neuron.app.get("/crash")
    async def crash() -> None:  # pyright: ignore[reportUnusedFunction]
        raise RuntimeError("secret")

    async def caught() -> None:
        reply = Reply()
        replies.append(reply)
        await request(neuron.app, [], [], path="/crash", method="GET", into=reply)

    with pytest.raises(RuntimeError):
        await caught()
    refused(replies[0], "internal_error")
