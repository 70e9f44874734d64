"""What miner and validator have in common at start: settings checked, keys and chain at hand, databases open.

Whatever is missing ends the start with one line that says what to type next; nothing is half open afterwards.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Any, cast

import typer
from sqlalchemy.exc import DatabaseError
from starlette.types import ASGIApp

from ledger.cosigning import CheckpointStore
from ledger.database import sqlite_url
from neurons.folder import alone_in, disk_trouble, opening
from neurons.following import follow_council, follow_ledger
from neurons.governing import is_as_described, probing
from neurons.notes import Notes
from neurons.turns import InTurn
from orchestra.anchoring import ChainSlot, OwnLog
from orchestra.chain import (
    Chain,
    ChainError,
    NotRegistered,
    Signer,
    TxOutcome,
    is_address,
    load_signer,
    verify_signature,
)
from orchestra.chain.networks import Network, resolve
from orchestra.chain.watch import ChainLost, ChainWatch, Sight
from orchestra.execution import LoopClock
from orchestra.governing.council import Council
from orchestra.ledger_bootstrap import Probe
from orchestra.ledger_copies import ledger_origin
from orchestra.ledger_node import LedgerNode, read_seed
from orchestra.orchestrator import Orchestrator
from orchestra.peers import Peer
from orchestra.planning import RetrievalPlanner
from orchestra.routing import LocalReputation
from orchestra.settings import NeuronSettings, SettingsError
from orchestra.subnets import Subnets
from orchestra.transport import (
    Address,
    MetagraphPolicy,
    NonceStoreFailed,
    OutboundClient,
    ServeError,
    SignedClient,
    SignedRequests,
    Snapshot,
    SqliteNonceStore,
    serving,
)

logger = logging.getLogger(__name__)

SAID_IN_ONE_LINE = (ChainError, SettingsError, ServeError, ChainLost)
DATABASE_TROUBLE = (sqlite3.Error, DatabaseError)

LOOPBACK = ip_address("127.0.0.1")
INSUFFICIENT = "insufficient_balance"
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
    slot: ChainSlot
    ledger: LedgerNode
    subnets: Subnets
    nonces: SqliteNonceStore
    checkpoints: CheckpointStore
    origin: str
    notes: Notes = field(default_factory=lambda: Notes(logger))
    was_published: bool = False
    following: InTurn[str] = field(default_factory=InTurn[str])
    probe: Probe | None = None
    council: Council | None = None

    def orchestrator(self) -> Orchestrator:
        """The pipeline with this node's keys and experience."""
        clock = LoopClock()
        reputation = LocalReputation(time.monotonic)
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
            nonces=NotedNonces(self.nonces, self.notes),
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
        answer.
        """
        if self.settings.ledger_committer == self.signer.ss58_address:
            return True
        if self.watch.sight is None:
            return False
        if self.council is not None:
            return await self._sit(self.council)
        sight = self.watch.sight
        trouble = await self.following(lambda: self._follow(sight))
        self.notes.trouble("ledger", trouble, over="the Ledger follows again")
        return not trouble

    async def _follow(self, sight: Sight) -> str:
        """What keeps the Ledger from where the network is; nothing when it is there."""
        if self.settings.governed:
            return await follow_council(self, sight)
        return await follow_ledger(self, self.settings.ledger_committer, sight)

    async def _sit(self, council: Council) -> bool:
        """What the council says of the new blocks; where the chain cannot be read the same ones come again."""
        try:
            is_there, trouble = await council.on_block(), ""
        except ChainError as error:
            is_there, trouble = False, f"the council waits for the chain: {error}"
        self.notes.trouble("council", trouble, over="the council goes on")
        return is_there

    def validators(self) -> list[Peer]:
        """Every other validator that serves."""
        sight = self.watch.sight
        rows = sight.members.validators(self.settings.validator_min_stake_rao) if sight else ()
        peers = (Peer.of(row, self.client) for row in rows if row.hotkey != self.signer.ss58_address)
        return [peer for peer in peers if peer is not None]

    async def keep_published(self, address: Address, sight: Sight) -> None:
        """See that the chain has our address. A rate limit is waited out by the next blocks' attempts.

        Where the chain had our address and now has another, a second neuron runs with our hotkey: the one that started
        last keeps it, because two that take it from each other pay for every turn and serve nobody.
        """
        ours = self.settings.published(address.port)
        me = sight.members.by_hotkey(self.signer.ss58_address)
        self.notes.trouble("uid", "" if me else self._lost_uid(), over="the hotkey is registered again")
        if me is None:
            return
        usurped = self.was_published and me.axon not in (ours, None)
        self.notes.trouble("twin", self._twin(me.axon, ours) if usurped else "", over=f"the chain has {ours} again")
        if me.axon == ours:
            self.was_published = True
        elif not usurped:
            await self._publish(address)

    def _lost_uid(self) -> str:
        settings = self.settings
        return str(NotRegistered(settings.network, settings.netuid, self.signer.ss58_address, settings.wallet_flags))

    @staticmethod
    def _twin(theirs: str | None, ours: str) -> str:
        return (
            f"the chain has {theirs} for our hotkey, no longer {ours}: a second neuron runs with it;"
            " stop one of the two, then start the other again"
        )

    async def _publish(self, address: Address) -> None:
        try:
            outcome = await self.chain.serve(
                self.signer, self.settings.netuid, self.settings.published_ip, address.port
            )
        except ChainError as error:
            outcome = TxOutcome(False, "connection", str(error), None, None)
        self.notes.trouble("publish", "" if outcome.ok else self._unpublished(outcome))
        if outcome.ok:
            logger.info("published %s on chain", self.settings.published(address.port))

    def _unpublished(self, outcome: TxOutcome) -> str:
        """Why the chain does not have our address; the SDK's advice goes on for longer than a line."""
        why = outcome.message.partition(". ")[0]
        if outcome.code == INSUFFICIENT:
            why = f"the coldkey cannot pay the fee: send it TAO (orchestra wallet show{self.settings.wallet_flags})"
        return f"the chain did not take our address ({outcome.code}), tried again with the next block: {why}"


class NotedNonces:
    """Nonces that tell the operator when they cannot be kept: until then the neuron refuses everybody, which is safe
    and looks like silence.
    """

    def __init__(self, nonces: SqliteNonceStore, notes: Notes) -> None:
        self._nonces, self._notes = nonces, notes

    @property
    def retention_s(self) -> float:
        return self._nonces.retention_s

    async def accept(self, hotkey: str, nonce_ns: int) -> bool:
        """As the store's own; what it raises is noted and raised."""
        try:
            fresh = await self._nonces.accept(hotkey, nonce_ns)
        except NonceStoreFailed as error:
            self._notes.trouble("nonces", f"every request is refused: {error}; make room if the disk is full")
            raise
        self._notes.trouble("nonces", "", over="requests are answered again")
        return fresh


@asynccontextmanager
async def started(settings: NeuronSettings) -> AsyncGenerator[Neuron]:
    """Open everything a neuron needs, and close it in reverse.

    Raises:
        ChainError, SettingsError: what is wrong and what to type next.
    """
    network = resolve(settings.network)
    signer = load_signer(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
    _require_usable(settings, network)
    async with AsyncExitStack() as stack:
        stack.enter_context(alone_in(settings))
        chain = await stack.enter_async_context(await Chain.open(network))
        await _require_registration(chain, settings, signer)
        with opening(settings.database("nonces")):
            nonces = await stack.enter_async_context(SqliteNonceStore(settings.database("nonces")))
        with opening(settings.database("anchors")):
            own = await stack.enter_async_context(await OwnLog.open(sqlite_url(settings.database("anchors"))))
        ledger = await _open_ledger(settings)
        stack.push_async_callback(ledger.close)
        with opening(settings.database("checkpoints")):
            checkpoints = await CheckpointStore.open(sqlite_url(settings.database("checkpoints")))
        await stack.enter_async_context(checkpoints)
        outbound = await stack.enter_async_context(OutboundClient(allow_loopback=network.local))
        client = await stack.enter_async_context(SignedClient(signer, allow_loopback=network.local))
        neuron = Neuron(
            settings=settings,
            signer=signer,
            chain=chain,
            watch=ChainWatch(chain, settings.netuid, poll_s=await chain.block_time_s() * POLL_SHARE),
            client=client,
            slot=ChainSlot(own, chain, signer, settings.netuid),
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
            checkpoints=checkpoints,
            origin=ledger_origin(settings.netuid, await chain.block_hash(0)),
        )
        neuron.probe = partial(is_as_described, neuron.subnets.usable, probing(neuron.subnets))
        yield neuron


def _require_usable(settings: NeuronSettings, network: Network) -> None:
    """Refuse what the settings alone cannot know to be wrong: whose hotkey it is, where others can reach us."""
    ip = ip_address(settings.published_ip)
    if network.local and ip == LOOPBACK:
        raise SettingsError("chains refuse to publish 127.0.0.1: pass --axon.ip 127.0.0.2, or any other in 127.0.0.0/8")
    if not network.local and ip.is_loopback:
        raise SettingsError(f"nobody on {settings.network} reaches {ip}: pass --axon.external_ip with your public IP")
    if settings.ledger_follow and not settings.governed and not is_address(settings.ledger_committer):
        raise SettingsError(
            f"{settings.ledger_committer!r} is no hotkey's address: pass the committer's, 48 characters that begin"
            " with 5: --ledger.committer 5..."
        )


async def _require_registration(chain: Chain, settings: NeuronSettings, signer: Signer) -> None:
    if (await chain.metagraph(settings.netuid)).by_hotkey(signer.ss58_address) is None:
        raise NotRegistered(chain.network, settings.netuid, signer.ss58_address, settings.wallet_flags)


async def _open_ledger(settings: NeuronSettings) -> LedgerNode:
    seed = ()
    if settings.ledger_seed is not None:
        try:
            seed = read_seed(settings.ledger_seed.read_bytes())
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]
            raise SettingsError(
                f"cannot use {settings.ledger_seed} as a Ledger seed ({why}): pass another with --ledger.seed"
            ) from None
    path = settings.database("ledger")
    with opening(path):
        return await LedgerNode.open(sqlite_url(path), seed=seed)


async def listen(
    stack: AsyncExitStack, app: ASGIApp, host: str, port: int, flag: str, *, drain_s: float = 10.0
) -> Address:
    """Serve `app` until the stack closes, then drain.

    Raises:
        SettingsError: nothing can listen there; `flag` chooses another port.
    """
    try:
        return await stack.enter_async_context(serving(app, host, port, drain_s=drain_s))
    except ServeError as error:
        raise SettingsError(f"{error} with {flag}") from None


def announce(role: str, hotkey: str, address: Address, gateway: Address | None = None) -> None:
    """Say on stdout, in one JSON line, that this neuron serves: what a launcher waits for."""
    line = {"role": role, "hotkey": hotkey, "url": address.url, "port": address.port}
    print(json.dumps(line | ({"gateway": gateway.url} if gateway else {})), flush=True)


def start(main: Callable[..., None]) -> None:
    """Run a neuron's command line. A traceback of ours is for our own mistakes, and then it is whole."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()


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
    except (Exception, BaseExceptionGroup) as error:
        line = _foreseen(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


def _foreseen(error: BaseException) -> str | None:
    """What to say of an error, if it is one of ours; the first of them when they come as a group."""
    if isinstance(error, BaseExceptionGroup):
        lines = [_foreseen(each) for each in cast("BaseExceptionGroup[BaseException]", error).exceptions]
        return None if None in lines else lines[0]
    if isinstance(error, DATABASE_TROUBLE) and (reason := disk_trouble(error)):
        return f"the databases cannot be used any more ({reason}): make room on the disk, then start again; it goes on"
    return str(error) if isinstance(error, SAID_IN_ONE_LINE) else None
