"""Who may call: a port that the receiver asks before it reads a body, and the answer that a metagraph gives.

The chain is not asked during a request. A snapshot is, and it may be old up to a bound; beyond it the neuron refuses
everybody, because a permit or stake it cannot see any more is not a permission.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Protocol

from orchestra.transport import problems
from orchestra.transport.problems import Refused


class CallerPolicy(Protocol):
    """Decides from a claimed hotkey alone, without waiting. The signature is checked after it."""

    def check(self, hotkey: str) -> None:
        """Return, or raise `Refused` with the reason."""
        ...


class Standing(Protocol):
    """What the metagraph says of one neuron."""

    @property
    def permit(self) -> bool: ...

    @property
    def stake_rao(self) -> int: ...


class Members(Protocol):
    """A subnet's neurons at one block; `orchestra.chain.Metagraph` is one."""

    def by_hotkey(self, hotkey: str, /) -> Standing | None: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A metagraph and when this process read it: seconds on the clock that the policy was given."""

    members: Members
    read_at: float


class AnyCaller:
    """Everybody who signs may call."""

    def check(self, hotkey: str) -> None:
        return None


class AllowedCallers:
    """Only these hotkeys may call; for others the answer is `hotkey_unknown`."""

    def __init__(self, hotkeys: Container[str]) -> None:
        self._hotkeys = hotkeys

    def check(self, hotkey: str) -> None:
        if hotkey not in self._hotkeys:
            raise Refused(problems.HOTKEY_UNKNOWN)


class MetagraphPolicy:
    """Registered hotkeys, optionally with a validator permit and a minimum stake (rao), by a snapshot of bounded age.

    `source` returns the newest snapshot, or None before the first; `clock` is monotonic seconds.
    """

    def __init__(
        self,
        *,
        source: Callable[[], Snapshot | None],
        require_permit: bool,
        min_stake_rao: int = 0,
        max_staleness_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._require_permit = require_permit
        self._min_stake_rao = min_stake_rao
        self._max_staleness_s = max_staleness_s
        self._clock = clock

    def check(self, hotkey: str) -> None:
        """Raises `Refused`: `metagraph_stale` (503), `hotkey_unknown`, `no_permit` or `stake_too_low` (403)."""
        snapshot = self._source()
        if snapshot is None or self._clock() - snapshot.read_at > self._max_staleness_s:
            raise Refused(problems.METAGRAPH_STALE, retry_after_s=12)
        standing = snapshot.members.by_hotkey(hotkey)
        if standing is None:
            raise Refused(problems.HOTKEY_UNKNOWN)
        if self._require_permit and not standing.permit:
            raise Refused(problems.NO_PERMIT)
        if standing.stake_rao < self._min_stake_rao:
            raise Refused(problems.STAKE_TOO_LOW)
