"""The door for outsiders on a real socket: what refuses a challenge, and one from the command line to the end, through
a council that judges it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import Result
from fastapi import FastAPI
from typer.testing import CliRunner

from ledger.canonical import sha256
from ledger.changes import Bond
from ledger.database import sqlite_url
from ledger.leaves import LogLeaf
from ledger.proposals import Deprecation
from orchestra.chain import dev_signer, verify_signature
from orchestra.cli import app as commands
from orchestra.governing.challenge import MAX_CHALLENGE_BYTES, Challenge, ChallengeState, challenge_of
from orchestra.governing.credits import CreditStore
from orchestra.governing.sponsoring import ChallengeRefused, OwnSeat, Reason, Sponsor
from orchestra.transport import (
    AnyCaller,
    BoundedRequests,
    Limits,
    OutboundClient,
    OutboundResponse,
    SignedRequests,
    install_problems,
    serving,
)
from orchestra.validation.api import ValidatorServices, create_app
from orchestra.validation.sponsor_api import BY_REASON, LIMITS, MOST_AT_ONCE, add_challenges
from tests.fakes.nonces import MemoryNonces
from tests.unit.test_council import RULES, SEED, Network

OUTSIDER, VALIDATOR = dev_signer("//outsider"), dev_signer("//validator")
PATH = "/v1/ledger/challenge"
DIGEST = sha256(b"x")


def sent() -> Challenge:
    made = Deprecation(proposer=OUTSIDER.ss58_address, entry="alpha", salt=DIGEST, base=DIGEST)
    return challenge_of(made, OUTSIDER, sponsor=VALIDATOR.ss58_address)


class ScriptedSponsor:
    """A sponsor that says what it is told to say."""

    def __init__(self) -> None:
        self.heard: list[Challenge] = []
        self.reason: Reason | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def take(self, challenge: Challenge) -> ChallengeState:
        self.heard.append(challenge)
        await self.free.wait()
        if self.reason is not None:
            raise ChallengeRefused(self.reason)
        return ChallengeState(digest=challenge.digest(), state="fixed", block=7, bond=100_000, lost=0)

    async def state_of(self, digest: str) -> ChallengeState | None:
        known = digest == sent().digest()
        return ChallengeState(digest=digest, state="false", block=9, bond=9, lost=5) if known else None


@asynccontextmanager
async def door(sponsor: Any, limits: Limits = LIMITS) -> AsyncIterator[Door]:
    app = FastAPI()
    install_problems(app)
    add_challenges(app, sponsor, BoundedRequests(max_body=MAX_CHALLENGE_BYTES, limits=limits))
    async with serving(app) as address, OutboundClient(allow_loopback=True) as client:
        yield Door(address.url, client)


class Door:
    def __init__(self, url: str, client: OutboundClient) -> None:
        self.url, self.client = url, client

    async def post(self, body: bytes) -> OutboundResponse:
        return await self.client.request("POST", self.url + PATH, content=body)

    async def get(self, digest: str) -> OutboundResponse:
        return await self.client.request("GET", f"{self.url}{PATH}/{digest}")


def code(answer: OutboundResponse) -> str:
    return json.loads(answer.body)["code"]


async def test_a_challenge_arrives_as_it_was_sent_and_its_state_is_told() -> None:
    sponsor, made = ScriptedSponsor(), sent()
    async with door(sponsor) as there:
        answer = await there.post(made.to_wire())
        assert (answer.status, sponsor.heard) == (200, [made])
        assert ChallengeState.from_wire(answer.body).state == "fixed"
        assert ChallengeState.from_wire((await there.get(sent().digest())).body).lost == 5


@pytest.mark.parametrize("reason", BY_REASON)
async def test_every_refusal_is_constant_and_says_when_to_come_back(reason: Reason) -> None:
    sponsor = ScriptedSponsor()
    sponsor.reason = reason
    async with door(sponsor) as there:
        answer = await there.post(sent().to_wire())
        assert (answer.status, answer.body) == (BY_REASON[reason].status, BY_REASON[reason].body)
        assert ("retry-after" in answer.headers) is (answer.status in (429, 503))


@pytest.mark.parametrize("digest", [DIGEST, "0x", "..%2f..", "x" * 500, "0X" + "00" * 32])
async def test_of_what_was_never_sent_nothing_is_known(digest: str) -> None:
    async with door(ScriptedSponsor()) as there:
        answer = await there.get(digest)
        assert answer.status == 404


async def test_where_one_hotkey_commits_nobody_is_sponsored() -> None:
    async with door(None) as there:
        assert code(await there.post(sent().to_wire())) == "not_sponsored"
        assert code(await there.get(DIGEST)) == "unknown_challenge"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b"x" * (MAX_CHALLENGE_BYTES + 1),
        json.dumps({"protocol_version": 1}).encode(),
        json.dumps({**json.loads(sent().to_wire()), "bond": "-1"}).encode(),
        json.dumps({**json.loads(sent().to_wire()), "order": "0x"}).encode(),
        json.dumps({**json.loads(sent().to_wire()), "proposal": {"kind": "gift"}}).encode(),
        json.dumps({**json.loads(sent().to_wire()), "protocol_version": 2}).encode(),
    ],
)
async def test_what_is_no_challenge_is_the_callers_fault_and_reaches_nobody(body: bytes) -> None:
    sponsor = ScriptedSponsor()
    async with door(sponsor) as there:
        answer = await there.post(body)
        assert 400 <= answer.status < 500
        assert not sponsor.heard


async def test_an_address_that_asks_too_often_is_refused_before_its_body_is_read() -> None:
    sponsor = ScriptedSponsor()
    async with door(sponsor, Limits(peer_per_s=0.001, peer_burst=3, peer_in_flight=4)) as there:
        answers = [await there.post(sent().to_wire()) for _ in range(3)]
        assert {each.status for each in answers} == {200}
        for answer in (await there.post(sent().to_wire()), await there.get(DIGEST), await there.post(b"x")):
            assert (answer.status, code(answer)) == (429, "peer_rate_limited")
        assert len(sponsor.heard) == 3


async def test_so_many_are_checked_at_once_and_no_more_whoever_sends_them() -> None:
    sponsor = ScriptedSponsor()
    sponsor.free.clear()
    async with door(sponsor) as there:
        waiting = [asyncio.create_task(there.post(sent().to_wire())) for _ in range(MOST_AT_ONCE)]
        while len(sponsor.heard) < MOST_AT_ONCE:
            await asyncio.sleep(0.001)
        answer = await there.post(sent().to_wire())
        assert (answer.status, code(answer)) == (503, "too_many_in_flight")
        sponsor.free.set()
        assert {(await each).status for each in waiting} == {200}


# from the command line to the log


class Outside:
    """A council of three on a chain that is a list; the first of them sponsors, on a real socket."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.seat = network.seats[0]
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Outside]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.network.up())
            seat = self.seat
            self.store = await stack.enter_async_context(
                await CreditStore.open(sqlite_url(seat.folder / "credits.sqlite"))
            )
            own = OwnSeat(seat.hotkey, seat.council.on_message)
            others = [self.network.peer(seat.hotkey, each.hotkey) for each in self.network.seats[1:]]
            self.sponsor = Sponsor(
                seat.signer,
                verify_signature,
                RULES,
                seat.ledger,
                seat.slot,
                self.store,
                seat.council.governor,
                lambda: [own, *(each for each in others if each is not None)],
            )
            self.url = (await stack.enter_async_context(serving(self.app()))).url
            yield self

    def app(self) -> FastAPI:
        unused, seat = cast("Any", None), self.seat
        signed = SignedRequests(self_hotkey=seat.hotkey, nonces=MemoryNonces(), policy=AnyCaller())
        services = ValidatorServices(
            seat.signer, seat.ledger, unused, unused, unused, unused, unused, None, self.sponsor
        )
        return create_app(services, members=signed, validators=signed, governing=signed, ready=lambda: True)

    async def block(self, number: int = 1) -> None:
        for _ in range(number):
            await self.network.block()
            await self.sponsor.on_block(self.network.chain.at(len(self.network.chain.blocks) - 1))
            await self.network.quiet()

    async def run(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, commands, ["ledger", *arguments])

    async def challenge(self, *arguments: str) -> Result:
        return await self.run("challenge", *arguments, "--sponsor", self.url, "--key-uri", "//outsider")

    async def state(self, digest: str) -> ChallengeState:
        async with OutboundClient(allow_loopback=True) as client:
            answer = await client.request("GET", f"{self.url}{PATH}/{digest}")
        return ChallengeState.from_wire(answer.body)

    def file(self, name: str, *entries: Any) -> str:
        path = self.folder / name
        path.write_text(json.dumps([each.model_dump(mode="json") for each in entries]))
        return str(path)

    def copy(self) -> str:
        """The Ledger as the sponsor has it, in the form of a snapshot."""
        path = self.folder / "copy.jsonl"
        lines = [LogLeaf.from_change(each).line for each in self.seat.ledger.log]
        path.write_bytes(b"\n".join([b'{"checkpoint":"...","format":"..."}', *lines, b'{"sha256":"0x"}', b""]))
        return str(path)


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Outside]:
    async with Outside(Network(tmp_path, 3), tmp_path).open() as there:
        await there.block(RULES.window)
        yield there


MOVED = SEED[0].operations[0].model_copy(update={"output_schema": {"type": "object", "required": ["hits"]}})
WANTED = SEED[0].model_copy(update={"operations": (MOVED,)})


@pytest.mark.parametrize(("seen", "outcome", "lost"), [("holds", "accepted", 0), ("differs", "false", 50_000)])
async def test_an_outsiders_challenge_goes_the_way_of_every_proposal(
    outside: Outside, seen: Any, outcome: str, lost: int
) -> None:
    for seat in outside.network.seats:
        seat.seen = seen
    wanted, known = outside.file("wanted.json", WANTED), outside.file("known.json", *SEED)
    told = await outside.challenge(wanted, "--ledger", known)
    assert told.exit_code == 1
    assert f"orchestra ledger credit {OUTSIDER.ss58_address} 0.0001" in told.stderr
    booked = await outside.run("credit", OUTSIDER.ss58_address, "0.0005", "--data", str(outside.seat.folder))
    assert booked.stdout == f"{OUTSIDER.ss58_address}  free 0.0005  held 0  lost 0\n", booked.output
    told = await outside.challenge(wanted, "--ledger", known)
    assert told.exit_code == 0, told.output
    found = re.search(r"0\.0001 TAO of 5\w+ held; how it goes: http://\S+/(0x[0-9a-f]{64})\n", told.stdout)
    assert found is not None, told.stdout
    digest = found[1]
    assert (await outside.state(digest)).state == "fixed"
    await outside.block(5)
    state = await outside.state(digest)
    assert (state.state, state.taken, state.refusals) == ("anchored", 3, ())
    await outside.block(3 * RULES.window)
    state = await outside.state(digest)
    assert (state.state, state.bond, state.lost) == (outcome, 100_000, lost)
    for seat in outside.network.seats:
        (bond,) = (each for each in seat.ledger.log if isinstance(each, Bond))
        assert (bond.proposal, bond.proposer, bond.outcome) == (digest, OUTSIDER.ss58_address, outcome)
        assert (seat.ledger.view.entry("alpha") == WANTED) is (outcome == "accepted")
    listed = await outside.run("credits", "--json", "--data", str(outside.seat.folder))
    (account,) = json.loads(listed.stdout)
    assert account == {
        "address": OUTSIDER.ss58_address,
        "free_rao": str(500_000 - lost),
        "held_rao": "0",
        "lost_rao": str(lost),
    }
    if outcome == "accepted":
        again = await outside.challenge(wanted, "--ledger", outside.copy())
        assert "nothing to challenge" in again.stderr
        stale = await outside.challenge(wanted, "--ledger", known)
        assert "begin with its newest entry" in stale.stderr


async def test_what_cannot_be_challenged_is_said_in_one_line(outside: Outside) -> None:
    known = outside.file("known.json", *SEED)
    new = WANTED.model_copy(update={"id": "gamma"})
    for arguments, said in (
        ([outside.file("new.json", new), "--ledger", known], "new entries come from registered miners"),
        ([outside.file("wanted.json", WANTED), "--ledger", str(outside.folder / "none.json")], "cannot read"),
        ([outside.file("same.json", *SEED), "--ledger", known], "nothing to challenge"),
        ([outside.file("moved.json", SEED[0].model_copy(update={"netuid": 9})), "--ledger", known], "--owner.wallet"),
    ):
        told = await outside.challenge(*arguments)
        assert told.exit_code == 1
        assert said in told.stderr
        assert told.stderr.count("\n") == 1, told.stderr
    wanted, key = outside.file("wanted.json", WANTED), ["--key-uri", "//outsider"]
    for more, said in (
        (["--sponsor", "http://127.0.0.1:1", *key], "check --sponsor"),
        (["--sponsor", outside.url + PATH, *key], "check --sponsor"),
        (["--sponsor", outside.url, "--key-uri", "no such words"], "--key-uri //Alice"),
        (["--sponsor", outside.url, "--wallet.path", str(outside.folder)], "orchestra wallet new"),
    ):
        told = await outside.run("challenge", wanted, "--ledger", known, *more)
        assert told.exit_code == 1
        assert said in told.stderr, told.stderr
    broken = outside.folder / "broken.jsonl"
    broken.write_text('{"checkpoint":"","format":""}\n{"no":"leaf"}\n{"sha256":"0x"}\n')
    told = await outside.challenge(wanted, "--ledger", str(broken))
    assert "is no copy of the Ledger" in told.stderr


async def test_the_books_refuse_in_one_line_what_they_cannot_hold(outside: Outside) -> None:
    folder, who = str(outside.seat.folder), OUTSIDER.ss58_address
    empty = await outside.run("credits", "--data", folder)
    assert (empty.exit_code, empty.stdout) == (0, "")
    for arguments, said in (
        ([who, "0.001", "--data", str(outside.folder)], "no validator of a council has its data in"),
        (["5nobody", "0.001", "--data", folder], "is no SS58 address"),
        ([who, "much", "--data", folder], "write for example TAO 0.001"),
        ([who, "0.0000000001", "--data", folder], "no whole number of rao"),
        ([who, "99999999", "--data", folder], "see orchestra ledger credits"),
        ([who, "0.001", "--back", "--data", folder], "has 0 rao free"),
        ([who, "0.001", "--reference", "x" * 129, "--data", folder], "--reference is at most"),
    ):
        told = await outside.run("credit", *arguments)
        assert told.exit_code == 1, arguments
        assert said in told.stderr
        assert told.stderr.count("\n") == 1, told.stderr
    first = [await outside.run("credit", who, "0.001", "--reference", "invoice 7", "--data", folder) for _ in range(2)]
    assert [each.exit_code for each in first] == [0, 1]
    assert "was booked before" in first[1].stderr
    back = await outside.run("credit", who, "0.0004", "--back", "--data", folder)
    assert "free 0.0006" in back.stdout
    listed = await outside.run("credits", "--data", folder)
    assert listed.stdout == back.stdout
