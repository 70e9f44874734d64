"""The audit in a validator's world: its own calls, a chain that may be away, other validators that may lie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from ledger.canonical import sha256
from ledger.database import sqlite_url
from ledger.types import Signer
from orchestra.chain import ChainUnreachable, dev_signer, verify_signature
from orchestra.chain.types import BlockRef, Metagraph
from orchestra.ledger_node import LedgerNode
from orchestra.peers import Peer, PeerFailed
from orchestra.protocol import Evidence, EvidenceRequest, ReplayRequest, ReplayVerdict
from orchestra.transport import SignedResponse
from orchestra.validation.api import verdict_payload
from orchestra.validation.auditing import Auditor, fresh_seed
from orchestra.validation.scoring import Answered
from tests import proofkit as kit
from tests.fakes.validation import block_hash, neuron

ELAPSED_MS = 1_000
THIRD, FOURTH = dev_signer("//Eve"), dev_signer("//Ferdie")


@dataclass
class OtherValidator:
    """Another validator: what it gets for a call is in its table; it signs with its own key, or with a wrong one."""

    signer: Signer
    subnets: kit.TableSubnets
    silent: bool = False
    signs_with: Signer | None = None
    asked: list[ReplayRequest] = field(default_factory=list[ReplayRequest])

    @property
    def hotkey(self) -> str:
        return self.signer.ss58_address

    async def replay(self, request: ReplayRequest) -> ReplayVerdict:
        self.asked.append(request)
        if self.silent:
            raise PeerFailed("PeerTimeout", "/v1/replay")
        body = kit.body_of(f"{request.entry}/{request.operation}", request.query, self.subnets.content)
        found = sha256(body)
        signature = (self.signs_with or self.signer).sign(verdict_payload(request, found))
        return ReplayVerdict(response_hash=found, signature="0x" + signature.hex())


@dataclass
class RevealingMiner:
    """The miner as a peer: reveals what it sealed, or nothing."""

    revealer: kit.Revealer | None
    hotkey: str = kit.MINER.ss58_address

    async def evidence(self, request: EvidenceRequest) -> Evidence:
        if self.revealer is None:
            raise PeerFailed("no_evidence", "/v1/evidence was refused")
        return await self.revealer(request)


def other(signer: Signer = kit.OTHER, **options: Any) -> OtherValidator:
    return OtherValidator(signer, kit.TableSubnets(kit.make_ledger()), **options)


def liar(signer: Signer) -> OtherValidator:
    """One that would confirm any other content than ours."""
    content = dict.fromkeys(kit.CONTENT, b'{"data":[]}')
    return OtherValidator(signer, kit.TableSubnets(kit.make_ledger(), content))


async def registered(netuid: int) -> Metagraph:
    assert netuid == 129
    provider = neuron(0, kit.PROVIDER.ss58_address)
    return Metagraph(netuid, BlockRef(7, block_hash(7)), 10, (provider,))


async def nobody(netuid: int) -> Metagraph:
    return replace(await registered(netuid), neurons=())


async def away(netuid: int) -> Metagraph:
    raise ChainUnreachable("orchestra-local", "scripted")


def auditor(others: Sequence[OtherValidator] = (), **changes: Any) -> Auditor:
    fields: dict[str, Any] = {
        "me": kit.VALIDATOR.ss58_address,
        "verify": verify_signature,
        "replay": kit.TableSubnets(kit.make_ledger()),
        "metagraph": registered,
        "others": lambda: cast("list[Peer]", list(others)),
        "tao_usd": Decimal(300),
        "seed": lambda: kit.SEED,
        "now_ms": lambda: kit.SENT_MS + ELAPSED_MS,
    }
    return Auditor(**fields | changes)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[LedgerNode]:
    seed = tuple(kit.make_ledger().entries.values())
    node = await LedgerNode.open(sqlite_url(tmp_path / "ledger.sqlite"), seed=seed)
    yield node
    await node.close()


@dataclass
class Sent:
    """A sealed story as it arrives."""

    story: kit.Story
    response: SignedResponse
    miner: RevealingMiner

    async def judged(self, who: Auditor, ledger: LedgerNode, **options: Any) -> Answered:
        sent_ms = who.sent_ms(self.response)
        peer = cast("Peer", self.miner)
        return await who.judge(peer, self.story.synapse, self.response, ledger=ledger, sent_ms=sent_ms, **options)


def send(story: kit.Story, *, reveals: bool = True) -> Sent:
    issued = kit.make_issued(story.synapse)
    sealed, bundle = story.seal(issued)
    response = SignedResponse(200, sealed.to_wire(), {}, issued.request_digest, ELAPSED_MS)
    return Sent(story, response, RevealingMiner(kit.Revealer(bundle) if reveals else None))


async def judge(
    who: Auditor, story: kit.Story, ledger: LedgerNode, *, reveals: bool = True, **options: Any
) -> Answered:
    """Seal a story, and have an auditor judge the bytes."""
    return await send(story, reveals=reveals).judged(who, ledger, **options)


def forged() -> kit.Story:
    story = kit.make_story()
    kit.invent(story)
    return story


def found(answered: Answered) -> set[str]:
    return {each.code.value for each in answered.audit.faults}


async def test_an_honest_answer_is_verified_with_the_time_on_our_clock(ledger: LedgerNode) -> None:
    answered = await judge(auditor(), kit.make_story(), ledger)
    assert found(answered) == {"not_replayable"}  # the chat
    assert (answered.elapsed_ms, answered.ahead, answered.audit.refuted) == (ELAPSED_MS, False, False)
    assert answered.audit.conclusive


@pytest.mark.parametrize("make", [kit.make_story, forged])
async def test_two_validators_with_the_same_evidence_and_seed_write_the_same_bytes(
    make: Any, ledger: LedgerNode
) -> None:
    one = auditor([other(THIRD)], replay=kit.TableSubnets(kit.make_ledger()))
    two = auditor([other(FOURTH), other(kit.OTHER)], metagraph=registered)
    answer = send(make())
    audits = [(await answer.judged(each, ledger)).audit for each in (one, two)]
    assert audits[0].canonical() == audits[1].canonical()
    assert audits[0].digest == audits[1].digest


async def test_seeds_are_fresh_unless_they_are_given() -> None:
    assert len({fresh_seed() for _ in range(100)}) == 100
    assert len(fresh_seed()) == 32


async def test_a_second_validator_that_gets_the_same_refutes(ledger: LedgerNode) -> None:
    answered = await judge(auditor([other()]), forged(), ledger)
    assert answered.audit.refuted
    assert "replay_mismatch_confirmed" in found(answered)


@pytest.mark.parametrize(
    "others",
    [
        [],
        [other(silent=True)],
        [other(signs_with=kit.MINER)],
        [liar(kit.OTHER)],
        [other(silent=True), other(THIRD, signs_with=kit.MINER)],
    ],
)
async def test_without_a_second_word_nobody_is_refuted_and_nothing_is_earned(
    others: list[OtherValidator], ledger: LedgerNode
) -> None:
    answered = await judge(auditor(others), forged(), ledger)
    assert not answered.audit.refuted
    assert "replay_mismatch_unconfirmed" in found(answered)
    assert answered.audit.hash_credit() < 1


async def test_one_liar_among_the_others_cannot_save_a_forger(ledger: LedgerNode) -> None:
    honest = [other(kit.OTHER), other(THIRD)]
    for others in ([liar(FOURTH), *honest], [*honest, liar(FOURTH)], [liar(FOURTH), other(silent=True), *honest]):
        assert (await judge(auditor(others), forged(), ledger)).audit.refuted


@pytest.mark.parametrize("reverse", [False, True])
async def test_one_liar_against_one_honest_validator_cannot_save_a_forger_wherever_it_stands(
    reverse: bool, ledger: LedgerNode
) -> None:
    others = [liar(FOURTH), other()]
    assert (await judge(auditor(others[::-1] if reverse else others), forged(), ledger)).audit.refuted


async def test_two_that_agree_on_something_else_outvote_one_that_confirms(ledger: LedgerNode) -> None:
    answered = await judge(auditor([other(), liar(THIRD), liar(FOURTH)]), forged(), ledger)
    assert not answered.audit.refuted


async def test_one_liar_among_the_others_cannot_refute_an_honest_miner(ledger: LedgerNode) -> None:
    answered = await judge(auditor([liar(FOURTH), liar(THIRD)]), kit.make_story(), ledger)
    assert not answered.audit.refuted
    assert answered.audit.hash_credit() == (await judge(auditor(), kit.make_story(), ledger)).audit.hash_credit()


async def test_others_are_asked_for_exactly_the_call_that_differs(ledger: LedgerNode) -> None:
    second = other()
    story = forged()
    await judge(auditor([second]), story, ledger)
    assert second.asked
    steps = {(step.entry, step.operation): step.query for step in story.attempts}
    for request in second.asked:
        assert steps[(request.entry, request.operation)] == request.query
        assert request.ledger_version == ledger.view.version


async def test_a_miner_that_shows_nothing_earns_nothing_and_raises_nothing(ledger: LedgerNode) -> None:
    answered = await judge(auditor(), kit.make_story(), ledger, reveals=False)
    assert "evidence_unavailable" in found(answered)
    assert (answered.audit.hash_credit(), answered.audit.sourced_pointers) == (0, frozenset())
    assert not answered.audit.refuted


@pytest.mark.parametrize(("chain", "code"), [(away, "registry_unreadable"), (nobody, "receipt_unregistered")])
async def test_a_receipt_whose_key_cannot_be_looked_up_is_not_the_miners_lie(
    chain: Any, code: str, ledger: LedgerNode
) -> None:
    answered = await judge(auditor(metagraph=chain), kit.make_story(), ledger)
    assert code in found(answered)
    assert not answered.audit.refuted


async def test_subnets_that_are_down_for_us_refute_nobody(ledger: LedgerNode) -> None:
    answered = await judge(auditor([other()], replay=kit.down()), forged(), ledger)
    assert not answered.audit.refuted
    assert "replay_failed" in found(answered)


async def test_nothing_is_called_again_where_the_user_did_not_agree_to_it(ledger: LedgerNode) -> None:
    subnets, second = kit.TableSubnets(kit.make_ledger()), other()
    await judge(auditor([second], replay=subnets), forged(), ledger, replays=0)
    assert (subnets.calls, second.asked) == ([], [])


async def test_an_answer_for_another_validator_is_refuted(ledger: LedgerNode) -> None:
    answered = await judge(auditor(me=kit.OTHER.ss58_address), kit.make_story(), ledger)
    assert answered.audit.refuted
    assert found(answered) == {"validator_mismatch"}


async def test_a_ledger_version_that_we_do_not_have_is_ahead(ledger: LedgerNode) -> None:
    story = kit.make_story()
    story.ledger_version = "99:" + kit.h("later")
    answered = await judge(auditor(), story, ledger)
    assert answered.ahead
    assert not answered.audit.refuted
