"""Validators that agree, block by block: what becomes of findings, of copies, of lies, and of those who were away."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
from bittensor.keyfiles import Keypair

from ledger.applying import base_of
from ledger.canonical import canonical, parse_strict
from ledger.changes import BatchHeader, Bond, Change
from ledger.governance.book import Book, settle
from ledger.governance.chain import Block, Member, Vote, envelope
from ledger.governance.effects import Effects, Send
from ledger.governance.machine import Governor
from ledger.governance.rules import BATCH_PAYLOAD_BYTES, PROPOSALS_HELD
from ledger.proposals import Consent, NewSubnet, Owned, OwnerChange, SignedProposal, consent_payload, sign
from ledger.statements import (
    Ballot,
    Batch,
    BatchRequest,
    Certificate,
    Equivocation,
    Finals,
    FinalsRequest,
    Message,
    message_kind,
    read_message,
    sign_final,
    sign_seal,
    sign_verdict,
)
from orchestra.chain import verify_signature
from tests.builders import entry
from tests.governed import (
    RULES,
    SEED,
    Invariants,
    Key,
    Network,
    deprecation,
    fast_verify,
    metrics_update,
    schema_update,
    send_off,
)

STAKES = {"v0": 10, "v1": 20, "v2": 30, "v3": 40}
SALTS = ["0x" + f"{number:02x}" * 32 for number in range(40)]


def network(**options: Any) -> Network:
    """Four validators, past their first window."""
    made = Network(STAKES, seed=1, **options)
    made.step(2 * RULES.window + 1)
    return made


def outcomes(net: Network, name: str = "v0") -> list[tuple[str, str]]:
    """(proposer, outcome) of each bond in a validator's log."""
    bonds = [each for each in net.nodes[name].log if isinstance(each, Bond)]
    return [(net.names[each.proposer], each.outcome) for each in bonds]


def schema(net: Network, miner: str, name: str = "x", salt: str = SALTS[0]) -> Any:
    return schema_update(net.addresses[miner], net.entries(), "alpha", name, salt=salt)


def agree(net: Network) -> Book:
    assert len({node.governor.book.version for node in net.nodes.values()}) == 1
    return net.nodes["v0"].governor.book


# What becomes of proposals


def test_a_finding_its_confirmation_a_copy_and_a_lie() -> None:
    net = network()
    watch = Invariants(net, set())
    net.propose("miner-a", schema(net, "miner-a"), is_true=True, reveal_after=3)
    net.step()
    net.propose("miner-b", schema(net, "miner-b", salt=SALTS[1]), is_true=True, reveal_after=2)
    net.step(4)
    net.propose("miner-c", schema(net, "miner-c", salt=SALTS[2]), is_true=True)
    lie = metrics_update(net.addresses["last-miner"], net.entries(), "beta", 100)
    net.propose("last-miner", lie, is_true=False)
    net.step(2 * RULES.window)
    book = agree(net)
    assert book.entries["alpha"].operations[0].output_schema["required"] == ["x"]
    assert book.entries["beta"] == SEED[1]
    assert sorted(outcomes(net)) == [
        ("last-miner", "false"),
        ("miner-a", "accepted"),
        ("miner-b", "confirmation"),
        ("miner-c", "copy"),
    ]
    watch.check_agreement()
    assert not any(node.governor.accused for node in net.nodes.values())


def test_the_history_of_the_validator_set_is_in_the_log() -> None:
    net = network()
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(RULES.window)
    net.stakes["v0"] = 0
    net.step(RULES.window)
    net.propose("miner-b", schema(net, "miner-b", "y"), is_true=True)
    net.step(2 * RULES.window)
    headers = [each for each in net.nodes["v3"].log if isinstance(each, BatchHeader)]
    sets = [{net.names[each.hotkey]: int(each.stake) for each in header.validators} for header in headers]
    assert sets == [STAKES, {name: stake for name, stake in STAKES.items() if name != "v0"}]
    for header in headers:
        assert header.block == RULES.start(header.window)
        assert header.beacon == net.blocks[header.block].hash


def test_a_dead_subnet_takes_ten_attempts_over_a_tempo() -> None:
    net = network()
    probes: list[int] = []

    def count(name: str, effects: Effects) -> None:
        probes.extend([net.height] * (name == "v0") * len(effects.probes))

    net.on_effects = count
    net.propose("miner-a", deprecation(net.addresses["miner-a"], net.entries(), "alpha"), is_true=True)
    net.step(RULES.tempo + 2)
    assert outcomes(net) == []
    net.step(2 * RULES.window)
    assert len(probes) == 10
    assert probes[-1] - probes[0] >= RULES.tempo - RULES.tempo // 10
    assert outcomes(net) == [("miner-a", "accepted")]
    assert agree(net).entries["alpha"].status == "deprecated"


def test_a_new_subnet_and_its_owner() -> None:
    net = network()
    owner = Key("owner")
    net.owners = {4: owner.ss58_address}
    body = entry("delta", netuid=4)
    new = NewSubnet(proposer=net.addresses["miner-a"], entry="delta", salt=SALTS[0], body=body)
    net.propose("miner-a", new, is_true=True)
    net.step(2 * RULES.window)
    assert agree(net).entries["delta"] == body

    def moved(signer: Key, salt: str) -> OwnerChange:
        made = OwnerChange(
            proposer=net.addresses["miner-b"],
            entry="delta",
            operation="web_search",
            salt=salt,
            base=SALTS[0],
            change=Owned(receipt_key=net.addresses["miner-b"]),
            valid_until=net.height + RULES.window,
            consents=(Consent(owner=signer.ss58_address, netuid=4, signature="0x" + "00" * 64),),
        )
        made = made.model_copy(update={"base": base_of(body, made)})
        signed = Consent(owner=signer.ss58_address, netuid=4, signature=sign(signer, consent_payload(made, 4)))
        return made.model_copy(update={"consents": (signed,)})

    net.propose("miner-b", moved(Key("thief"), SALTS[1]), is_true=True)
    net.step(2 * RULES.window)
    assert outcomes(net)[-1] == ("miner-b", "false")
    net.propose("miner-b", moved(owner, SALTS[2]), is_true=True)
    net.step(2 * RULES.window)
    assert outcomes(net)[-1] == ("miner-b", "accepted")
    assert agree(net).entries["delta"].operations[0].receipt_key == net.addresses["miner-b"]


def test_an_outsider_challenges_through_a_sponsor() -> None:
    net = network()
    net.outsider("outsider")
    net.propose("outsider", schema(net, "outsider"), is_true=True, sponsor="v1")
    net.step(3 * RULES.window)
    assert outcomes(net) == [("outsider", "accepted")]


def test_it_takes_two_thirds_to_accept_and_two_thirds_to_deny() -> None:
    net = network()
    net.lies = lambda name, truth: truth ^ (name in ("v0", "v1", "v2"))  # 60 of 100 say no
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(2 * RULES.window)
    assert outcomes(net) == []
    net.step(RULES.expiry)
    assert outcomes(net) == []
    assert net.nodes["v0"].governor.on_message(next(iter(net.truths.values())).sent, net.addresses["miner-a"]).refused


def test_a_window_without_an_honest_leader_is_empty_and_its_proposals_carry_over() -> None:
    net = network()
    silent = [True]

    def no_batches(name: str, effects: Effects) -> Effects:
        if not silent[0]:
            return effects
        return replace(
            effects, sends=tuple(each for each in effects.sends if not isinstance(each.message, Batch)), vote=None
        )

    net.tamper = no_batches
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(2 * RULES.window)
    assert outcomes(net) == []
    silent[0] = False
    net.step(2 * RULES.window)
    assert outcomes(net) == [("miner-a", "accepted")]


def test_real_signatures_come_to_the_same() -> None:
    net = network(key=lambda name: Keypair.create_from_uri(f"//{name}"), verify=verify_signature)
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(2 * RULES.window)
    assert outcomes(net) == [("miner-a", "accepted")]
    agree(net)


def test_messages_that_travel_as_json_come_to_the_same() -> None:
    net = network()
    deliver, kinds = net.post, set[str]()

    def through_json(sender: str, to: str, message: Message) -> None:
        kind = message_kind(message)
        kinds.add(kind)
        wire = canonical(message.model_dump(mode="json"))
        again = read_message(kind, parse_strict(wire, max_bytes=4 << 20))
        assert again == message
        deliver(sender, to, again)

    net.post = through_json
    log = list(net.nodes["v0"].log)
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(2 * RULES.window)
    newcomer(net, log)
    net.step(2 * RULES.window)
    assert outcomes(net) == [("miner-a", "accepted")]
    agree(net)
    assert kinds >= {"proposal", "ballot", "batch", "finals_request", "finals"}
    with pytest.raises(ValueError, match="unknown kind"):
        read_message("vote", {})


# Wrong batches


def unsigned(batch: Batch) -> tuple[Certificate, ...]:
    first = batch.certificates[0]
    verdicts = (first.verdicts[0].model_copy(update={"signature": "0x" + "00" * 64}), *first.verdicts[1:])
    return (first.model_copy(update={"verdicts": verdicts}),)


def too_few(batch: Batch) -> tuple[Certificate, ...]:
    first = batch.certificates[0]
    return (first.model_copy(update={"verdicts": first.verdicts[:1]}),)


def moved_anchor(batch: Batch) -> tuple[Certificate, ...]:
    """All of the committee collude about when it was anchored; whoever saw the chain knows better."""
    first = batch.certificates[0]
    keys = {Key(name).ss58_address: Key(name) for name in STAKES}
    verdicts = [
        sign_verdict(
            keys[each.signer],
            proposal=each.proposal,
            anchor=first.anchor - 1,
            answer=each.answer,
            seen=each.seen,
            probed=each.probed,
        )
        for each in first.verdicts
    ]
    return (first.model_copy(update={"anchor": first.anchor - 1, "verdicts": verdicts}),)


def forged_proposal(batch: Batch) -> tuple[Certificate, ...]:
    """Nobody can be made to have proposed: signed by the judges, not by the proposer."""
    first = batch.certificates[0]
    sent = first.proposal.model_copy(
        update={"proposal": first.proposal.proposal.model_copy(update={"output_schema": {"required": ["evil"]}})}
    )
    keys = {Key(name).ss58_address: Key(name) for name in STAKES}
    verdicts = [
        sign_verdict(
            keys[each.signer],
            proposal=sent.digest,
            anchor=first.anchor,
            answer="confirm",
            seen=each.seen,
            probed=each.probed,
        )
        for each in first.verdicts
    ]
    return (first.model_copy(update={"proposal": sent, "verdicts": verdicts}),)


@pytest.mark.parametrize("wrong", [unsigned, too_few, moved_anchor, forged_proposal])
def test_nobody_votes_for_an_unproven_batch(wrong: Callable[[Batch], tuple[Certificate, ...]]) -> None:
    net = network()
    votes: list[str] = []

    def bad_leader(name: str, effects: Effects) -> Effects:
        sends = [
            Send(each.to, sealed(net, name, each.message, wrong(each.message)))
            if isinstance(each.message, Batch)
            else each
            for each in effects.sends
        ]
        leads = net.nodes[name].governor.leader == net.addresses[name]
        votes.extend([name] * (effects.vote is not None and not leads))
        return replace(effects, sends=tuple(sends), vote=None)

    net.tamper = bad_leader
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(3 * RULES.window)
    assert votes == []
    assert outcomes(net) == []


def sealed(net: Network, leader: str, batch: Batch, certificates: tuple[Certificate, ...]) -> Batch:
    """A batch with other certificates and the sums that go with them."""
    header = batch.header.model_copy(update={"certificates": tuple(each.digest for each in certificates)})
    book = net.nodes[leader].governor.book
    _, after = settle(book, header, certificates, RULES, consents=lambda *_: True, revealed=net.revealed)
    return Batch(
        seal=sign_seal(net.keys[leader], header=header, version=after.version), header=header, certificates=certificates
    )


def test_the_same_seal_with_right_certificates_is_voted_for() -> None:
    """The test above fails for its reason: nothing else is wrong with a batch that was sealed again."""
    net = network()

    def resealed(name: str, effects: Effects) -> Effects:
        sends = [
            Send(each.to, sealed(net, name, each.message, each.message.certificates))
            if isinstance(each.message, Batch)
            else each
            for each in effects.sends
        ]
        return replace(effects, sends=tuple(sends))

    net.tamper = resealed
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(2 * RULES.window)
    assert outcomes(net) == [("miner-a", "accepted")]


# Restarts and late nodes


def test_a_restart_goes_on_and_does_not_vote_twice() -> None:
    net = network(fragile=STAKES)
    watch = Invariants(net, set())
    crashed: list[str] = []

    def crash(name: str, effects: Effects) -> None:
        if effects.vote is not None and name not in crashed:
            crashed.append(name)
            net.nodes[name].crash()

    net.after_effects = crash
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    for _ in range(3 * RULES.window):
        net.step()
        for node in net.nodes.values():
            if not node.up:
                node.restart()
    assert sorted(crashed) == sorted(STAKES)
    assert outcomes(net) == [("miner-a", "accepted")]
    watch.check_agreement()


def test_a_vote_outlives_a_restart() -> None:
    """The leader shows another batch to one that has just come back: it has voted, and keeps to it."""
    net = network(fragile=STAKES)
    kept: list[tuple[str, Batch]] = []
    net.on_delivery = lambda to, _sender, message: kept.append((to, message)) if isinstance(message, Batch) else None
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    while not kept:
        net.step()
    to, batch = kept[0]
    governor, leader = net.nodes[to].governor, net.names[batch.header.leader]
    assert governor.vote is not None
    assert governor.vote.batch == batch.digest
    other = sealed(net, leader, batch, batch.certificates).model_copy(
        update={"seal": sign_seal(net.keys[leader], header=batch.header, version="9:" + SALTS[9])}
    )
    disk = json.loads(json.dumps(net.nodes[to].disk))
    disk["batches"] = []
    again = Governor(net.keys[to], fast_verify, RULES, governor.book, disk)
    assert again.vote == governor.vote
    for each in (other, batch):
        assert again.on_message(each, batch.header.leader).vote is None
    assert net.names[next(iter(again.accused))] == leader


def test_what_is_kept_reads_back_as_it_was() -> None:
    net = network(fragile=STAKES)
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.propose("miner-b", metrics_update(net.addresses["miner-b"], net.entries(), "beta", 100), is_true=False)
    for _ in range(2 * RULES.window):
        net.step()
        for name, node in net.nodes.items():
            dumped = node.governor.dump()
            again = Governor(net.keys[name], fast_verify, RULES, node.governor.book, json.loads(json.dumps(dumped)))
            assert again.dump() == dumped


def newcomer(net: Network, log: list[Change], name: str = "v0") -> None:
    """One validator begins again with this log and nothing else."""
    node = net.nodes[name]
    node.log = list(log)
    node.disk = None
    node.up = True
    node.restart()


def test_an_empty_memory_signs_nothing_in_its_first_window() -> None:
    net = network()
    net.step(RULES.window - net.height % RULES.window)
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    newcomer(net, net.nodes["v0"].log)
    signed: list[Effects] = []
    net.on_effects = lambda name, effects: signed.append(effects) if name == "v0" and effects.vote else None
    net.step(RULES.window)
    assert signed == []
    assert net.nodes["v0"].governor.is_sure


def test_one_that_was_away_for_long_gets_the_log_and_not_a_forged_one() -> None:
    net = network()
    log = list(net.nodes["v0"].log)
    net.nodes["v0"].crash()
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(3 * RULES.window)
    refused: list[str] = []
    forged = [True]

    def forge(_name: str, _fetch: Any, changes: list[Change]) -> list[Change]:
        return [*changes[:-1], entry("evil", netuid=9)] if forged[0] else changes

    net.forged_log = forge
    net.on_effects = lambda name, effects: refused.append(effects.refused) if name == "v0" and effects.refused else None
    newcomer(net, log)
    net.step(RULES.window + 5)
    assert "these leaves do not lead from this node's log to the version that is final" in refused
    assert net.nodes["v0"].governor.book.version == Book.of(RULES, log).version
    assert not net.nodes["v0"].governor.is_sure
    forged[0] = False
    net.step(RULES.window)
    agree(net)
    assert net.nodes["v0"].governor.is_sure


def test_the_blocks_that_count_are_enough() -> None:
    """Who has an archive of the chain feeds each missed window's first block and its reading, and asks nobody else's
    word: the final batch names the version, the log is fetched from anywhere.
    """
    net = network()
    node = net.nodes["v0"]
    node.crash()
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(2 * RULES.window)
    node.up, node.next_block = True, len(net.blocks)
    for block in net.blocks[net.height - 2 * RULES.window :]:
        if block.number % RULES.window in (0, RULES.final_at):
            net.handle("v0", node.governor.on_block(block))
    net.tamper = lambda _name, effects: replace(
        effects, sends=tuple(each for each in effects.sends if not isinstance(each.message, Finals))
    )
    net.step(10)
    agree(net)
    assert node.governor.is_sure
    assert outcomes(net) == [("miner-a", "accepted")]


def test_a_log_that_is_no_beginning_of_the_networks_is_noticed() -> None:
    net = network()
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(2 * RULES.window)
    newcomer(net, [*SEED, *(entry(f"other{number}", netuid=90 + number) for number in range(9))])
    net.step(2 * RULES.window)
    assert net.nodes["v0"].governor.has_diverged
    assert not net.nodes["v0"].governor.is_sure


def test_a_third_of_the_stake_does_not_persuade_a_late_node_and_a_bit_more_does() -> None:
    net = Network({"v0": 1, "v1": 100, "v2": 100, "v3": 99}, seed=1)
    net.step(RULES.window + 1)
    late = Governor(net.keys["v0"], fast_verify, RULES, Book.of(RULES, SEED))
    late.on_block(net.blocks[RULES.window])
    version = "9:" + SALTS[3]

    def says(name: str) -> Effects:
        final = sign_final(net.keys[name], window=0, batch=SALTS[1], version=version)
        return late.on_message(Finals(finals=(final,)), net.addresses[name])

    assert says("v1").fetch is None  # 100 of 300
    found = says("v3").fetch
    assert found is not None
    assert (found.since, found.version) == (len(SEED), version)
    assert set(found.peers) == {net.addresses["v1"], net.addresses["v3"]}


# Messages


def test_messages_that_are_not_ours_to_take_say_why() -> None:
    net = network()
    governor, miner = net.nodes["v0"].governor, net.addresses["miner-a"]
    sent = send_off(schema(net, "miner-a"), net.miners["miner-a"])
    final = sign_final(net.keys["v1"], window=1, batch=None, version="0:" + SALTS[0])
    verdict = sign_verdict(net.keys["v1"], proposal=sent.digest, anchor=40, answer="confirm", seen=41, probed=41)
    cases: list[tuple[Any, str, str]] = [
        (sent, miner, "not anchored"),
        (FinalsRequest(since=0), miner, "not a validator"),
        (BatchRequest(batch=SALTS[0]), miner, "not a validator"),
        (
            Ballot.model_validate({"judged": [{"proposal": sent, "verdict": verdict}]}),
            net.addresses["v2"],
            "did not sign",
        ),
        (Equivocation(first=final, second=final), net.addresses["v2"], "proves nothing"),
    ]
    for message, sender, reason in cases:
        assert reason in governor.on_message(message, sender).refused
    assert not governor.accused
    fresh = Governor(net.keys["v0"], fast_verify, RULES, Book.of(RULES, SEED))
    assert "not ready" in fresh.on_message(sent, miner).refused
    assert "nothing was asked" in governor.on_log([]).refused


def anchored(net: Network, proposals: list[tuple[str, Any]]) -> list[SignedProposal]:
    """Each in the log of its miner, one block later; not sent to anybody."""
    found = [net.propose(miner, proposal, is_true=True, reveal_after=10_000) for miner, proposal in proposals]
    net.step(2)
    return found


def test_proposals_are_taken_up_to_a_number_per_coldkey_and_tempo() -> None:
    net = network()
    net.step(RULES.tempo - net.height % RULES.tempo)
    governor = net.nodes["v0"].governor
    found: list[SignedProposal] = []
    for number in range(RULES.proposals_per_coldkey + 1):
        found += anchored(net, [("miner-a", schema(net, "miner-a", f"x{number}"))])
    other = anchored(net, [("miner-b", schema(net, "miner-b"))])
    answers = [governor.on_message(each, net.addresses["miner-a"]).refused for each in found]
    assert answers[:-1] == [""] * RULES.proposals_per_coldkey
    assert "too many proposals of one coldkey" in answers[-1]
    assert governor.on_message(other[0], net.addresses["miner-b"]).refused == ""
    assert RULES.proposals_per_coldkey < PROPOSALS_HELD


def test_who_is_not_registered_or_expired_or_hostile_is_refused() -> None:
    net = network()
    governor = net.nodes["v0"].governor
    net.outsider("stranger")
    by_stranger, hostile, fine = anchored(
        net,
        [
            ("stranger", schema(net, "stranger")),
            ("miner-a", schema(net, "miner-a").model_copy(update={"output_schema": {"$ref": "https://a.example"}})),
            ("miner-b", schema(net, "miner-b")),
        ],
    )
    assert "not registered" in governor.on_message(by_stranger, net.addresses["stranger"]).refused
    assert "schema is refused" in governor.on_message(hostile, net.addresses["miner-a"]).refused
    tampered = fine.model_copy(update={"signature": "0x" + "00" * 64})
    assert "not signed by its proposer" in governor.on_message(tampered, net.addresses["miner-b"]).refused
    net.step(RULES.expiry)
    assert "expired" in governor.on_message(fine, net.addresses["miner-b"]).refused


def test_somebody_elses_proof_is_checked_and_kept() -> None:
    net = network()
    governor = net.nodes["v0"].governor
    first, second = (sign_final(net.keys["v1"], window=1, batch=each, version="0:" + SALTS[0]) for each in SALTS[:2])
    heard = governor.on_message(Equivocation(first=first, second=second), net.addresses["v2"])
    assert [each.culprit for each in heard.accused] == [net.addresses["v1"]]
    assert heard.persist
    assert not heard.sends  # who found it has told everybody
    seen = net.nodes["v3"].governor
    seen.on_message(Finals(finals=(first,)), net.addresses["v1"])
    found = seen.on_message(Finals(finals=(second,)), net.addresses["v1"])
    assert {net.names[each.to] for each in found.sends} == {"v0", "v1", "v2"}


def test_a_batch_of_a_decided_window_comes_too_late() -> None:
    net = network()
    kept: list[Batch] = []
    net.on_delivery = lambda _to, _sender, message: kept.append(message) if isinstance(message, Batch) else None
    net.propose("miner-a", schema(net, "miner-a"), is_true=True)
    net.step(2 * RULES.window)
    late = net.nodes["v0"].governor.on_message(kept[0], kept[0].header.leader)
    assert late == Effects(refused="that window is decided")


def test_a_block_that_was_seen_before_changes_nothing() -> None:
    net = network()
    governor = net.nodes["v0"].governor
    before = json.dumps(governor.dump())
    stale = Block(net.height, SALTS[0], {net.addresses["v1"]: envelope(1, SALTS[0])})
    assert governor.on_block(stale) == Effects()
    assert json.dumps(governor.dump()) == before


def test_a_batch_holds_so_many_bytes_of_proposals_and_the_rest_follows() -> None:
    net = network()
    net.step(RULES.tempo - net.height % RULES.tempo)
    sent = [
        net.propose(miner, large, is_true=True)
        for miner in ("miner-a", "miner-b", "miner-c")
        for name in ("x", "y", "z")
        for large in [
            schema(net, miner, name).model_copy(
                update={
                    "input_schema": {"description": f"{miner}{name}" * 8_000},
                    "output_schema": {"description": f"{miner}{name}" * 8_000},
                }
            )
        ]
        if net.step() is None
    ]
    net.step(4 * RULES.window)
    sizes = [len(each.payload) for each in sent]
    batches = [len(each.certificates) for each in net.nodes["v0"].log if isinstance(each, BatchHeader)]
    assert sum(sizes) > BATCH_PAYLOAD_BYTES
    assert batches[0] == sum(size <= BATCH_PAYLOAD_BYTES for size in accumulate(sizes)) < len(sent)
    assert sum(batches) == len(sent)


@pytest.mark.parametrize(
    ("voters", "sure"),
    [((), True), (("v1",), True), (("v0",), False), (("v1", "v2"), False)],
    ids=["a young network", "one vote of a third or less", "a vote of our own", "votes of more than a third"],
)
def test_who_lost_all_but_the_first_log_does_not_take_it_for_the_networks(
    voters: tuple[str, ...], *, sure: bool
) -> None:
    """Otherwise it would tell late nodes, with all of its stake, that nothing was ever final."""
    keys = {name: Key(name) for name in ("v0", "v1", "v2", "v3")}
    members = tuple(Member(key.ss58_address, f"cold {name}", 10, True) for name, key in keys.items())
    vote = Vote(3, "0x" + "ab" * 32)
    slots = {keys[name].ss58_address: envelope(0, "0x" + "00" * 32, vote) for name in voters}
    governor = Governor(keys["v0"], fast_verify, RULES, Book.of(RULES, SEED))
    effects = governor.on_block(Block(5 * RULES.window, "0x" + "11" * 32, slots, members))
    assert governor.is_sure is sure
    assert any(isinstance(send.message, FinalsRequest) for send in effects.sends), "either way it asks the others"
    again = Governor(keys["v0"], fast_verify, RULES, Book.of(RULES, SEED), governor.dump())
    again.on_block(Block(6 * RULES.window, "0x" + "22" * 32, {}, members))
    assert again.is_sure is False or sure, "a later look at empty slots does not make it sure"
