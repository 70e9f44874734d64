"""Every number of the protocol, so that a short tempo can have short windows. All nodes of one network share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

PROPOSALS_HELD = 512
BATCH_PAYLOAD_BYTES = 1 << 20
"""What the proposals of one batch take together, at most, unless there is only one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All times are blocks. `proposals_per_coldkey` and `proposals_per_sponsor` are per tempo, for each validator."""

    window: int = 100
    final_at: int = 60
    gather: int = 5
    resend: int = 5
    tempo: int = 360
    expiry: int = 1080
    consent: int = 7200
    all_judge: int = 16
    seats: int = 32
    bond_rao: int = 100_000
    false_limit: int = 4
    false_within: int = 7200
    proposals_per_coldkey: int = 4
    proposals_per_sponsor: int = 16
    attempts: int = 10
    alive_percent: int = 30
    probe_tries: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.gather < self.final_at < self.window or self.resend < 1 or self.tempo < 1:
            raise ValueError("a window gathers, then votes, then ends, and nothing takes no time")
        if self.expiry < 2 * self.window + self.tempo:
            raise ValueError("a proposal must outlive its probes and two windows")

    @classmethod
    def for_tempo(cls, tempo: int) -> Self:
        """The same protocol where a tempo is shorter or longer than 360 blocks; a window has at least 10."""
        window = max(10, tempo * 100 // 360)
        pace = max(1, window // 20)
        return cls(
            window=window,
            final_at=window * 6 // 10,
            gather=pace,
            resend=pace,
            tempo=tempo,
            expiry=max(3 * tempo, 6 * window),
            consent=max(20 * tempo, 12 * window),
            false_within=max(20 * tempo, 12 * window),
        )

    def window_of(self, block: int) -> int:
        return block // self.window

    def start(self, window: int) -> int:
        """The window's first block, where permits and stakes are frozen."""
        return window * self.window

    def reading(self, window: int) -> int:
        """The block at which the window's votes are read."""
        return window * self.window + self.final_at

    def due(self, block: int) -> int:
        """The last window whose votes can have been read at this block; -1 before the first."""
        return (block - self.final_at) // self.window
