"""How a node that missed something finds out what is final: from statements of more than a third of the stake."""

from __future__ import annotations

from typing import NamedTuple

from ledger.governance.chain import Frozen
from ledger.governance.effects import Fetch
from ledger.statements import Final


class Target(NamedTuple):
    """What enough validators say is final after `window`, and who they are."""

    window: int
    version: str
    peers: tuple[str, ...]

    @property
    def size(self) -> int:
        return int(self.version.partition(":")[0])


class CatchUp:
    """Collects final statements. Less than a third lies, so what more than a third says, an honest one says.

    `target` is where this node has to go, None when it is there.
    """

    def __init__(self) -> None:
        self._heard: dict[int, dict[str, Final]] = {}
        self.target: Target | None = None

    def hear(self, final: Final) -> None:
        """Keep an authentic statement; of several for one window the first."""
        self._heard.setdefault(final.window, {}).setdefault(final.signer, final)

    def agreed(self, frozen: Frozen) -> Target | None:
        """The last window that more than a third of this stake agrees about."""
        for window in sorted(self._heard, reverse=True):
            groups: dict[tuple[str | None, str], list[str]] = {}
            for signer, final in sorted(self._heard[window].items()):
                groups.setdefault((final.batch, final.version), []).append(signer)
            for (_, version), signers in groups.items():
                if frozen.backs(signers):
                    return Target(window, version, tuple(signers))
        return None

    def fetch(self, size: int) -> Fetch | None:
        """What a log of this size lacks."""
        if self.target is None or self.target.size <= size:
            return None
        return Fetch(size, self.target.version, self.target.peers)

    def has_diverged(self, size: int) -> bool:
        """Is a log of this size, which is not the target, too long to become it?"""
        return self.target is not None and self.target.size <= size

    def forget(self, before: int) -> None:
        """Drop what is about windows before this one."""
        self._heard = {window: each for window, each in self._heard.items() if window >= before}
