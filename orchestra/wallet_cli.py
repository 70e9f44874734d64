"""`orchestra wallet` and `orchestra register`: from nothing to a registered hotkey, also where nobody can be asked.

The walk of a new miner begins here, so every command shows what it is about to use (files, cost, balance) before it
acts, does nothing twice, and ends a failure in one line that says what to type next. Words that recover a key are
printed only on request. Nothing of bittensor is imported before it is needed: `--help` stays instant. The command line
mounts it with `cli.add_typer(wallet_cli.app)`, which puts both commands at the top.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.types import RAO_PER_TAO
from orchestra import money

if TYPE_CHECKING:
    from orchestra.chain import Chain, WalletInfo

FEE_RESERVE_RAO = 1_000_000
"""What a transfer and a registration cost in fees at most, a thousandth of a TAO, kept on top of the price."""
PLAY_MONEY_RAO = RAO_PER_TAO
"""What --fund-from gives on top: on a local chain nobody should run out of fees."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise typer.BadParameter("letters, digits, '_', '-' and '.' only, beginning with a letter or digit")
    return value


WalletName = Annotated[
    str, typer.Option("--wallet.name", "--name", envvar="BT_WALLET", callback=_name, help="Wallet (coldkey) name.")
]
WalletHotkey = Annotated[
    str, typer.Option("--wallet.hotkey", "--hotkey", envvar="BT_WALLET_HOTKEY", callback=_name, help="Hotkey name.")
]
WalletPath = Annotated[
    str, typer.Option("--wallet.path", envvar="BT_WALLET_PATH", help="Folder that holds all wallets.")
]
Network = Annotated[
    str,
    typer.Option(
        "--network",
        "--subtensor.network",
        envvar="BT_NETWORK",
        help="finney, test, local, orchestra-local[:PORT] or a ws:// URL.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keys, and registering them on a subnet.")
wallet = typer.Typer(no_args_is_help=True, help="Create and show wallets (coldkey: money; hotkey: signs for a neuron).")
app.add_typer(wallet, name="wallet")


@wallet.command("new")
def new(
    name: WalletName = "default",
    hotkey: WalletHotkey = "default",
    path: WalletPath = "~/.bittensor/wallets",
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Leave the coldkey unencrypted: no prompt, for keys worth nothing.")
    ] = False,
    show_mnemonic: Annotated[
        bool, typer.Option("--show-mnemonic", help="Print the words that recover the keys. Nobody shows them again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a coldkey and a hotkey; where the coldkey exists, only the hotkey. Never overwrites."""
    with one_line_errors():
        from orchestra.chain import ChainError, create_wallet, list_wallets

        known = any(one.name == name and one.coldkey for one in list_wallets(path))
        password = None if no_password or known else _new_password()
        words: dict[str, str] = {}
        try:
            made = create_wallet(name, hotkey, path, password=password, on_mnemonic=words.__setitem__)
        except OSError as error:
            raise ChainError(f"Cannot write below {path} ({error.strerror}): choose another --wallet.path") from None
        mnemonics = words if show_mnemonic else {}
        if as_json:
            typer.echo(json.dumps({**_document(made), **({"mnemonic": mnemonics} if mnemonics else {})}))
            return
        _print_wallet(made)
        for role, phrase in mnemonics.items():
            typer.echo(f"{role} mnemonic  {phrase}")
        if not show_mnemonic:
            typer.echo(f"The only copy of these keys is below {path}: back it up.")


@wallet.command("show")
def show(
    name: WalletName = "default",
    path: WalletPath = "~/.bittensor/wallets",
    network: Annotated[str | None, typer.Option("--network", help="Also read the coldkey's balance there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a wallet's addresses, and with --network its balance."""
    with one_line_errors():
        from orchestra.chain import WalletMissing, list_wallets

        found = next((one for one in list_wallets(path) if one.name == name), None)
        if found is None:
            raise WalletMissing(f"No wallet {name!r} under {path}: run: orchestra wallet new --wallet.name {name}")
        document = _document(found)
        if network is not None and found.coldkey is not None:
            document["balance_rao"] = str(asyncio.run(_balance(network, found.coldkey)))
        if as_json:
            typer.echo(json.dumps(document))
            return
        _print_wallet(found)
        if "balance_rao" in document:
            typer.echo(f"balance  {tao(int(str(document['balance_rao'])))} on {network}")


@wallet.command("list")
def list_(path: WalletPath = "~/.bittensor/wallets", as_json: AsJson = False) -> None:
    """List the wallets on this machine."""
    with one_line_errors():
        from orchestra.chain import list_wallets

        found = list_wallets(path)
        if as_json:
            typer.echo(json.dumps([_document(one) for one in found]))
        elif not found:
            typer.echo(f"No wallets under {path}. Make one with: orchestra wallet new")
        else:
            for one in found:
                _print_wallet(one)


@app.command("register")
def register(
    netuid: Annotated[
        int, typer.Option("--netuid", envvar="BT_NETUID", min=0, max=65535, help="Subnet to register on.")
    ],
    network: Network = "finney",
    name: WalletName = "default",
    hotkey: WalletHotkey = "default",
    path: WalletPath = "~/.bittensor/wallets",
    fund_from: Annotated[
        str | None,
        typer.Option("--fund-from", metavar="URI", help="On a local chain: a development key, as //Alice, that pays."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending real money.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register a hotkey on a subnet: show its cost and the balance, pay, and check. Does nothing the second time."""
    with one_line_errors():
        document = asyncio.run(_register(netuid, network, name, hotkey, path, fund_from, yes, quiet=as_json))
        if as_json:
            typer.echo(json.dumps(document))
        else:
            typer.echo(f"registered  {document['hotkey']} holds uid {document['uid']} on subnet {netuid} of {network}")


async def _register(
    netuid: int, network: str, name: str, hotkey: str, path: str, fund_from: str | None, yes: bool, *, quiet: bool
) -> dict[str, str | int]:
    from orchestra.chain import Chain, ChainError, load_coldkey, load_signer
    from orchestra.chain.networks import resolve

    local = resolve(network).local
    if fund_from is not None and not local:
        raise ChainError(f"--fund-from is for local chains; {network} needs real money from a real coldkey")
    hot = load_signer(name, hotkey, path)
    async with await Chain.open(network) as chain:
        uid = await chain.uid(netuid, hot.ss58_address)
        if uid is None:
            await chain.require_subnet(netuid)
            cold = load_coldkey(name, path, ask=somebody())
            await _cover(chain, netuid, network, cold.ss58_address, fund_from, local=local, quiet=quiet)
            if not yes and (not local or await chain.is_main()):
                typer.confirm(f"Register {hot.ss58_address} on subnet {netuid} of {network}?", abort=True)
            outcome = await chain.register(cold, netuid, hotkey=hot.ss58_address)
            if not outcome.ok:
                hint = f": {outcome.remediation}" if outcome.remediation else ""
                raise ChainError(f"Not registered ({outcome.code}): {outcome.message}{hint}")
            uid = await chain.uid(netuid, hot.ss58_address)
    if uid is None:
        raise ChainError(f"The registration was included but {hot.ss58_address} has no uid: run the command again")
    return {"netuid": netuid, "network": network, "hotkey": hot.ss58_address, "uid": uid}


async def _cover(
    chain: Chain, netuid: int, network: str, coldkey: str, fund_from: str | None, *, local: bool, quiet: bool
) -> None:
    """Show price and balance; top the coldkey up from a development key when told to; raise when it is not enough."""
    from orchestra.chain import ChainError, dev_signer

    cost, balance = await chain.registration_cost_rao(netuid), await chain.balance_rao(coldkey)
    if not quiet:
        typer.echo(f"cost     {tao(cost)} to register on subnet {netuid} of {network}")
        typer.echo(f"balance  {tao(balance)} on {coldkey}")
    missing = cost + FEE_RESERVE_RAO - balance
    if missing <= 0:
        return
    if fund_from is None:
        hint = ", or add --fund-from //Alice" if local else ""
        raise ChainError(f"Not enough: send {tao(missing)} to coldkey {coldkey} on {network}{hint}")
    outcome = await chain.transfer(dev_signer(fund_from), coldkey, missing + PLAY_MONEY_RAO)
    if not outcome.ok:
        why = outcome.message.partition(". ")[0]
        raise ChainError(
            f"{fund_from} could not pay ({outcome.code}: {why}): on the network of orchestra up, use //Alice"
        )
    if not quiet:
        typer.echo(f"funded   {tao(missing + PLAY_MONEY_RAO)} from {fund_from}")


async def _balance(network: str, coldkey: str) -> int:
    from orchestra.chain import Chain

    async with await Chain.open(network) as chain:
        return await chain.balance_rao(coldkey)


@contextmanager
def one_line_errors() -> Generator[None]:
    """Turn a ChainError into its line on stderr and exit code 1; anything else is a bug and keeps its traceback."""
    from orchestra.chain.errors import ChainError

    try:
        yield
    except ChainError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _new_password() -> str:
    """The password for a new coldkey: BT_WALLET_PASSWORD, or asked for twice."""
    given = os.environ.get("BT_WALLET_PASSWORD")
    return given or typer.prompt("Password for the coldkey", hide_input=True, confirmation_prompt=True)


def somebody() -> Callable[[str], str] | None:
    """Who can be asked for a password: whoever sits at the terminal, if anybody does."""
    return partial(typer.prompt, hide_input=True, err=True) if sys.stdin.isatty() else None


def _document(info: WalletInfo) -> dict[str, object]:
    return {"name": info.name, "coldkey": info.coldkey, "hotkeys": dict(info.hotkeys)}


def _print_wallet(info: WalletInfo) -> None:
    typer.echo(f"wallet   {info.name}")
    typer.echo(f"coldkey  {info.coldkey or '(no public key file)'}")
    for hotkey, ss58 in info.hotkeys.items():
        typer.echo(f"hotkey   {ss58 or '(unreadable)'}  {hotkey}")


def tao(rao: int) -> str:
    """An amount for people: TAO, without zeros at the end."""
    return f"{money.tao(rao)} TAO"


if __name__ == "__main__":
    app(prog_name="orchestra")
