"""The grammar: same dice, same challenge, to the byte; every challenge it can draw is one that can be answered."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.view import LedgerView
from orchestra.protocol import OrchestraSynapse
from orchestra.schema import TargetSchema
from orchestra.validation.challenges import (
    HINT_SHARE,
    OUTDATED_SHARE,
    Challenge,
    Domain,
    challenge_digest,
    draw,
    load_domains,
)
from orchestra.validation.seeds import challenge_dice
from tests.builders import entry, operation

BEACON = "0x" + "be" * 32
SECRET = b"\x07" * 32
NOTHING = LedgerView(())
READING = operation("reading", capability="time_series", request="", response="")
LEDGER = LedgerView((entry("desearch", netuid=22), entry("atlas", netuid=129, operations=(operation(), READING))))
CLOUDS: dict[str, Any] = {
    "name": "clouds",
    "share": 1,
    "entities": ["RunPod", "Lambda", "Vast.ai"],
    "most_entities": 3,
    "objectives": ["Compare {entities} on {subject}.", "Research {subject} from {entities}."],
    "subjects": ["prices", "regions"],
    "lists": ["offers", "providers"],
    "required": [{"key": "name", "type": "str"}],
    "optional": [{"key": "pricing", "type": "dict"}, {"key": "strengths", "type": "list"}],
    "least_optional": 1,
}
ONE = (Domain.model_validate(CLOUDS),)
FLAT = ONE[0].model_copy(update={"lists": ()})
"""A record instead of a list: its target_schema stays shorthand, and so do the bytes that are hashed."""


def drawn(
    number: int, *, domains: tuple[Domain, ...] = ONE, ledger: LedgerView = NOTHING, miner: str = "5Miner"
) -> Challenge:
    dice = challenge_dice(SECRET, beacon=BEACON, miner=miner, slot=number)
    return draw(dice, domains=domains, ledger=ledger, issued_block=7, beacon=BEACON, max_cost=1_000)


def test_the_same_dice_draw_the_same_challenge_and_it_is_this_one() -> None:
    challenge = drawn(1, domains=(FLAT,))
    assert challenge == drawn(1, domains=(FLAT,))
    assert challenge.synapse.objective == "Compare RunPod and Lambda on prices."
    assert challenge.synapse.target_schema == {"name": "str", "pricing": "dict"}
    assert challenge_digest(challenge) == "0xe5130c2fe1aa0f38b654787f30f433aedb9ad6aacb8d91031429f03f430a886e"


def test_miners_and_slots_are_asked_different_things() -> None:
    ids = {drawn(slot, miner=miner).synapse.challenge_id for slot in range(20) for miner in ("5A", "5B")}
    tags = {drawn(slot, miner=miner).synapse.tag for slot in range(20) for miner in ("5A", "5B")}
    assert len(ids) == len(tags) == 40
    assert len({drawn(slot).synapse.objective for slot in range(40)}) > 10


def test_what_is_asked_stands_in_the_challenge_and_nothing_else_does() -> None:
    synapse = drawn(0).synapse
    assert (synapse.issued_block, synapse.beacon, synapse.max_cost) == (7, BEACON, 1_000)
    assert synapse.ledger_version == NOTHING.version
    assert OrchestraSynapse.from_wire(synapse.to_wire()) == synapse


def test_every_packaged_domain_can_be_asked_about() -> None:
    domains = load_domains()
    seen: Counter[str] = Counter()
    for number in range(400):
        challenge = drawn(number, domains=domains, ledger=LEDGER)
        domain = next(each for each in domains if each.name == challenge.domain)
        seen[domain.name] += 1
        named = [name for name in domain.entities if name in challenge.synapse.objective]
        assert named
        schema = TargetSchema.parse(challenge.synapse.target_schema)
        assert "{" not in challenge.synapse.objective
        assert schema.violations({})
    assert set(seen) == {domain.name for domain in domains}


def test_a_list_asks_for_as_many_records_as_there_are_names() -> None:
    for number in range(60):
        challenge = drawn(number)
        named = [name for name in CLOUDS["entities"] if name in challenge.synapse.objective]
        (part,) = challenge.synapse.target_schema["properties"].values()
        assert part["minItems"] == len(named)


def test_the_canary_is_asked_for_only_where_a_subnet_has_it() -> None:
    domains = load_domains()
    without = LedgerView((entry("desearch", netuid=22),))
    assert "canary" not in {drawn(n, domains=domains, ledger=without).kind for n in range(100)}
    assert "canary" in {drawn(n, domains=domains, ledger=LEDGER).kind for n in range(100)}


def test_hints_are_as_frequent_as_organic_ones_and_half_of_them_are_traps() -> None:
    challenges = [drawn(number, ledger=LEDGER) for number in range(2_000)]
    hinted = [each for each in challenges if each.synapse.hints]
    trapped = [each for each in challenges if each.trap]
    assert len(hinted) / 2_000 == pytest.approx(HINT_SHARE, abs=0.04)
    assert len(trapped) / len(hinted) == pytest.approx(OUTDATED_SHARE, abs=0.06)
    assert all(each.synapse.hints for each in trapped)
    assert {each.kind for each in trapped} == {"hint"}
    assert {each.kind for each in challenges if not each.trap} == {"plain"}


def test_a_trap_cannot_be_told_from_a_true_hint_by_its_form() -> None:
    hints = [
        (each.trap, each.synapse.hints[0])
        for each in (drawn(n, ledger=LEDGER) for n in range(300))
        if each.synapse.hints
    ]
    notes = {bool(trap): {hint.note for also, hint in hints if bool(also) == bool(trap)} for trap, _ in hints}
    assert notes[True] == notes[False]
    assert {len(hint.input_schema or {}) for _, hint in hints} == {3}


def test_an_operators_own_grammar_is_checked() -> None:
    with pytest.raises(ValidationError):
        load_domains(b'[{"name": "x"}]')
    with pytest.raises(ValidationError):
        load_domains(b'{"name": "x"}')


def test_the_dice_depend_on_everything_that_they_should() -> None:
    rolls = {
        challenge_dice(secret, beacon=beacon, miner=miner, slot=slot).random()
        for secret in (SECRET, b"\x08" * 32)
        for beacon in (BEACON, "0x" + "00" * 32)
        for miner in ("5A", "5B")
        for slot in (0, 1)
    }
    assert len(rolls) == 16
    again = challenge_dice(SECRET, beacon=BEACON, miner="5A", slot=0)
    assert isinstance(again, random.Random)
    assert again.random() in rolls
