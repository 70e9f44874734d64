"""A neuron's part in keeping the Ledger true: a validator's seat in the council, a miner's proposals and its looks at
subnets that nobody asked it about.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ledger.canonical import canonical
from ledger.database import sqlite_url
from ledger.entry import Operation, SubnetEntry
from ledger.example_query import example_queries
from ledger.governance.rules import Rules
from ledger.probe import Call, Observation, Reply, unprobeable
from ledger.probe_history import SqlProbeHistory
from ledger.view import OperationRef
from neurons.folder import opening
from orchestra.chain import verify_signature
from orchestra.execution import LoopClock
from orchestra.governing.council import Council
from orchestra.governing.credits import CREDITS, CreditStore
from orchestra.governing.drafts import DraftStore
from orchestra.governing.judge import PROBE_TIMEOUT_S, LiveJudge
from orchestra.governing.noticing import DEAD, Noticed, Sample, fits
from orchestra.governing.proposing import Proposer
from orchestra.governing.sponsoring import OwnSeat, Sponsor
from orchestra.governing.store import GovernorStore
from orchestra.maintenance import Maintenance, SubnetCalls, Upkeep
from orchestra.subnets import Subnets
from orchestra.subnets.costs import worst_cost
from orchestra.validation.api import Budget

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from neurons.running import Neuron

logger = logging.getLogger(__name__)

MOST_RAO_AN_HOUR = 50_000_000
UPKEEP_EVERY_S = 600.0
UNPRICED_RAO = 100_000
"""What a call counts for when nobody knows its price, so that there is an end to those too."""


async def take_seat(neuron: Neuron, stack: AsyncExitStack) -> Council:
    """Open this validator's seat where it was left. It is closed with the stack."""
    path = neuron.settings.database("governance")
    with opening(path):
        store = await stack.enter_async_context(await GovernorStore.open(sqlite_url(path)))
    judge = LiveJudge(
        probing(neuron.subnets),
        neuron.subnets.usable,
        neuron.ledger.versions,
        asyncio.sleep,
        purse(neuron.settings.tao_usd),
    )
    return await Council.open(
        signer=neuron.signer,
        verify=verify_signature,
        rules=await rules_of(neuron),
        store=store,
        ledger=neuron.ledger,
        chain=neuron.chain,
        netuid=neuron.settings.netuid,
        slot=neuron.slot,
        peer=neuron.peer,
        judge=judge,
    )


async def sponsor(neuron: Neuron, council: Council, stack: AsyncExitStack) -> Sponsor:
    """What this validator holds and does for outsiders, where it was left. It is closed with the stack."""
    path = neuron.settings.database(CREDITS)
    with opening(path):
        store = await stack.enter_async_context(await CreditStore.open(sqlite_url(path)))
    own = OwnSeat(neuron.signer.ss58_address, council.on_message)
    return Sponsor(
        signer=neuron.signer,
        verify=verify_signature,
        rules=council.rules,
        ledger=neuron.ledger,
        slot=neuron.slot,
        store=store,
        governor=council.governor,
        seats=lambda: [own, *neuron.validators()],
    )


async def propose(neuron: Neuron, stack: AsyncExitStack) -> Proposer:
    """This node's proposals where they were left. They are closed with the stack."""
    path = neuron.settings.database("proposals")
    with opening(path):
        store = await stack.enter_async_context(await DraftStore.open(sqlite_url(path)))
    return Proposer(
        signer=neuron.signer,
        rules=await rules_of(neuron),
        ledger=neuron.ledger,
        slot=neuron.slot,
        store=store,
        validators=neuron.validators,
    )


@dataclass(frozen=True, slots=True)
class NoticingCalls:
    """Calls whose outcome is noticed, so that a look leads to a proposal as work does."""

    calls: Call
    noticed: Noticed

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], /) -> Reply:
        reply = await self.calls(ref, query)
        if reply.fault in DEAD:
            self.noticed.failed(ref.entry.id, canonical(query))
        elif reply.fault is None and reply.body is not None:
            await asyncio.to_thread(self.noticed.saw, ref, reply.body, query)
        return reply


async def upkeep(neuron: Neuron, noticed: Noticed, stack: AsyncExitStack, *, rao_an_hour: int) -> Maintenance:
    """The loop that looks at subnets between challenges, where its last looks left off."""
    path = neuron.settings.database("probes")
    with opening(path):
        history = await stack.enter_async_context(await SqlProbeHistory.open(sqlite_url(path)))
    rounds_an_hour = 3600 / UPKEEP_EVERY_S
    return Maintenance(
        neuron.subnets,
        NoticingCalls(probing(neuron.subnets), noticed),
        history,
        Upkeep(budget=int(rao_an_hour / rounds_an_hour), period_s=UPKEEP_EVERY_S),
        view=lambda: neuron.ledger.view,
        observed=_log_drift,
        utc=time.time,
        sleep=asyncio.sleep,
        tao_usd=neuron.settings.tao_usd,
    )


async def _log_drift(seen: Observation) -> None:
    if seen.difference is not None and seen.drifted:
        logger.info("%s answers otherwise than the Ledger says: %s", seen.operation, seen.difference.changes[0])


def probing(subnets: Subnets) -> SubnetCalls:
    """Single calls of live subnets, with this node's keys."""
    return SubnetCalls(subnets, clock=LoopClock(), tag=lambda: "0x" + secrets.token_hex(32), timeout_s=PROBE_TIMEOUT_S)


async def is_as_described(usable: Callable[[OperationRef], bool], call: Call, entry: SubnetEntry) -> bool | None:
    """Does an operation of a live subnet answer as its entry says? None: nothing that this node may ask, or no answer
    that tells.
    """
    refs = [OperationRef(entry, each) for each in entry.operations if unprobeable(each) is None]
    ref = next(filter(usable, refs), None)
    queries = example_queries(ref.operation) if ref else []
    if ref is None or not queries:
        return None
    reply = await call(ref, queries[0])
    if reply.fault is None and reply.body is not None:
        return await asyncio.to_thread(fits, ref.operation, [Sample(reply.body)])
    return False if reply.fault in DEAD else None


def purse(tao_usd: Decimal, clock: Callable[[], float] = time.monotonic) -> Callable[[Operation], bool]:
    """May one more call of an operation be paid for in the hour that runs? If so, it is."""
    budget = Budget(MOST_RAO_AN_HOUR, clock)
    return lambda operation: budget.take(worst_cost(operation, tao_usd) or UNPRICED_RAO)


async def rules_of(neuron: Neuron) -> Rules:
    """The protocol's numbers on this subnet: they follow from its tempo."""
    sight = neuron.watch.sight or await neuron.watch.refresh()
    return Rules.for_tempo(sight.members.tempo)
