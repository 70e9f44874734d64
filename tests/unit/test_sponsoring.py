"""A sponsor over blocks and restarts: a bond is held before anything leaves, and only the log says where it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.canonical import canonical, sha256
from ledger.changes import BatchHeader, Bond, StakeOf
from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from ledger.governance.book import Book
from ledger.governance.rules import Rules
from ledger.proposals import Proposal, SignedProposal
from orchestra.anchoring import ChainSlot, OwnLog
from orchestra.chain import dev_signer, verify_signature
from orchestra.governing.challenge import Challenge, challenge_of, order_payload
from orchestra.governing.credits import Account, CreditStore
from orchestra.governing.sponsoring import ChallengeRefused, OwnSeat, Sponsor
from orchestra.governing.wishing import proposal_of
from orchestra.ledger_node import LedgerNode
from tests.builders import entry, operation
from tests.fakes.council import NETUID, BlockChain, FakePeer

ME, BOB, OUTSIDER, OTHER = (dev_signer(f"//{name}") for name in ("me", "bob", "outsider", "other"))
RULES = Rules(window=20, final_at=12, gather=2, resend=2, tempo=20, expiry=120, consent=400, false_within=400)
BOND = RULES.bond_rao
SEED = (entry("alpha", netuid=1), entry("beta", netuid=2))
DEAD = {"kind": "deprecation", "entry": "alpha"}
MOVED = {"kind": "schema_update", "entry": "beta", "operation": "web_search", "output_schema": {"type": "object"}}


@dataclass
class FakeGovernor:
    """What a sponsor asks of the state machine."""

    book: Book = field(default_factory=lambda: Book.of(RULES, SEED))
    is_sure: bool = True
    decided: int = -1
    last_block: int = 0
    validators: dict[str, int] = field(default_factory=lambda: {ME.ss58_address: 10, BOB.ss58_address: 10})


class World:
    """One folder, one chain, one other validator; `open` is a start of the node, and leaving it a stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain = BlockChain.of({ME.ss58_address: 10, BOB.ss58_address: 10})
        self.bob = FakePeer(BOB.ss58_address, self.taken)
        self.mine: list[SignedProposal] = []
        self.answer = ""

    async def taken(self, body: Any) -> str:
        assert isinstance(body, SignedProposal)
        assert body.is_sponsored
        assert not body.trouble(verify_signature)
        shown = self.chain.blocks[-1][0].commitment
        assert shown is not None, "shown before the chain vouches for it"
        assert f"{body.anchor.size}:{body.anchor.root}" in shown
        return self.answer

    async def heard(self, body: Any, sender: str) -> str:
        assert sender == ME.ss58_address
        self.mine.append(body)
        return await self.taken(body)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Node]:
        def url(name: str) -> str:
            return sqlite_url(self.folder / f"{name}.sqlite")

        async with AsyncExitStack() as stack:
            log = await stack.enter_async_context(await OwnLog.open(url("own")))
            store = await stack.enter_async_context(await CreditStore.open(url("credits")))
            ledger = await LedgerNode.open(url("ledger"), seed=SEED)
            stack.push_async_callback(ledger.close)
            slot, governor = ChainSlot(log, self.chain, ME, NETUID), FakeGovernor(Book.of(RULES, ledger.log))
            own = OwnSeat(ME.ss58_address, self.heard)
            sponsor = Sponsor(ME, verify_signature, RULES, ledger, slot, store, governor, lambda: [own, self.bob])
            yield Node(self, sponsor, governor)


class Node:
    """A validator that is up."""

    def __init__(self, world: World, sponsor: Sponsor, governor: FakeGovernor) -> None:
        self.world, self.sponsor, self.governor = world, sponsor, governor
        self.store, self.ledger = sponsor.store, sponsor.ledger

    async def block(self, number: int = 1) -> None:
        """What a validator does at every block."""
        for _ in range(number):
            newest = self.world.chain.mint()
            self.governor.last_block = newest
            await self.sponsor.on_block(self.world.chain.at(newest))
            await self.sponsor.slot.keep(self.world.chain.at(newest))

    async def state(self, digest: str) -> str:
        found = await self.sponsor.state_of(digest)
        assert found is not None
        return found.state

    async def account(self, who: Any = OUTSIDER) -> tuple[int, int, int]:
        found: Account = await self.store.account(who.ss58_address)
        return found.free, found.held, found.lost

    async def leaf(self, sent: Challenge, outcome: Any, *added: SubnetEntry) -> None:
        """The log says what became of a challenge."""
        proposal, digest = sent.proposal, sent.digest()
        bond = Bond(
            proposal=digest,
            substance=digest,
            about=proposal.kind,
            entry=proposal.entry,
            operation=getattr(proposal, "operation", ""),
            proposer=proposal.proposer,
            outcome=outcome,
            anchor=1,
            revealed=2,
            at_stake=str(BOND),
            lost=str(BOND // 2) if outcome == "false" else "0",
        )
        await self.ledger.commit([bond, *added], block=1)
        self.governor.book.extend([bond, *added])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def proposal(claim: dict[str, Any], *, who: Any = OUTSIDER, salt: int = 0) -> Proposal:
    known = next(each for each in SEED if each.id == claim["entry"])
    return proposal_of(claim, known, proposer=who.ss58_address, salt=salt.to_bytes(32, "big"))


def challenge(claim: dict[str, Any] = DEAD, *, who: Any = OUTSIDER, salt: int = 0) -> Challenge:
    return challenge_of(proposal(claim, who=who, salt=salt), who, sponsor=ME.ss58_address, bond=BOND)


async def paid(node: Node, bonds: int = 1, who: Any = OUTSIDER) -> None:
    await node.store.pay_in(who.ss58_address, bonds * BOND, f"{who.ss58_address} {bonds}")


async def refused(node: Node, sent: Challenge) -> str:
    before = await node.store.accounts()
    with pytest.raises(ChallengeRefused) as told:
        await node.sponsor.take(sent)
    assert await node.store.accounts() == before, "a refusal costs nothing"
    assert await node.sponsor.state_of(sent.digest()) is None
    return told.value.reason


# the way of a challenge


@pytest.mark.parametrize(("outcome", "lost"), [("accepted", 0), ("confirmation", 0), ("copy", 0), ("false", BOND // 2)])
async def test_from_a_prepaid_bond_to_its_end(world: World, outcome: str, lost: int) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node, 3)
        sent = challenge()
        said = await node.sponsor.take(sent)
        assert (said.state, said.bond, said.lost, said.taken) == ("fixed", BOND, 0, 0)
        assert await node.account() == (2 * BOND, BOND, 0)
        assert node.sponsor.slot.log.place(sent.digest()) is not None, "fixed when it is acknowledged"
        await node.block(2)
        assert await node.state(sent.digest()) == "anchored"
        assert not world.bob.heard, "the block that vouches for it is not past yet"
        await node.block(3)
        (shown,) = world.bob.heard
        assert world.mine == [shown], "its own council hears what the others hear, once"
        assert (shown.proposal, shown.signature) == (sent.proposal, sent.signature)
        state = await node.sponsor.state_of(sent.digest())
        assert state is not None
        assert (state.taken, state.refusals) == (2, ())
        await node.leaf(sent, outcome)
        await node.block()
        assert await node.state(sent.digest()) == outcome
        assert await node.account() == (3 * BOND - lost, 0, lost)


async def test_it_goes_on_after_a_restart_at_every_stage(world: World) -> None:
    sent = challenge()
    async with world.open() as node:
        await node.block()
        await paid(node)
        await node.sponsor.take(sent)
    for stage in ("fixed", "anchored", "anchored", "anchored"):
        async with world.open() as node:
            await node.block()
            assert await node.state(sent.digest()) == stage
            assert await node.account() == (0, BOND, 0)
            assert (await node.sponsor.take(sent)).state == stage, "sent again it is the same one"
    assert {each.digest for each in world.bob.heard} == {sent.digest()}
    async with world.open() as node:
        await node.leaf(sent, "false")
    for _ in range(3):
        async with world.open() as node:
            await node.block()
            assert await node.state(sent.digest()) == "false"
            assert await node.account() == (BOND // 2, 0, BOND // 2)


async def test_a_stop_between_the_bond_and_the_log_loses_nothing(world: World) -> None:
    sent = challenge()

    class Stopped(Exception):
        pass

    class Stopping(OwnLog):
        async def fix(self, *digests: str) -> None:
            raise Stopped

    async with world.open() as node:
        await node.block()
        await paid(node)
        whole = node.sponsor.slot.log
        node.sponsor.slot.log = Stopping(whole._engine)
        with pytest.raises(Stopped):
            await node.sponsor.take(sent)
        assert await node.account() == (0, BOND, 0)
    async with world.open() as node:
        assert node.sponsor.slot.log.version.startswith("0:")
        await node.block(4)
        assert [each.proposal for each in world.bob.heard] == [sent.proposal]


async def test_the_same_challenge_at_once_is_one(world: World) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node, 5)
        said = await asyncio.gather(*(node.sponsor.take(challenge()) for _ in range(5)))
        assert len({each.digest for each in said}) == 1
        assert await node.account() == (4 * BOND, BOND, 0)


async def test_who_refuses_is_named_by_reason_and_asked_again(world: World) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node)
        sent = challenge()
        await node.sponsor.take(sent)
        world.answer = "busy: " + "x" * 900
        await node.block(4)
        state = await node.sponsor.state_of(sent.digest())
        assert state is not None
        assert state.taken == 0
        assert [len(each) for each in state.refusals] == [200]
        world.answer = ""
        await node.block()
        state = await node.sponsor.state_of(sent.digest())
        assert state is not None
        assert (state.taken, state.refusals) == (2, ())


async def test_a_leaf_that_is_there_before_the_challenge_is_found(world: World) -> None:
    """Settled elsewhere between the look at the log and the bond: the block in between has read that leaf already."""
    async with world.open() as node:
        await node.block()
        await paid(node)
        sent, known = challenge(), node.governor.book.copy()
        await node.leaf(sent, "false")
        await node.block()
        node.governor.book = known
        await node.sponsor.take(sent)
        await node.block()
        assert await node.state(sent.digest()) == "false"
        assert await node.account() == (BOND // 2, 0, BOND // 2)


# what nobody settles


async def test_a_bond_that_nobody_settled_comes_back_when_nobody_can_any_more(world: World) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node)
        sent = challenge()
        await node.sponsor.take(sent)
        await node.block(2)
        (anchored,) = await node.store.underway()
        last = RULES.window_of(anchored.block + RULES.expiry)
        node.governor.decided = last
        world.chain.mint(3 * RULES.expiry)
        await node.block()
        assert await node.state(sent.digest()) == "anchored", "blocks that pass decide nothing"
        node.governor.decided = last + 1
        await node.block()
        assert await node.state(sent.digest()) == "expired"
        assert await node.account() == (BOND, 0, 0)


async def test_what_is_decided_and_not_in_the_log_yet_gives_no_bond_back(world: World) -> None:
    """The council's state is ahead of the log while a batch is being appended: the leaf may be the one that counts."""
    async with world.open() as node:
        await node.block()
        await paid(node)
        sent = challenge()
        await node.sponsor.take(sent)
        await node.block(2)
        header = BatchHeader(
            window=0,
            block=0,
            beacon=sha256(b""),
            leader=ME.ss58_address,
            parent=node.ledger.view.version,
            certificates=(sha256(b""),),
            validators=(StakeOf(hotkey=ME.ss58_address, stake="1"),),
        )
        node.governor.book.extend([header])
        node.governor.decided = 10**6
        await node.block()
        assert await node.state(sent.digest()) == "anchored"
        await node.ledger.commit([header], block=1)
        await node.block()
        assert await node.state(sent.digest()) == "expired"


async def test_what_the_chain_never_vouches_for_comes_back(world: World) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node)
        sent = challenge()
        await node.sponsor.take(sent)
        del world.chain.neurons[ME.ss58_address]  # the hotkey lost its uid
        for _ in range(RULES.expiry):
            newest = world.chain.mint()
            await node.sponsor.on_block(world.chain.at(newest))
        assert await node.account() == (0, BOND, 0)
        await node.sponsor.on_block(world.chain.at(world.chain.mint()))
        assert await node.account() == (BOND, 0, 0)
        assert not world.bob.heard


async def test_what_nobody_heard_of_is_dropped_when_the_ledger_moves_on(world: World) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node)
        await node.sponsor.take(challenge(MOVED))
        changed = entry("beta", netuid=2, operations=(operation(output_schema={"type": "array"}),))
        await node.ledger.commit([changed], block=1)
        await node.block(4)
        assert await node.state(challenge(MOVED).digest()) == "expired"
        assert await node.account() == (BOND, 0, 0)
        assert not world.bob.heard


# what is not taken


async def test_nobody_is_sponsored_without_a_prepaid_bond(world: World) -> None:
    async with world.open() as node:
        await node.block()
        assert await refused(node, challenge()) == "unpaid"
        await node.store.pay_in(OUTSIDER.ss58_address, BOND - 1, "one")
        assert await refused(node, challenge()) == "unpaid"
        await paid(node, who=OTHER)
        assert await refused(node, challenge()) == "unpaid", "another's money"


async def test_a_bond_is_spent_by_an_order_for_this_sponsor_alone(world: World) -> None:
    """Every validator sees a proposal's signature in the end: it must not spend a second bond elsewhere."""
    async with world.open() as node:
        await node.block()
        await paid(node, 9)
        made = proposal(DEAD)
        for_bob = challenge_of(made, OUTSIDER, sponsor=BOB.ss58_address, bond=BOND)
        assert await refused(node, for_bob) == "wrong_order"
        bent = for_bob.model_copy(update={"sponsor": ME.ss58_address})
        assert await refused(node, bent) == "not_signed"
        cheap = challenge_of(made, OUTSIDER, sponsor=ME.ss58_address, bond=BOND - 1)
        assert await refused(node, cheap) == "wrong_order"
        assert await refused(node, cheap.model_copy(update={"bond": BOND})) == "not_signed"
        by_other = challenge_of(made, OTHER, sponsor=ME.ss58_address, bond=BOND)
        assert await refused(node, by_other) == "not_signed"
        half = challenge().model_copy(update={"signature": by_other.signature})
        assert await refused(node, half) == "not_signed"


async def test_only_entries_that_are_there_are_challenged_and_only_as_they_are(world: World) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node, 9)
        new = {"kind": "new_subnet", "entry": "gamma", "body": entry("gamma", netuid=3).model_dump(mode="json")}
        fresh = proposal_of(new, None, proposer=OUTSIDER.ss58_address, salt=bytes(32))
        by_outsider = challenge_of(fresh, OUTSIDER, sponsor=ME.ss58_address, bond=BOND)
        assert await refused(node, by_outsider) == "not_a_challenge"
        await paid(node, who=ME)
        assert await refused(node, challenge(who=ME)) == "not_a_challenge", "a validator proposes for itself"
        for update in ({"entry": "gamma"}, {"base": sha256(b"")}):
            bent = proposal(DEAD).model_copy(update=update)
            sent = challenge_of(bent, OUTSIDER, sponsor=ME.ss58_address, bond=BOND)
            assert await refused(node, sent) == "does_not_apply"
        same = {**MOVED, "output_schema": SEED[1].operations[0].output_schema}
        assert await refused(node, challenge(same)) == "does_not_apply"
        hostile = {**MOVED, "output_schema": {"$ref": "https://elsewhere.example/schema"}}
        assert await refused(node, challenge(hostile)) == "schema_refused"


@pytest.mark.parametrize(("until", "taken"), [(0, False), (1, False), (2, True), (401, True), (402, False)])
async def test_an_owners_signature_is_good_for_blocks_ahead_and_not_for_long(
    world: World, until: int, taken: bool
) -> None:
    async with world.open() as node:
        await node.block(2)
        assert node.governor.last_block == 1
        await paid(node)
        consent = {"owner": OTHER.ss58_address, "netuid": 1, "signature": "0x" + "11" * 64}
        claim = {"kind": "owner_change", "entry": "alpha", "change": {"netuid": 9}, "consents": [consent]}
        sent = challenge({**claim, "valid_until": until})
        if taken:
            assert (await node.sponsor.take(sent)).state == "fixed"
        else:
            assert await refused(node, sent) == "consent_out_of_time"


async def test_who_was_false_too_often_is_not_sponsored(world: World) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node, 9)
        for salt in range(RULES.false_limit):
            sent = challenge(salt=salt)
            await node.sponsor.take(sent)
            await node.leaf(sent, "false")
            await node.block()
        assert await refused(node, challenge(salt=99)) == "barred"


async def test_what_was_settled_elsewhere_is_not_taken(world: World) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node)
        await node.leaf(challenge(), "accepted")
        assert await refused(node, challenge()) == "does_not_apply"


@pytest.mark.parametrize("lack", [{"is_sure": False}, {"validators": {}}, {"validators": {BOB.ss58_address: 10}}])
async def test_a_validator_without_a_say_sponsors_nobody(world: World, lack: dict[str, Any]) -> None:
    async with world.open() as node:
        await node.block()
        await paid(node)
        for name, value in lack.items():
            setattr(node.governor, name, value)
        assert await refused(node, challenge()) == "not_ready"


async def test_one_outsider_takes_a_part_of_a_tempos_places_and_all_of_them_no_more_than_there_are(
    world: World,
) -> None:
    crowd = [dev_signer(f"//crowd{number}") for number in range(5)]
    async with world.open() as node:
        await node.block()
        for who in crowd:
            await paid(node, 9, who)
        for who in crowd[:4]:
            for salt in range(RULES.proposals_per_coldkey):
                await node.sponsor.take(challenge(who=who, salt=salt))
            if who is crowd[0]:
                assert await refused(node, challenge(who=who, salt=99)) == "full"
        assert await refused(node, challenge(who=crowd[4])) == "full"
        assert len(await node.store.underway()) == RULES.proposals_per_sponsor
        await node.block(RULES.tempo + 1)
        assert (await node.sponsor.take(challenge(who=crowd[4]))).state == "fixed", "in the next tempo"


# what is signed


def test_an_order_is_pinned() -> None:
    payload = order_payload(sha256(b"x"), sponsor=ME.ss58_address, bond=BOND)
    assert payload == canonical(
        {"domain": "orchestra-order/1", "proposal": sha256(b"x"), "sponsor": ME.ss58_address, "bond": "100000"}
    )
    assert sha256(payload) == "0xa12913734d1411122e257876fd4742f394459037672d86d9cbf0aac895a71fd6"


def test_a_challenge_survives_the_wire() -> None:
    sent = challenge()
    read = Challenge.from_wire(sent.to_wire())
    assert read == sent
    assert read.is_signed(verify_signature)
