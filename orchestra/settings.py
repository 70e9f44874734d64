"""Everything an operator can set, read once at start and checked before anything is opened.

Flags and environment names are the ones Bittensor people know. Nothing else in Orchestra reads the environment. Secrets
are bound to the one origin they may be sent to; the Ledger can name a secret but never move it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ledger.canonical import StrictJSONError, parse_strict
from ledger.types import RAO_PER_TAO
from orchestra.flags import COUNCIL, EVERY_ADDRESS
from orchestra.local_files import is_local, local_file, read_local_network
from orchestra.money import rao
from orchestra.subnets import Secret

DEFAULT_WALLETS = "~/.bittensor/wallets"
DEFAULT_GATEWAY = "http://127.0.0.1:8400"
SECRET_PREFIX = "ORCHESTRA_KEY_"  # noqa: S105 - the name of a family of settings, not a secret


class SettingsError(Exception):
    """A setting that cannot work. The message is one line: what is wrong and what to type instead."""


@dataclass(frozen=True, slots=True)
class NeuronSettings:
    """What miner and validator have in common, checked."""

    netuid: int
    network: str
    wallet_name: str
    wallet_hotkey: str
    wallet_path: str
    axon_ip: str
    axon_external_ip: str
    axon_port: int
    data: Path
    ledger_seed: Path | None
    ledger_committer: str
    ledger_follow: bool
    secrets: Mapping[str, Secret]
    tao_usd: Decimal
    validator_min_stake_rao: int

    @property
    def governed(self) -> bool:
        """Do validators agree on the Ledger, and nobody commits to it alone?"""
        return self.ledger_follow and self.ledger_committer == COUNCIL

    @property
    def published_ip(self) -> str:
        """The address that the chain shall have: checked to be one."""
        return self.axon_external_ip or self.axon_ip

    def published(self, port: int) -> str:
        """The address and port that the chain shall have, as it writes them."""
        ip = ip_address(self.published_ip)
        return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"

    @property
    def wallet_flags(self) -> str:
        """The flags that name this wallet to another command, each after a blank; defaults are left out."""
        given = {"name": self.wallet_name, "hotkey": self.wallet_hotkey, "path": self.wallet_path}
        usual = {"name": "default", "hotkey": "default", "path": DEFAULT_WALLETS}
        return "".join(f" --wallet.{flag} {value}" for flag, value in given.items() if value != usual[flag])

    def database(self, name: str) -> Path:
        """The file of one database of this neuron; the folder exists afterwards."""
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SettingsError(
                f"cannot make {self.data} ({error.strerror}): choose another folder with --data"
            ) from None
        return self.data / f"{name}.sqlite"


def neuron_settings(
    *,
    netuid: int,
    network: str,
    wallet: tuple[str, str, str],
    axon: tuple[str, str, int],
    data: Path | None,
    ledger_seed: Path | None,
    ledger_committer: str,
    ledger_follow: bool,
    keys: Path | None,
    tao_usd: str,
    min_stake: int,
) -> NeuronSettings:
    """The flags of a neuron, checked. On the local network the Ledger's seed, its committer and the keys are known.

    Raises:
        SettingsError: what is wrong and what to type instead.
        orchestra.chain.UnknownNetwork: there is no such network.
    """
    from orchestra.chain.networks import resolve  # the SDK behind it is not for everybody who reads settings

    resolve(network)
    if is_local(network) and (known := read_local_network()):
        ledger_seed = ledger_seed or known.ledger_seed
        ledger_committer = ledger_committer or known.ledger_committer
        keys = keys or known.keys
    if ledger_follow and not ledger_committer and is_local(network):
        hint = f"that of `orchestra up` is not in {local_file('')}: is it up?"
        raise SettingsError(f"whose Ledger to follow? ({hint}) Pass --ledger.committer HOTKEY or council")
    _check_published(*axon[:2])
    name, hotkey, wallets = wallet
    ip, external_ip, port = axon
    return NeuronSettings(
        netuid=netuid,
        network=network,
        wallet_name=name,
        wallet_hotkey=hotkey,
        wallet_path=wallets,
        axon_ip=ip,
        axon_external_ip=external_ip,
        axon_port=port,
        data=data_folder(data, network=network, netuid=netuid, hotkey=f"{name}-{hotkey}"),
        ledger_seed=ledger_seed,
        ledger_committer=ledger_committer or COUNCIL,
        ledger_follow=ledger_follow,
        secrets=read_secrets(keys),
        tao_usd=read_rate(tao_usd),
        validator_min_stake_rao=min_stake * RAO_PER_TAO,
    )


def _check_published(ip: str, external_ip: str) -> None:
    if ip == EVERY_ADDRESS and not external_ip:
        raise SettingsError("which address to publish? Pass --axon.external_ip IP (or --axon.ip IP for both)")
    try:
        ip_address(external_ip or ip)
    except ValueError:
        flag = "--axon.external_ip" if external_ip else "--axon.ip"
        raise SettingsError(
            f"{flag} {external_ip or ip} is no IP address: write for example {flag} 203.0.113.7"
        ) from None


def default_gateway() -> str:
    """The gateway of `orchestra up` on this machine, otherwise where one run by hand listens."""
    known = read_local_network()
    return known.gateway if known else DEFAULT_GATEWAY


def data_folder(given: Path | None, *, network: str, netuid: int, hotkey: str) -> Path:
    """Where a neuron keeps its state: one folder for every network, subnet and hotkey, so that none share a file."""
    return given or Path.home() / ".orchestra" / network.replace(":", "-").replace("/", "_") / str(netuid) / hotkey


def transaction_marker(environment: Mapping[str, str] = os.environ) -> Callable[[bool], None] | None:
    """For tests that kill: writes B and E to the descriptor in `ORCHESTRA_TRANSACTION_FD` around write transactions."""
    descriptor = environment.get("ORCHESTRA_TRANSACTION_FD", "")
    return partial(_mark, int(descriptor)) if descriptor.isdigit() else None


def _mark(descriptor: int, active: bool) -> None:
    os.write(descriptor, b"B" if active else b"E")


def read_rate(text: str) -> Decimal:
    """Dollars for one TAO.

    Raises:
        SettingsError: not a positive number.
    """
    return read_positive(text, "--tao-usd", "300")


def read_cost(text: str, flag: str = "--challenge.max-cost", example: str = "0.01", *, or_nothing: bool = False) -> int:
    """Rao from the TAO that a flag was given; 0 only where `or_nothing`.

    Raises:
        SettingsError: not a positive number.
    """
    if or_nothing and text.strip("0.") == "" and "0" in text:
        return 0
    return rao(str(read_positive(text, flag, example)))


def read_positive(text: str, flag: str, example: str) -> Decimal:
    """The number that a flag was given.

    Raises:
        SettingsError: not a positive number; the message shows the flag with the example.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number <= 0:
        raise SettingsError(f"{flag} {text!r} is not a positive number: write for example {flag} {example}")
    return number


def read_secrets(file: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, Secret]:
    """Keys for subnets, each with the origin it is bound to, from a keys file and `ORCHESTRA_KEY_*` / `..._ORIGIN`.

    Raises:
        SettingsError: a file that others can read, that is not in the form above, or a key without an origin.
    """
    found = {} if file is None else _from_file(file)
    for name, key in environment.items():
        if name.startswith(SECRET_PREFIX) and not name.endswith("_ORIGIN") and key:
            origin = environment.get(f"{name}_ORIGIN", "")
            if not origin:
                raise SettingsError(f"{name} is bound to no origin: set {name}_ORIGIN to the API's https:// origin too")
            found[name] = _secret(name, key, origin)
    return found


def _secret(name: str, key: str, origin: str) -> Secret:
    try:
        return Secret(key, origin)
    except ValueError as error:
        raise SettingsError(f"{name} cannot be used: {error}") from None


def _from_file(file: Path) -> dict[str, Secret]:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            raise SettingsError(f"others can read {file} (mode {mode:04o}): run chmod 600 {file}")
        document: Any = parse_strict(file.read_bytes())
        return {str(name): _secret(str(name), str(item["key"]), str(item["origin"])) for name, item in document.items()}
    except OSError as error:
        raise SettingsError(f"cannot read {file} ({error.strerror}): check --keys") from None
    except (StrictJSONError, KeyError, TypeError, AttributeError):
        form = json.dumps({"ORCHESTRA_KEY_SN22": {"key": "...", "origin": "https://api.example"}})
        raise SettingsError(f"{file} is not a keys file: write {form}") from None
