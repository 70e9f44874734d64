"""A canary: a subnet of a validator's own whose answer changes shape on a secret schedule, to tell who keeps up.

It catches nobody unless everybody could have known: what a challenge met while the canary turned, or before a governed
Ledger could hear of it, says nothing about the miner.
"""

from __future__ import annotations

from typing import Protocol

from ledger.entry import SubnetEntry
from ledger.view import LedgerView
from orchestra.protocol import OrchestraResponse
from orchestra.validation.schedule import Tempo
from orchestra.validation.traps import CANARY_CAPABILITY

WINDOWS_BETWEEN_TURNS = 4
"""For how many windows of a governed Ledger a canary stays as it is: noticed, judged, final, and known for a while."""


class CanaryFailed(RuntimeError):
    """The canary did not change, or nobody knows whether it did."""


class Canary(Protocol):
    """The subnet, as its validator moves it."""

    async def change(self, *, drifted: bool) -> SubnetEntry:
        """Change the service and return the entry that describes it from now on.

        Raises:
            CanaryFailed: try again later.
        """
        ...


def may_turn(tempo: Tempo, window: int) -> bool:
    """May a canary turn in this tempo? `window` in blocks; 0 where a committer makes the change known at once."""
    return tempo.index % max(1, -(-WINDOWS_BETWEEN_TURNS * window // tempo.length)) == 0


def says_nothing(response: OrchestraResponse | None, *, before: LedgerView, now: LedgerView, governed: bool) -> bool:
    """Does an answer about the canary say nothing of its miner? So it is when the canary changed between the question
    (`before`) and the judgement (`now`), and when it answered in a shape that even a fresh governed Ledger lacks.
    """
    refs = before.operations(CANARY_CAPABILITY)
    if any(now.entry(ref.entry.id) != ref.entry for ref in refs):
        return True
    if not governed or response is None or response.ledger_version != now.version:
        return False
    names = {(ref.entry.id, ref.operation.name) for ref in refs}
    return any(
        (step.entry, step.operation) in names and step.error is not None and step.error.kind == "schema_mismatch"
        for step in response.task_pipeline
    )
