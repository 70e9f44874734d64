"""Joining a subnet and saying where one listens.

Rules: `do_register` and `do_serve_axon` of `pallets/subtensor/src/subnets/{registration,serving}.rs`. There is no pool
to buy collateral in, so `CollateralLockShare` stays 0 and the whole registration price is burned. The price rises by
`BurnIncreaseMult` with each registration and decays by half every `BurnHalfLife` blocks (runtime.py).
"""

from __future__ import annotations

from orchestra.devnet.chain import accounts, registry
from orchestra.devnet.chain.calls.base import U8, U16, U32, U128, Context, account, blob, call
from orchestra.devnet.chain.errors import ensure
from orchestra.devnet.chain.items import NOBODY, Subtensor
from orchestra.devnet.chain.wire import text_or_hex

IPV4_LOOPBACK = 0x7F000001
IPV6_LOOPBACK = 1


@call("SubtensorModule", "burned_register", netuid=U16, hotkey=account)
def burned_register(ctx: Context, netuid: int, hotkey: str) -> None:
    state = ctx.state
    ensure(netuid != 0, "RegistrationNotPermittedOnRootSubnet")
    ensure(state.get(Subtensor.NetworksAdded, netuid), "SubnetNotExists")
    ensure(state.get(Subtensor.NetworkRegistrationAllowed, netuid), "SubNetRegistrationDisabled")
    seated = state.get(Subtensor.RegistrationsThisBlock, netuid)
    ensure(seated < state.get(Subtensor.MaxRegistrationsPerBlock, netuid), "TooManyRegistrationsThisBlock")
    ensure(state.get(Subtensor.Uids, netuid, hotkey) is None, "HotKeyAlreadyRegisteredInSubNet")
    price = state.get(Subtensor.Burn, netuid)
    spendable = accounts.free(state, ctx.signer) - accounts.existential_deposit(state)
    ensure(spendable >= price, "NotEnoughBalanceToStake")

    registry.claim_hotkey(state, hotkey, ctx.signer)
    accounts.burn(state, ctx.signer, price)
    uid = registry.register(state, netuid, hotkey, ctx.block)
    state.put(Subtensor.RegistrationsThisBlock, netuid, seated + 1)
    state.put(
        Subtensor.RAORecycledForRegistration, netuid, state.get(Subtensor.RAORecycledForRegistration, netuid) + price
    )
    raised = price * state.get(Subtensor.BurnIncreaseMult, netuid)["bits"] >> 64
    state.put(Subtensor.Burn, netuid, min(raised, state.get(Subtensor.MaxBurn, netuid)))
    ctx.emit("SubtensorModule", "NeuronRegistered", (netuid, uid, hotkey))


def _check_endpoint(ctx: Context, netuid: int, ip: int, port: int, ip_type: int) -> None:
    ensure(ctx.state.get(Subtensor.NetworksAdded, netuid), "SubnetNotExists")
    ensure(ctx.state.get(Subtensor.Uids, netuid, ctx.signer) is not None, "HotKeyNotRegisteredInNetwork")
    ensure(ip_type in (4, 6), "InvalidIpType")
    ensure(_is_valid_ip(ip_type, ip), "InvalidIpAddress")
    ensure(port != 0, "InvalidPort")


def _is_valid_ip(ip_type: int, ip: int) -> bool:
    if ip_type == 4:
        return ip < 2**32 - 1 and ip != IPV4_LOOPBACK
    return ip < 2**128 - 1 and ip != IPV6_LOOPBACK


def _check_serving_rate(ctx: Context, netuid: int, previous: dict[str, int] | None) -> None:
    limit = ctx.state.get(Subtensor.ServingRateLimit, netuid)
    waited = previous is None or limit == 0 or ctx.block - previous["block"] >= limit
    ensure(waited, "ServingRateLimitExceeded")


@call(
    "SubtensorModule", "serve_axon",
    netuid=U16, version=U32, ip=U128, port=U16, ip_type=U8, protocol=U8, placeholder1=U8, placeholder2=U8,
)  # fmt: skip
def serve_axon(
    ctx: Context, netuid: int, version: int, ip: int, port: int, ip_type: int, protocol: int, placeholder1: int,
    placeholder2: int,
) -> None:  # fmt: skip
    _check_endpoint(ctx, netuid, ip, port, ip_type)
    _check_serving_rate(ctx, netuid, ctx.state.get(Subtensor.Axons, netuid, ctx.signer))
    axon = {"block": ctx.block, "version": version, "ip": ip, "port": port, "ip_type": ip_type, "protocol": protocol}
    axon |= {"placeholder1": placeholder1, "placeholder2": placeholder2}
    ctx.state.put(Subtensor.Axons, netuid, ctx.signer, axon)
    ctx.emit("SubtensorModule", "AxonServed", (netuid, ctx.signer))


@call("SubtensorModule", "serve_prometheus", netuid=U16, version=U32, ip=U128, port=U16, ip_type=U8)
def serve_prometheus(ctx: Context, netuid: int, version: int, ip: int, port: int, ip_type: int) -> None:
    _check_endpoint(ctx, netuid, ip, port, ip_type)
    ensure(ip != 0, "InvalidIpAddress")
    _check_serving_rate(ctx, netuid, ctx.state.get(Subtensor.Prometheus, netuid, ctx.signer))
    served = {"block": ctx.block, "version": version, "ip": ip, "port": port, "ip_type": ip_type}
    ctx.state.put(Subtensor.Prometheus, netuid, ctx.signer, served)
    ctx.emit("SubtensorModule", "PrometheusServed", (netuid, ctx.signer))


_IDENTITY_LIMITS = {
    "name": 256, "url": 256, "github_repo": 256, "image": 1024, "discord": 256, "description": 1024, "additional": 1024
}  # fmt: skip


@call("SubtensorModule", "set_identity", **{name: blob(limit) for name, limit in _IDENTITY_LIMITS.items()})
def set_identity(ctx: Context, **texts: bytes) -> None:
    owned = ctx.state.get(Subtensor.OwnedHotkeys, ctx.signer)
    registered = any(ctx.state.pairs(Subtensor.IsNetworkMember, hotkey) for hotkey in owned if hotkey != NOBODY)
    ensure(registered, "HotKeyNotRegisteredInNetwork")
    ctx.state.put(Subtensor.IdentitiesV2, ctx.signer, {name: text_or_hex(raw) for name, raw in texts.items()})
    ctx.emit("SubtensorModule", "ChainIdentitySet", ctx.signer)
