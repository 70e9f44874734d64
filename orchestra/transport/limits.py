"""How much one caller may ask for: token buckets per key and a cap on what is in flight, both in bounded memory.

Only authenticated requests spend a hotkey's tokens: before the signature is checked a name is just a claim, and whoever
claims a validator's name must not be able to use up its allowance. Unproven requests are charged to their address.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one hotkey (authenticated) and one address (not yet) may do. Rates are requests a second; bursts, requests.

    An address may hold many neurons (a devnet has all of them on one), so its limits are the wider ones.
    """

    hotkey_per_s: float = 50.0
    hotkey_burst: int = 200
    hotkey_in_flight: int = 64
    peer_per_s: float = 500.0
    peer_burst: int = 2000
    peer_in_flight: int = 256
    retry_after_s: float = 1.0


class TokenBuckets:
    """One token bucket per key: `burst` tokens at most, `per_s` come back a second. `clock` is monotonic seconds.

    At most `capacity` keys are remembered. The key unused for longest is forgotten first, which can only refill it
    early.
    """

    def __init__(self, per_s: float, burst: int, *, clock: Callable[[], float], capacity: int = 4096) -> None:
        if per_s <= 0 or burst < 1 or capacity < 1:
            raise ValueError("a bucket needs a positive rate, burst and capacity")
        self._per_s = per_s
        self._burst = float(burst)
        self._clock = clock
        self._capacity = capacity
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until `key` has a token; 0.0 when it has one now. Spends nothing."""
        level = self._level(key, self._clock())
        return 0.0 if level >= 1.0 else (1.0 - level) / self._per_s

    def take(self, key: str) -> float:
        """Spend one token and return 0.0, or spend nothing and return the seconds until there is one."""
        now = self._clock()
        level = self._level(key, now)
        if level < 1.0:
            return (1.0 - level) / self._per_s
        self._levels[key] = (level - 1.0, now)
        self._levels.move_to_end(key)
        if len(self._levels) > self._capacity:
            self._levels.popitem(last=False)
        return 0.0

    def _level(self, key: str, now: float) -> float:
        known = self._levels.get(key)
        if known is None:
            return self._burst
        level, since = known
        return min(self._burst, level + max(0.0, now - since) * self._per_s)


class InFlight:
    """Counts what each key has in flight. Its memory is bounded by what is in flight."""

    def __init__(self, most: int) -> None:
        if most < 1:
            raise ValueError("at least one request must fit in flight")
        self._most = most
        self._counts: dict[str, int] = {}

    def full(self, key: str) -> bool:
        return self._counts.get(key, 0) >= self._most

    def enter(self, key: str) -> bool:
        """Count one more and return True, or return False because `key` is at its cap. Every True needs one `leave`."""
        count = self._counts.get(key, 0)
        if count >= self._most:
            return False
        self._counts[key] = count + 1
        return True

    def leave(self, key: str) -> None:
        count = self._counts[key] - 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]
