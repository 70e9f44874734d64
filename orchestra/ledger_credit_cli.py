"""`orchestra ledger credit` and `orchestra ledger credits`: what outsiders prepaid to a validator, in its own books.

How the money reached the operator is between the two; the chain knows nothing of it. The validator that runs on the
folder goes by these books at once. The command line mounts both beside the commands of `orchestra.ledger_cli`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from orchestra import flags, money
from orchestra.one_line import one_line_errors
from orchestra.wallet_cli import AsJson, Network, WalletHotkey, WalletName

if TYPE_CHECKING:
    from orchestra.governing.credits import Account, CreditStore

T = TypeVar("T")

CREDIT_EPILOG = "Example: orchestra ledger credit 5F... 0.001 --reference invoice-7 --data DIR"
CREDITS_EPILOG = "Example: orchestra ledger credits --netuid 2 --wallet.name bob --wallet.hotkey validator1"
_MOST_REFERENCE = 128


def credit_command(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The outsider's SS58 address.")],
    amount: Annotated[str, typer.Argument(metavar="TAO", help="How much it paid.")],
    reference: Annotated[
        str, typer.Option("--reference", help="Names the payment: the same one is credited once.")
    ] = "",
    back: Annotated[bool, typer.Option("--back", help="It was paid back: take it off what is free.")] = False,
    network: Network = "finney",
    netuid: flags.Netuid = 2,
    wallet_name: WalletName = "default",
    wallet_hotkey: WalletHotkey = "default",
    data: flags.DataDir = None,
) -> None:
    """Credit what an outsider prepaid to this validator, so that it can challenge entries of the Ledger.

    A challenge holds 0.0001 TAO of it until the validators have settled it; a false one loses half of that.
    """
    with one_line_errors():
        folder = _folder(data, network, netuid, f"{wallet_name}-{wallet_hotkey}")
        rao = _rao(amount)
        _check(address, reference)
        name = reference or secrets.token_hex(16)
        account = _with_store(folder, lambda store: _credited(store, address, rao, name, back=back))
        typer.echo(_line(account))


def credits_command(
    network: Network = "finney",
    netuid: flags.Netuid = 2,
    wallet_name: WalletName = "default",
    wallet_hotkey: WalletHotkey = "default",
    data: flags.DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what outsiders prepaid to this validator: free, held for open challenges, and lost."""
    with one_line_errors():
        folder = _folder(data, network, netuid, f"{wallet_name}-{wallet_hotkey}")
        accounts = _with_store(folder, lambda store: store.accounts())
        if as_json:
            typer.echo(json.dumps([_document(each) for each in accounts]))
            return
        for each in accounts:
            typer.echo(_line(each))
        if not accounts:
            typer.echo("nobody has prepaid anything: orchestra ledger credit ADDRESS TAO", err=True)


async def _credited(store: CreditStore, address: str, rao: int, reference: str, *, back: bool) -> Account:
    from orchestra.governing.credits import CreditRefused
    from orchestra.settings import SettingsError

    try:
        is_new = await (store.pay_back if back else store.pay_in)(address, rao, reference)
    except CreditRefused as error:
        raise SettingsError(f"{error}: see orchestra ledger credits") from None
    if not is_new:
        raise SettingsError(f"--reference {reference} was booked before, and nothing was booked now: name another")
    return await store.account(address)


def _with_store(folder: Path, use: Callable[[CreditStore], Coroutine[Any, Any, T]]) -> T:
    from ledger.database import sqlite_url
    from orchestra.governing.credits import CREDITS, CreditStore

    async def used() -> T:
        async with await CreditStore.open(sqlite_url(folder / f"{CREDITS}.sqlite")) as store:
            return await use(store)

    return asyncio.run(used())


def _folder(data: Path | None, network: str, netuid: int, hotkey: str) -> Path:
    from orchestra.settings import SettingsError, data_folder

    folder = data_folder(data, network=network, netuid=netuid, hotkey=hotkey)
    if not (folder / "governance.sqlite").exists():
        raise SettingsError(
            f"no validator of a council has its data in {folder}:"
            " name its folder with --data, or its network, netuid and wallet"
        )
    return folder


def _rao(amount: str) -> int:
    from ledger.types import RAO_PER_TAO
    from orchestra.settings import SettingsError, read_positive

    exact = read_positive(amount, "TAO", "0.001") * RAO_PER_TAO
    if exact != exact.to_integral_value() or exact > Decimal(2**62):
        raise SettingsError(f"{amount} TAO is no whole number of rao that there is: write for example 0.001")
    return int(exact)


def _check(address: str, reference: str) -> None:
    from orchestra.chain import is_address
    from orchestra.settings import SettingsError

    if not is_address(address):
        raise SettingsError(f"{address[:60]!r} is no SS58 address: 48 characters that begin with 5")
    if len(reference) > _MOST_REFERENCE or not reference.isprintable():
        raise SettingsError(f"--reference is at most {_MOST_REFERENCE} printable characters")


def _document(account: Account) -> dict[str, str]:
    return {
        "address": account.address,
        "free_rao": str(account.free),
        "held_rao": str(account.held),
        "lost_rao": str(account.lost),
    }


def _line(account: Account) -> str:
    free, held, lost = (money.tao(each) for each in (account.free, account.held, account.lost))
    return f"{account.address}  free {free}  held {held}  lost {lost}"
