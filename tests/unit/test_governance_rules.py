"""The rules of governance one by one: committees, verdicts, what was read off the chain, and what settling decides."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from ledger.applying import base_of
from ledger.changes import BatchHeader, Bond, Change, StakeOf
from ledger.entry import Metrics
from ledger.governance.book import Book, settle
from ledger.governance.chain import Block, ChainMemory, Member, Root, Vote, envelope, parse_envelope
from ledger.governance.committee import Committee, committee, draw, leader
from ledger.governance.judging import Observation, next_probe, verdict_on
from ledger.governance.rules import Rules
from ledger.proposals import Consent, NewSubnet, Owned, OwnerChange, Proposal
from ledger.statements import Answer, Certificate, sign_verdict
from tests.builders import entry
from tests.governed import RULES, SEED, Key, deprecation, metrics_update, schema_update, send_off

A, B = "0x" + "aa" * 32, "0x" + "bb" * 32
MINER, OTHER, JUDGE = Key("miner"), Key("other"), Key("judge")
ENTRIES = {each.id: each for each in SEED}
STAKES = {f"v{number}": stake for number, stake in enumerate((10, 20, 30, 40))}


# Rules, committee, leader


@pytest.mark.parametrize("tempo", [1, 5, 10, 50, 100, 360, 7200])
def test_rules_hold_for_every_tempo(tempo: int) -> None:
    rules = Rules.for_tempo(tempo)
    assert rules.window >= 10
    assert rules.expiry >= 2 * rules.window + tempo


def test_the_numbers_of_the_protocol() -> None:
    assert Rules.for_tempo(360) == Rules()
    assert (Rules().window, Rules().final_at, Rules().bond_rao, Rules().seats) == (100, 60, 100_000, 32)
    assert [Rules().due(block) for block in (0, 59, 60, 159, 160)] == [-1, -1, 0, 0, 1]


@pytest.mark.parametrize("wrong", [{"gather": 60}, {"final_at": 100}, {"resend": 0}, {"expiry": 559}])
def test_rules_that_cannot_work_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Rules(**wrong)


def test_a_small_network_judges_as_a_whole_by_stake() -> None:
    found = committee(STAKES, beacon=A, proposal=B, rules=Rules())
    assert dict(found.weights) == STAKES
    assert not found.suffices(["v2", "v1"])  # half
    assert found.suffices(["v2", "v3"])  # 70 of 100
    assert not replace(found, total=105).suffices(["v2", "v3"])  # exactly two thirds are not more


def test_a_large_one_by_seats_drawn_by_stake_for_each_proposal() -> None:
    stakes = {f"v{number:02}": 1 + 10 * (number == 0) for number in range(17)}
    found = committee(stakes, beacon=A, proposal=B, rules=Rules())
    assert sum(found.weights.values()) == found.total == 32
    assert found == committee(dict(reversed(stakes.items())), beacon=A, proposal=B, rules=Rules())
    assert found != committee(stakes, beacon=A, proposal=A, rules=Rules())
    assert found != committee(stakes, beacon=B, proposal=B, rules=Rules())


def test_draws_follow_stake() -> None:
    drawn = Counter(draw(STAKES, "seed", 20_000))
    for name, stake in STAKES.items():
        assert abs(drawn[name] / 20_000 - stake / 100) < 0.015
    assert leader(STAKES, beacon=A) in STAKES
    with pytest.raises(ValueError, match="nobody"):
        leader({}, beacon=A)


def test_revealed_is_when_more_than_a_third_held_it() -> None:
    found = Committee(STAKES, 100)
    assert found.revealed({"v0": 1, "v1": 5, "v2": 7, "v3": 9}) == 7  # 10 + 20 are no third; with 30 they are
    assert found.revealed({"v3": 9, "stranger": 1}) == 9
    with pytest.raises(ValueError, match="no third"):
        found.revealed({"v2": 1})


# Verdicts


def seen(*answers: Any, measured: Metrics | None = None) -> list[Observation]:
    return [Observation(100 + 5 * number, answer, measured) for number, answer in enumerate(answers)]


SCHEMA = schema_update(MINER.ss58_address, ENTRIES, "alpha", "x")
DEAD = deprecation(MINER.ss58_address, ENTRIES, "alpha")
METRICS = metrics_update(MINER.ss58_address, ENTRIES, "alpha", 400)  # p95 800 ms, reliability 990


@pytest.mark.parametrize(
    ("proposal", "answers", "verdict"),
    [
        (SCHEMA, ["holds"], "confirm"),
        (SCHEMA, ["differs"], "deny"),
        (SCHEMA, ["unable"], None),
        (SCHEMA, ["unable"] * 2 + ["holds"], "confirm"),
        (SCHEMA, ["unable"] * 3, "abstain"),
        (DEAD, ["holds"] * 9, None),
        (DEAD, ["holds"] * 8 + ["differs"] * 2, "confirm"),
        (DEAD, ["holds"] * 7 + ["differs"] * 3, "deny"),  # 30 % is not under 30 %
        (DEAD, ["holds"] * 8 + ["unable"] * 4 + ["differs"], None),
        (DEAD, ["holds"] * 8 + ["unable"] * 4 + ["differs"] * 2, "confirm"),
    ],
)
def test_verdicts_by_kind(proposal: Proposal, answers: list[Any], verdict: Answer | None) -> None:
    assert verdict_on(proposal, seen(*answers), Rules()) == verdict


@pytest.mark.parametrize(
    ("latency", "p95", "reliability", "verdict"),
    [
        (400, 800, 990, "confirm"),
        (320, 800, 990, "confirm"),  # a quarter of what we saw
        (310, 800, 990, "abstain"),
        (260, 800, 990, "deny"),
        (400, 1200, 990, "abstain"),
        (400, 2000, 990, "deny"),
        (400, 800, 940, "confirm"),
        (400, 800, 900, "abstain"),
        (400, 800, 880, "deny"),
    ],
)
def test_metrics_have_a_tolerance_and_a_doubt(latency: int, p95: int, reliability: int, verdict: Answer) -> None:
    measured = Metrics(latency_ms=latency, latency_p95_ms=p95, reliability_permille=reliability)
    assert verdict_on(METRICS, seen("holds", measured=measured), Rules()) == verdict


def test_metrics_without_a_sample_are_no_verdict() -> None:
    assert verdict_on(METRICS, seen("holds"), Rules()) == "abstain"
    assert verdict_on(METRICS, seen("unable"), Rules()) is None


def test_attempts_at_a_dead_subnet_are_spread_over_a_tempo() -> None:
    assert next_probe(DEAD, [], 7, Rules()) == 7
    assert next_probe(DEAD, seen("holds", "holds"), 7, Rules()) == 105 + 36
    assert next_probe(SCHEMA, seen("unable"), 7, Rules()) == 105


# What was read off the chain


def test_envelopes_read_back_and_nothing_else_is_one() -> None:
    vote = Vote(12, B)
    assert parse_envelope("hot", envelope(3, A, vote)) == (Root("hot", 3, A), vote)
    assert parse_envelope("hot", envelope(3, A)) == (Root("hot", 3, A), None)
    for third in ("something else", B, f"01:{B}", f"12:{B} "):
        assert parse_envelope("hot", f"o1|3:{A}|{third}") == (Root("hot", 3, A), None)
    for text in ("", "o1|3:0xaa|", envelope(3, A) + "\n", f"o2|3:{A}|", f"o1|-3:{A}|", f"o1|03:{A}|"):
        assert parse_envelope("hot", text) is None


def block(number: int, envelopes: dict[str, str], stakes: dict[str, int] | None = None) -> Block:
    members = tuple(Member(name, f"cold-{name}", stake, True) for name, stake in (stakes or STAKES).items())
    return Block(number, A, envelopes, members, {22: "owner"})


def test_an_anchor_is_the_first_block_that_shows_the_root() -> None:
    memory = ChainMemory(RULES)
    for number, text in enumerate([envelope(1, A), envelope(1, A), envelope(2, B), envelope(1, A)]):
        assert memory.observe(block(number, {"hot": text}))
    assert (memory.anchored(Root("hot", 1, A)), memory.anchored(Root("hot", 2, B))) == (0, 2)
    assert memory.anchored(Root("hot", 2, A)) is None
    assert memory.contradicts(Root("hot", 2, B), 1)
    assert not memory.contradicts(Root("hot", 2, B), 2)
    assert not memory.contradicts(Root("other", 2, B), 1)
    assert not memory.observe(block(3, {}))  # seen before


def test_what_appeared_in_a_gap_is_not_dated() -> None:
    memory = ChainMemory(RULES)
    memory.observe(block(0, {}))
    memory.observe(block(2, {"hot": envelope(1, A)}))
    assert memory.anchored(Root("hot", 1, A)) is None
    assert not memory.contradicts(Root("hot", 1, A), 1)


def voted(votes: dict[str, Vote], window: int = 1) -> ChainMemory:
    memory = ChainMemory(RULES)
    memory.observe(block(RULES.start(window), {name: envelope(1, A, vote) for name, vote in votes.items()}))
    return memory


@pytest.mark.parametrize(
    ("votes", "final"),
    [
        ({"v3": Vote(1, A), "v2": Vote(1, A)}, A),
        ({"v3": Vote(1, A), "v1": Vote(1, A)}, None),  # 60 of 100
        ({"v3": Vote(1, A), "v2": Vote(0, A)}, None),  # a vote that came too late for the window before
        ({"v3": Vote(1, A), "v2": Vote(1, B)}, None),
        ({"v3": Vote(1, A), "v1": Vote(1, A), "v0": Vote(1, A), "stranger": Vote(1, A)}, A),
        ({}, None),
    ],
)
def test_a_batch_is_final_with_more_than_two_thirds(votes: dict[str, Vote], final: str | None) -> None:
    assert voted(votes).tally(1) == final


def test_exactly_two_thirds_are_not_enough() -> None:
    memory = ChainMemory(RULES)
    slots = {name: envelope(1, A, Vote(0, A)) for name in ("a", "b")}
    memory.observe(block(0, slots, {"a": 1, "b": 1, "c": 1}))
    assert memory.tally(0) is None
    assert Fraction(2, 3) == Fraction(sum(memory.frozen[0].stakes[each] for each in slots), memory.frozen[0].total)


def test_stakes_are_those_of_the_windows_first_block() -> None:
    memory = ChainMemory(RULES)
    memory.observe(block(0, {}))
    memory.observe(block(1, {}, {"v0": 1000}))
    assert memory.frozen[0].stakes == STAKES
    assert memory.frozen[0].owners == {22: "owner"}


def test_memory_outlives_a_restart_and_forgets_what_is_old() -> None:
    memory = voted({"v3": Vote(1, A)})
    for number in range(21, 50):
        memory.observe(block(number, {"v3": envelope(number, A, Vote(2, B))}))
    again = ChainMemory.load(RULES, json.loads(json.dumps(memory.dump())))
    assert again.dump() == memory.dump()
    assert again.votes == memory.votes == {"v3": Vote(2, B)}
    assert again.frozen == memory.frozen
    for number in range(50, 400):
        again.observe(block(number, {"v3": envelope(number, A)}))
    kept = RULES.expiry + 3 * RULES.window
    assert max(map(len, (again.hashes, again.dump()["roots"]))) <= kept + 1
    assert again.anchored(Root("v3", 30, A)) is None


# Settling


def certified(proposal: Proposal, anchor: int, *, seen: int | None = None, answer: Any = "confirm") -> Certificate:
    sent = send_off(proposal, MINER)
    held = anchor + 2 if seen is None else seen
    verdict = sign_verdict(JUDGE, proposal=sent.digest, anchor=anchor, answer=answer, seen=held, probed=held)
    return Certificate(proposal=sent, anchor=anchor, answer=answer, verdicts=(verdict,))


class Log:
    """A book and its leaves; every certificate is a batch of its own."""

    def __init__(self, *seed: Change) -> None:
        self.book = Book.of(RULES, seed or SEED)
        self.window = 1
        self.agrees = True

    def settle(self, *certificates: Certificate) -> list[tuple[str, str]]:
        """(outcome, proposal) of each bond that is written."""
        self.window += 1
        header = BatchHeader(
            window=self.window,
            block=20 * self.window,
            beacon=A,
            leader=JUDGE.ss58_address,
            parent=self.book.version,
            certificates=tuple(each.digest for each in certificates),
            validators=(StakeOf(hotkey=JUDGE.ss58_address, stake="1"),),
        )
        leaves, after = settle(
            self.book,
            header,
            certificates,
            RULES,
            consents=lambda *_: self.agrees,
            revealed=lambda each: each.verdicts[0].seen,
        )
        again = self.book.copy()
        again.extend(leaves)
        assert (again.version, again.entries) == (after.version, after.entries)
        self.book = after
        return [(each.outcome, each.proposal) for each in leaves if isinstance(each, Bond)]

    def schema(self, name: str, *, salt: str = A, by: Key = MINER, entry_id: str = "alpha") -> Proposal:
        return schema_update(by.ss58_address, self.book.entries, entry_id, name, salt=salt)

    @property
    def alpha(self) -> Any:
        return self.book.entries["alpha"].operations[0].output_schema["required"]


def test_an_accepted_proposal_changes_the_entry_and_gets_its_bond_back() -> None:
    log = Log()
    one = certified(log.schema("x"), 25)
    assert log.settle(one) == [("accepted", one.proposal.digest)]
    assert log.alpha == ["x"]
    assert log.book.settled[one.proposal.digest].lost == "0"


def test_a_false_one_loses_half_its_bond_and_changes_nothing() -> None:
    log = Log()
    one = certified(log.schema("x"), 25, answer="deny")
    assert log.settle(one) == [("false", one.proposal.digest)]
    assert log.alpha == ["data"]
    assert (log.book.settled[one.proposal.digest].at_stake, log.book.settled[one.proposal.digest].lost) == (
        "100000",
        "50000",
    )


@pytest.mark.parametrize(("anchor", "outcome"), [(26, "confirmation"), (27, "confirmation"), (28, "copy")])
def test_the_same_finding_is_a_copy_once_the_first_was_revealed(anchor: int, outcome: str) -> None:
    log = Log()
    first = certified(log.schema("x"), 25, seen=27)
    second = certified(log.schema("x", by=OTHER, salt=B), anchor)
    assert [each for each, _ in log.settle(first, second)] == ["accepted", outcome]


def test_nobody_confirms_itself() -> None:
    log = Log()
    first, second = certified(log.schema("x"), 25), certified(log.schema("x", salt=B), 26)
    assert [each for each, _ in log.settle(first, second)] == ["accepted", "copy"]


def test_who_anchored_first_is_first_whatever_the_leaders_order() -> None:
    log = Log()
    first, copied = certified(log.schema("x"), 25, seen=27), certified(log.schema("x", by=OTHER, salt=B), 29)
    assert log.settle(copied) == [("accepted", copied.proposal.digest)]
    assert log.settle(first) == [("accepted", first.proposal.digest), ("copy", copied.proposal.digest)]
    late = certified(log.schema("x", salt="0x" + "cc" * 32), 35)
    assert [each for each, _ in log.settle(late)] == ["superseded"]  # of another base: what it found is in force


def test_two_different_findings_on_one_part_the_later_is_superseded() -> None:
    log = Log()
    first, second = certified(log.schema("x"), 25), certified(log.schema("y", by=OTHER), 26)
    assert [each for each, _ in log.settle(first, second)] == ["accepted", "superseded"]
    assert log.alpha == ["x"]


def test_parts_of_one_entry_change_side_by_side() -> None:
    log = Log()
    faster = metrics_update(OTHER.ss58_address, log.book.entries, "alpha", 100)
    assert [each for each, _ in log.settle(certified(log.schema("x"), 25), certified(faster, 26))] == ["accepted"] * 2
    operation = log.book.entries["alpha"].operations[0]
    assert (operation.output_schema["required"], operation.metrics) == (["x"], faster.metrics)


def test_a_subnet_that_changes_back_and_forth_is_followed() -> None:
    log = Log()
    there = certified(log.schema("x"), 25)
    late_copy = certified(log.schema("x", by=OTHER, salt=B), 29)
    log.settle(there)
    back = certified(log.schema("data"), 45)
    assert [each for each, _ in log.settle(back)] == ["accepted"]
    again = certified(log.schema("x", salt="0x" + "cc" * 32), 65)
    assert [each for each, _ in log.settle(again)] == ["accepted"]
    assert log.alpha == ["x"]
    assert [each for each, _ in log.settle(late_copy)] == ["superseded"]  # its own episode is over
    assert log.alpha == ["x"]


def test_a_late_copy_does_not_undo_what_came_after() -> None:
    log = Log()
    there, late_copy = certified(log.schema("x"), 25), certified(log.schema("x", by=OTHER, salt=B), 29)
    log.settle(there)
    log.settle(certified(log.schema("data"), 45))
    assert [each for each, _ in log.settle(late_copy)] == ["copy"]
    assert log.alpha == ["data"]


def test_a_new_subnet_is_the_first_of_its_netuid() -> None:
    log = Log()
    said: dict[str, Any] = {"proposer": MINER.ss58_address, "salt": A}
    new = NewSubnet(**said, entry="delta", body=entry("delta", netuid=4))
    squat = NewSubnet(**said, entry="squat", body=entry("squat", netuid=1))
    assert [each for each, _ in log.settle(certified(new, 25), certified(squat, 26))] == ["accepted", "superseded"]
    assert "delta" in log.book.entries
    assert "squat" not in log.book.entries
    dead = certified(deprecation(MINER.ss58_address, log.book.entries, "alpha"), 27)
    assert [each for each, _ in log.settle(dead)] == ["accepted"]
    again = NewSubnet(**{**said, "salt": B}, entry="squat", body=entry("squat", netuid=1))
    assert [each for each, _ in log.settle(certified(again, 45))] == ["accepted"]


def test_an_owners_word_counts_once_and_only_if_it_is_the_owners() -> None:
    log = Log()

    def move(key: str, salt: str) -> OwnerChange:
        made = OwnerChange(
            proposer=MINER.ss58_address,
            entry="alpha",
            operation="web_search",
            salt=salt,
            base=A,
            change=Owned(receipt_key=key),
            valid_until=300,
            consents=(Consent(owner=OTHER.ss58_address, netuid=1, signature="0x" + "00" * 64),),
        )
        return made.model_copy(update={"base": base_of(log.book.entries["alpha"], made)})

    there = move("new", A)
    log.agrees = False
    assert [each for each, _ in log.settle(certified(there, 25))] == ["superseded"]
    log.agrees = True
    assert [each for each, _ in log.settle(certified(move("new", B), 26))] == ["accepted"]
    assert [each for each, _ in log.settle(certified(move("", A), 45))] == ["accepted"]
    replayed = there.model_copy(update={"salt": "0x" + "cc" * 32})
    assert [each for each, _ in log.settle(certified(replayed, 65))] == ["copy"]
    assert log.book.entries["alpha"].operations[0].receipt_key == ""


def test_false_proposals_cost_the_right_to_propose_for_a_while() -> None:
    log = Log()
    for number in range(RULES.false_limit):
        assert not log.book.is_barred(MINER.ss58_address, 20 * log.window)
        log.settle(certified(log.schema(f"x{number}"), 25, answer="deny"))
    last = 20 * log.window
    assert log.book.is_barred(MINER.ss58_address, last)
    assert not log.book.is_barred(OTHER.ss58_address, last)
    first = last - 20 * (RULES.false_limit - 1)
    assert not log.book.is_barred(MINER.ss58_address, first + RULES.false_within)


def test_a_book_forgets_what_no_proposal_can_refer_to() -> None:
    log = Log()
    log.settle(certified(log.schema("x"), 25), certified(log.schema("y", by=OTHER), 26, answer="deny"))
    assert len(log.book.settled) == 2
    log.window = (RULES.consent + RULES.expiry + 60) // 20
    log.settle(certified(log.schema("z"), 20 * log.window))
    assert len(log.book.settled) == 1
