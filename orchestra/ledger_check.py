"""Checking a copy of the Ledger as a person does: from files, a memory of what was believed, and perhaps a chain.

What is found out is a value that the command line prints; nothing here prints. Offline it never pretends: without a
chain (or a file of stakes) keys are counted, and `stake_from` says that stake was not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from ledger.canonical import parse_strict
from ledger.checkpoint import Checkpoint, CheckpointRefused, Trust
from ledger.leaves import LogLeaf
from ledger.log import MerkleLog
from ledger.signed_note import MAX_BYTES
from ledger.snapshot import VerifiedSnapshot, verify_snapshot
from ledger.trusted import OnChain, Trusted, batch_sizes, committed, read_stakes, read_trusted
from ledger.types import JSON
from orchestra.chain import Chain, verify_signature
from orchestra.ledger_memory import default_path, remembering

StakeFrom = Literal["chain", "file", "not checked"]


class CannotCheck(Exception):
    """What is needed to check the copy is not there. The message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Stakes:
    """Whose word counts how much, and who says so. `slots` are the Commitments pallet's, read at `block`."""

    source: StakeFrom
    of: dict[str, int]
    slots: dict[str, str] | None = None
    block: int | None = None


NOT_CHECKED = Stakes("not checked", {})


@dataclass(frozen=True, slots=True)
class Checked:
    """A believed copy, whom it was believed for, what it continues, and what stands on chain (None: no chain)."""

    snapshot: VerifiedSnapshot
    stakes: Stakes
    continues: tuple[Checkpoint, ...]
    on_chain: OnChain | None


def read_trusted_file(path: Path) -> Trusted:
    """The checkpoint that is believed beforehand.

    Raises:
        CannotCheck: the file cannot be read, or is no checkpoint.
    """
    try:
        with path.open("rb") as file:
            return read_trusted(file.read(MAX_BYTES + 1), verify_signature)
    except OSError as error:
        raise CannotCheck(f"cannot read {path} ({error.strerror}): check --trusted") from None
    except CheckpointRefused as error:
        raise CannotCheck(f"{path} is no checkpoint to trust ({error}): check --trusted") from None


def stakes_from_file(path: Path) -> Stakes:
    """Stakes that somebody wrote down.

    Raises:
        CannotCheck: the file cannot be read, or is not of the form.
    """
    try:
        return Stakes("file", read_stakes(path.read_bytes()))
    except OSError as error:
        raise CannotCheck(f"cannot read {path} ({error.strerror}): check --stakes") from None
    except ValueError as error:
        raise CannotCheck(f"{path} holds no stakes: {error}") from None


async def stakes_from_chain(network: str, netuid: int) -> Stakes:
    """The validators' stakes and what they have committed to, at one block.

    Raises:
        orchestra.chain.ChainError: the chain cannot be read.
        CannotCheck: nobody with a permit has stake there.
    """
    async with await Chain.open(network) as chain:
        graph = await chain.metagraph(netuid)
        slots = await chain.commitments(netuid, block=graph.block.number)
    stakes = {each.hotkey: each.stake_rao for each in graph.permit_holders() if each.stake_rao > 0}
    if not stakes:
        raise CannotCheck(f"no validator with stake on subnet {netuid} of {network}: check --netuid")
    return Stakes("chain", stakes, slots, graph.block.number)


def check(
    file: BinaryIO, trusted: Trusted, stakes: Stakes, *, max_age_ms: int | None, now_ms: int, remember: Path | None
) -> Checked:
    """Believe a copy and remember it, or say why not.

    Raises:
        ledger.snapshot.SnapshotRefused: why it is not believed.
        orchestra.ledger_memory.MemoryUnusable: what was believed before cannot be told.
        CannotCheck: the stakes are none.
    """
    trust, headers, origin = _trust(trusted, stakes, max_age_ms), _Headers(), trusted.checkpoint.origin
    with remembering(remember or default_path(origin), origin) as memory:
        seen = tuple(each for each in (trusted.checkpoint, memory.last) if each is not None)
        keep = None if stakes.slots is None else headers.add
        snapshot = verify_snapshot(file, trust, verify_signature, now_ms=now_ms, seen=seen, keep=keep)
        memory.keep(snapshot.note)
    return Checked(snapshot, stakes, seen, _on_chain(stakes, snapshot.log, headers.found))


class _Headers:
    """The headers of batches among the leaves of a copy, by index."""

    def __init__(self) -> None:
        self.found: dict[int, JSON] = {}
        self._index = -1

    def add(self, leaf: LogLeaf) -> None:
        self._index += 1
        if leaf.kind == "batch":
            self.found[self._index] = parse_strict(leaf.body)


def _on_chain(stakes: Stakes, log: MerkleLog, headers: dict[int, JSON]) -> OnChain | None:
    if stakes.slots is None:
        return None
    return committed(stakes.of, stakes.slots, log, batch_sizes(headers, log))


def _trust(trusted: Trusted, stakes: Stakes, max_age_ms: int | None) -> Trust:
    if stakes.source == "not checked":
        return trusted.counted(max_age_ms)
    try:
        return trusted.weighed(stakes.of, max_age_ms)
    except ValueError as error:
        raise CannotCheck(f"these stakes cannot be used: {error}") from None
