"""What a hotkey has on chain: `o1|<size>:<root>|<vote>`, the state of its own log and, where it votes, for which batch.

There is one spelling and one reader of it: whoever anchors, governs or checks a copy goes by the same slots, and two
readers that differ in a digit would see two chains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_ENVELOPE = re.compile(r"o1\|(0|[1-9][0-9]{0,14}):(0x[0-9a-f]{64})\|([ -~]{0,128})")
_VOTE = re.compile(r"(0|[1-9][0-9]{0,14}):(0x[0-9a-f]{64})")


class Vote(NamedTuple):
    """For which batch, in which window."""

    window: int
    batch: str

    @property
    def text(self) -> str:
        """The third part of an envelope."""
        return f"{self.window}:{self.batch}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """`version` is `<size>:<root>` of the hotkey's log; `third` a vote, nothing, or what nobody else understands."""

    version: str
    third: str = ""

    def __str__(self) -> str:
        return f"o1|{self.version}|{self.third}"

    @property
    def size(self) -> int:
        return int(self.version.partition(":")[0])

    @property
    def root(self) -> str:
        return self.version.partition(":")[2]

    @property
    def vote(self) -> Vote | None:
        """None where the third part is none: the root counts all the same."""
        found = _VOTE.fullmatch(self.third)
        return Vote(int(found[1]), found[2]) if found else None


def read_envelope(text: str | None) -> Envelope | None:
    """The envelope that a commitment holds; None for anything else, which is nobody's fault but its owner's."""
    found = _ENVELOPE.fullmatch(text or "")
    return Envelope(f"{found[1]}:{found[2]}", found[3]) if found else None
