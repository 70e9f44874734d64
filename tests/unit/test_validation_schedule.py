"""The public schedule: the same everywhere, everybody asked, by stake; and seeds that bind."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestra.validation.schedule import schedule, tempo_at
from orchestra.validation.seeds import challenge_dice, commitment

BEACON = "0x" + "ab" * 32
MINERS = [f"5Miner{i}" for i in range(40)]


def test_tempos_follow_subtensors_epochs() -> None:
    for block in range(9, 200):
        tempo = tempo_at(block, netuid=2, tempo=10)
        assert tempo.first <= block <= tempo.last
        assert ((tempo.last + 1) + 2 + 1) % 11 == 0
        assert tempo.length == 11


def test_every_miner_is_asked_as_often_as_promised_within_the_tempo() -> None:
    tempo = tempo_at(3_000, netuid=2, tempo=360)
    slots = schedule(tempo, BEACON, validators={"5V1": 10, "5V2": 30}, miners=MINERS)
    assert Counter(slot.miner for slot in slots) == dict.fromkeys(MINERS, 5)
    assert all(tempo.first <= slot.block <= tempo.last for slot in slots)
    assert [slot.number for slot in slots] == list(range(200))


def test_validators_are_drawn_by_stake() -> None:
    tempo = tempo_at(3_000, netuid=2, tempo=360)
    slots = schedule(tempo, BEACON, validators={"5V1": 10, "5V2": 30}, miners=MINERS, per_tempo=50)
    assert Counter(slot.validator for slot in slots)["5V2"] / len(slots) == pytest.approx(0.75, abs=0.03)


def test_without_stake_everybody_is_drawn_and_without_validators_nobody() -> None:
    tempo = tempo_at(50, netuid=2, tempo=10)
    slots = schedule(tempo, BEACON, validators={"5V1": 0, "5V2": 0}, miners=MINERS)
    assert {slot.validator for slot in slots} == {"5V1", "5V2"}
    assert schedule(tempo, BEACON, validators={}, miners=MINERS) == ()


def test_the_schedule_depends_on_the_beacon_and_on_nothing_that_varies() -> None:
    tempo = tempo_at(50, netuid=2, tempo=10)
    one = schedule(tempo, BEACON, validators={"5V1": 1, "5V2": 2}, miners=MINERS)
    assert one == schedule(tempo, BEACON, validators={"5V2": 2, "5V1": 1}, miners=MINERS[::-1])
    assert one != schedule(tempo, "0x" + "cd" * 32, validators={"5V1": 1, "5V2": 2}, miners=MINERS)


def test_golden_commitment_and_dice() -> None:
    secret = bytes(range(32))
    assert commitment("5V1", 4, secret) == "0x7775374850bf9eb18fb2af2f5a9e8f840940099c0cab893630f57f70fa4f0096"
    assert challenge_dice(secret, beacon=BEACON, miner="5Miner0", slot=3).getrandbits(64) == 6523664689884518272


def test_a_commitment_is_bound_to_validator_and_tempo() -> None:
    secret = bytes(32)
    assert len({commitment("5V1", 4, secret), commitment("5V2", 4, secret), commitment("5V1", 5, secret)}) == 3
