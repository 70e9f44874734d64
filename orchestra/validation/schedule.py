"""When what happens, as pure functions of public values: tempos, and who challenges whom in which block.

The schedule of (validator, miner) pairs is public and drawn by stake from the beacon of the tempo's first block, so
that every miner knows it will be asked about a hundred times a day and by whom, and nobody can choose. What is asked
stays secret (`orchestra.validation.seeds`). Everything is a share of the subnet's tempo (DESIGN §8: 20 of 360 blocks a
round, and so on).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CHALLENGES_PER_TEMPO = 5
"""About 100 a day at 12 s blocks and a tempo of 360: 100 * 360 / 7200."""

SCORING_WINDOW_TEMPOS = 3
WEIGHTS_AFTER = 0.5
"""Share of the tempo after which weights are set: far from both epochs, with time left to try again."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """One period between two epochs. `first` to `last` are its blocks; the epoch runs at block `last + 1`."""

    index: int
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def at(self, share: float) -> int:
        """The block at which `share` of the tempo has passed."""
        return self.first + int(self.length * share)


def tempo_at(block: int, *, netuid: int, tempo: int) -> Tempo:
    """The tempo that holds a block. Subtensor runs an epoch when `(block + netuid + 1) % (tempo + 1) == 0`."""
    period = tempo + 1
    index = (block + netuid + 1) // period
    first = index * period - netuid - 1
    return Tempo(index, max(first, 0), first + period - 1)


@dataclass(frozen=True, slots=True)
class Slot:
    """At `block`, `validator` challenges `miner`. `number` is unique within the tempo."""

    number: int
    block: int
    validator: str
    miner: str


def schedule(
    tempo: Tempo,
    beacon: str,
    *,
    validators: Mapping[str, int],
    miners: Sequence[str],
    per_tempo: int = CHALLENGES_PER_TEMPO,
) -> tuple[Slot, ...]:
    """The tempo's pairs in order of block: `per_tempo` for every miner, validators drawn by stake (`validators`: rao).

    A validator without stake is drawn only when nobody has any. The same arguments give the same schedule everywhere.
    """
    if not validators:
        return ()
    ranked = sorted(validators.items())
    slots: list[tuple[int, str, str]] = []
    for miner in sorted(miners):
        for turn in range(per_tempo):
            draw = hashlib.sha256(f"orchestra-schedule/1\n{tempo.index}\n{beacon}\n{miner}\n{turn}".encode()).digest()
            span = tempo.length / per_tempo
            block = tempo.first + int(span * turn + span * _unit(draw[:8]))
            slots.append((min(block, tempo.last), miner, _by_stake(ranked, _unit(draw[8:16]))))
    return tuple(Slot(i, block, validator, miner) for i, (block, miner, validator) in enumerate(sorted(slots)))


def _unit(raw: bytes) -> float:
    return int.from_bytes(raw, "big") / 2**64


def _by_stake(ranked: Sequence[tuple[str, int]], point: float) -> str:
    whole = sum(stake for _, stake in ranked)
    if whole == 0:
        return ranked[int(point * len(ranked))][0]
    mark = int(point * whole)
    for hotkey, stake in ranked:
        mark -= stake
        if mark < 0:
            return hotkey
    return ranked[-1][0]
