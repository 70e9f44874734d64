"""A whole Orchestra network on one machine: chain, subnets, validators, miners, gateway; real processes, real sockets.

`LocalNetwork` starts everything in order in one folder and stops it in reverse. The folder holds what a newcomer on a
second terminal needs (`--network orchestra-local` looks there): the Ledger's seed, keys for the local subnets,
addresses. Started again on the same folder, the network goes on where it was.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.entry import SubnetEntry
from orchestra.chain import create_wallet, dev_signer, list_wallets, wallet_address
from orchestra.chain.owner import LOCAL
from orchestra.devnet.entries import devnet_entries
from orchestra.devnet.processes import Child, Processes, ProcessFailed
from orchestra.devnet.subnets.__main__ import DEFAULT_KEY_URI, DEFAULT_KEYS
from orchestra.flags import COUNCIL
from orchestra.local_files import local_file
from orchestra.settings import SettingsError

NETUID = 2
TEMPO = int(LOCAL["tempo"].value)
STAKE_RAO = 10_000 * 10**9
FAUCET_RAO = 1_000_000 * 10**9
_PORTS = (20_000, 32_000)
FAUCET_KEY = "//Alice"
"""The development key that pays for newcomers, as on every local chain of a Bittensor developer."""
FEES_RAO = 100 * 10**9
"""What a neuron's coldkey starts with: it pays the fees of its hotkey's calls."""
PASSWORDLESS = None
ATLAS_HOTKEY = dev_signer(DEFAULT_KEY_URI).ss58_address
SECRETS: Mapping[str, str] = {
    "desearch": "ORCHESTRA_KEY_SN22",
    "data-universe": "ORCHESTRA_KEY_SN13",
    "chutes": "ORCHESTRA_KEY_SN64",
}
SUBNETS: Mapping[str, int] = {"desearch": 22, "data-universe": 13, "chutes": 64, "atlas": 129}


@dataclass(frozen=True, slots=True)
class NeuronSpec:
    """One neuron of the network: its wallet is named as it is. `flags` are passed on its command line."""

    name: str
    role: str
    kind: str
    host: str
    flags: tuple[str, ...] = ()
    without_keys: tuple[str, ...] = ()
    module: str = ""


VALIDATORS = (
    NeuronSpec("validator-1", "validator", "committer", "127.0.0.11"),
    NeuronSpec("validator-2", "validator", "follower", "127.0.0.12"),
)
MINERS = (
    NeuronSpec("miner-1", "miner", "honest, complete", "127.0.0.21"),
    NeuronSpec("miner-2", "miner", "honest, without a Desearch key", "127.0.0.22", (), ("ORCHESTRA_KEY_SN22",)),
    NeuronSpec("miner-3", "miner", "honest, stale Ledger", "127.0.0.23", ("--no-ledger.follow",)),
    NeuronSpec("forger", "miner", "forger", "127.0.0.24", module="forger"),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in the network's folder."""

    root: Path

    @property
    def wallets(self) -> Path:
        return self.root / "wallets"

    @property
    def state(self) -> Path:
        return self.root / "network.json"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.json"

    @property
    def keys(self) -> Path:
        return self.root / "keys.json"

    def keys_without(self, names: tuple[str, ...]) -> Path:
        return self.root / ("keys-without-" + "-".join(names).lower() + ".json") if names else self.keys

    def data(self, name: str) -> Path:
        return self.root / "data" / name


def default_root() -> Path:
    """The folder of the network that `orchestra up` runs and `--network orchestra-local` finds."""
    return local_file("")


Progress = Callable[[str], None]


@dataclass(slots=True)
class LocalNetwork:
    """A running network. Use `start`, then `stop`; the folder survives. `governed`: its validators agree on the Ledger,
    otherwise the first one commits to it. `left_out`: entries of local subnets that the Ledger does not begin with.
    """

    layout: Layout
    block_time_s: float = 1.0
    chain_port: int = 0
    governed: bool = False
    left_out: tuple[str, ...] = ()
    validators: tuple[NeuronSpec, ...] = VALIDATORS
    miners: tuple[NeuronSpec, ...] = MINERS
    progress: Progress = lambda _: None
    report_transactions_to: Mapping[str, int] = field(default_factory=dict[str, int])
    processes: Processes = field(init=False)
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.processes = Processes(self.layout.root / "logs")

    @property
    def network(self) -> str:
        return f"orchestra-local:{self.settings['chain_port']}"

    @property
    def gateway(self) -> str:
        """The first validator's front door."""
        return str(self.settings["gateway"])

    def gateway_of(self, validator: NeuronSpec) -> str:
        """One validator's front door."""
        return f"http://127.0.0.1:{self.settings['gateways'][validator.name]}"

    async def start(self) -> None:
        """Start what is not running. Whatever fails is said with the end of its log, and everything is stopped.

        Raises:
            ProcessFailed: a process did not come up.
            SettingsError: the folder cannot be written to.
        """
        try:
            await self._start()
        except OSError as error:
            await self.stop()
            raise unusable(self.layout.root, error) from None
        except BaseExceptionGroup as group:
            await self.stop()
            raise _process_failed(group) or group from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> dict[str, int]:
        """Stop everything, those who ask before those who answer. Returns exit codes by name."""
        asking, answering = ([spec.name for spec in specs] for specs in (self.validators, self.miners))
        return await self.processes.stop(waves=(asking, answering))

    async def _start(self) -> None:
        self.layout.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = self._settings()
        self._make_wallets()
        self.progress("wallets")
        self.settings["ledger_committer"] = COUNCIL if self.governed else self.address(self.validators[0].name)
        write_private(self.layout.state, self.settings)
        self._write_shared_files()
        await self._start_chain()
        await self._start_subnets()
        async with asyncio.TaskGroup() as group:
            for spec in (*self.validators, *self.miners):
                group.create_task(self._start_neuron(spec))
        write_private(self.layout.state, {**self.settings, "processes": self._process_table()})

    # what stays the same from start to start

    def _settings(self) -> dict[str, Any]:
        if self.layout.state.exists():
            known: dict[str, Any] = json.loads(self.layout.state.read_text())
            return self._moved(known) | {"chain_port": self._chain_port(known["chain_port"])}
        names = [spec.name for spec in (*self.validators, *self.miners)]
        free = FreePorts()
        ports = {spec.name: free.on(spec.host) for spec in (*self.validators, *self.miners)}
        subnets = {name: free.on("127.0.0.1") for name in (*SUBNETS, "web")}
        controls = {name: free.on("127.0.0.1") for name in SUBNETS}
        gateways = {spec.name: free.on("127.0.0.1") for spec in self.validators}
        return {
            "netuid": NETUID,
            "chain_port": self.chain_port or free.on("127.0.0.1"),
            "ports": ports,
            "subnets": subnets,
            "controls": controls,
            "gateways": gateways,
            "gateway": f"http://127.0.0.1:{gateways[self.validators[0].name]}",
            "names": names,
            "wallets": str(self.layout.wallets),
        }

    def _moved(self, known: dict[str, Any]) -> dict[str, Any]:
        """Ports as before, unless somebody took one meanwhile; those of the subnets stand in the Ledger and stay."""
        free, hosts = FreePorts(), {spec.name: spec.host for spec in (*self.validators, *self.miners)}
        for kind in ("ports", "controls", "gateways"):
            for name, port in known[kind].items():
                host = hosts.get(name, "127.0.0.1") if kind == "ports" else "127.0.0.1"
                known[kind][name] = port if is_free(host, port) else free.on(host)
        known["gateway"] = f"http://127.0.0.1:{known['gateways'][self.validators[0].name]}"
        return known

    def _chain_port(self, before: int) -> int:
        """Where the chain was before, unless another network has taken that port meanwhile."""
        return before if is_free("127.0.0.1", before) else self.chain_port or FreePorts().on("127.0.0.1")

    def _make_wallets(self) -> None:
        wallets = str(self.layout.wallets)
        known = {wallet.name for wallet in list_wallets(wallets) if wallet.hotkeys}
        for name in ("owner", *self.settings["names"]):
            if name not in known:
                create_wallet(name, "default", wallets, password=PASSWORDLESS)

    def address(self, name: str, role: str = "hotkey") -> str:
        """The SS58 address of one of the network's wallets."""
        return wallet_address(role, name, "default", str(self.layout.wallets))

    # the chain

    async def _start_chain(self) -> None:
        genesis = self.layout.root / "genesis.json"
        if not genesis.exists():
            write_private(genesis, self._genesis())
        arguments = ["--db", str(self.layout.root / "chain.sqlite"), "--genesis", str(genesis)]
        arguments += ["--port", str(self.settings["chain_port"]), "--block-time", str(self.block_time_s)]
        inherited = self._inherited("chain")
        for descriptor in inherited:
            arguments += ["--transaction-fd", str(descriptor)]
        await self.processes.start("chain", "orchestra.devnet.chain", arguments, inherit=inherited)
        self.progress("chain")

    def _genesis(self) -> dict[str, Any]:
        owner = {"owner_coldkey": self.address("owner", "coldkey"), "owner_hotkey": self.address("owner")}
        rules = {name: rule.value for name, rule in LOCAL.items()}
        rules |= {"weights_rate_limit": TEMPO // 2, "max_validators": 16}
        faucet = dev_signer(FAUCET_KEY).ss58_address
        atlas = {"hotkey": ATLAS_HOTKEY, "coldkey": self.address("owner", "coldkey")}
        others = [{**owner, "netuid": n, "neurons": [atlas] if n == SUBNETS["atlas"] else []} for n in SUBNETS.values()]
        return {
            "name": "orchestra-local",
            "accounts": {
                **{address: str(FAUCET_RAO) for address in (self.address("owner", "coldkey"), faucet)},
                **{self.address(name, "coldkey"): str(FEES_RAO) for name in self.settings["names"]},
            },
            "subnets": [
                {
                    **owner,
                    "netuid": NETUID,
                    "identity": {"subnet_name": "Orchestra"},
                    "hyperparameters": rules,
                    "neurons": [self._neuron(spec) for spec in (*self.validators, *self.miners)],
                },
                *others,
            ],
        }

    def _neuron(self, spec: NeuronSpec) -> dict[str, Any]:
        validating = spec.role == "validator"
        return {
            "hotkey": self.address(spec.name),
            "coldkey": self.address(spec.name, "coldkey"),
            "stake_rao": str(STAKE_RAO if validating else 0),
            "permit": validating,
        }

    # the subnets

    async def _start_subnets(self) -> None:
        await self._start_service("web", [])
        async with asyncio.TaskGroup() as group:
            for name in SUBNETS:
                group.create_task(self._start_service(name, self._service_arguments(name)))

    def _service_arguments(self, name: str) -> list[str]:
        return [
            *("--control-port", str(self.settings["controls"][name])),
            *("--web", f"http://127.0.0.1:{self.settings['subnets']['web']}"),
            *("--state", str(self.layout.data(name))),
        ]

    async def _start_service(self, name: str, arguments: list[str]) -> Child:
        port = str(self.settings["subnets"][name])
        child = await self.processes.start(name, "orchestra.devnet.subnets", [name, "--port", port, *arguments])
        self.progress(f"subnet {name}")
        return child

    def control(self, name: str) -> str:
        """The control URL of a local subnet: latency, errors, outage, schema."""
        return f"http://127.0.0.1:{self.settings['controls'][name]}"

    def entries(self) -> tuple[SubnetEntry, ...]:
        """What the local subnets are, as the Ledger should say it."""
        origins = {name: f"http://127.0.0.1:{self.settings['subnets'][name]}" for name in SUBNETS}
        real_model = bool(os.environ.get("ORCHESTRA_LLM_BASE_URL"))
        return devnet_entries(origins, ATLAS_HOTKEY, real_model=real_model)

    def _write_shared_files(self) -> None:
        origins = {name: f"http://127.0.0.1:{self.settings['subnets'][name]}" for name in SUBNETS}
        if not self.layout.ledger.exists():
            entries = [entry for entry in self.entries() if entry.id not in self.left_out]
            write_private(self.layout.ledger, [entry.model_dump(mode="json") for entry in entries])
        keys = {name: {"key": DEFAULT_KEYS[entry], "origin": origins[entry]} for entry, name in SECRETS.items()}
        write_private(self.layout.keys, keys)
        for spec in self.miners:
            if spec.without_keys:
                held = {name: key for name, key in keys.items() if name not in spec.without_keys}
                write_private(self.layout.keys_without(spec.without_keys), held)

    # neurons

    async def _start_neuron(self, spec: NeuronSpec) -> Child:
        inherited = self._inherited(spec.name)
        child = await self.processes.start(
            spec.name,
            f"neurons.{spec.module or spec.role}",
            self.neuron_arguments(spec),
            environment={"ORCHESTRA_TRANSACTION_FD": str(inherited[0])} if inherited else {},
            inherit=inherited,
        )
        self.progress(f"{spec.role} {spec.name} ({spec.kind})")
        return child

    def _inherited(self, name: str) -> tuple[int, ...]:
        """The descriptor to which this process reports its write transactions, where a test asked for it."""
        return tuple(descriptor for who, descriptor in self.report_transactions_to.items() if who == name)

    def neuron_arguments(self, spec: NeuronSpec) -> list[str]:
        """The command line of one neuron, as anybody could type it."""
        arguments = [
            *("--netuid", str(NETUID), "--network", self.network),
            *("--wallet.name", spec.name, "--wallet.hotkey", "default", "--wallet.path", str(self.layout.wallets)),
            *("--axon.ip", spec.host, "--axon.port", str(self.settings["ports"][spec.name])),
            *("--data", str(self.layout.data(spec.name))),
            *("--ledger.seed", str(self.layout.ledger), "--ledger.committer", self.settings["ledger_committer"]),
            *("--keys", str(self.layout.keys_without(spec.without_keys))),
        ]
        if spec.name in self.settings["gateways"]:
            arguments += ["--gateway.port", str(self.settings["gateways"][spec.name])]
        if spec == self.validators[0]:
            arguments += ["--canary.control", self.control("atlas")]
        return [*arguments, *spec.flags]

    def _process_table(self) -> dict[str, int]:
        return {name: child.pid for name, child in self.processes.children.items()}


def unusable(root: Path, error: OSError) -> SettingsError:
    """What to say of a network's folder that cannot be used."""
    hint = "make room, or choose another folder" if error.errno == errno.ENOSPC else "choose another folder"
    return SettingsError(f"cannot use {error.filename or root} ({error.strerror}): {hint}")


def _process_failed(error: BaseException) -> BaseException | None:
    """The first process that failed, out of a group of things that went wrong together."""
    while isinstance(error, BaseExceptionGroup):
        failed = error.subgroup(ProcessFailed)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if failed is None:
            return None
        error = failed.exceptions[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return error  # pyright: ignore[reportUnknownVariableType]


def write_private(path: Path, document: Any) -> None:
    """Write JSON that only its owner can read, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(document, indent=2) + "\n")
    draft.replace(path)


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there now."""
    try:
        with socket.create_server((host, port)):
            return True
    except OSError:
        return False


class FreePorts:
    """Ports that nobody listens on now, no two alike, below those that the system gives to outgoing connections: one of
    these could be taken by the time our server wants it.
    """

    def __init__(self) -> None:
        self._drawn = iter(random.SystemRandom().sample(range(*_PORTS), 1_000))

    def on(self, host: str) -> int:
        """The next one that is free on this address."""
        for port in self._drawn:
            if is_free(host, port):
                return port
        raise OSError(f"no free port found on {host}")
