"""What a node remembers of finalised blocks: who had stake when, which envelope stood first at which block.

The chain keeps one slot per hotkey and forgets the state of old blocks, so what is not written down as it appears is
lost. After a gap nothing is said about when a new envelope appeared: it is remembered as unsure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ledger.changes import StakeOf
from ledger.envelope import Envelope, Vote, read_envelope
from ledger.governance.committee import leader
from ledger.governance.rules import Rules


class Root(NamedTuple):
    """The root that a hotkey's own log had at a size."""

    hotkey: str
    size: int
    root: str


def envelope(size: int, root: str, vote: Vote | None = None) -> str:
    """What a neuron commits on chain: its own log, and, until the window's votes are read, its vote."""
    return str(Envelope(f"{size}:{root}", vote.text if vote else ""))


def parse_envelope(hotkey: str, text: str) -> tuple[Root, Vote | None] | None:
    """An envelope's root and its vote; None for what is no envelope, no vote where the third part is something else."""
    found = read_envelope(text)
    return (Root(hotkey, found.size, found.root), found.vote) if found else None


@dataclass(frozen=True, slots=True)
class Member:
    """One row of the metagraph; stake in rao."""

    hotkey: str
    coldkey: str
    stake: int
    permit: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A finalised block. `envelopes` are all slots as they stand after it, by hotkey; `members` and `owners` (coldkeys
    by netuid) are needed for the first block of each window, and may be left out elsewhere.
    """

    number: int
    hash: str
    envelopes: Mapping[str, str]
    members: tuple[Member, ...] | None = None
    owners: Mapping[int, str] = field(default_factory=dict[int, str])


@dataclass(frozen=True)
class Frozen:
    """The subnet at a window's first block: stakes of permit holders, everybody's coldkey, owners of netuids."""

    window: int
    block: int
    hash: str
    stakes: Mapping[str, int]
    coldkeys: Mapping[str, str]
    owners: Mapping[int, str]

    @cached_property
    def total(self) -> int:
        return sum(self.stakes.values())

    @cached_property
    def leader(self) -> str | None:
        return leader(self.stakes, beacon=self.hash) if self.stakes else None

    def others(self, me: str) -> list[str]:
        """Every validator but this one, in order."""
        return [each for each in sorted(self.stakes) if each != me]

    def backs(self, voters: Iterable[str]) -> bool:
        """Are these more than a third of the stake, and so an honest validator among them?"""
        return sum(self.stakes.get(each, 0) for each in voters) * 3 > self.total

    @cached_property
    def validators(self) -> tuple[StakeOf, ...]:
        """As a batch's header lists them."""
        return tuple(StakeOf(hotkey=each, stake=str(self.stakes[each])) for each in sorted(self.stakes))


class ChainMemory:
    """Fed with finalised blocks in order. `last` is the newest; blocks that were seen before are ignored."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.last = -1
        self.hashes: dict[int, str] = {}
        self.frozen: dict[int, Frozen] = {}
        self.votes: dict[str, Vote] = {}
        self._slots: Mapping[str, str] = {}
        self._roots: dict[Root, tuple[int, bool]] = {}

    def observe(self, block: Block) -> bool:
        """Take a block in; False when it is not new."""
        if block.number <= self.last:
            return False
        follows = block.number == self.last + 1
        self.last = block.number
        self.hashes[block.number] = block.hash
        if block.envelopes != self._slots:
            self._take_envelopes(block.envelopes, sure=follows)
        if block.number % self._rules.window == 0:
            self._freeze(block)
            self._forget()
        return True

    @property
    def window(self) -> int:
        """The current one."""
        return self._rules.window_of(self.last)

    @property
    def is_open(self) -> bool:
        """Are the votes of the current window still to be read?"""
        return self.last < self._rules.reading(self.window)

    @property
    def is_beat(self) -> bool:
        """Is it time to send again what may have been lost?"""
        return (self.last - self._rules.start(self.window)) % self._rules.resend == 0

    def has_voted(self, me: str, frozen: Frozen) -> bool:
        """Do the slots hold votes, of whatever window, of more than a third of this stake, or one of our own? A batch
        can be final only where they do, so a log without any that meets them may have missed it.
        """
        weight = sum(frozen.stakes.get(hotkey, 0) for hotkey in self.votes)
        return me in self.votes or weight * 3 > frozen.total

    def anchored(self, root: Root) -> int | None:
        """The block at which this root first stood in its hotkey's envelope; None when we did not see that."""
        block, sure = self._roots.get(root, (0, False))
        return block if sure else None

    def contradicts(self, root: Root, anchor: int) -> bool:
        """Did we see with our own eyes that `root` was not first at `anchor`?"""
        block, sure = self._roots.get(root, (anchor, False))
        return sure and block != anchor

    def tally(self, window: int) -> str | None:
        """The batch that holds more than two thirds of the window's frozen stake in the slots as they stand."""
        frozen = self.frozen[window]
        weights: dict[str, int] = {}
        for hotkey, vote in self.votes.items():
            if vote.window == window:
                weights[vote.batch] = weights.get(vote.batch, 0) + frozen.stakes.get(hotkey, 0)
        return next((batch for batch, weight in weights.items() if weight * 3 > frozen.total * 2), None)

    def voters(self, window: int) -> dict[str, list[str]]:
        """Who votes for which batch of this window, in order."""
        found: dict[str, list[str]] = {}
        for hotkey in sorted(self.votes):
            if self.votes[hotkey].window == window:
                found.setdefault(self.votes[hotkey].batch, []).append(hotkey)
        return found

    def newest(self) -> Frozen | None:
        """The last frozen set that we read."""
        return self.frozen[max(self.frozen)] if self.frozen else None

    def _take_envelopes(self, envelopes: Mapping[str, str], *, sure: bool) -> None:
        for hotkey, text in envelopes.items():
            if self._slots.get(hotkey) == text:
                continue
            self.votes.pop(hotkey, None)
            parsed = parse_envelope(hotkey, text)
            if parsed is not None:
                root, vote = parsed
                self._roots.setdefault(root, (self.last, sure))
                if vote is not None:
                    self.votes[hotkey] = vote
        for hotkey in self._slots.keys() - envelopes.keys():
            self.votes.pop(hotkey, None)
        self._slots = dict(envelopes)

    def _freeze(self, block: Block) -> None:
        if block.members is None:
            return
        stakes = {each.hotkey: each.stake for each in block.members if each.permit and each.stake > 0}
        coldkeys = {each.hotkey: each.coldkey for each in block.members}
        window = self._rules.window_of(block.number)
        self.frozen[window] = Frozen(window, block.number, block.hash, stakes, coldkeys, dict(block.owners))

    def _forget(self) -> None:
        oldest = self.last - self._rules.expiry - 2 * self._rules.window
        self.hashes = {number: value for number, value in self.hashes.items() if number >= oldest}
        self.frozen = {window: each for window, each in self.frozen.items() if each.block >= oldest}
        self._roots = {root: when for root, when in self._roots.items() if when[0] >= oldest}

    # restart

    def dump(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "last": self.last,
            "hashes": [[number, value] for number, value in self.hashes.items()],
            "frozen": [
                [
                    each.window,
                    each.block,
                    each.hash,
                    {name: str(stake) for name, stake in each.stakes.items()},
                    dict(each.coldkeys),
                    [[netuid, owner] for netuid, owner in each.owners.items()],
                ]
                for each in self.frozen.values()
            ],
            "slots": dict(self._slots),
            "roots": [[*root, *when] for root, when in self._roots.items()],
        }

    @classmethod
    def load(cls, rules: Rules, dumped: Mapping[str, Any]) -> ChainMemory:
        memory = cls(rules)
        memory.last = dumped["last"]
        memory.hashes = dict(dumped["hashes"])
        for window, block, hash_, stakes, coldkeys, owners in dumped["frozen"]:
            amounts = {name: int(stake) for name, stake in stakes.items()}
            memory.frozen[window] = Frozen(window, block, hash_, amounts, coldkeys, dict(owners))
        memory._take_envelopes(dumped["slots"], sure=False)
        memory._roots = {Root(*each[:3]): (each[3], each[4]) for each in dumped["roots"]}
        return memory
