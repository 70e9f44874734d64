"""Time series that anybody can compute again: a value is a function of the series' name and the day.

Utilisation and queue times of the GPU clouds of the local web, one value a day. The figures are synthetic and say so by
their method; what is real is that they move, repeat within a day and can be checked.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from orchestra.devnet.content import clouds

BUCKET_S = 86_400
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Series:
    """A series by its full name, with its unit, its mean and how far it swings."""

    name: str
    unit: str
    mean: float
    swing: float

    @property
    def words(self) -> frozenset[str]:
        return frozenset(_WORD.findall(self.name.lower()))


@dataclass(frozen=True, slots=True)
class Reading:
    """`value` in `unit`, valid for the day that begins at `at`."""

    series: str
    value: float
    unit: str
    at: str


@cache
def all_series() -> tuple[Series, ...]:
    """Every series there is."""
    kinds = (("utilisation", "%", 72.0, 18.0), ("queue time", "s", 40.0, 30.0))
    return tuple(
        Series(f"{cloud.name} {kind}", unit, mean, swing) for cloud in clouds() for kind, unit, mean, swing in kinds
    )


def find_series(asked: str) -> Series | None:
    """The one series whose words all occur in what was asked, most words first; None where there is none or two."""
    said = frozenset(_WORD.findall(asked.lower()))
    found = sorted((series for series in all_series() if series.words <= said), key=lambda series: -len(series.words))
    if not found or (len(found) > 1 and len(found[0].words) == len(found[1].words)):
        return None
    return found[0]


def reading(series: Series, now_s: float) -> Reading:
    """The value of the current day: a weekly wave and a little noise, both from the name and the day alone."""
    day = int(now_s // BUCKET_S)
    phase = _share(series.name) * math.tau
    wave = math.sin(math.tau * day / 7 + phase)
    noise = _share(f"{series.name}:{day}") - 0.5
    value = round(series.mean + series.swing * (0.7 * wave + 0.6 * noise), 2)
    at = datetime.fromtimestamp(day * BUCKET_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Reading(series.name, value, series.unit, at)


def _share(text: str) -> float:
    """A number in [0, 1) that a text stands for."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
