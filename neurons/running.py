"""What miner and validator have in common at start: settings checked, keys and chain at hand, databases open.

Whatever is missing ends the start with one line that says what to type next; nothing is half open afterwards.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ledger.database import sqlite_url
from ledger.store import LedgerConflict, LedgerCorrupt
from orchestra.chain import Chain, ChainError, NotRegistered, Signer, TxOutcome, load_signer, verify_signature
from orchestra.chain.networks import resolve
from orchestra.chain.watch import ChainLost, ChainWatch, Sight
from orchestra.execution import LoopClock
from orchestra.ledger_node import LedgerNode, LedgerRefused, read_seed
from orchestra.orchestrator import Orchestrator
from orchestra.peers import Peer, PeerFailed
from orchestra.planning import RetrievalPlanner
from orchestra.routing import LocalReputation
from orchestra.settings import NeuronSettings, SettingsError
from orchestra.subnets import Subnets
from orchestra.transport import (
    Address,
    MetagraphPolicy,
    OutboundClient,
    ServeError,
    SignedClient,
    SignedRequests,
    Snapshot,
    SqliteNonceStore,
)

logger = logging.getLogger(__name__)

SAID_IN_ONE_LINE = (ChainError, SettingsError, ServeError, ChainLost)
LEDGER_TROUBLE = (PeerFailed, LedgerRefused, LedgerConflict)

POLL_SHARE = 0.3
"""How much of a block passes between two looks at the chain."""


@dataclass(slots=True)
class Neuron:
    """One running neuron's parts, all open."""

    settings: NeuronSettings
    signer: Signer
    chain: Chain
    watch: ChainWatch
    client: SignedClient
    ledger: LedgerNode
    subnets: Subnets
    nonces: SqliteNonceStore
    trouble: str | None = None
    following: asyncio.Lock = field(default_factory=asyncio.Lock)

    def orchestrator(self) -> Orchestrator:
        """The pipeline with this node's keys and experience."""
        clock = LoopClock()
        reputation = LocalReputation(clock.now)
        return Orchestrator(
            ledger=lambda: self.ledger.view,
            planner=RetrievalPlanner(),
            caller=self.subnets,
            reputation=reputation,
            learn=reputation.observe,
            clock=clock,
            usable=self.subnets.usable,
            dice=lambda: secrets.token_bytes(32),
            tao_usd=self.settings.tao_usd,
        )

    def signed(self, *, validators_only: bool, max_body: int) -> SignedRequests:
        """Who may call: registered hotkeys, or only those of validators, by a metagraph of bounded age."""
        return SignedRequests(
            self_hotkey=self.signer.ss58_address,
            nonces=self.nonces,
            policy=MetagraphPolicy(
                source=self._snapshot,
                require_permit=validators_only,
                min_stake_rao=self.settings.validator_min_stake_rao if validators_only else 0,
            ),
            max_body=max_body,
        )

    def _snapshot(self) -> Snapshot | None:
        sight = self.watch.sight
        return None if sight is None else Snapshot(sight.members, sight.read_at)

    def peer(self, hotkey: str) -> Peer | None:
        """A neuron of our subnet as the metagraph has it now."""
        sight = self.watch.sight
        neuron = sight.members.by_hotkey(hotkey) if sight else None
        return Peer.of(neuron, self.client) if neuron else None

    async def catch_up(self) -> bool:
        """Bring the Ledger to where its committer is; is it there? Trouble is logged: an old Ledger is better than no
        answer. Whoever asks meanwhile waits for the same answer.
        """
        committer = self.settings.ledger_committer
        if committer == self.signer.ss58_address:
            return True
        source, sight = self.peer(committer), self.watch.sight
        if source is None or sight is None:
            return False
        async with self.following:
            try:
                await self.ledger.follow(source, committer=committer, verify=verify_signature, block=sight.block.number)
            except LEDGER_TROUBLE as error:
                logger.warning("the Ledger stays at %s: %s", self.ledger.view.version[:12], error)
                return False
        return True

    async def keep_published(self, address: Address, sight: Sight) -> None:
        """See that the chain has our address. A rate limit is waited out by the next blocks' attempts."""
        ip = self.settings.axon_external_ip or self.settings.axon_ip
        me = sight.members.by_hotkey(self.signer.ss58_address)
        if me is None or me.axon == f"{ip}:{address.port}":
            return
        try:
            outcome = await self.chain.serve(self.signer, self.settings.netuid, ip, address.port)
        except ChainError as error:
            outcome = TxOutcome(False, "connection", str(error), None, None)
        if outcome.ok:
            logger.info("published %s:%d on chain", ip, address.port)
        elif outcome.code != self.trouble:
            logger.warning("the chain did not take our address (%s): %s", outcome.code, outcome.message)
        self.trouble = outcome.code


@asynccontextmanager
async def started(settings: NeuronSettings) -> AsyncGenerator[Neuron]:
    """Open everything a neuron needs, and close it in reverse.

    Raises:
        ChainError, SettingsError: what is wrong and what to type next.
    """
    network = resolve(settings.network)
    signer = load_signer(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(await Chain.open(network))
        await _require_registration(chain, settings, signer)
        nonces = await stack.enter_async_context(SqliteNonceStore(settings.database("nonces")))
        ledger = await _open_ledger(settings)
        stack.push_async_callback(ledger.close)
        outbound = await stack.enter_async_context(OutboundClient(allow_loopback=network.local))
        client = await stack.enter_async_context(SignedClient(signer, allow_loopback=network.local))
        yield Neuron(
            settings=settings,
            signer=signer,
            chain=chain,
            watch=ChainWatch(chain, settings.netuid, poll_s=await chain.block_time_s() * POLL_SHARE),
            client=client,
            ledger=ledger,
            subnets=Subnets(
                outbound,
                secrets=settings.secrets,
                verify=verify_signature,
                signer=signer,
                allow_loopback=network.local,
                tao_usd=settings.tao_usd,
            ),
            nonces=nonces,
        )


async def _require_registration(chain: Chain, settings: NeuronSettings, signer: Signer) -> None:
    if (await chain.metagraph(settings.netuid)).by_hotkey(signer.ss58_address) is None:
        raise NotRegistered(chain.network, settings.netuid, signer.ss58_address)


async def _open_ledger(settings: NeuronSettings) -> LedgerNode:
    seed = ()
    if settings.ledger_seed is not None:
        try:
            seed = read_seed(settings.ledger_seed.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(f"cannot use {settings.ledger_seed} as a Ledger seed: {error}") from None
    try:
        return await LedgerNode.open(sqlite_url(settings.database("ledger")), seed=seed)
    except LedgerCorrupt as error:
        raise SettingsError(f"{error}; remove {settings.database('ledger')} to start from the seed") from None


def announce(role: str, hotkey: str, address: Address) -> None:
    """Say on stdout, in one JSON line, that this neuron serves: what a launcher waits for."""
    print(json.dumps({"role": role, "hotkey": hotkey, "url": address.url, "port": address.port}), flush=True)


def log_to_stderr(*, debug: bool) -> None:
    """One line a message, with time and level. What others log is only of interest when it is a warning."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    for name in ("orchestra", "neurons", "ledger"):
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.INFO)


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends by itself, or SIGTERM or SIGINT asks us to stop; then it is cancelled and awaited."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait({working, stopping})


@contextmanager
def one_line_errors() -> Generator[None]:
    """End the process as an operator expects: what we foresaw is one line on stderr and exit code 1."""
    try:
        yield
    except SAID_IN_ONE_LINE as error:
        raise SystemExit(f"orchestra: {error}") from None
    except BaseExceptionGroup as group:
        foreseen, unforeseen = group.split(SAID_IN_ONE_LINE)
        if unforeseen is not None or foreseen is None:
            raise
        raise SystemExit(f"orchestra: {_first(foreseen)}") from None


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return error  # pyright: ignore[reportUnknownVariableType]
