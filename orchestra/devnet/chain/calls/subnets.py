"""Creating and activating a subnet, and its public profile.

`do_register_network` and `do_start_call` of `pallets/subtensor/src/subnets/subnet.rs`. The price doubles with each
registration and decays linearly to its floor. A full chain refuses; dissolving the weakest subnet is not modelled.
"""

from __future__ import annotations

from typing import Final

from orchestra.devnet.chain import accounts, networks, registry
from orchestra.devnet.chain.calls.base import U16, Context, account, blob, call
from orchestra.devnet.chain.errors import ensure
from orchestra.devnet.chain.items import Local, Subtensor
from orchestra.devnet.chain.state import State
from orchestra.devnet.chain.wire import text_or_hex


def lock_cost(state: State, block: int) -> int:
    """What registering a subnet costs in this block, in rao (`get_network_lock_cost`)."""
    floor, last = state.get(Subtensor.NetworkMinLockCost), state.get(Subtensor.NetworkLastLockCost)
    registered_at = state.get(Local.NetworkLockAt)
    doubled = last * (2 if registered_at else 1)
    interval = max(1, state.get(Subtensor.NetworkLockReductionInterval))
    return max(floor, doubled - last * (block - registered_at) // interval)


@call("SubtensorModule", "register_network", hotkey=account)
def register_network(ctx: Context, hotkey: str) -> None:
    state = ctx.state
    limit, last = state.get(Subtensor.NetworkRateLimit), state.get(Local.LastNetworkRegistration, ctx.signer)
    ensure(last == 0 or ctx.block - last >= limit, "NetworkTxRateLimitExceeded")
    taken = networks.netuids(state)
    ensure(len(taken) < state.get(Subtensor.SubnetLimit), "SubnetLimitReached")
    cost = lock_cost(state, ctx.block)
    spendable = accounts.free(state, ctx.signer) - accounts.existential_deposit(state)
    ensure(spendable >= cost, "CannotAffordLockCost")

    registry.claim_hotkey(state, hotkey, ctx.signer)
    accounts.burn(state, ctx.signer, cost)
    netuid = next(n for n in range(1, len(taken) + 2) if n not in taken)
    networks.add(state, netuid, ctx.signer, hotkey, ctx.block, state.get(Local.Spec)["new_subnet"])
    registry.register(state, netuid, hotkey, ctx.block)
    state.put(Subtensor.SubnetLocked, netuid, cost)
    state.put(Subtensor.SubnetTAO, netuid, cost)
    state.put(Subtensor.SubnetAlphaIn, netuid, cost)
    state.put(Subtensor.NetworkLastLockCost, cost)
    state.put(Local.NetworkLockAt, ctx.block)
    state.put(Local.LastNetworkRegistration, ctx.signer, ctx.block)
    ctx.emit("SubtensorModule", "NetworkAdded", (netuid, 1))


@call("SubtensorModule", "start_call", netuid=U16)
def start_call(ctx: Context, netuid: int) -> None:
    state = ctx.state
    ensure(networks.exists(state, netuid), "SubnetNotExists")
    ensure(state.get(Subtensor.SubnetOwner, netuid) == ctx.signer, "NotSubnetOwner")
    ensure(state.get(Subtensor.FirstEmissionBlockNumber, netuid) is None, "FirstEmissionBlockNumberAlreadySet")
    waited = ctx.block - state.get(Subtensor.NetworkRegisteredAt, netuid)
    ensure(waited >= state.get(Local.Spec)["start_call_delay"], "NeedWaitingMoreBlocksToStarCall")
    networks.start(state, netuid, ctx.block)
    ctx.emit("SubtensorModule", "FirstEmissionBlockNumberSet", (netuid, ctx.block + 1))


_TEXTS: Final = {
    "subnet_name": 256, "github_repo": 1024, "subnet_contact": 1024, "subnet_url": 1024, "discord": 256,
    "description": 1024, "logo_url": 1024, "additional": 1024,
}  # fmt: skip


@call("SubtensorModule", "set_subnet_identity", netuid=U16, **{name: blob(limit) for name, limit in _TEXTS.items()})
def set_subnet_identity(ctx: Context, netuid: int, **texts: bytes) -> None:
    ensure(networks.exists(ctx.state, netuid), "SubnetNotExists")
    ensure(ctx.state.get(Subtensor.SubnetOwner, netuid) == ctx.signer, "NotSubnetOwner")
    identity = {name: text_or_hex(raw) for name, raw in texts.items()}
    ctx.state.put(Subtensor.SubnetIdentitiesV3, netuid, identity)
    ctx.emit("SubtensorModule", "SubnetIdentitySet", netuid)
