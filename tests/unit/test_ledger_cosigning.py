"""A validator vouches for one history only, whatever it is fed and whenever it is killed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ledger.canonical import leaf_hash
from ledger.checkpoint import MAX_CLOCK_SKEW_MS, Trust, parse_checkpoint, verify_checkpoint
from ledger.cosigning import CheckpointStore, CosignRefused
from ledger.log import MerkleLog
from ledger.signed_note import NoteRefused
from orchestra.chain.keys import verify_signature
from tests.snapshots import ALICE, BOB, CAROL, DAVE, NOW, ORIGIN, STAKES, TRUST, checkpoint_of, leaves_of, signed

LEAVES = leaves_of(6)
ALLOWED = STAKES.keys()


def log_of(size: int, name: str = "change") -> MerkleLog:
    return MerkleLog(leaf_hash(f"{name} {index}".encode()) for index in range(size))


@pytest.fixture
async def store(url: str) -> AsyncIterator[CheckpointStore]:
    async with await CheckpointStore.open(url) as opened:
        yield opened


def signers(note: bytes | None) -> set[str]:
    assert note is not None
    return {each.name for each in parse_checkpoint(note)[1].signatures}


async def test_what_is_signed_is_believed_by_who_trusts_the_signer(store: CheckpointStore) -> None:
    note = await store.sign(log_of(3), ORIGIN, ALICE, now_ms=NOW)
    alone = Trust(ORIGIN, {ALICE.ss58_address: 1})
    assert verify_checkpoint(note, alone, verify_signature, now_ms=NOW).checkpoint.version == log_of(3).version
    assert await store.note(ORIGIN) == note
    assert await store.note("another.example") is None


@pytest.mark.parametrize(
    ("later", "code"),
    [(log_of(2), "rollback"), (log_of(3, "other"), "split_view"), (log_of(5, "other"), "inconsistent")],
)
async def test_another_history_is_never_signed_not_even_after_a_restart(later: MerkleLog, code: str, url: str) -> None:
    async with await CheckpointStore.open(url) as store:
        note = await store.sign(log_of(3), ORIGIN, ALICE, now_ms=NOW)
    async with await CheckpointStore.open(url) as store:
        with pytest.raises(CosignRefused) as refused:
            await store.sign(later, ORIGIN, ALICE, now_ms=NOW + 1)
        assert refused.value.code == code
        assert await store.note(ORIGIN) == note
        assert signers(await store.sign(log_of(4), ORIGIN, ALICE, now_ms=NOW + 2)) == {ALICE.ss58_address}
        await store.sign(later, ORIGIN, BOB, now_ms=NOW)  # another key has another past
        await store.sign(later, "another.example", ALICE, now_ms=NOW)


async def test_what_is_signed_is_written_down_before_the_signature_exists(url: str) -> None:
    """Whoever is killed while it signs has signed: after it, another history is refused."""

    class Killed(BaseException):
        pass

    class Dying:
        ss58_address = ALICE.ss58_address

        def sign(self, data: bytes, /) -> bytes:
            raise Killed

    async with await CheckpointStore.open(url) as store:
        with pytest.raises(Killed):
            await store.sign(log_of(3), ORIGIN, Dying(), now_ms=NOW)
    async with await CheckpointStore.open(url) as store:
        with pytest.raises(CosignRefused):
            await store.sign(log_of(3, "other"), ORIGIN, ALICE, now_ms=NOW)
        await store.sign(log_of(3), ORIGIN, ALICE, now_ms=NOW)


async def test_the_same_log_is_signed_again_with_the_newer_time(store: CheckpointStore) -> None:
    await store.sign(log_of(3), ORIGIN, ALICE, now_ms=NOW)
    note = await store.sign(log_of(3), ORIGIN, ALICE, now_ms=NOW + 5)
    alone = Trust(ORIGIN, {ALICE.ss58_address: 1})
    assert verify_checkpoint(note, alone, verify_signature, now_ms=NOW).time_ms == NOW + 5


async def test_a_clock_that_was_ahead_does_not_spoil_what_is_signed_after_it(store: CheckpointStore) -> None:
    await store.sign(log_of(3), ORIGIN, ALICE, now_ms=NOW + 10**9)
    note = await store.sign(log_of(3), ORIGIN, ALICE, now_ms=NOW)
    alone = Trust(ORIGIN, {ALICE.ss58_address: 1})
    assert verify_checkpoint(note, alone, verify_signature, now_ms=NOW).time_ms == NOW


async def test_signatures_of_others_are_gathered_under_the_same_checkpoint(store: CheckpointStore) -> None:
    checkpoint = checkpoint_of(LEAVES)
    await store.sign(MerkleLog(leaf.hash for leaf in LEAVES), ORIGIN, ALICE, now_ms=NOW)
    offered = signed(checkpoint, BOB, CAROL, DAVE)
    note = await store.countersign(offered, allowed=ALLOWED, verify=verify_signature, now_ms=NOW)
    assert note == await store.note(ORIGIN)
    assert note is not None
    assert signers(note) == {ALICE.ss58_address, BOB.ss58_address, CAROL.ss58_address}, "DAVE is nobody here"
    assert verify_checkpoint(note, TRUST, verify_signature, now_ms=NOW).stake == 100


async def test_signatures_that_are_false_or_for_another_log_are_not_taken(store: CheckpointStore) -> None:
    checkpoint = checkpoint_of(LEAVES)
    note = await store.sign(MerkleLog(leaf.hash for leaf in LEAVES), ORIGIN, ALICE, now_ms=NOW)
    forged = signed(checkpoint, BOB).replace(BOB.ss58_address.encode(), CAROL.ss58_address.encode())
    offers = [signed(other, BOB) for other in (checkpoint_of(LEAVES[:5]), checkpoint_of(leaves_of(7)))]
    future = signed(checkpoint, BOB, time_ms=NOW + MAX_CLOCK_SKEW_MS + 1)
    for offered in (forged, future, *offers):
        assert await store.countersign(offered, allowed=ALLOWED, verify=verify_signature, now_ms=NOW) == note
    assert await store.note(ORIGIN) == note
    with pytest.raises(NoteRefused):
        await store.countersign(b"no note", allowed=ALLOWED, verify=verify_signature, now_ms=NOW)


async def test_the_largest_believed_checkpoint_is_remembered(store: CheckpointStore) -> None:
    large, small = signed(checkpoint_of(LEAVES), BOB), signed(checkpoint_of(LEAVES[:3]), BOB)
    for note in (small, large, small):
        await store.believe(note)
    assert await store.note(ORIGIN) == large
