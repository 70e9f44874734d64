"""A whole `Orchestrator` whose subnets are scripted: `ledger_with` some capabilities, and a `ScriptedCaller`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from ledger.view import LedgerView
from orchestra.orchestrator import Orchestrator
from orchestra.planning import RetrievalPlanner
from orchestra.routing import LocalReputation
from tests.fakes.caller import Reply, ScriptedCaller
from tests.fakes.ledgers import ledger_with

NOTHING: Mapping[str, Iterable[Reply]] = {}


class StillClock:
    """Time that does not pass while one looks, and sleeps that nobody should need."""

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody scripted a sleep of {seconds} s")


def orchestrator(
    capabilities: Iterable[str] = (),
    script: Mapping[str, Iterable[Reply]] = NOTHING,
    *,
    view: LedgerView | None = None,
) -> Orchestrator:
    """Salts are zero; every operation is usable and costs up to 1000 rao."""
    ledger = view or ledger_with(capabilities)
    reputation = LocalReputation(lambda: 0.0)
    return Orchestrator(
        ledger=lambda: ledger,
        planner=RetrievalPlanner(),
        caller=ScriptedCaller(script),
        reputation=reputation,
        learn=reputation.observe,
        clock=StillClock(),
        usable=lambda _: True,
        dice=lambda: bytes(32),
        tao_usd=Decimal(300),
        unpriced_ceiling=1000,
    )
