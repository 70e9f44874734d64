"""What a certificate, a proposal and a batch must keep to: each rule broken alone, the rest left as it was."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.applying import base_of
from ledger.changes import Bond, StakeOf
from ledger.governance.batches import KEPT_PER_WINDOW, Batches
from ledger.governance.book import Book
from ledger.governance.chain import ChainMemory
from ledger.governance.checking import Checker, Lacking, Refused
from ledger.governance.witness import Witness
from ledger.proposals import Consent, NewSubnet, Owned, OwnerChange, Proposal, SignedProposal
from ledger.statements import Batch, sign_seal
from tests.builders import entry
from tests.governed import RULES, SEED, Key, Network, fast_verify, schema_update, send_off

HASH = "0x" + "ab" * 32
STAKES = {"v0": 10, "v1": 20, "v2": 30, "v3": 40}


class Scene:
    """A network at the moment when an honest batch has reached somebody, and that somebody's means to check it."""

    def __init__(self) -> None:
        self.net = net = Network(STAKES, seed=1)
        net.step(2 * RULES.window + 1)
        batches: list[Batch] = []
        net.on_delivery = lambda _to, _sender, message: batches.append(message) if isinstance(message, Batch) else None
        proposal = schema_update(net.addresses["miner-a"], net.entries(), "alpha", "x")
        net.propose("miner-a", proposal, is_true=True)
        while not batches:
            net.step()
        self.batch = batches[0]
        self.certificate = self.batch.certificates[0]
        self.anchor, self.block = self.certificate.anchor, self.batch.header.block
        self.book = Book.of(RULES, SEED)
        self.chain = ChainMemory(RULES)
        for block in net.blocks:
            self.chain.observe(block)
        self.checker = Checker(RULES, self.chain, Witness(fast_verify), fast_verify)

    def send_off(self, proposal: Proposal, miner: str, sponsor: str = "") -> SignedProposal:
        keys = self.net.keys | self.net.miners | self.net.outsiders
        return send_off(proposal, keys[miner], sponsor=keys[sponsor] if sponsor else None)

    def bond(self, proposal: str, outcome: Any, proposer: str = "miner-a") -> Bond:
        return Bond(
            proposal=proposal,
            substance=HASH,
            about="schema_update",
            entry="alpha",
            operation="web_search",
            proposer=self.net.addresses[proposer],
            outcome=outcome,
            anchor=0,
            revealed=0,
            at_stake="100000",
            lost="0",
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_honest_certificate_and_batch_are_right(scene: Scene) -> None:
    scene.checker.certificate(scene.certificate, scene.book, block=scene.block)
    batches = Batches(scene.checker)
    assert batches.take(scene.batch, wanted=False)
    assert not batches.take(scene.batch, wanted=False)
    assert batches.is_right(scene.batch, scene.book)
    found = batches.comes_to(scene.batch, scene.book)
    assert found is not None
    assert found[1].version == scene.batch.seal.version


def test_a_certificate_takes_more_than_two_thirds_of_the_committee(scene: Scene) -> None:
    weights = {scene.net.addresses[name]: stake for name, stake in STAKES.items()}
    verdicts = scene.certificate.verdicts
    for kept in (verdicts, verdicts[:3], verdicts[1:], verdicts[:2], verdicts[2:], verdicts[:1]):
        some = scene.certificate.model_copy(update={"verdicts": kept})
        if sum(weights[each.signer] for each in kept) * 3 > 200:
            scene.checker.certificate(some, scene.book, block=scene.block)
        else:
            with pytest.raises(Refused, match="no two thirds"):
                scene.checker.certificate(some, scene.book, block=scene.block)


def test_a_proposal_is_settled_once_and_in_time(scene: Scene) -> None:
    with pytest.raises(Refused, match="after the window began"):
        scene.checker.certificate(scene.certificate, scene.book, block=scene.anchor)
    with pytest.raises(Refused, match="expired"):
        scene.checker.certificate(scene.certificate, scene.book, block=scene.anchor + RULES.expiry + 1)
    scene.checker.certificate(scene.certificate, scene.book, block=scene.anchor + RULES.expiry)
    scene.book.extend([scene.bond(scene.certificate.proposal.digest, "superseded")])
    with pytest.raises(Refused, match="settled before"):
        scene.checker.certificate(scene.certificate, scene.book, block=scene.block)


def test_who_lost_too_many_bonds_may_not_propose(scene: Scene) -> None:
    falls = [scene.bond("0x" + f"{number:02x}" * 32, "false") for number in range(RULES.false_limit)]
    scene.book.extend(falls[1:])
    scene.checker.certificate(scene.certificate, scene.book, block=scene.block)
    scene.book.extend(falls[:1])
    with pytest.raises(Refused, match="no proposal rights"):
        scene.checker.certificate(scene.certificate, scene.book, block=scene.block)


def test_a_sponsor_is_a_validator_and_brings_no_new_entries(scene: Scene) -> None:
    scene.net.outsider("outsider")
    address = scene.net.addresses["outsider"]
    challenge = schema_update(address, scene.book.entries, "alpha", "y")
    new = NewSubnet(proposer=address, entry="delta", salt=HASH, body=entry("delta", netuid=4))
    where = {"anchor": scene.anchor, "block": scene.block}
    scene.checker.standing(scene.send_off(challenge, "outsider", "v1"), scene.book, **where)
    with pytest.raises(Refused, match="no validator"):
        scene.checker.standing(scene.send_off(challenge, "outsider", "miner-a"), scene.book, **where)
    with pytest.raises(Refused, match="does not bring new ones"):
        scene.checker.standing(scene.send_off(new, "outsider", "v1"), scene.book, **where)
    with pytest.raises(Refused, match="not registered"):
        scene.checker.standing(scene.send_off(challenge, "outsider"), scene.book, **where)


def test_an_owners_signature_has_its_time(scene: Scene) -> None:
    def owned(valid_until: int) -> SignedProposal:
        made = OwnerChange(
            proposer=scene.net.addresses["miner-a"],
            entry="alpha",
            operation="web_search",
            salt=HASH,
            base=HASH,
            change=Owned(receipt_key="k"),
            valid_until=valid_until,
            consents=(Consent(owner=Key("owner").ss58_address, netuid=1, signature="0x" + "00" * 64),),
        )
        return scene.send_off(made.model_copy(update={"base": base_of(scene.book.entries["alpha"], made)}), "miner-a")

    for fine in (scene.anchor, scene.anchor + RULES.consent):
        scene.checker.standing(owned(fine), scene.book, anchor=scene.anchor, block=scene.block)
    for wrong in (scene.anchor - 1, scene.anchor + RULES.consent + 1):
        with pytest.raises(Refused, match="outside the time"):
            scene.checker.standing(owned(wrong), scene.book, anchor=scene.anchor, block=scene.block)


def test_who_was_not_there_cannot_say(scene: Scene) -> None:
    late = ChainMemory(RULES)
    for block in scene.net.blocks[scene.block :]:
        late.observe(block)
    checker = Checker(RULES, late, Witness(fast_verify), fast_verify)
    with pytest.raises(Lacking):
        checker.certificate(scene.certificate, scene.book, block=scene.block)
    batches = Batches(checker)
    batches.take(scene.batch, wanted=False)
    assert not batches.is_right(scene.batch, scene.book)


# Batches


def resealed(scene: Scene, signer: Key | None = None, **changes: Any) -> Batch:
    """The batch with another header, sealed by its leader (or by somebody else in the leader's name)."""
    header = scene.batch.header.model_copy(update=changes)
    leader = {key.ss58_address: key for key in scene.net.keys.values()}.get(header.leader, Key("v0"))
    seal = sign_seal(leader, header=header, version=scene.batch.seal.version)
    if signer is not None:
        forged = "0x" + signer.sign(seal.payload).hex()
        seal = seal.model_copy(update={"signature": forged})
    return Batch(seal=seal, header=header, certificates=scene.batch.certificates)


def test_a_batch_is_its_windows_leaders_about_that_window(scene: Scene) -> None:
    others = [key.ss58_address for key in scene.net.keys.values() if key.ss58_address != scene.batch.header.leader]
    fewer = scene.batch.header.validators[1:]
    richer = (StakeOf(hotkey=scene.batch.header.validators[0].hotkey, stake="9999"), *fewer)
    for wrong, reason in (
        (resealed(scene, leader=others[0]), "not by the leader"),
        (resealed(scene, beacon=HASH), "not by the leader"),
        (resealed(scene, block=scene.block + 1), "not by the leader"),
        (resealed(scene, window=99), "did not see begin"),
        (resealed(scene, validators=fewer), "other validators"),
        (resealed(scene, validators=richer), "other validators"),
        (resealed(scene, Key("thief")), "did not sign"),
    ):
        with pytest.raises(Refused, match=reason):
            Batches(scene.checker).take(wrong, wanted=True)


def test_a_batch_that_comes_to_something_else_is_not_right(scene: Scene) -> None:
    seal = sign_seal(
        scene.net.keys[scene.net.names[scene.batch.header.leader]], header=scene.batch.header, version="7:" + HASH
    )
    wrong = Batch(seal=seal, header=scene.batch.header, certificates=scene.batch.certificates)
    elsewhere = Book.of(RULES, SEED[:2])
    batches = Batches(scene.checker)
    for batch in (wrong, scene.batch):
        batches.take(batch, wanted=False)
        assert batches.comes_to(batch, elsewhere) is None
    assert batches.comes_to(wrong, scene.book) is None
    assert not batches.is_right(wrong, scene.book)
    assert batches.is_right(scene.batch, scene.book)


def test_few_batches_of_one_window_are_kept_unless_they_count(scene: Scene) -> None:
    batches = Batches(scene.checker)
    leader = scene.net.keys[scene.net.names[scene.batch.header.leader]]
    many = [
        scene.batch.model_copy(
            update={"seal": sign_seal(leader, header=scene.batch.header, version=f"{number}:{HASH}")}
        )
        for number in range(KEPT_PER_WINDOW + 2)
    ]
    for batch in many[:KEPT_PER_WINDOW]:
        assert batches.take(batch, wanted=False)
    with pytest.raises(Refused, match="more than one"):
        batches.take(many[-2], wanted=False)
    assert batches.take(many[-1], wanted=True)
    assert set(scene.checker.witness.accused) == {leader.ss58_address}
    batches.forget(scene.batch.header.window + 1)
    assert batches.get(many[0].digest) is None
