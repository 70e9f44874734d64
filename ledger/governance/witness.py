"""Every signed statement is looked at once: is it authentic, and does it contradict another by the same signer?"""

from __future__ import annotations

from collections import OrderedDict

from ledger.statements import Equivocation, Final, Seal, Verdict
from ledger.types import Verify

KEPT = 20_000


class Witness:
    """Remembers the first statement of each slot. `accused` has one proof for each validator that filled one twice."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
        self._seen: OrderedDict[tuple[str, str, str], Verdict | Seal | Final] = OrderedDict()
        self._news: list[tuple[Equivocation, bool]] = []
        self.accused: dict[str, Equivocation] = {}

    def saw(self, statement: Verdict | Seal | Final) -> bool:
        """Is it authentic? A contradiction to an earlier one adds its signer to `accused`."""
        slot = statement.slot
        known = self._seen.get(slot)
        if known is not None and (known is statement or known == statement):
            return True
        if not statement.is_signed(self._verify):
            return False
        if known is None:
            self._seen[slot] = statement
            if len(self._seen) > KEPT:
                self._seen.popitem(last=False)
        elif known.digest != statement.digest:
            self._accuse(Equivocation(first=known, second=statement), is_ours=True)
        return True

    def heard(self, proof: Equivocation) -> bool:
        """Take in somebody else's proof; False when it proves nothing."""
        if not proof.is_proven(self._verify):
            return False
        self._accuse(proof, is_ours=False)
        return True

    def news(self) -> list[tuple[Equivocation, bool]]:
        """Proofs since the last call, one for each culprit, and whether this node found it itself."""
        found, self._news = self._news, []
        return found

    def _accuse(self, proof: Equivocation, *, is_ours: bool) -> None:
        if proof.culprit not in self.accused:
            self.accused[proof.culprit] = proof
            self._news.append((proof, is_ours))
