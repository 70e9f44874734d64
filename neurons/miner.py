"""The miner: `python neurons/miner.py --netuid N --network NAME --wallet.name NAME --wallet.hotkey KEY`.

Opens its keys, its Ledger and its chain; publishes its address; answers challenges until it is stopped. SIGTERM lets
the challenges in hand finish and exits 0; started again, it goes on where it was.
"""

try:
    import typer

    import orchestra as _installed
except ModuleNotFoundError:
    raise SystemExit(
        "orchestra is not installed for this Python: run ./scripts/demo once, then .venv/bin/python"
    ) from None

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from neurons.folder import opening
from neurons.governing import propose, upkeep
from neurons.running import Neuron, announce, listen, log_to_stderr, one_line_errors, start, started, until_stopped
from orchestra import flags
from orchestra import settings as options
from orchestra.chain.watch import Sight
from orchestra.execution import SubnetCaller
from orchestra.governing.proposing import Proposer
from orchestra.maintenance import Maintenance
from orchestra.mining.api import create_app
from orchestra.mining.service import Miner
from orchestra.proofs import SqliteEvidence
from orchestra.protocol import MAX_REQUEST_BYTES
from orchestra.transport import Address, run
from orchestra.wallet_cli import Network, WalletHotkey, WalletName, WalletPath

assert _installed

MostAtOnce = Annotated[
    int, typer.Option("--challenges.at-once", min=1, max=1024, help="Challenges answered at the same time.")
]


DRAIN_S = 35.0
"""How long a stopped miner goes on with what it has in hand: a challenge's time and the way there and back."""

MaxCost = Annotated[
    str,
    typer.Option("--challenge.max-cost", help="Most to spend on one challenge, in TAO, whatever is allowed."),
]

UpkeepCost = Annotated[
    str,
    typer.Option(
        "--upkeep.max-cost",
        help="Most to spend on looking at subnets for the Ledger's sake, in TAO an hour; 0: only at free ones.",
    ),
]


def command(caller_of: Callable[[Neuron], SubnetCaller]) -> Callable[..., None]:
    """The command line of a miner that reaches subnets through `caller_of` its parts."""

    def main(
        netuid: flags.Netuid = 2,
        network: Network = "finney",
        wallet_name: WalletName = "default",
        wallet_hotkey: WalletHotkey = "default",
        wallet_path: WalletPath = "~/.bittensor/wallets",
        axon_ip: flags.AxonIp = flags.EVERY_ADDRESS,
        axon_external_ip: flags.AxonExternalIp = "",
        axon_port: flags.AxonPort = 8091,
        data: flags.DataDir = None,
        ledger_seed: flags.LedgerSeed = None,
        ledger_committer: flags.LedgerCommitter = "",
        ledger_follow: flags.LedgerFollow = True,
        keys: flags.KeysFile = None,
        tao_usd: flags.TaoUsd = flags.DEFAULT_TAO_USD,
        min_stake: flags.MinStake = flags.DEFAULT_MIN_STAKE,
        most_at_once: MostAtOnce = 8,
        max_cost: MaxCost = "0.05",
        upkeep_cost: UpkeepCost = "0.0001",
        debug: flags.Debug = False,
    ) -> None:
        """Mine on Orchestra: answer objectives through the other subnets, with proof."""
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
            looks = options.read_cost(upkeep_cost, "--upkeep.max-cost", "0.0001", or_nothing=True)
            run(mine(settings, most_at_once, options.read_cost(max_cost), looks, caller_of))

    return main


async def mine(
    settings: options.NeuronSettings,
    most_at_once: int,
    most_cost: int,
    upkeep_cost: int,
    caller_of: Callable[[Neuron], SubnetCaller],
) -> None:
    """Run one miner until it is told to stop."""
    async with AsyncExitStack() as stack:
        neuron = await stack.enter_async_context(started(settings))
        evidence = await stack.enter_async_context(await evidence_store(settings))
        await neuron.watch.refresh()
        miner = Miner(
            signer=neuron.signer,
            orchestrator=replace(neuron.orchestrator(), caller=caller_of(neuron), most_cost=most_cost),
            ledger=neuron.ledger,
            evidence=evidence,
            catch_up=neuron.catch_up if settings.ledger_follow else None,
            most_at_once=most_at_once,
        )
        proposer, maintenance = None, None
        if settings.governed:
            proposer = await propose(neuron, stack)
            miner.notice = proposer.noticed.take
            maintenance = await upkeep(neuron, proposer.noticed, stack, rao_an_hour=upkeep_cost)
        signed = neuron.signed(validators_only=True, max_body=MAX_REQUEST_BYTES)
        app = create_app(miner, signed, ready=lambda: neuron.watch.sight is not None)
        address = await listen(stack, app, settings.axon_ip, settings.axon_port, "--axon.port", drain_s=DRAIN_S)
        announce("miner", neuron.signer.ss58_address, address)
        blocks = neuron.watch.run(partial(on_block, neuron, address, proposer))
        await until_stopped(beside(maintenance, blocks) if maintenance else blocks)


async def beside(maintenance: Maintenance, work: Coroutine[Any, Any, None]) -> None:
    """Do the miner's work, and look after the Ledger beside it."""
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(maintenance.run())
        await work
        looking.cancel()


async def on_block(neuron: Neuron, address: Address, proposer: Proposer | None, sight: Sight) -> None:
    """Keep the address published and the Ledger up to date, propose what differs from it, and fix that on chain."""
    await neuron.keep_published(address, sight)
    if proposer is not None:
        await neuron.catch_up()
        await proposer.on_block(sight.members)
        await neuron.slot.keep(sight.members)


async def evidence_store(settings: options.NeuronSettings) -> SqliteEvidence:
    """Where the bytes behind this miner's answers are kept.

    Raises:
        SettingsError: the file cannot be used.
    """
    path = settings.database("evidence")
    with opening(path):
        return await SqliteEvidence.open(
            path, now_ms=lambda: time.time_ns() // 1_000_000, marker=options.transaction_marker()
        )


def honest(neuron: Neuron) -> SubnetCaller:
    """Calls the subnets."""
    return neuron.subnets


main = command(honest)

if __name__ == "__main__":
    start(main)
