"""`scripts/subnet`: create, activate and configure the Orchestra subnet, on the test network or on a local chain.

Every command that changes something takes --dry-run, which prints the exact calls (pallet, function, arguments, and the
encoded bytes where the chain has metadata) and sends nothing; it is the same list of calls that a real run sends. Every
command may be run again: it sends only what the chain does not say yet.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra.wallet_cli import Network, WalletHotkey, WalletName, WalletPath, one_line_errors, somebody, tao

if TYPE_CHECKING:
    from orchestra.chain import Chain, Signer
    from orchestra.chain.calls import Call
    from orchestra.chain.owner import Rule

EPILOG = """The usual order on the test network: create, activate, configure, identity, status. Try each with --dry-run
first. The second way to pay 60/40 (two native mechanisms) is: mechanisms --split 60/40."""

app = typer.Typer(
    name="subnet", no_args_is_help=True, add_completion=False, rich_markup_mode=None, help=__doc__, epilog=EPILOG
)

Netuid = Annotated[
    int, typer.Option("--netuid", envvar="BT_NETUID", min=1, max=65535, help="The Orchestra subnet on that network.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the calls and send nothing.")]
DevKey = Annotated[
    str | None,
    typer.Option("--dev-key", metavar="URI", help="On a local chain: sign with a development key, as //Alice."),
]
Finney = Annotated[bool, typer.Option("--yes-i-mean-finney", help="Allow the main network, where this costs real TAO.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


if TYPE_CHECKING:
    Steps = Callable[[Chain], Awaitable[list[Call]]]
    Check = Callable[[Chain], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Run:
    """The options that every changing command shares."""

    network: str
    name: str
    hotkey: str
    path: str
    dev_key: str | None
    dry_run: bool
    finney: bool
    as_json: bool


@app.command()
def create(
    network: Network = "test",
    name: WalletName = "default",
    hotkey: WalletHotkey = "default",
    path: WalletPath = "~/.bittensor/wallets",
    another: Annotated[bool, typer.Option("--another", help="Even if this coldkey owns a subnet already.")] = False,
    dev_key: DevKey = None,
    dry_run: DryRun = False,
    yes_i_mean_finney: Finney = False,
    as_json: AsJson = False,
) -> None:
    """Register a new subnet owned by the wallet's coldkey. Its price is sunk: see it with --dry-run."""
    run = Run(network, name, hotkey, path, dev_key, dry_run, yes_i_mean_finney, as_json)

    async def steps(chain: Chain) -> list[Call]:
        from orchestra.chain import ChainError, calls

        owned = await chain.subnets_of(coldkey(run))
        if owned and not another:
            say(run, f"{coldkey(run)} already owns subnet {listed(owned)} (--another makes one more)")
            return []
        cost, balance = await chain.subnet_cost_rao(), await chain.balance_rao(coldkey(run))
        say(run, f"price {tao(cost)}, balance {tao(balance)} on {coldkey(run)}")
        if balance < cost and not run.dry_run:
            raise ChainError(f"Not enough: send {tao(cost - balance)} and the fee to coldkey {coldkey(run)}")
        return [calls.register_subnet(hotkey_address(run))]

    async def check(chain: Chain) -> dict[str, Any]:
        owned = await chain.subnets_of(coldkey(run))
        say(run, f"{coldkey(run)} now owns subnet {listed(owned)}")
        return {"owned": list(owned)}

    execute(run, steps, check)


@app.command()
def activate(
    netuid: Netuid,
    network: Network = "test",
    name: WalletName = "default",
    hotkey: WalletHotkey = "default",
    path: WalletPath = "~/.bittensor/wallets",
    dev_key: DevKey = None,
    dry_run: DryRun = False,
    yes_i_mean_finney: Finney = False,
    as_json: AsJson = False,
) -> None:
    """Start the subnet: staking, epochs and emission begin. Possible some time after create (the chain says when)."""
    run = Run(network, name, hotkey, path, dev_key, dry_run, yes_i_mean_finney, as_json)

    async def steps(chain: Chain) -> list[Call]:
        from orchestra.chain import owner

        return await owner.activation(chain, netuid)

    execute(run, steps)


@app.command()
def configure(
    netuid: Netuid,
    network: Network = "test",
    name: WalletName = "default",
    hotkey: WalletHotkey = "default",
    path: WalletPath = "~/.bittensor/wallets",
    profile: Annotated[
        str | None, typer.Option("--profile", help="public or local; by default what the network is.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Another value than the table's, repeatable."),
    ] = None,
    dev_key: DevKey = None,
    dry_run: DryRun = False,
    yes_i_mean_finney: Finney = False,
    as_json: AsJson = False,
) -> None:
    """Set the hyperparameters that Orchestra wants; the table with reasons is in docs/operators.md and in status."""
    run = Run(network, name, hotkey, path, dev_key, dry_run, yes_i_mean_finney, as_json)

    async def steps(chain: Chain) -> list[Call]:
        from orchestra.chain import owner

        table = rules(network, profile)
        wanted = {rule: wish.value for rule, wish in table.items()} | owner.settings(change or [])
        todo = await owner.configuration(chain, netuid, wanted)
        for rule, value in wanted.items():
            reason = table[rule].why if value == table[rule].value else "set on the command line"
            say(run, f"{rule} = {value}: {reason}")
        return todo

    execute(run, steps)


@app.command()
def mechanisms(
    netuid: Netuid,
    split: Annotated[
        str, typer.Option("--split", help="Percentages, first orchestration then Ledger; 100 for one mechanism.")
    ] = "60/40",
    network: Network = "test",
    name: WalletName = "default",
    hotkey: WalletHotkey = "default",
    path: WalletPath = "~/.bittensor/wallets",
    dev_key: DevKey = None,
    dry_run: DryRun = False,
    yes_i_mean_finney: Finney = False,
    as_json: AsJson = False,
) -> None:
    """Pay orchestration and Ledger work through two native mechanisms with this emission split."""
    run = Run(network, name, hotkey, path, dev_key, dry_run, yes_i_mean_finney, as_json)

    async def steps(chain: Chain) -> list[Call]:
        from orchestra.chain import owner

        return await owner.mechanisms(chain, netuid, owner.shares(split))

    execute(run, steps)


@app.command()
def identity(
    netuid: Netuid,
    subnet_name: Annotated[str | None, typer.Option("--subnet-name")] = None,
    description: Annotated[str | None, typer.Option("--description")] = None,
    subnet_url: Annotated[str, typer.Option("--subnet-url")] = "",
    github_repo: Annotated[str, typer.Option("--github-repo")] = "",
    subnet_contact: Annotated[str, typer.Option("--subnet-contact")] = "",
    discord: Annotated[str, typer.Option("--discord")] = "",
    logo_url: Annotated[str, typer.Option("--logo-url")] = "",
    network: Network = "test",
    name: WalletName = "default",
    hotkey: WalletHotkey = "default",
    path: WalletPath = "~/.bittensor/wallets",
    dev_key: DevKey = None,
    dry_run: DryRun = False,
    yes_i_mean_finney: Finney = False,
    as_json: AsJson = False,
) -> None:
    """Publish the subnet's name and links. Public for ever; an option left out clears its field."""
    run = Run(network, name, hotkey, path, dev_key, dry_run, yes_i_mean_finney, as_json)

    async def steps(chain: Chain) -> list[Call]:
        from orchestra.chain import owner

        links = {"subnet_url": subnet_url, "github_repo": github_repo, "subnet_contact": subnet_contact}
        given = {"subnet_name": subnet_name, "description": description}
        wanted = {**owner.IDENTITY, **{field: value for field, value in given.items() if value is not None}}
        return await owner.identity(chain, netuid, {**wanted, **links, "discord": discord, "logo_url": logo_url})

    execute(run, steps)


@app.command()
def status(netuid: Netuid, network: Network = "test", as_json: AsJson = False) -> None:
    """Show what the chain says of the subnet, and where it differs from what Orchestra wants. Needs no keys."""
    with one_line_errors():
        document = asyncio.run(_status(netuid, network))
        if as_json:
            typer.echo(json.dumps(document))
            return
        for key in ("network", "block", "spec", "netuid", "owner", "active", "neurons", "permits"):
            typer.echo(f"{key:9}{document[key]}")
        typer.echo(f"{'identity':9}{document['identity'] or 'none'}")
        split = "/".join(str(share) for share in document["mechanism_split"]) or "even"
        typer.echo(f"{'emission':9}{document['mechanisms']} mechanism(s), split {split}")
        for one in document["hyperparameters"]:
            mark = "" if one["value"] == one["wanted"] else f"  <- Orchestra wants {one['wanted']}"
            typer.echo(f"  {one['name']} = {one['value']}{mark}  ({one['why']})")


async def _status(netuid: int, network: str) -> dict[str, Any]:
    from orchestra.chain import Chain, owner

    async with await Chain.open(network) as chain:
        graph, chain_rules = await chain.metagraph(netuid), await chain.hyperparameters(netuid)
        table = rules(network, None)
        current = await owner.hyperparameters(chain, netuid, table)
        who: dict[str, Any] = await chain.subnet_state(netuid, "SubnetIdentitiesV3") or {}
        return {
            "network": network,
            "block": graph.block.number,
            "spec": await chain.spec_version(),
            "netuid": netuid,
            "owner": str(await chain.subnet_state(netuid, "SubnetOwner")),
            "active": await chain.subnet_state(netuid, "FirstEmissionBlockNumber") is not None,
            "neurons": len(graph.neurons),
            "permits": len(graph.permit_holders()),
            "identity": owner.text(who.get("subnet_name")),
            "mechanisms": chain_rules.mechanism_count,
            "mechanism_split": list(chain_rules.mechanism_split),
            "hyperparameters": [
                {"name": rule, "value": current[rule], "wanted": wish.value, "why": wish.why}
                for rule, wish in table.items()
            ],
        }


def execute(run: Run, steps: Steps, check: Check | None = None) -> None:
    """Work out the calls that are left, show or send them, and exit 1 when one was refused."""
    with one_line_errors():
        done = asyncio.run(_execute(run, steps, check))
    if run.as_json:
        typer.echo(json.dumps(done))
    elif not done:
        typer.echo("nothing to do: the chain says so already")
    if any(one.get("ok") is False for one in done):
        raise typer.Exit(1)


async def _execute(run: Run, steps: Steps, check: Check | None) -> list[dict[str, Any]]:
    from orchestra.chain import Chain

    local_key(run)  # refuses before anything is connected
    async with await Chain.open(run.network) as chain:
        await refuse_finney(run, chain)
        todo = await steps(chain)
        key = signer(run) if todo and not run.dry_run else None
        done = [await one(run, chain, call, key) for call in todo]
        if check is not None and done and all(each.get("ok") for each in done):
            done[-1] |= await check(chain)
    return done


async def one(run: Run, chain: Chain, call: Call, key: Signer | None) -> dict[str, Any]:
    """Show one call, and send it when there is a key to sign it with (a dry run has none)."""
    shown = await show(run, chain, call)
    if key is None:
        return {**shown, "sent": False}
    outcome = await chain.submit(call, key)
    if outcome.ok:
        say(run, f"    included in {outcome.block_hash}")
    else:
        advice = f"{outcome.remediation.rstrip('.')}, then" if outcome.remediation else "when that has passed,"
        say(run, f"    refused ({outcome.code}): {outcome.message.rstrip('.')}: {advice} run this again")
    return {**shown, "sent": True, "ok": outcome.ok, "code": outcome.code, "message": outcome.message}


async def show(run: Run, chain: Chain, call: Call) -> dict[str, Any]:
    """Print a call with its arguments and, where the chain has metadata, its encoding."""
    name = f"{call.pallet}.{call.function}"
    arguments = {argument: readable(value) for argument, value in call.args.items()}
    encoded = await chain.encode(call)
    say(run, f"{'would send' if run.dry_run else 'sending'}  {name}")
    for argument, value in arguments.items():
        say(run, f"    {argument} = {json.dumps(value, ensure_ascii=False)}")
    say(run, f"    encoded {encoded or '(this chain has no metadata to encode with)'}")
    return {"call": name, "args": arguments, "encoded": encoded}


async def refuse_finney(run: Run, chain: Chain) -> None:
    from orchestra.chain import ChainError

    if not run.finney and await chain.is_main():
        raise ChainError(f"{run.network} is the main network: practise with --network test, or add --yes-i-mean-finney")


def signer(run: Run) -> Signer:
    """The owner's coldkey, unlocked; on a local chain a development key will do."""
    from orchestra.chain import dev_signer, load_coldkey

    return load_coldkey(run.name, run.path, ask=somebody()) if local_key(run) is None else dev_signer(str(run.dev_key))


def coldkey(run: Run) -> str:
    from orchestra.chain import dev_signer, wallet_address

    key = local_key(run)
    return wallet_address("coldkey", run.name, run.hotkey, run.path) if key is None else dev_signer(key).ss58_address


def hotkey_address(run: Run) -> str:
    from orchestra.chain import dev_signer, wallet_address

    key = local_key(run)
    return wallet_address("hotkey", run.name, run.hotkey, run.path) if key is None else dev_signer(key).ss58_address


def local_key(run: Run) -> str | None:
    """The development key to sign with, if any. Raises ChainError where such a key is worth nothing."""
    from orchestra.chain import ChainError
    from orchestra.chain.networks import resolve

    if run.dev_key is not None and not resolve(run.network).local:
        raise ChainError(f"--dev-key is for local chains; {run.network} needs a wallet: pass --wallet.name")
    return run.dev_key


def rules(network: str, profile: str | None) -> Mapping[str, Rule]:
    from orchestra.chain import ChainError
    from orchestra.chain.networks import resolve
    from orchestra.chain.owner import PROFILES

    chosen = profile or ("local" if resolve(network).local else "public")
    if chosen not in PROFILES:
        raise ChainError(f"Unknown profile {chosen!r}: pass --profile {' or '.join(PROFILES)}")
    return PROFILES[chosen]


def readable(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def listed(netuids: Sequence[int]) -> str:
    return ", ".join(map(str, netuids)) or "none"


def say(run: Run, line: str) -> None:
    if not run.as_json:
        typer.echo(line)


if __name__ == "__main__":
    app(prog_name="scripts/subnet")
