"""`orchestra ledger propose`: hand entries to a running node, which proposes what the Ledger does not say yet.

What only a subnet's owner may change (endpoint, auth, receipt key, netuid) takes the signature of the coldkey that owns
the netuid, made here with `--owner.wallet`; the node that carries it never sees that key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra import flags
from orchestra.ledger_cli import read_entries, safe
from orchestra.one_line import one_line_errors

if TYPE_CHECKING:
    from ledger.entry import SubnetEntry
    from ledger.types import Signer
    from ledger.view import LedgerView

EPILOG = "Example: orchestra ledger propose entry.json --netuid 2 --wallet.name alice --wallet.hotkey miner1"


def propose_command(
    entries: Annotated[Path, typer.Argument(metavar="FILE", help="Entries as they should be, in a seed file.")],
    netuid: flags.Netuid = 2,
    network: Annotated[str, typer.Option("--network", "--subtensor.network", envvar="BT_NETWORK")] = "finney",
    wallet_name: Annotated[str, typer.Option("--wallet.name", envvar="BT_WALLET", help="The node's.")] = "default",
    wallet_hotkey: Annotated[str, typer.Option("--wallet.hotkey", envvar="BT_WALLET_HOTKEY")] = "default",
    wallet_path: Annotated[
        str, typer.Option("--wallet.path", envvar="BT_WALLET_PATH", help="Where wallets are.")
    ] = "~/.bittensor/wallets",
    data: flags.DataDir = None,
    owner_wallet: Annotated[
        str, typer.Option("--owner.wallet", help="Wallet whose coldkey owns the netuid: signs what only it may change.")
    ] = "",
) -> None:
    """Let a miner propose these entries: new ones, and what differs in those that the Ledger has.

    The miner that runs on this folder does so with its next block; a proposal that validators deny costs half its bond.
    """
    with one_line_errors():
        from orchestra.settings import SettingsError, data_folder

        folder = data_folder(data, network=network, netuid=netuid, hotkey=f"{wallet_name}-{wallet_hotkey}")
        if not (folder / "ledger.sqlite").exists():
            raise SettingsError(f"no node's data in {folder}: name its folder with --data, or its network and wallet")
        wanted = read_entries(entries)
        signers = owner_of(owner_wallet, wallet_path) if owner_wallet else None
        shown, claims = asyncio.run(_hand_over(folder, wanted, network, netuid, signers))
        for line in shown:
            typer.echo(safe(line))
        if not claims:
            raise SettingsError("nothing to propose: the Ledger says all of this, or what differs cannot be proposed")
        typer.echo(f"{claims} proposals are with the node in {folder}; its log says what becomes of them")


async def _hand_over(
    folder: Path,
    wanted: Iterable[SubnetEntry],
    network: str,
    netuid: int,
    owner: Callable[[int], Signer] | None,
) -> tuple[list[str], int]:
    from ledger.database import sqlite_url
    from ledger.store import LedgerStore
    from orchestra.governing.drafts import DraftStore

    async with await LedgerStore.open(sqlite_url(folder / "ledger.sqlite")) as store:
        view = await store.view()
    until = await valid_until(network, netuid) if owner else 0
    shown, claims = prepared(view, wanted, owner, until)
    if claims:
        async with await DraftStore.open(sqlite_url(folder / "proposals.sqlite")) as drafts:
            await drafts.want(claims)
    return shown, len(claims)


def prepared(
    view: LedgerView, wanted: Iterable[SubnetEntry], owner: Callable[[int], Signer] | None, until: int
) -> tuple[list[str], list[dict[str, Any]]]:
    """What is shown, and what is proposed. Raises SettingsError: an owner has to sign and none is given."""
    from orchestra.governing.wishing import claims_for, netuids_to_sign, signed_by_owner
    from orchestra.settings import SettingsError

    shown: list[str] = []
    found: list[dict[str, Any]] = []
    for entry in wanted:
        known = view.entry(entry.id)
        claims, left = claims_for(known, entry)
        shown += [f"{entry.id}: {part} differs, and {_why_left(part)}" for part in left]
        for claim in claims:
            netuids = netuids_to_sign(known, claim)
            if netuids and owner is None:
                raise SettingsError(
                    f"{entry.id}: the owner of netuid {netuids[0]} has to sign this: pass --owner.wallet NAME"
                )
            if netuids and owner is not None:
                claim = signed_by_owner(claim, known, owner, valid_until=until)
            shown.append(f"{entry.id}: {claim['kind']} {claim.get('operation', '')}".rstrip())
            found.append(claim)
    return shown, found


def _why_left(part: str) -> str:
    is_measured = part.endswith("/metrics")
    return "metrics are measured, not proposed by hand" if is_measured else "no proposal changes that"


async def valid_until(network: str, netuid: int) -> int:
    """Half as far ahead as an owner's signature may reach."""
    from ledger.governance.rules import Rules
    from orchestra.chain import Chain

    async with await Chain.open(network) as chain:
        members = await chain.metagraph(netuid)
    return members.block.number + Rules.for_tempo(members.tempo).consent // 2


def owner_of(name: str, path: str) -> Callable[[int], Signer]:
    """The coldkey of one wallet, for whatever it owns; whether it does is the validators' to check."""
    from orchestra.chain.keys import load_coldkey

    coldkey = load_coldkey(name, path)
    return lambda _: coldkey
