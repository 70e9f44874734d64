"""How much one caller may still ask for, as one object: it refuses, and it writes the headers that say why.

The pace is a token bucket in this process's memory; the month's count comes from the database, where it is exact across
servers (`ledger.metering`). Headers are those of draft-ietf-httpapi-ratelimit-headers (`RateLimit-Policy` and
`RateLimit`, since -08): `q` of what is allowed in `w` seconds, `r` left, `t` seconds until it is whole again.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ledger.serving.tiers import Tier

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Window:
    """One policy and where a caller stands in it. `retry_s`: 0 when one more fits, otherwise the wait until it does."""

    name: str
    quota: int
    window_s: int
    left: int
    whole_in_s: int
    retry_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """Where a caller stands: the pace, and the month where the tier counts it."""

    windows: tuple[Window, ...]

    @property
    def refused_by(self) -> str | None:
        """The name of the window that is used up."""
        return next((each.name for each in self.windows if each.retry_s > 0), None)

    @property
    def retry_after_s(self) -> int:
        """Whole seconds until a request fits every window; 0 when one does now."""
        return math.ceil(max(each.retry_s for each in self.windows))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What every answer carries, and `Retry-After` on a refusal."""
        policy = ", ".join(f'"{each.name}";q={each.quota};w={each.window_s}' for each in self.windows)
        state = ", ".join(f'"{each.name}";r={each.left};t={each.whole_in_s}' for each in self.windows)
        found = [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]
        return [*found, (b"retry-after", str(self.retry_after_s).encode())] if self.retry_after_s else found


class Pace:
    """One token bucket per caller, in bounded memory: the caller unseen for longest is forgotten, that is, refilled.

    `clock` is monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float], capacity: int = 10_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, per_minute: int) -> Window:
        """Spend one of `per_minute`, or nothing when none is left."""
        now = self._clock()
        level, since = self._levels.get(caller, (float(per_minute), now))
        level = min(float(per_minute), level + max(0.0, now - since) * per_minute / MINUTE_S)
        wait = 0.0 if level >= 1 else (1 - level) * MINUTE_S / per_minute
        if not wait:
            level -= 1
            self._levels[caller] = (level, now)
            self._levels.move_to_end(caller)
            if len(self._levels) > self._capacity:
                self._levels.popitem(last=False)
        whole = math.ceil((per_minute - level) * MINUTE_S / per_minute)
        return Window("minute", per_minute, MINUTE_S, int(level), whole, wait)


def month_window(tier: Tier, used: int, now_ms: int, *, refused: bool = False) -> Window | None:
    """The month of a tier that counts one, after `used` lookups; None for one that does not."""
    if tier.monthly is None:
        return None
    begins, ends = month_bounds_ms(now_ms)
    rest = math.ceil((ends - now_ms) / 1000)
    left = max(0, tier.monthly - used)
    return Window("month", tier.monthly, (ends - begins) // 1000, left, rest, rest if refused else 0.0)


def month_of(now_ms: int) -> int:
    """The month of an instant, UTC, as 202610."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    return at.year * 100 + at.month


def month_bounds_ms(now_ms: int) -> tuple[int, int]:
    """When the month of an instant began and when it ends, UTC."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    begins = datetime(at.year, at.month, 1, tzinfo=UTC)
    ends = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return int(begins.timestamp() * 1000), int(ends.timestamp() * 1000)
