"""The validator: `python neurons/validator.py --netuid N --network NAME --wallet.name NAME --wallet.hotkey KEY`.

Opens its keys, its databases and its chain; challenges miners on the public schedule, audits and scores them, sets
weights once a tempo, serves the Ledger, and opens a gateway where it is asked to. SIGTERM exits 0 when what is under
way is written down; started again, it goes on where it was.
"""

try:
    import typer

    import orchestra as _installed
except ModuleNotFoundError:
    raise SystemExit(
        "orchestra is not installed for this Python: run ./scripts/demo once, then .venv/bin/python"
    ) from None

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

from starlette.types import ASGIApp

from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from neurons.folder import opening
from neurons.following import is_vouched_for, now_ms
from neurons.governing import sponsor, take_seat
from neurons.running import (
    Neuron,
    announce,
    listen,
    log_to_stderr,
    one_line_errors,
    start,
    started,
    until_stopped,
)
from neurons.turns import OneAtATime
from orchestra import flags
from orchestra import settings as options
from orchestra.chain import verify_signature
from orchestra.chain.watch import Sight
from orchestra.devnet.canary import CANARY_ENTRY, AtlasCanary
from orchestra.gateway.api import create_app as create_gateway
from orchestra.gateway.network import NetworkBackend
from orchestra.governing.sponsoring import Sponsor
from orchestra.ledger_copies import LedgerCopies
from orchestra.planning import RetrievalPlanner
from orchestra.protocol import MAX_GOVERNANCE_BYTES, MAX_REQUEST_BYTES
from orchestra.transport import Address, OutboundClient, run
from orchestra.validation.api import ValidatorServices, create_app
from orchestra.validation.auditing import Auditor
from orchestra.validation.chain_weights import ChainWeights
from orchestra.validation.challenges import load_domains
from orchestra.validation.store import ValidationStore
from orchestra.validation.validator import Validator
from orchestra.validation.weights import WeightSetter
from orchestra.wallet_cli import Network, WalletHotkey, WalletName, WalletPath

assert _installed

GatewayPort = Annotated[
    int, typer.Option("--gateway.port", min=-1, max=65535, help="Serve a gateway on this port of 127.0.0.1; -1: none.")
]
CanaryControl = Annotated[
    str, typer.Option("--canary.control", help="Control URL of the canary subnet, where this validator runs one.")
]
GATHERED_IN_A_TEMPO = 4

MaxCost = Annotated[str, typer.Option("--challenge.max-cost", help="Most a miner may spend on a challenge, in TAO.")]


def main(
    netuid: flags.Netuid = 2,
    network: Network = "finney",
    wallet_name: WalletName = "default",
    wallet_hotkey: WalletHotkey = "default",
    wallet_path: WalletPath = "~/.bittensor/wallets",
    axon_ip: flags.AxonIp = flags.EVERY_ADDRESS,
    axon_external_ip: flags.AxonExternalIp = "",
    axon_port: flags.AxonPort = 8092,
    data: flags.DataDir = None,
    ledger_seed: flags.LedgerSeed = None,
    ledger_committer: flags.LedgerCommitter = "",
    ledger_follow: flags.LedgerFollow = True,
    keys: flags.KeysFile = None,
    tao_usd: flags.TaoUsd = flags.DEFAULT_TAO_USD,
    min_stake: flags.MinStake = flags.DEFAULT_MIN_STAKE,
    gateway_port: GatewayPort = -1,
    canary_control: CanaryControl = "",
    max_cost: MaxCost = "0.01",
    debug: flags.Debug = False,
) -> None:
    """Validate on Orchestra: challenge miners, audit their proofs, score them, set weights."""
    log_to_stderr(debug=debug)
    with one_line_errors():
        settings = options.neuron_settings(
            netuid=netuid,
            network=network,
            wallet=(wallet_name, wallet_hotkey, wallet_path),
            axon=(axon_ip, axon_external_ip, axon_port),
            data=data,
            ledger_seed=ledger_seed,
            ledger_committer=ledger_committer,
            ledger_follow=ledger_follow,
            keys=keys,
            tao_usd=tao_usd,
            min_stake=min_stake,
        )
        run(
            validate(
                settings, gateway_port=gateway_port, canary_control=canary_control, max_cost=options.read_cost(max_cost)
            )
        )


async def validate(settings: options.NeuronSettings, *, gateway_port: int, canary_control: str, max_cost: int) -> None:
    """Run one validator until it is told to stop."""
    async with AsyncExitStack() as stack:
        neuron = await stack.enter_async_context(started(settings))
        store = await stack.enter_async_context(await validation_store(settings))
        await neuron.watch.refresh()
        sponsoring = None
        if settings.governed:
            neuron.council = await take_seat(neuron, stack)
            sponsoring = await sponsor(neuron, neuron.council, stack)
        validator = build(neuron, store, max_cost)
        if canary_control:
            http = await stack.enter_async_context(OutboundClient(allow_loopback=True))
            validator.canary = AtlasCanary(canary_control, partial(first_entry, neuron, CANARY_ENTRY), http)
        copies = LedgerCopies(neuron.ledger, neuron.checkpoints, neuron.signer, neuron.origin, now_ms=now_ms)
        address = await listen(
            stack, app(neuron, validator, copies, sponsoring), settings.axon_ip, settings.axon_port, "--axon.port"
        )
        gateway = None
        if gateway_port >= 0:
            door = create_gateway(NetworkBackend(validator))
            gateway = await listen(stack, door, "127.0.0.1", gateway_port, "--gateway.port")
        announce("validator", neuron.signer.ss58_address, address, gateway)
        work = validator.run(partial(follow, neuron, address, copies, sponsoring))
        await until_stopped(work if neuron.council is None else neuron.council.run(work))


async def validation_store(settings: options.NeuronSettings) -> ValidationStore:
    """Where scores, challenges and weight attempts are kept.

    Raises:
        SettingsError: the file cannot be used.
    """
    path = settings.database("validation")
    with opening(path):
        return await ValidationStore.open(sqlite_url(path), marker=options.transaction_marker())


def build(neuron: Neuron, store: ValidationStore, max_cost: int) -> Validator:
    """The validator's parts over one neuron."""
    settings = neuron.settings
    return Validator(
        signer=neuron.signer,
        netuid=settings.netuid,
        chain=neuron.chain,
        store=store,
        slot=neuron.slot,
        window=neuron.council.rules.window if neuron.council else 0,
        ledger=neuron.ledger,
        catch_up=neuron.catch_up,
        peer=neuron.peer,
        planner=RetrievalPlanner(),
        auditor=Auditor(
            me=neuron.signer.ss58_address,
            verify=verify_signature,
            replay=neuron.subnets,
            metagraph=neuron.chain.metagraph,
            others=neuron.validators,
            tao_usd=settings.tao_usd,
        ),
        setter=WeightSetter(store, ChainWeights(neuron.chain, neuron.signer, settings.netuid)),
        verify=verify_signature,
        domains=load_domains(),
        tao_usd=settings.tao_usd,
        max_cost=max_cost,
        min_stake_rao=settings.validator_min_stake_rao,
    )


def app(neuron: Neuron, validator: Validator, copies: LedgerCopies, sponsoring: Sponsor | None) -> ASGIApp:
    """What this validator serves to other neurons, and to outsiders."""
    services = ValidatorServices(
        signer=neuron.signer,
        ledger=neuron.ledger,
        copies=copies,
        caller=neuron.subnets,
        catch_up=neuron.catch_up,
        opened_seeds=validator.opened_seeds,
        govern=neuron.council.on_message if neuron.council else None,
        sponsor=sponsoring,
        tao_usd=neuron.settings.tao_usd,
    )
    return create_app(
        services,
        members=neuron.signed(validators_only=False, max_body=MAX_REQUEST_BYTES),
        validators=neuron.signed(validators_only=True, max_body=MAX_REQUEST_BYTES),
        governing=neuron.signed(validators_only=False, max_body=MAX_GOVERNANCE_BYTES),
        ready=lambda: neuron.watch.sight is not None,
    )


async def follow(
    neuron: Neuron,
    address: Address,
    copies: LedgerCopies,
    sponsoring: Sponsor | None,
    on_block: Callable[[Sight], Awaitable[None]],
) -> None:
    """Follow the chain: keep our address published, do the validator's work, and beside it gather the signatures of
    others under our checkpoint: a few times a tempo, and at every block while a governed Ledger lacks them. What
    outsiders had sponsored is seen to as well.
    """
    async with asyncio.TaskGroup() as group:
        gathering, escorting = OneAtATime(group), OneAtATime(group)

        async def all_of_it(sight: Sight) -> None:
            await neuron.keep_published(address, sight)
            await on_block(sight)
            is_beat = sight.block.number % max(1, sight.members.tempo // GATHERED_IN_A_TEMPO) == 0
            if is_beat or (neuron.council is not None and not await is_vouched_for(neuron, sight)):
                allowed = {each.hotkey for each in sight.members.validators(neuron.settings.validator_min_stake_rao)}
                gathering.begin(partial(copies.gather, neuron.validators(), allowed=allowed, verify=verify_signature))
            if sponsoring is not None:
                escorting.begin(partial(sponsoring.on_block, sight.members))

        await neuron.watch.run(all_of_it)


def first_entry(neuron: Neuron, entry_id: str) -> SubnetEntry:
    """An entry as this Ledger began with it."""
    return neuron.ledger.first(entry_id)


if __name__ == "__main__":
    start(main)
