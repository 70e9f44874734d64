"""How a node gets its Ledger: an empty one from a copy that it checked, every other one from the changes it missed.

A copy is taken from whoever serves one and believed for its signatures, so it does not matter who that is: one that is
refused is refused with its reason and the next source is asked. Signatures say what the validators agreed on; a few
entries are also held against the live subnets, through a port, because an agreed Ledger that describes nothing that is
there is worth nothing to a newcomer.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ledger.changes import Change
from ledger.checkpoint import Checkpoint, Trust, Verified, parse_checkpoint
from ledger.cosigning import CheckpointStore
from ledger.entry import SubnetEntry
from ledger.leaves import LeafRefused, LogLeaf
from ledger.snapshot import SnapshotRefused, VerifiedSnapshot, verify_snapshot
from ledger.types import Verify
from orchestra.chain.types import Metagraph
from orchestra.ledger_node import LedgerNode, LedgerSource
from orchestra.peers import PeerFailed

PROBED_ENTRIES = 8
LEAST_PROBES = 3
"""So many entries must have told something before their word counts against a signed copy."""


class SnapshotSource(Protocol):
    """Whoever serves copies. `snapshot` is bounded in bytes and time and raises `PeerFailed`."""

    @property
    def hotkey(self) -> str: ...

    async def snapshot(self) -> bytes: ...


Probe: TypeAlias = Callable[[SubnetEntry], Awaitable[bool | None]]
"""Is the live subnet what its entry says? None: it cannot be told (no key, nothing to ask, no answer)."""


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """Where the Ledger came from, who vouched for it, and who was refused before: hotkey -> reason."""

    source: str
    verified: Verified
    refused: dict[str, str]


class BootstrapFailed(RuntimeError):
    """No source gave a copy to believe. `refused`: hotkey -> reason."""

    def __init__(self, refused: dict[str, str]) -> None:
        told = "; ".join(f"{hotkey}: {reason}" for hotkey, reason in refused.items()) or "nobody serves one"
        super().__init__(f"no copy of the Ledger can be believed ({told})")
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What is needed to believe a copy. `dice` chooses the entries to probe; without a `probe` none are."""

    trust: Trust
    verify: Verify
    now_ms: Callable[[], int]
    checkpoints: CheckpointStore
    dice: random.Random
    probe: Probe | None = None

    async def fill(self, node: LedgerNode, sources: Iterable[SnapshotSource], *, block: int) -> Bootstrapped:
        """Fill an empty node from the first source whose copy is believed.

        Raises:
            BootstrapFailed: there is none; the node stays empty.
        """
        refused: dict[str, str] = {}
        kept = await self.checkpoints.note(self.trust.origin)
        seen = () if kept is None else (parse_checkpoint(kept)[0],)
        for source in sources:
            try:
                snapshot, changes = await self._believe(await source.snapshot(), seen)
            except (PeerFailed, SnapshotRefused) as error:
                refused[source.hotkey] = str(error)
                continue
            await node.commit(changes, block=block)
            await self.checkpoints.believe(snapshot.note)
            return Bootstrapped(source.hotkey, snapshot.verified, refused)
        raise BootstrapFailed(refused)

    async def _believe(self, raw: bytes, seen: Sequence[Checkpoint]) -> tuple[VerifiedSnapshot, list[Change]]:
        snapshot, changes = await asyncio.to_thread(self._read, raw, seen)
        await self._probe(changes)
        return snapshot, changes

    def _read(self, raw: bytes, seen: Sequence[Checkpoint]) -> tuple[VerifiedSnapshot, list[Change]]:
        leaves: list[LogLeaf] = []
        snapshot = verify_snapshot(
            io.BytesIO(raw), self.trust, self.verify, now_ms=self.now_ms(), seen=seen, keep=leaves.append
        )
        try:
            return snapshot, [leaf.change() for leaf in leaves]
        except LeafRefused as error:  # signed, and yet not ours to understand
            raise SnapshotRefused("bad_leaf", str(error)) from None

    async def _probe(self, changes: Sequence[Change]) -> None:
        """Refuse a copy of which more than half of what a sample of its entries told is not so."""
        if self.probe is None:
            return
        current = {each.id: each for each in changes if isinstance(each, SubnetEntry)}
        callable_ = [entry for entry in current.values() if entry.operations and entry.status != "deprecated"]
        sample = self.dice.sample(callable_, min(PROBED_ENTRIES, len(callable_)))
        answers = await asyncio.gather(*map(self.probe, sample))
        told = [answer for answer in answers if answer is not None]
        if len(told) >= LEAST_PROBES and 2 * told.count(False) > len(told):
            wrong = ", ".join(entry.id for entry, answer in zip(sample, answers, strict=True) if answer is False)
            raise SnapshotRefused("not_as_described", f"the live subnets are not what {wrong[:200]} say")


async def bring_up(
    node: LedgerNode,
    copies: Iterable[SnapshotSource],
    changes: LedgerSource,
    *,
    bootstrap: Bootstrap,
    committer: str,
    block: int,
) -> Bootstrapped | BootstrapFailed | None:
    """Bring a node to where the committer is. An empty one starts from a copy, or where none is believed from the
    first change; one that was away fetches what it missed and nothing else. Returns what became of the copies, None
    where none was asked for.

    Raises:
        orchestra.ledger_node.LedgerRefused, orchestra.peers.PeerFailed: as `LedgerNode.follow`.
    """
    outcome: Bootstrapped | BootstrapFailed | None = None
    if not node.view.size:
        try:
            outcome = await bootstrap.fill(node, copies, block=block)
        except BootstrapFailed as failed:
            outcome = failed
    await node.follow(changes, committer=committer, verify=bootstrap.verify, block=block)
    return outcome


def whom_to_trust(origin: str, members: Metagraph, *, committer: str = "", min_stake_rao: int = 0) -> Trust:
    """The committer alone, where the operator names one; otherwise every validator by its stake.

    Raises:
        ValueError: no validator has any stake.
    """
    if committer:
        return Trust(origin, {committer: 1})
    return Trust(origin, {each.hotkey: each.stake_rao for each in members.validators(min_stake_rao)})
