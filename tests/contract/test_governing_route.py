"""The door for what is said about the Ledger: who may say it, and that nothing hostile gets past it or hurts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.canonical import sha256
from ledger.proposals import Anchor, Deprecation, SignedProposal, proposal_payload, sign
from ledger.statements import BatchRequest, FinalsRequest
from orchestra.chain import dev_signer
from orchestra.peers import Peer, PeerFailed
from orchestra.protocol import MAX_GOVERNANCE_BYTES, GovernanceMessage, MessageRefused
from orchestra.transport import AllowedCallers, PeerRefused, SignedClient, SignedRequests, serving
from orchestra.validation.api import ValidatorServices, create_app
from tests.fakes.nonces import MemoryNonces
from tests.property.schemas import JSON_VALUES

VALIDATOR, MINER, STRANGER = (dev_signer(f"//{name}") for name in ("validator", "miner", "stranger"))
PATH = "/v1/ledger/governance"


def proposal() -> SignedProposal:
    digest = sha256(b"x")
    made = Deprecation(proposer=MINER.ss58_address, entry="alpha", salt=digest, base=digest)
    anchor = Anchor(hotkey=MINER.ss58_address, size=1, root=digest, index=0)
    return SignedProposal(proposal=made, signature=sign(MINER, proposal_payload(made)), anchor=anchor)


class Door:
    """One validator's app on a real socket; what got in, and what is answered."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, str]] = []
        self.answer = ""
        self.url = ""
        self.stack = AsyncExitStack()

    async def govern(self, body: Any, sender: str) -> str:
        self.heard.append((body, sender))
        return self.answer

    async def open(self, *, governed: bool = True) -> None:
        unused = cast("Any", None)
        services = ValidatorServices(
            VALIDATOR, unused, unused, unused, unused, unused, unused, self.govern if governed else None
        )
        signed = SignedRequests(
            self_hotkey=VALIDATOR.ss58_address,
            nonces=MemoryNonces(),
            policy=AllowedCallers({MINER.ss58_address}),
            max_body=MAX_GOVERNANCE_BYTES,
        )
        app = create_app(services, members=signed, validators=signed, governing=signed, ready=lambda: True)
        self.url = (await self.stack.enter_async_context(serving(app))).url

    async def client(self, signer: Any = MINER) -> SignedClient:
        return await self.stack.enter_async_context(SignedClient(signer, allow_loopback=True))

    async def peer(self, signer: Any = MINER) -> Peer:
        return Peer(VALIDATOR.ss58_address, self.url, await self.client(signer))

    async def post(self, body: bytes) -> Any:
        client = await self.client()
        return await client.request(
            "POST", self.url, PATH, body, receiver=VALIDATOR.ss58_address, timeout_s=10.0, max_response_bytes=9999
        )


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    found = Door()
    async with found.stack:
        yield found


@pytest.mark.parametrize("message", [proposal(), BatchRequest(batch=sha256(b"")), FinalsRequest(since=3)])
async def test_a_message_arrives_as_it_was_sent_and_the_answer_comes_back(door: Door, message: Any) -> None:
    await door.open()
    peer = await door.peer()
    assert await peer.governance(message) == ""
    door.answer = "not a validator" + "!" * 2_000
    assert (await peer.governance(message)).startswith("not a validator!")
    assert door.heard == [(message, MINER.ss58_address)] * 2


async def test_strangers_are_refused_and_so_is_everybody_where_nothing_is_governed(door: Door) -> None:
    await door.open(governed=False)
    with pytest.raises(PeerFailed) as told:
        await (await door.peer()).governance(proposal())
    assert told.value.code == "not_governed"
    with pytest.raises(PeerFailed) as told:
        await (await door.peer(STRANGER)).governance(proposal())
    assert told.value.code not in ("not_governed", "")
    assert door.heard == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 100_000,
        json.dumps({"protocol_version": 1, "body": {}}).encode(),
        json.dumps({"protocol_version": 1, "body": {"since": -1}}).encode(),
        json.dumps({"protocol_version": 1, "body": {"finals": [1] * 9}}).encode(),
        json.dumps({"protocol_version": 1, "body": {"batch": "x" * 100}}).encode(),
        b'{"protocol_version": 1, "body": {"since": 99999999999999999999}}',
    ],
)
async def test_what_is_no_message_is_the_callers_fault(door: Door, body: bytes) -> None:
    await door.open()
    with pytest.raises(PeerRefused) as refused:
        await door.post(body)
    assert 400 <= refused.value.status < 500
    assert door.heard == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=JSON_VALUES,
    key=st.sampled_from(
        ["proposal", "judged", "seal", "header", "certificates", "finals", "first", "second", "anchor"]
    ),
    at=st.integers(0, 3),
)
def test_a_message_that_is_bent_anywhere_is_refused_and_nothing_else_is_raised(body: Any, key: str, at: int) -> None:
    made: Any = json.loads(GovernanceMessage(body=proposal()).to_wire())
    made["body"][key] = (
        body if at == 0 else {**made["body"].get(key, {}), "kind": body, "size": body} if at == 1 else [body]
    )
    if at == 3:
        made["body"] = {key: body}
    with suppress(MessageRefused):
        GovernanceMessage.from_wire(json.dumps(made).encode(), max_bytes=MAX_GOVERNANCE_BYTES)
