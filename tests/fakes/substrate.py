"""A strict chain for facade tests: it answers what was scripted, refuses the rest, and remembers what it was asked.

It stands behind the SDK's own reads and intents, so a test sees exactly what they read and compose. `unanswered` and
`broken` make it the half-open or dying connection that validators suffer from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import bittensor as bt

from orchestra.chain.networks import Network

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
CHARLIE = "5FLSigC9HGRKVhB9FiEo4Y3koPsNmBmLJbpXg2mp1hXcS59Y"
MISSING = object()


class Unscripted(AssertionError):
    """The code under test asked the fake for something that no test prepared."""


class Composed(NamedTuple):
    module: str
    function: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Sent:
    call: Composed
    signer: str


class FakeSubstrate:
    """Satisfies the parts of `bittensor.Substrate` that the facade reaches; see the module docstring."""

    def __init__(self, *, head: int = 1000, finalized: int = 997, spec: int = 462) -> None:
        self.token_symbols: dict[int, str] = {}
        self.head, self.finalized, self.spec = head, finalized, spec
        self.connected = self.closed = 0
        self.storage: dict[tuple[str, str], dict[tuple[Any, ...], Any]] = {}
        self.maps: dict[tuple[str, str, tuple[Any, ...]], list[tuple[Any, Any]]] = {}
        self.runtime: dict[tuple[str, str], Any] = {}
        self.results: list[bt.ExtrinsicResult] = []
        self.asked: list[tuple[str, str, tuple[Any, ...]]] = []
        self.runtime_asked: list[tuple[str, str]] = []
        self.at: list[str | None] = []
        self.sent: list[Sent] = []
        self.unanswered: set[str] = set()
        self.broken: dict[str, list[Exception]] = {}
        self.shield_key: bytes | None = None

    # scripting

    def store(self, item: str, params: list[Any], value: Any, *, pallet: str = "SubtensorModule") -> None:
        self.storage.setdefault((pallet, item), {})[tuple(params)] = value

    def store_map(self, item: str, params: list[Any], pairs: list[tuple[Any, Any]], pallet: str = "SubtensorModule"):
        self.maps[(pallet, item, tuple(params))] = pairs

    def accept(self, block: int = 1001) -> None:
        """The next transaction is included in `block`."""
        self.results.append(bt.ExtrinsicResult(success=True, message="Success", block_hash=hash_of(block)))

    def reject(self, name: str, message: str = "the chain said no") -> None:
        """The next transaction fails with the chain's error of this name."""
        self.results.append(bt.ExtrinsicResult(success=False, message=message, error=bt.ChainError(message, name)))

    async def _meet(self, method: str) -> None:
        if self.broken.get(method):
            raise self.broken[method].pop(0)
        if method in self.unanswered:
            await asyncio.Event().wait()

    # bittensor.Substrate

    def balance(self, rao: int, netuid: int = 0) -> bt.Balance:
        return bt.Balance(rao, netuid, None)

    async def connect(self) -> None:
        await self._meet("connect")
        self.connected += 1

    async def close(self) -> None:
        self.closed += 1
        await self._meet("close")

    async def block_number(self) -> int:
        await self._meet("block_number")
        return self.head

    async def finalized_block_number(self) -> int:
        await self._meet("finalized_block_number")
        return self.finalized

    async def block_hash(self, block: int | None = None) -> str:
        await self._meet("block_hash")
        return hash_of(self.head if block is None else block)

    async def block_time(self) -> float:
        return 0.0

    async def spec_version(self) -> int:
        await self._meet("spec_version")
        return self.spec

    async def query(
        self, module: str, storage_function: str, params: list[Any] | None = None, block_hash: str | None = None
    ) -> Any:
        await self._meet(f"query {storage_function}")
        self.asked.append((module, storage_function, tuple(params or ())))
        self.at.append(block_hash)
        value = self.storage.get((module, storage_function), {}).get(tuple(params or ()), MISSING)
        if value is MISSING:
            raise Unscripted(f"{module}.{storage_function}{params}")
        return value

    async def query_map(
        self, module: str, storage_function: str, params: list[Any] | None = None, block_hash: str | None = None
    ) -> list[tuple[Any, Any]]:
        await self._meet(f"query_map {storage_function}")
        self.asked.append((module, storage_function, tuple(params or ())))
        self.at.append(block_hash)
        pairs = self.maps.get((module, storage_function, tuple(params or ())))
        if pairs is None:
            raise Unscripted(f"map {module}.{storage_function}{params}")
        return pairs

    async def runtime_call(self, api: str, method: str, params: list[Any], block_hash: str | None = None) -> Any:
        await self._meet(f"runtime_call {method}")
        self.runtime_asked.append((api, method))
        self.at.append(block_hash)
        if (api, method) not in self.runtime:
            raise Unscripted(f"runtime {api}.{method}{params}")
        return self.runtime[(api, method)]

    async def compose(self, call: Any) -> Composed:
        return call if isinstance(call, Composed) else Composed(*call)

    async def estimate_fee(self, call: Any, keypair: Any) -> bt.Balance:
        return bt.Balance.from_rao(124_414)

    async def account_next_index(self, address: str) -> int:
        return len(self.sent)

    async def mev_next_key(self) -> bytes | None:
        self.asked.append(("MevShield", "NextKey", ()))
        return self.shield_key

    async def sign_extrinsic(self, call: Composed, keypair: Any, *, nonce: int, period: int) -> tuple[bytes, str]:
        return repr((call, nonce, period)).encode(), hash_of(nonce)

    async def find_extrinsic(self, extrinsic_hash: str, block_hash: str) -> bt.ExtrinsicResult | None:
        return bt.ExtrinsicResult(success=True, message="Success", block_hash=block_hash)

    async def blocks(self, *, finalized: bool = False) -> AsyncIterator[dict[str, Any]]:
        raise Unscripted("blocks")
        yield {}

    async def submit(self, call: Composed, keypair: Any, **options: Any) -> bt.ExtrinsicResult:
        await self._meet("submit")
        keypair.sign(b"proof that the key is there")
        if not self.results:
            raise Unscripted(f"submit {call.module}.{call.function}")
        self.sent.append(Sent(call, keypair.ss58_address))
        return self.results.pop(0)


def hash_of(number: int) -> str:
    return f"0x{number:064x}"


def network(*substrates: FakeSubstrate, name: str = "fake") -> Network:
    """A network whose successive connections are these substrates, in order; one too many is an error."""
    waiting = list(substrates)

    def connect() -> Any:
        if not waiting:
            raise Unscripted("another connection")
        return waiting.pop(0)

    return Network(name, "nowhere", connect)


def seat(hotkey: str, *, permit: bool = False, axon: str | None = None, **columns: int) -> dict[str, Any]:
    """One neuron for `graph`: its hotkey is its coldkey unless told otherwise."""
    return {"hotkeys": hotkey, "coldkeys": hotkey, "validator_permit": permit, "axons": _axon(axon), **columns}


def graph(netuid: int, seats: list[dict[str, Any]], *, block: int = 1000, tempo: int = 360) -> dict[str, Any]:
    """What the runtime answers to get_metagraph, as the SDK decodes it."""
    numbers = ("incentives", "dividends", "trust", "emission", "total_stake", "last_update", "block_at_registration")
    columns = {name: [one.get(name, 0) for one in seats] for name in (*numbers, "collateral_locked")}
    for name in ("hotkeys", "coldkeys", "validator_permit", "axons"):
        columns[name] = [one[name] for one in seats]
    subnet = {"netuid": netuid, "name": "orchestra", "symbol": "o", "block": block, "tempo": tempo, "last_step": 0}
    owner = {"blocks_since_last_step": 0, "owner_hotkey": ALICE, "owner_coldkey": ALICE, "network_registered_at": 1}
    return {**subnet, **owner, **columns, "active": [True] * len(seats)}


def _axon(endpoint: str | None) -> dict[str, int]:
    if endpoint is None:
        return {"ip": 0, "port": 0, "ip_type": 4}
    host, _, port = endpoint.rpartition(":")
    parts = [int(part) for part in host.split(".")]
    return {"ip": int.from_bytes(bytes(parts), "big"), "port": int(port), "ip_type": 4}


def with_subnet(substrate: FakeSubstrate, seats: list[dict[str, Any]], *, netuid: int = 2) -> FakeSubstrate:
    """Script everything that the facade reads of one subnet, with the chain's defaults for its rules."""
    substrate.runtime[("SubnetInfoRuntimeApi", "get_metagraph")] = graph(netuid, seats)
    substrate.store_map("CommitmentOf", [netuid], [], "Commitments")
    substrate.store_map("RevealedCommitments", [netuid], [], "Commitments")
    substrate.store_map("Uids", [netuid], [(one["hotkeys"], uid) for uid, one in enumerate(seats)])
    for uid, one in enumerate(seats):
        substrate.store("Uids", [netuid, one["hotkeys"]], uid)
    for item, value in RULES.items():
        substrate.store(item, [netuid], value)
    for index in (netuid, 4096 + netuid):
        substrate.store("LastUpdate", [index], [0] * len(seats))
        substrate.store_map("Weights", [index], [])
    return substrate


RULES: dict[str, Any] = {
    "NetworksAdded": True,
    "Tempo": 360,
    "WeightsSetRateLimit": 100,
    "WeightsVersionKey": 7,
    "MinAllowedWeights": 1,
    "MaxWeightsLimit": 65535,
    "ServingRateLimit": 50,
    "CommitRevealWeightsEnabled": False,
    "MechanismCountCurrent": 2,
    "MechanismEmissionSplit": [39321, 26214],
    "MaxAllowedUids": 128,
    "ImmunityPeriod": 4096,
    "SubnetEpochConsensus": "Yuma",
    "CollateralLockShare": 0,
    "ValidatorTrust": [],
    "Burn": 100_000_000,
}
