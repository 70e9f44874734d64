"""What a validator must never lose is there again after reopening, once, on both engines."""

from __future__ import annotations

from orchestra.validation.components import ScoreEvent
from orchestra.validation.store import IssuedChallenge, ValidationStore


def challenge(number: int, *, slot: int | None = None) -> IssuedChallenge:
    return IssuedChallenge(f"0x{number:064x}", "miner", 7, number if slot is None else slot, 100 + number, "synthetic")


def event(number: int) -> ScoreEvent:
    return ScoreEvent(f"event-{number}", "miner", "challenge", 100 + number, {"latency": 0.5}, False, ("late",))


async def test_a_slot_is_used_once_and_what_was_not_answered_is_abandoned(url: str) -> None:
    async with await ValidationStore.open(url) as store:
        assert await store.issue(challenge(1))
        assert not await store.issue(challenge(2, slot=1)), "the slot is taken"
        assert await store.issue(challenge(3))
        assert await store.record([event(1)], settles=challenge(1).challenge_id) == 1
    async with await ValidationStore.open(url) as store:
        assert await store.slots_used(7) == {1, 3}
        assert await store.abandon_unanswered() == 1
        assert await store.abandon_unanswered() == 0


async def test_an_event_is_stored_once_and_forgotten_by_age(url: str) -> None:
    async with await ValidationStore.open(url) as store:
        assert await store.record([event(1), event(2)]) == 2
        assert await store.record([event(2), event(3)]) == 1
        assert await store.record([]) == 0
    async with await ValidationStore.open(url) as store:
        assert await store.events(since=102) == (event(2), event(3))
        assert await store.events(since=0, hotkey="somebody else") == ()
        assert await store.first_block() == 101
        assert await store.forget_before(103) == 2
        assert await store.events(since=0) == (event(3),)


async def test_a_seed_stays_what_it_was_first(url: str) -> None:
    async with await ValidationStore.open(url) as store:
        assert await store.seed(7, b"\x00\xff first") == b"\x00\xff first"
        assert await store.seed(7, b"second") == b"\x00\xff first"
        await store.seed_committed(7, 123)
    async with await ValidationStore.open(url) as store:
        assert await store.seed_commitments() == {7: (b"\x00\xff first", 123)}
