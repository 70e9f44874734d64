"""The loop that keeps the Ledger true while nobody asks: it looks at the operations where a look is worth most.

A node finds out that a subnet changed when a call fails, or by looking. Looks cost rao and patience, so each round
spends a budget by `ledger.probe_plan`, asks one operation after the other by `ledger.probe`, and hands what it saw to
whoever turns that into proposals. It calls nothing that this node may not call anyway, and nothing of unknown price
unless the operator said what that may cost.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from ledger.entry import Operation
from ledger.probe import (
    DEFAULT_INTERVAL_S,
    Call,
    Fault,
    NotProbed,
    Observation,
    ProbeHistory,
    Reply,
    probe,
    unprobeable,
)
from ledger.probe_plan import Prospect, plan
from ledger.view import LedgerView, OperationRef
from orchestra.execution.clock import Clock
from orchestra.execution.run import Answer, CallFailed
from orchestra.protocol import ErrorKind
from orchestra.subnets.costs import worst_cost

logger = logging.getLogger(__name__)

_FAULTS: dict[ErrorKind, Fault] = {
    "timeout": "timeout",
    "unreachable": "unreachable",
    "throttled": "throttled",
    "out_of_credit": "out_of_credit",
    "auth": "auth",
    "refused": "refused",
    "fault": "fault",
    "malformed": "malformed",
    "schema_mismatch": "refused",
}
"""What a failed call is to a probe. A mismatch without an answer is one of the query: nothing was sent."""


class ProbedSubnets(Protocol):
    """The part of `orchestra.subnets.Subnets` that looks at operations."""

    def usable(self, ref: OperationRef) -> bool: ...

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer: ...


class SubnetCalls:
    """`ledger.probe.Call` over this node's subnets. `tag` gives the tag of a call to a provider that signs receipts."""

    def __init__(self, subnets: ProbedSubnets, *, clock: Clock, tag: Callable[[], str], timeout_s: float) -> None:
        self._subnets = subnets
        self._clock = clock
        self._tag = tag
        self._timeout_s = timeout_s

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], /) -> Reply:
        began = self._clock.now()
        try:
            answer = await self._subnets.call(ref, query, tag=self._tag(), timeout_s=self._timeout_s)
        except CallFailed as failed:
            return _reply(failed, self._since(began))
        return Reply(self._since(began), answer.status, answer.body, cost=answer.cost)

    def _since(self, began: float) -> int:
        return round((self._clock.now() - began) * 1000)


def _reply(failed: CallFailed, latency_ms: int) -> Reply:
    """A failed call as a probe sees it: an answer in an unexpected shape is what it looks for."""
    kind, status = failed.error.kind, failed.error.status
    answered = kind == "schema_mismatch" and failed.body is not None
    fault = None if answered else _FAULTS.get(kind, "fault")
    return Reply(latency_ms, status, failed.body, fault, failed.retry_after_s, failed.cost)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How much a node looks. `budget` rao and `most` operations a round, a round every `period_s`; no operation more
    often than every `least_s`. `unpriced` is what a call of unknown price is taken to cost, in rao; None: none is made.
    """

    budget: int
    most: int = 8
    period_s: float = 600.0
    least_s: float = DEFAULT_INTERVAL_S
    unpriced: int | None = None


class Maintenance:
    """One node's upkeep of the Ledger that `view` gives.

    `observed` takes what was seen. `demand` says how often an operation is called, in calls a day; `known` gives
    queries of it that answered before. `tao_usd`: dollars for one TAO; without it prices in USD are not known. `utc`
    gives seconds since 1970.
    """

    def __init__(
        self,
        subnets: ProbedSubnets,
        call: Call,
        history: ProbeHistory,
        upkeep: Upkeep,
        *,
        view: Callable[[], LedgerView],
        observed: Callable[[Observation], Awaitable[None]],
        utc: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        demand: Callable[[OperationRef], float] = lambda _: 0.0,
        known: Callable[[OperationRef], Sequence[Mapping[str, Any]]] = lambda _: (),
        tao_usd: Decimal | None = None,
    ) -> None:
        self._subnets = subnets
        self._call = call
        self._history = history
        self._upkeep = upkeep
        self._view = view
        self._observed = observed
        self._utc = utc
        self._sleep = sleep
        self._demand = demand
        self._known = known
        self._tao_usd = tao_usd
        self._unaskable: dict[str, Operation] = {}

    async def run(self) -> None:
        """Round after round, until cancelled."""
        while True:
            await self.round()
            await self._sleep(self._upkeep.period_s)

    async def round(self) -> list[Observation]:
        """One round: plan, look, hand on. Returns what was seen, in the order of looking."""
        refs = {ref.name: ref for ref in self._askable()}
        now = self._utc()
        prospects = [one for ref in refs.values() if (one := await self._prospect(ref, now)) is not None]
        seen: list[Observation] = []
        for each in plan(prospects, budget=self._upkeep.budget, most=self._upkeep.most):
            if (observation := await self._look(refs[each.name])) is not None:
                await self._observed(observation)
                seen.append(observation)
        return seen

    def _askable(self) -> list[OperationRef]:
        entries = [entry for entry in self._view().entries.values() if entry.status != "deprecated"]
        refs = [OperationRef(entry, each) for entry in entries for each in entry.operations]
        return [ref for ref in refs if unprobeable(ref.operation) is None and self._subnets.usable(ref)]

    async def _prospect(self, ref: OperationRef, now: float) -> Prospect | None:
        """What a look at it is worth; None when it costs nobody knows what, or it is too early."""
        cost = self._cost(ref.operation)
        if cost is None or (self._unaskable.get(ref.name) is ref.operation and not self._known(ref)):
            return None
        record = await self._history.read(ref.name)
        if record is None:
            return Prospect(ref.name, self._demand(ref), cost)
        if now < record.not_before:
            return None
        age, watched = now - record.last_at, record.last_at - record.first_at
        return Prospect(ref.name, self._demand(ref), cost, age, record.drifts, watched)

    def _cost(self, operation: Operation) -> int | None:
        price = operation.price
        if price is None or (price.currency == "USD" and self._tao_usd is None):
            return self._upkeep.unpriced
        return worst_cost(operation, self._tao_usd)

    async def _look(self, ref: OperationRef) -> Observation | None:
        try:
            return await probe(
                ref,
                self._call,
                self._history,
                clock=self._utc,
                sleep=self._sleep,
                known=self._known(ref),
                least_s=self._upkeep.least_s,
            )
        except NotProbed as reason:
            logger.debug("not looked at %s: %s", ref.name, reason)
            if reason.until is None:
                self._unaskable[ref.name] = ref.operation
            return None
