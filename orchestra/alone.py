"""The whole pipeline in one process: no miner, no gateway, no chain. For one machine that calls subnets by itself.

The answer is sealed with a key made for the occasion, so that it can be checked for changes; nobody audited it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from ledger.view import LedgerView
from orchestra.chain import dev_signer, verify_signature
from orchestra.execution import LoopClock
from orchestra.gateway.backend import Emit, LocalBackend
from orchestra.gateway.messages import ObjectiveRequest
from orchestra.ledger_node import read_seed
from orchestra.local_files import read_local_network
from orchestra.orchestrator import Orchestrator
from orchestra.planning import RetrievalPlanner
from orchestra.routing import LocalReputation
from orchestra.settings import SettingsError, read_rate, read_secrets
from orchestra.subnets import Secret, Subnets
from orchestra.transport import OutboundClient


async def answer_alone(
    request: ObjectiveRequest, emit: Emit, *, ledger_seed: Path | None, keys: Path | None, tao_usd: str
) -> dict[str, Any]:
    """Answer from the Ledger in a seed file with the keys in a keys file; both default to the local network's.

    Raises:
        SettingsError: no Ledger, or a file that cannot be used.
    """
    known = read_local_network()
    seed = ledger_seed or (known.ledger_seed if known else None)
    if seed is None:
        raise SettingsError("no Ledger on this machine: pass --ledger.seed FILE, or start a network with: orchestra up")
    try:
        ledger = LedgerView(read_seed(seed.read_bytes()))
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot use {seed} as a Ledger seed: {error}") from None
    held = read_secrets(keys or (known.keys if known else None))
    async with local_backend(ledger, held, tao_usd=read_rate(tao_usd), allow_loopback=known is not None) as backend:
        return (await backend.answer(request, emit)).model_dump(mode="json")


@asynccontextmanager
async def local_backend(
    ledger: LedgerView, held: Mapping[str, Secret], *, tao_usd: Decimal, allow_loopback: bool
) -> AsyncGenerator[LocalBackend]:
    """A backend over one fixed Ledger, with every part open. `allow_loopback` where the subnets are on this machine."""
    signer = dev_signer("//" + secrets.token_hex(32))
    clock = LoopClock()
    reputation = LocalReputation(time.monotonic)
    async with OutboundClient(allow_loopback=allow_loopback) as outbound:
        subnets = Subnets(
            outbound,
            secrets=held,
            verify=verify_signature,
            signer=signer,
            allow_loopback=allow_loopback,
            tao_usd=tao_usd,
        )
        orchestrator = Orchestrator(
            ledger=lambda: ledger,
            planner=RetrievalPlanner(),
            caller=subnets,
            reputation=reputation,
            learn=reputation.observe,
            clock=clock,
            usable=subnets.usable,
            dice=lambda: secrets.token_bytes(32),
            tao_usd=tao_usd,
        )
        yield LocalBackend(orchestrator, signer)
