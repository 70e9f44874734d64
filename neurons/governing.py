"""A neuron's part in governing the Ledger: a validator's seat in the council, a miner's proposals."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from ledger.database import sqlite_url
from ledger.entry import Operation
from ledger.governance.rules import Rules
from neurons.folder import opening
from orchestra.chain import verify_signature
from orchestra.execution import LoopClock
from orchestra.governing.council import Council
from orchestra.governing.drafts import DraftStore
from orchestra.governing.judge import LiveJudge
from orchestra.governing.proposing import Proposer
from orchestra.governing.store import GovernorStore
from orchestra.maintenance import SubnetCalls
from orchestra.subnets.costs import worst_cost
from orchestra.validation.api import Budget

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from neurons.running import Neuron

PROBE_TIMEOUT_S = 10.0
MOST_RAO_AN_HOUR = 50_000_000
UNPRICED_RAO = 100_000
"""What a call counts for when nobody knows its price, so that there is an end to those too."""


async def take_seat(neuron: Neuron, stack: AsyncExitStack) -> Council:
    """Open this validator's seat where it was left. It is closed with the stack."""
    path = neuron.settings.database("governance")
    with opening(path):
        store = await stack.enter_async_context(await GovernorStore.open(sqlite_url(path)))
    calls = SubnetCalls(
        neuron.subnets, clock=LoopClock(), tag=lambda: "0x" + secrets.token_hex(32), timeout_s=PROBE_TIMEOUT_S
    )
    judge = LiveJudge(
        calls, neuron.subnets.usable, neuron.ledger.versions, asyncio.sleep, purse(neuron.settings.tao_usd)
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


def purse(tao_usd: Decimal, clock: Callable[[], float] = time.monotonic) -> Callable[[Operation], bool]:
    """May one more call of an operation be paid for in the hour that runs? If so, it is."""
    budget = Budget(MOST_RAO_AN_HOUR, clock)
    return lambda operation: budget.take(worst_cost(operation, tao_usd) or UNPRICED_RAO)


async def rules_of(neuron: Neuron) -> Rules:
    """The protocol's numbers on this subnet: they follow from its tempo."""
    sight = neuron.watch.sight or await neuron.watch.refresh()
    return Rules.for_tempo(sight.members.tempo)
