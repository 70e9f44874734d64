"""`orchestra ledger challenge`: an outsider says that an entry should read otherwise, sponsored by a validator.

Any sr25519 key will do; the sponsor holds the bond that was prepaid to it under that key's address. What only a
subnet's owner may change is signed here, as for `propose`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra import flags, money
from orchestra.ledger_cli import read_entries, safe
from orchestra.ledger_propose_cli import owner_of, prepared, valid_until
from orchestra.one_line import one_line_errors
from orchestra.wallet_cli import Network, WalletHotkey, WalletName, WalletPath

if TYPE_CHECKING:
    from ledger.types import Signer
    from ledger.view import LedgerView
    from orchestra.governing.challenge import Challenge, ChallengeState
    from orchestra.transport import OutboundClient, OutboundResponse

EPILOG = "Example: orchestra ledger challenge entry.json --sponsor http://203.0.113.8:8092 --wallet.name ada"
ROUTE = "/v1/ledger/challenge"
TIMEOUT_S = 20.0
MOST_BYTES = 64 << 10


def challenge_command(
    entries: Annotated[Path, typer.Argument(metavar="FILE", help="Entries as they should be, in a seed file.")],
    sponsor: Annotated[str, typer.Option("--sponsor", metavar="URL", help="The validator that holds your bond.")],
    wallet_name: WalletName = "default",
    wallet_hotkey: WalletHotkey = "default",
    wallet_path: WalletPath = "~/.bittensor/wallets",
    key_uri: Annotated[
        str, typer.Option("--key-uri", metavar="URI", help="A development key instead of a wallet, as //Alice.")
    ] = "",
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", metavar="FILE", help="The Ledger as it is: a copy or a seed. Default: the catalogue."),
    ] = None,
    owner_wallet: Annotated[
        str, typer.Option("--owner.wallet", help="Wallet whose coldkey owns the netuid: signs what only it may change.")
    ] = "",
    network: Network = "finney",
    netuid: flags.Netuid = 2,
) -> None:
    """Challenge entries of the Ledger: what differs in this file is proposed, each with a bond that you prepaid.

    The bond comes back when the validators settle it, unless they find it false: then half is lost.
    """
    with one_line_errors():
        wanted, view = read_entries(entries), read_ledger(ledger)
        owner = owner_of(owner_wallet, wallet_path) if owner_wallet else None
        until = asyncio.run(valid_until(network, netuid)) if owner else 0
        shown, claims = prepared(view, wanted, owner, until)
        for line in shown:
            typer.echo(safe(line))
        _require_challenges(claims)
        signer = _signer(key_uri, wallet_name, wallet_hotkey, wallet_path)
        asyncio.run(_send_all(sponsor.rstrip("/"), signer, view, claims))


def read_ledger(file: Path | None) -> LedgerView:
    """The entries that a copy or a seed holds. A copy is not verified: what is made of a wrong one is refused by the
    sponsor and costs nothing.

    Raises:
        SettingsError: the file cannot be used.
    """
    from ledger.leaves import ENTRY, LeafRefused, read_leaf
    from ledger.view import LedgerView
    from orchestra.settings import SettingsError

    lines = _lines_of_copy(file)
    if file is None or lines is None:
        return LedgerView(read_entries(file))
    try:
        leaves = [read_leaf(line) for line in lines]
        return LedgerView([leaf.change() for leaf in leaves if leaf.kind == ENTRY])
    except LeafRefused as error:
        raise SettingsError(f"{file} is no copy of the Ledger ({error}): get one, or name a seed") from None


def _lines_of_copy(file: Path | None) -> list[bytes] | None:
    """The leaves of a copy, a line each; None for what is no copy."""
    from orchestra.settings import SettingsError

    try:
        raw = b"" if file is None else file.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from None
    return raw.splitlines()[1:-1] if raw.startswith(b'{"checkpoint":') else None


def _require_challenges(claims: Sequence[dict[str, Any]]) -> None:
    from orchestra.settings import SettingsError

    if not claims:
        raise SettingsError("nothing to challenge: the Ledger says all of this, or what differs cannot be proposed")
    new = next((each["entry"] for each in claims if each["kind"] == "new_subnet"), None)
    if new is not None:
        raise SettingsError(
            f"{new} is not in the Ledger, and new entries come from registered miners:"
            " orchestra ledger propose; if it is there by now, name a newer copy with --ledger"
        )


def _signer(key_uri: str, name: str, hotkey: str, path: str) -> Signer:
    from orchestra.chain import dev_signer, load_signer
    from orchestra.settings import SettingsError

    if not key_uri:
        return load_signer(name, hotkey, path)
    try:
        return dev_signer(key_uri)
    except ValueError:
        raise SettingsError("--key-uri is no development key: write for example --key-uri //Alice") from None


async def _send_all(url: str, signer: Signer, view: LedgerView, claims: Sequence[dict[str, Any]]) -> None:
    from orchestra.transport import OutboundClient

    async with OutboundClient(allow_loopback=True, allow_plain=True) as http:
        sponsor = await _sponsor_at(http, url)
        made = [_made(claim, view, signer, sponsor) for claim in claims]
        for each in made:
            state, proposal = await _send(http, url, each), each.proposal
            held = f"{money.tao(state.bond)} TAO of {proposal.proposer} held"
            typer.echo(f"{proposal.entry}: {proposal.kind}: {held}; how it goes: {url}{ROUTE}/{state.digest}")


def _made(claim: dict[str, Any], view: LedgerView, signer: Signer, sponsor: str) -> Challenge:
    from orchestra.governing.challenge import challenge_of
    from orchestra.governing.wishing import proposal_of
    from orchestra.settings import SettingsError

    try:
        entry, salt = view.entry(claim["entry"]), secrets.token_bytes(32)
        proposal = proposal_of(claim, entry, proposer=signer.ss58_address, salt=salt)
        return challenge_of(proposal, signer, sponsor=sponsor)
    except ValueError as error:
        raise SettingsError(f"{claim['entry']} cannot be proposed so: {str(error).splitlines()[0]}") from None


async def _sponsor_at(http: OutboundClient, url: str) -> str:
    from orchestra.protocol import Health, MessageRefused
    from orchestra.settings import SettingsError
    from orchestra.transport import TransportError

    try:
        answer = await http.request("GET", f"{url}/v1/health", timeout_s=TIMEOUT_S, max_bytes=MOST_BYTES)
        health = Health.from_wire(answer.body)
    except TransportError as error:
        raise SettingsError(f"no answer from {url} ({error}): check --sponsor") from None
    except MessageRefused:
        raise SettingsError(f"{url} is no validator of Orchestra: check --sponsor") from None
    if health.role != "validator" or health.hotkey is None:
        raise SettingsError(f"{url} is a {health.role}: name a validator with --sponsor")
    return health.hotkey


async def _send(http: OutboundClient, url: str, made: Challenge) -> ChallengeState:
    from orchestra.governing.challenge import ChallengeState
    from orchestra.protocol import MessageRefused
    from orchestra.settings import SettingsError
    from orchestra.transport import TransportError

    where = f"{url}{ROUTE}/{made.digest()}"
    try:
        answer = await http.request(
            "POST", f"{url}{ROUTE}", content=made.to_wire(), timeout_s=TIMEOUT_S, max_bytes=MOST_BYTES
        )
        if answer.status != 200:
            raise SettingsError(_refusal(answer, made))
        return ChallengeState.from_wire(answer.body)
    except TransportError as error:
        raise SettingsError(f"no answer ({error}), and it may have arrived: see {where} before you repeat it") from None
    except MessageRefused:
        raise SettingsError(f"{url} answered something else: see {where} before you repeat it") from None


def _refusal(answer: OutboundResponse, made: Challenge) -> str:
    """What the sponsor says against it, and what to do."""
    from ledger.canonical import StrictJSONError, as_object, parse_strict

    try:
        document = as_object(parse_strict(answer.body, max_bytes=MOST_BYTES, max_depth=4))
    except StrictJSONError:
        document = {}
    if document.get("code") == "bond_not_prepaid":
        address, bond = made.proposal.proposer, money.tao(made.bond)
        return (
            f"{made.sponsor} holds no free bond of {address}: pay its operator,"
            f" who books it with: orchestra ledger credit {address} {bond}"
        )
    return f"refused ({answer.status}): {safe(str(document.get('title', 'no reason given')))[:300]}"
