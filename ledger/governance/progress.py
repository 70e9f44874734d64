"""How far a node is: which windows are decided, what it read of later ones, what it signed about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ledger.governance.chain import ChainMemory
from ledger.governance.rules import Rules
from ledger.statements import Final, sign_final
from ledger.types import Signer

WINDOWS_KEPT = 3
"""Batches and final statements of so many windows are kept for those that ask; a batch that could not be had for as
long is not waited for.
"""


class Reading(NamedTuple):
    """What stood on chain when a window's votes were read: the final batch, or none, and who voted for it."""

    batch: str | None
    voters: tuple[str, ...] = ()


class Progress:
    """`decided` is the last window whose outcome is in the book.

    `is_sure`: this node's log is what the network agrees on, so it may judge, lead and vote. That ends when it missed a
    reading or cannot follow a final batch, and it begins again when others have told it, or two thirds of the stake
    build on what it has.
    """

    def __init__(self, rules: Rules, *, is_new: bool) -> None:
        self._rules = rules
        self.decided = -1
        self.is_new = is_new
        self.is_sure = is_new
        self.finals: dict[int, Final] = {}
        self._readings: dict[int, Reading] = {}
        self._quiet_until = -1

    def begin(self, block: int, head: int) -> None:
        """The first block that this node ever saw, and the newest there is: what it may have signed up to there it
        cannot know, and it needs time to hear from others.
        """
        self.decided = self._rules.due(block)
        self._quiet_until = self._rules.window_of(max(block, head) + self._rules.final_at)

    def meet(self, *, has_voted: bool) -> None:
        """A log without a batch, and a memory of nothing, meet the network: all that there is of a young one, and what
        somebody has who lost everything but the log he began with. Where others have voted he cannot know which.
        """
        self.is_new = False
        self.is_sure = self.is_sure and not has_voted

    def read(self, chain: ChainMemory) -> None:
        """At a window's reading block: which batch is final, if any."""
        due = self._rules.due(chain.last)
        if chain.last == self._rules.reading(due) and due in chain.frozen and due > self.decided:
            batch = chain.tally(due)
            self._readings[due] = Reading(batch, tuple(chain.voters(due).get(batch, ())) if batch else ())
        missed = any(window not in self._readings for window in range(self.decided + 1, due + 1)[:WINDOWS_KEPT])
        if missed or due - self.decided >= WINDOWS_KEPT:
            self.is_sure = False

    def next(self) -> Reading | None:
        """What was read of the window after the last decided one."""
        return self._readings.get(self.decided + 1)

    def final_batches(self) -> list[tuple[int, str, tuple[str, ...]]]:
        """(window, batch, voters) of what was read to be final and is not in the book yet, newest first."""
        found = ((window, each.batch, each.voters) for window, each in self._readings.items() if each.batch is not None)
        return sorted(found, reverse=True)

    def wanted(self) -> dict[str, tuple[str, ...]]:
        """Final batches that are not in the book yet, and who voted for them."""
        return {each.batch: each.voters for each in self._readings.values() if each.batch is not None}

    def is_quiet(self, window: int) -> bool:
        """Is this a window in which a node that began with an empty memory signs nothing?"""
        return window <= self._quiet_until

    def has_say(self, window: int) -> bool:
        """May this node lead and vote in this window?"""
        return self.is_sure and not self.is_quiet(window) and self.decided == window - 1

    def conclude(self, signer: Signer, batch: str | None, version: str) -> bool:
        """The next window is decided, and `version` is the log's. True when there is a new statement about it."""
        self.decided += 1
        self._readings.pop(self.decided, None)
        if not self.is_sure or self.is_quiet(self.decided):
            return False
        self.finals[self.decided] = sign_final(signer, window=self.decided, batch=batch, version=version)
        return True

    def arrive(self, window: int) -> None:
        """The book is what is final after this window, by the word of others."""
        self.decided = max(self.decided, window)
        self.is_sure = True
        self._readings = {each: found for each, found in self._readings.items() if each > self.decided}

    def forget(self, window: int) -> None:
        """Drop what nobody asks for any more in this window."""
        self.finals = {each: final for each, final in self.finals.items() if each > self.decided - WINDOWS_KEPT}
        self._readings = {each: found for each, found in self._readings.items() if each > window - 2 * WINDOWS_KEPT}

    # restart

    def dump(self) -> dict[str, Any]:
        return {
            "decided": self.decided,
            "is_new": self.is_new,
            "is_sure": self.is_sure,
            "quiet_until": self._quiet_until,
            "readings": [[window, each.batch, list(each.voters)] for window, each in self._readings.items()],
            "finals": [each.model_dump(mode="json") for each in self.finals.values()],
        }

    def load(self, dumped: Mapping[str, Any], *, book_window: int, is_there: bool) -> None:
        """`book_window` is that of the last batch in the log, which may be newer than what was dumped; `is_there`: the
        log has not lost anything since.
        """
        self.decided = max(dumped["decided"], book_window)
        self.is_new = dumped["is_new"]
        self.is_sure = dumped["is_sure"] and is_there
        self._quiet_until = dumped["quiet_until"]
        readings = {window: Reading(batch, tuple(voters)) for window, batch, voters in dumped["readings"]}
        self._readings = {window: each for window, each in readings.items() if window > self.decided}
        finals = [Final.model_validate(each) for each in dumped["finals"]]
        self.finals = {each.window: each for each in finals}
