"""The one door to Bittensor: what neurons, gateway and scripts may ask of a chain and do to it.

Reads and transactions are the SDK's own; this adds what a process that runs for months needs around them: one
connection with one owner, a deadline on every call, typed errors, values without the SDK in them, and weights keyed by
hotkey. It works over any `bittensor.Substrate` and never asks which chain that is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import bittensor as bt
from bittensor.metagraph import MetagraphNeuron

from orchestra.chain import calls, convert, runtime
from orchestra.chain.calls import Call
from orchestra.chain.errors import NotRegistered, RuntimeMismatch, SubnetMissing
from orchestra.chain.keys import WalletLike, key_address, signing_key
from orchestra.chain.link import Link, Session
from orchestra.chain.networks import MAIN_GENESIS, Network, resolve
from orchestra.chain.types import BlockRef, Hyperparameters, Metagraph, TxOutcome

T = TypeVar("T")
SUBMIT_DEADLINE_S = 90.0
REBUILD_AFTER = 3


class Chain:
    """One chain, one connection. Use as `async with await Chain.open("test") as chain`, or close it yourself.

    Every method raises a `ChainError`: `ChainTimeout` at its deadline, `ChainUnreachable` when the connection is the
    trouble, `ChainRejected` for an error of the chain itself. Transactions wait until they are in a block and return a
    `TxOutcome`; a transaction that ends in an exception may still have been included, so read before repeating it.
    """

    def __init__(self, link: Link, submit_deadline_s: float) -> None:
        """Use `open`."""
        self.network = link.network.name
        self.link = link
        self._submit_deadline_s = submit_deadline_s

    @classmethod
    async def open(
        cls,
        network: str | Network,
        *,
        call_deadline_s: float = 15.0,
        submit_deadline_s: float = SUBMIT_DEADLINE_S,
        rebuild_after: int = REBUILD_AFTER,
    ) -> Self:
        """Connect to `finney`, `test`, `local`, `orchestra-local[:PORT]` or a ws:// URL and check its runtime.

        `call_deadline_s` bounds connecting and every read, `submit_deadline_s` a transaction until its block.
        Raises UnknownNetwork, ChainUnreachable, or RuntimeMismatch when the runtime does not take the calls we send.
        """
        known = resolve(network) if isinstance(network, str) else network
        link = Link(known, call_deadline_s=call_deadline_s, rebuild_after=rebuild_after, greet=_greeting(known.name))
        chain = cls(link, submit_deadline_s)
        try:
            await chain.spec_version()
        except BaseException:
            await link.close()
            raise
        return chain

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        await self.link.close()

    # Blocks ---------------------------------------------------------------------------------------------------------

    async def head(self) -> BlockRef:
        """The newest block; it may still be replaced."""
        return await self.link.run("head", lambda session: _block(session, session.substrate.block_number()))

    async def finalized(self) -> BlockRef:
        """The newest block that will not be replaced."""
        return await self.link.run(
            "finalized", lambda session: _block(session, session.substrate.finalized_block_number())
        )

    async def block_hash(self, number: int) -> str:
        """The hash of one block."""
        return await self.link.run("block_hash", lambda session: session.substrate.block_hash(number))

    async def block_time_s(self) -> float:
        """Seconds between blocks, as the chain says."""
        return await self.link.run("block_time", lambda session: session.substrate.block_time())

    async def spec_version(self) -> int:
        """The version of the runtime at the head."""
        return await self.link.run("spec_version", lambda session: session.substrate.spec_version())

    async def is_main(self) -> bool:
        """Whether this is finney, by its genesis block and whatever it is called here: real money asks to be sure."""
        return await self.block_hash(0) == MAIN_GENESIS

    # Subnets --------------------------------------------------------------------------------------------------------

    async def metagraph(self, netuid: int, *, block: int | None = None) -> Metagraph:
        """Every neuron of a subnet with its commitment, at `block` (default: the head). Raises SubnetMissing."""
        return await self.link.run("metagraph", lambda session: self._metagraph(session, netuid, block))

    async def _metagraph(self, session: Session, netuid: int, block: int | None) -> Metagraph:
        # One after the other: the first read at a block makes the SDK look its runtime up, further ones know it.
        number = await session.substrate.block_number() if block is None else block
        block_hash = await session.substrate.block_hash(number)
        trust = await session.substrate.query("SubtensorModule", "ValidatorTrust", [netuid], block_hash)
        graph = await session.client.subnets.metagraph(netuid, block=number)
        if graph is None:
            raise SubnetMissing(self.network, netuid)
        return convert.metagraph(graph, [int(value) for value in trust or ()], BlockRef(number, block_hash))

    async def _members(self, netuid: int) -> dict[str, MetagraphNeuron]:
        """Who sits on the subnet in the newest block, by hotkey: one request, without commitments."""
        graph = await self.link.run(
            "members", lambda session: session.client.subnets.metagraph(netuid, commitments=False)
        )
        if graph is None:
            raise SubnetMissing(self.network, netuid)
        return {neuron.hotkey: neuron for neuron in graph.neurons}

    async def hyperparameters(self, netuid: int) -> Hyperparameters:
        """The subnet's rules, all read at one block: a dozen requests, so ask once an epoch. Raises SubnetMissing."""
        return await self.link.run("hyperparameters", lambda session: self._hyperparameters(session, netuid))

    async def _hyperparameters(self, session: Session, netuid: int) -> Hyperparameters:
        block_hash = await session.substrate.block_hash(await session.substrate.block_number())

        async def read(item: str) -> Any:
            return await session.substrate.query("SubtensorModule", item, [netuid], block_hash)

        if not await read("NetworksAdded"):
            raise SubnetMissing(self.network, netuid)
        named = {name: await read(item) for name, item in _HYPERPARAMETERS.items()}
        split = tuple(int(share) for share in named.pop("mechanism_split") or ())
        reveal = bool(named.pop("commit_reveal"))
        return Hyperparameters(**{k: int(v) for k, v in named.items()}, commit_reveal=reveal, mechanism_split=split)

    async def weights(self, netuid: int, mechid: int = 0) -> dict[int, dict[int, float]]:
        """The weights on chain: validator uid -> miner uid -> share, each row summing to 1."""
        return await self.link.run(
            "weights", lambda session: session.client.read("weights", netuid=netuid, mechid=mechid)
        )

    async def commitments(self, netuid: int, *, block: int | None = None) -> dict[str, str]:
        """What every hotkey has in its slot of the Commitments pallet at `block`, where it can be read."""
        found = await self.link.run(
            "commitments", lambda session: session.client.subnets.commitments(netuid, block=block)
        )
        values = {hotkey: commitment.value for hotkey, commitment in found.items()}
        return {hotkey: value for hotkey, value in values.items() if value is not None}

    async def subnets_of(self, coldkey: str) -> tuple[int, ...]:
        """The netuids of the subnets that a coldkey owns, ascending."""
        owners = await self.link.run(
            "subnet owners", lambda session: session.substrate.query_map("SubtensorModule", "SubnetOwner")
        )
        return tuple(sorted(int(netuid) for netuid, owner in owners if str(owner) == coldkey))

    async def owners(self, *, block: int) -> dict[int, str]:
        """The coldkey that owns each subnet, by netuid, as it was at `block`."""

        async def read(session: Session) -> list[tuple[Any, Any]]:
            block_hash = await session.substrate.block_hash(block)
            return list(await session.substrate.query_map("SubtensorModule", "SubnetOwner", [], block_hash))

        return {int(netuid): str(owner) for netuid, owner in await self.link.run("subnet owners", read)}

    async def require_subnet(self, netuid: int) -> None:
        """Raise SubnetMissing unless the subnet exists."""
        if not await self.subnet_state(netuid, "NetworksAdded"):
            raise SubnetMissing(self.network, netuid)

    async def subnet_state(self, netuid: int, item: str) -> Any:
        """One storage item of SubtensorModule that is keyed by netuid alone, as the SDK decodes it."""
        return await self.link.run(item, lambda session: session.substrate.query("SubtensorModule", item, [netuid]))

    # Money ----------------------------------------------------------------------------------------------------------

    async def balance_rao(self, ss58: str) -> int:
        """An account's free balance."""
        balance = await self.link.run("balance", lambda session: session.client.balances.get(ss58))
        return balance.rao

    async def registration_cost_rao(self, netuid: int) -> int:
        """What registering a neuron on this subnet costs now."""
        burn = await self.link.run("registration cost", lambda session: session.client.subnets.burn(netuid))
        return burn.rao

    async def subnet_cost_rao(self) -> int:
        """What creating a subnet costs now."""
        return int(
            await self.link.run(
                "subnet cost",
                lambda session: session.substrate.runtime_call(
                    "SubnetRegistrationRuntimeApi", "get_network_registration_cost", []
                ),
            )
        )

    async def transfer(self, wallet: WalletLike, dest_ss58: str, rao: int) -> TxOutcome:
        """Send `rao` from the wallet's coldkey; the sender keeps at least the existential deposit."""
        return await self.submit(calls.transfer(dest_ss58, rao), wallet)

    # Neurons --------------------------------------------------------------------------------------------------------

    async def uid(self, netuid: int, hotkey: str) -> int | None:
        """The uid that a hotkey holds on a subnet now, or None."""
        value = await self.link.run(
            "uid", lambda session: session.substrate.query("SubtensorModule", "Uids", [netuid, hotkey])
        )
        return None if value is None else int(value)

    async def register(self, wallet: WalletLike, netuid: int, *, hotkey: str | None = None) -> TxOutcome:
        """Register a hotkey on a subnet, paid by the wallet's coldkey; nothing to do when it is registered.

        `hotkey` is needed when `wallet` is a bare coldkey. The call goes out in the clear unless part of the price buys
        collateral through the subnet's pool (CollateralLockShare > 0): only then is there a trade that somebody who
        sees it in the mempool could sandwich, and the MEV shield costs a second fee and expires after eight blocks.
        """
        key = hotkey if hotkey is not None else key_address(wallet, "hotkey")
        if await self.uid(netuid, key) is not None:
            return convert.unchanged(f"{key} is already registered on subnet {netuid}")
        shielded = bool(await self.link.run("collateral share", lambda session: _lock_share(session, netuid)))
        return await self.submit(calls.register(netuid, key), wallet, shielded=shielded)

    async def serve(self, wallet: WalletLike, netuid: int, ip: str, port: int) -> TxOutcome:
        """Publish `ip:port` as the hotkey's endpoint; nothing to do when the chain already says so.

        Raises NotRegistered when the hotkey holds no uid on the subnet.
        """
        key = key_address(wallet, "hotkey")
        neuron = (await self._members(netuid)).get(key)
        if neuron is None:
            raise NotRegistered(self.network, netuid, key)
        host = ipaddress.ip_address(ip)
        wanted = f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"
        if neuron.axon == wanted:
            return convert.unchanged(f"{wanted} is already published")
        return await self._execute("serve", bt.ServeAxon(netuid=netuid, ip=ip, port=port), wallet)

    async def set_weights(
        self,
        wallet: WalletLike,
        netuid: int,
        weights: Mapping[str, float],
        *,
        mechid: int = 0,
        version_key: int = 0,
    ) -> TxOutcome:
        """Set the hotkey's weights, keyed by hotkey: uids are looked up now, in the newest block.

        A hotkey without a uid is left out and named in `dropped`, so that nothing is ever paid to whoever got its uid.
        Plain or timelocked is the subnet's choice and the SDK's work. Raises RuntimeTooOld when the runtime lacks what
        the SDK reads for it.
        """
        uids = {hotkey: neuron.uid for hotkey, neuron in (await self._members(netuid)).items()}
        dropped = tuple(sorted(hotkey for hotkey in weights if hotkey not in uids))
        known = {uids[hotkey]: weight for hotkey, weight in weights.items() if hotkey in uids}
        if not known:
            return TxOutcome(
                False, "invalid_argument", f"none of {len(weights)} hotkeys holds a uid", None, None, dropped
            )
        intent = bt.SetWeights(netuid=netuid, weights=cast(Any, known), mechid=mechid, version_key=version_key)
        return await self._execute("set_weights", intent, wallet, dropped)

    async def commit(self, wallet: WalletLike, netuid: int, data: str) -> TxOutcome:
        """Put up to 384 bytes of text into the hotkey's slot of the Commitments pallet, replacing what was there."""
        return await self.submit(calls.commit(netuid, data), wallet, signer="hotkey")

    # Transactions ---------------------------------------------------------------------------------------------------

    async def submit(
        self, call: Call, wallet: WalletLike, *, signer: str = "coldkey", shielded: bool = False
    ) -> TxOutcome:
        """Sign one of `orchestra.chain.calls` with the wallet's coldkey (or hotkey) and wait for its block."""
        key = cast(Any, signing_key(wallet, signer))

        async def send(session: Session) -> bt.ExtrinsicResult:
            return await session.client.submit_call(
                call, key, signer=signer, shielded=shielded, wait_for_finalization=False
            )

        return await self._send(f"{call.pallet}.{call.function}", send)

    async def encode(self, call: Call) -> str | None:
        """The call as hex SCALE, as the runtime would receive it; None where the chain has no metadata to encode by."""

        async def compose(session: Session) -> str | None:
            if not isinstance(session.substrate, runtime.HasMetadata):
                return None
            return "0x" + (await session.substrate.compose(call)).data.hex()

        return await self.link.run("compose", compose)

    async def _execute(
        self, what: str, intent: bt.Intent, wallet: WalletLike, dropped: tuple[str, ...] = ()
    ) -> TxOutcome:
        key = cast(Any, signing_key(wallet, intent.signer))

        async def send(session: Session) -> bt.ExtrinsicResult:
            return await session.client.execute(intent, key, retries=1, wait_for_finalization=False)

        return await self._send(what, send, dropped)

    async def _send(
        self, what: str, send: Callable[[Session], Awaitable[bt.ExtrinsicResult]], dropped: tuple[str, ...] = ()
    ) -> TxOutcome:
        async def attempt(session: Session) -> TxOutcome:
            try:
                return convert.outcome(await send(session), dropped)
            except bt.ChainError as error:
                if error.code is bt.ErrorCode.UNKNOWN:
                    raise
                return convert.refusal(error, dropped)
            except (bt.RpcConnectionError, bt.ConnectionNotReady):
                raise
            except bt.BittensorError as error:
                return convert.refusal(error, dropped)

        return await self.link.run(what, attempt, deadline_s=self._submit_deadline_s, writes=True)


_HYPERPARAMETERS = {
    "tempo": "Tempo",
    "weights_rate_limit": "WeightsSetRateLimit",
    "weights_version": "WeightsVersionKey",
    "min_allowed_weights": "MinAllowedWeights",
    "max_weight_limit": "MaxWeightsLimit",
    "serving_rate_limit": "ServingRateLimit",
    "commit_reveal": "CommitRevealWeightsEnabled",
    "mechanism_count": "MechanismCountCurrent",
    "mechanism_split": "MechanismEmissionSplit",
    "max_uids": "MaxAllowedUids",
    "immunity_period": "ImmunityPeriod",
}


async def _block(session: Session, number: Awaitable[int]) -> BlockRef:
    height = await number
    return BlockRef(height, await session.substrate.block_hash(height))


async def _lock_share(session: Session, netuid: int) -> int:
    return int(await session.substrate.query("SubtensorModule", "CollateralLockShare", [netuid]) or 0)


def _greeting(network: str) -> Callable[[Session], Awaitable[None]]:
    """Refuse a chain whose runtime does not take our calls, before anything depends on it."""

    async def greet(session: Session) -> None:
        found = await runtime.difference(session.substrate)
        if found is not None:
            raise RuntimeMismatch(network, await session.substrate.spec_version(), found)

    return greet
