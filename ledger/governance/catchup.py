"""How a node that missed something finds out what is final: from statements of more than a third of the stake."""

from __future__ import annotations

from typing import NamedTuple

from ledger.governance.chain import Frozen
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
    """Collects final statements. Less than a third lies, so what more than a third says, an honest one says."""

    def __init__(self) -> None:
        self._heard: dict[int, dict[str, Final]] = {}
        self.asked = -1

    def hear(self, final: Final) -> None:
        """Keep an authentic statement; of several for one window the first."""
        self._heard.setdefault(final.window, {}).setdefault(final.signer, final)

    def target(self, frozen: Frozen) -> Target | None:
        """The last window that more than a third of this stake agrees about."""
        for window in sorted(self._heard, reverse=True):
            groups: dict[tuple[str | None, str], list[str]] = {}
            for signer, final in sorted(self._heard[window].items()):
                groups.setdefault((final.batch, final.version), []).append(signer)
            for (_, version), signers in groups.items():
                if sum(frozen.stakes.get(each, 0) for each in signers) * 3 > frozen.total:
                    return Target(window, version, tuple(signers))
        return None

    def forget(self, upto: int | None = None) -> None:
        """Drop what is about windows up to this one; everything by default."""
        self._heard = {} if upto is None else {k: v for k, v in self._heard.items() if k > upto}
