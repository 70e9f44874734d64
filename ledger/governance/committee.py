"""Who judges a proposal and who leads a window: drawn by stake from hashes that nobody could foresee."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from ledger.governance.rules import Rules


@dataclass(frozen=True, slots=True)
class Committee:
    """Who judges one proposal, and what each one's word weighs: stake in a small network, seats in a large one."""

    weights: Mapping[str, int]
    total: int

    def weight(self, members: Iterable[str]) -> int:
        return sum(self.weights.get(each, 0) for each in members)

    def suffices(self, members: Iterable[str]) -> bool:
        """Is this more than two thirds?"""
        return self.weight(members) * 3 > self.total * 2

    def revealed(self, seen: Mapping[str, int]) -> int:
        """The earliest block by which members with more than a third say they held the proposal.

        Raises:
            ValueError: all of them together are no more than a third.
        """
        weight = 0
        for member in sorted(seen, key=lambda each: (seen[each], each)):
            weight += self.weights.get(member, 0)
            if weight * 3 > self.total:
                return seen[member]
        raise ValueError("no third of the committee held it")


def committee(stakes: Mapping[str, int], *, beacon: str, proposal: str, rules: Rules) -> Committee:
    """Everybody with stake while they are few; otherwise equal seats drawn by stake, with replacement."""
    if len(stakes) <= rules.all_judge:
        return Committee(stakes, sum(stakes.values()))
    weights: dict[str, int] = {}
    for drawn in draw(stakes, f"orchestra-committee/1|{beacon}|{proposal}", rules.seats):
        weights[drawn] = weights.get(drawn, 0) + 1
    return Committee(weights, rules.seats)


def leader(stakes: Mapping[str, int], *, beacon: str) -> str:
    """Who leads the window that begins with the block of this hash.

    Raises:
        ValueError: nobody has stake.
    """
    return draw(stakes, f"orchestra-leader/1|{beacon}", 1)[0]


def draw(stakes: Mapping[str, int], seed: str, count: int) -> list[str]:
    """`count` hotkeys by stake, with replacement: SHA-256(seed | number) modulo the total, over hotkeys in order."""
    names = sorted(stakes)
    sums = list(accumulate(stakes[name] for name in names))
    if not sums or sums[-1] <= 0:
        raise ValueError("nobody has stake")
    points = (hashlib.sha256(f"{seed}|{number}".encode()).digest() for number in range(count))
    return [names[bisect_right(sums, int.from_bytes(point, "big") % sums[-1])] for point in points]
