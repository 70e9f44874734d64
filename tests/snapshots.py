"""Small Ledgers signed by a few validators, and copies of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

from ledger.canonical import canonical, sha256
from ledger.changes import BatchHeader, Change, StakeOf
from ledger.checkpoint import EMPTY_ROOT, Checkpoint, Trust, cosign, write_checkpoint
from ledger.leaves import LogLeaf
from ledger.log import MerkleLog
from ledger.snapshot import VerifiedSnapshot, verify_snapshot, write_snapshot
from orchestra.chain.keys import dev_signer, verify_signature
from orchestra.ledger_node import LedgerNode
from tests.builders import entry

ALICE, BOB, CAROL, DAVE = (dev_signer(f"//{name}") for name in ("Alice", "Bob", "Carol", "Dave"))
ORIGIN = "orchestra.example/sn42"
NOW = 1_760_000_000_000
STAKES = {ALICE.ss58_address: 40, BOB.ss58_address: 30, CAROL.ss58_address: 30}
TRUST = Trust(ORIGIN, STAKES)


def leaves_of(size: int) -> list[LogLeaf]:
    """Entries, and the header of a batch at every third place."""
    return [LogLeaf.from_change(_change(number)) for number in range(size)]


def _change(number: int) -> Change:
    if number % 3 != 2:
        return entry(f"subnet-{number}", netuid=number, notes="ü" * (number % 2))
    return BatchHeader(
        window=number,
        block=100 * number,
        beacon=sha256(f"block {number}".encode()),
        leader=ALICE.ss58_address,
        parent=f"0:{EMPTY_ROOT}",
        certificates=(sha256(f"certificate {number}".encode()),),
        validators=(StakeOf(hotkey=ALICE.ss58_address, stake="40"),),
    )


def checkpoint_of(leaves: Iterable[LogLeaf], origin: str = ORIGIN) -> Checkpoint:
    log = MerkleLog(leaf.hash for leaf in leaves)
    return Checkpoint(origin, log.size, log.root())


def signed(checkpoint: Checkpoint, *signers: Any, time_ms: int = NOW) -> bytes:
    return write_checkpoint(checkpoint, [cosign(checkpoint, each, time_ms=time_ms) for each in signers or (ALICE, BOB)])


def snapshot_of(leaves: Sequence[LogLeaf], *signers: Any, time_ms: int = NOW) -> bytes:
    return b"".join(write_snapshot(signed(checkpoint_of(leaves), *signers, time_ms=time_ms), leaves))


def believe(raw: bytes, trust: Trust = TRUST, **options: Any) -> VerifiedSnapshot:
    return verify_snapshot(io.BytesIO(raw), trust, verify_signature, now_ms=NOW, **options)


def resealed(lines: Sequence[bytes]) -> bytes:
    """These lines with a last line that fits them: what a liar who knows the format would send."""
    body = b"".join(line + b"\n" for line in lines)
    return body + canonical({"sha256": "0x" + hashlib.sha256(body).hexdigest()}) + b"\n"


async def adopt(node: LedgerNode, leaves: Sequence[LogLeaf]) -> None:
    """Commit these to a node."""
    await node.commit([leaf.change() for leaf in leaves], block=1)
