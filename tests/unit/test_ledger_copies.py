"""What a validator hands out is fresh, carries the others' word, and never contradicts what it signed before."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoint import Checkpoint, Trust, parse_checkpoint, verify_checkpoint
from ledger.cosigning import CheckpointStore
from ledger.database import sqlite_url
from ledger.leaves import LogLeaf
from ledger.snapshot import verify_snapshot
from orchestra.chain import verify_signature
from orchestra.ledger_copies import RESIGN_MS, LedgerCopies, NothingToVouchFor, in_blocks, ledger_origin
from orchestra.ledger_node import LedgerNode
from orchestra.peers import PeerFailed
from tests.snapshots import ALICE, BOB, CAROL, DAVE, NOW, ORIGIN, STAKES, TRUST, adopt, checkpoint_of, leaves_of, signed

LEAVES = leaves_of(6)


@dataclass
class Stand:
    """One validator, ALICE, with a clock that stands still unless told."""

    node: LedgerNode
    store: CheckpointStore
    time_ms: int = NOW
    copies: LedgerCopies = field(init=False)

    def __post_init__(self) -> None:
        self.copies = LedgerCopies(self.node, self.store, ALICE, ORIGIN, now_ms=lambda: self.time_ms)

    async def commit(self, *leaves: LogLeaf) -> None:
        await adopt(self.node, leaves)


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    node = await LedgerNode.open(sqlite_url(tmp_path / "ledger"))
    async with await CheckpointStore.open(sqlite_url(tmp_path / "checkpoints")) as store:
        yield Stand(node, store)
    await node.close()


@dataclass
class Other:
    """Another validator that serves this."""

    note: bytes | PeerFailed
    hotkey: str = BOB.ss58_address

    async def checkpoint(self) -> bytes:
        if isinstance(self.note, PeerFailed):
            raise self.note
        return self.note


def signers(note: bytes) -> set[str]:
    return {each.name for each in parse_checkpoint(note)[1].signatures}


async def test_it_signs_again_when_the_ledger_or_the_minute_has_moved_on(stand: Stand) -> None:
    await stand.commit(*LEAVES[:2])
    first = await stand.copies.checkpoint()
    assert parse_checkpoint(first)[0] == checkpoint_of(LEAVES[:2])
    stand.time_ms += RESIGN_MS - 1
    assert await stand.copies.checkpoint() == first
    stand.time_ms += 1
    again = await stand.copies.checkpoint()
    assert verify_checkpoint(again, Trust(ORIGIN, {ALICE.ss58_address: 1}), verify_signature, now_ms=stand.time_ms)
    assert again != first
    stand.time_ms -= 3 * RESIGN_MS
    assert await stand.copies.checkpoint() != again, "a clock that was ahead"
    await stand.commit(*LEAVES[2:])
    assert parse_checkpoint(await stand.copies.checkpoint())[0] == checkpoint_of(LEAVES)


async def test_a_copy_begins_with_its_checkpoint_and_is_whole(stand: Stand) -> None:
    await stand.commit(*LEAVES)
    raw = b"".join(await stand.copies.snapshot())
    kept: list[LogLeaf] = []
    trust = Trust(ORIGIN, {ALICE.ss58_address: 1})
    verify_snapshot(io.BytesIO(raw), trust, verify_signature, now_ms=NOW, keep=kept.append)
    assert kept == LEAVES


async def test_signatures_of_others_under_our_checkpoint_are_gathered(stand: Stand) -> None:
    await stand.commit(*LEAVES)
    ours = checkpoint_of(LEAVES)
    others = [
        Other(signed(ours, BOB)),
        Other(signed(ours, CAROL, DAVE)),
        Other(signed(checkpoint_of(LEAVES[:3]), CAROL)),
        Other(b"no note"),
        Other(PeerFailed("unreachable", "away")),
    ]
    await stand.copies.gather(others, allowed=STAKES.keys(), verify=verify_signature)
    note = await stand.copies.checkpoint()
    assert signers(note) == set(STAKES)
    assert verify_checkpoint(note, TRUST, verify_signature, now_ms=NOW).stake == 100
    await stand.commit(*LEAVES[:1])
    assert signers(await stand.copies.checkpoint()) == {ALICE.ss58_address}, "nobody else has signed for this one yet"


async def test_a_ledger_that_went_back_is_not_vouched_for(stand: Stand, tmp_path: Path) -> None:
    """An operator who puts an old backup in place, or begins anew, does not make this key say two things."""
    with pytest.raises(NothingToVouchFor, match="empty"):
        await stand.copies.checkpoint()
    await stand.commit(*LEAVES[:4])
    await stand.copies.checkpoint()
    older = await LedgerNode.open(sqlite_url(tmp_path / "older"))
    for leaves in (LEAVES[:3], LEAVES[4:]):
        await adopt(older, leaves)
        again = LedgerCopies(older, stand.store, ALICE, ORIGIN, now_ms=lambda: NOW)
        for hand_out in (again.checkpoint, again.snapshot):
            with pytest.raises(NothingToVouchFor, match="signed before"):
                await hand_out()
        await again.gather([Other(PeerFailed("never", "asked"))], allowed=(), verify=verify_signature)
    await older.close()


def test_blocks_are_the_same_bytes() -> None:
    def lines() -> Iterator[bytes]:
        yield from (bytes([number]) * number for number in range(200))

    blocks = list(in_blocks(lines(), 1000))
    assert b"".join(blocks) == b"".join(lines())
    assert all(1000 <= len(block) < 1200 for block in blocks[:-1])
    assert list(in_blocks([])) == []


def test_the_origin_names_chain_and_subnet_and_makes_a_checkpoint() -> None:
    origin = ledger_origin(42, "0x2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03")
    assert origin == "orchestra/2f0555cc76fc2840/sn42"
    root: Any = checkpoint_of(LEAVES).root
    assert Checkpoint(origin, 6, root).text.startswith(origin)
