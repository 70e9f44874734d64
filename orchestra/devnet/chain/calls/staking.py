"""Putting TAO behind a hotkey and taking it back, at the local price of one TAO for one alpha (stake.py)."""

from __future__ import annotations

from typing import Final

from orchestra.devnet.chain import accounts, stake
from orchestra.devnet.chain.calls.base import U16, U64, Context, account, boolean, call
from orchestra.devnet.chain.errors import ensure
from orchestra.devnet.chain.items import NOBODY, Subtensor

MIN_STAKE: Final = 2_000_000
PRICE: Final = 10**9
"""Rao of TAO for one alpha."""


def _check(ctx: Context, hotkey: str, netuid: int) -> None:
    ensure(ctx.state.get(Subtensor.NetworksAdded, netuid), "SubnetNotExists")
    ensure(netuid == stake.ROOT or ctx.state.get(Subtensor.SubtokenEnabled, netuid), "SubtokenDisabled")
    ensure(ctx.state.get(Subtensor.Owner, hotkey) != NOBODY, "HotKeyAccountNotExists")


@call("SubtensorModule", "add_stake", hotkey=account, netuid=U16, amount_staked=U64)
def add_stake(ctx: Context, hotkey: str, netuid: int, amount_staked: int) -> None:
    _check(ctx, hotkey, netuid)
    ensure(amount_staked >= MIN_STAKE, "AmountTooLow")
    spendable = accounts.free(ctx.state, ctx.signer) - accounts.existential_deposit(ctx.state)
    ensure(spendable >= amount_staked, "NotEnoughBalanceToStake")
    accounts.burn(ctx.state, ctx.signer, amount_staked)
    stake.add(ctx.state, hotkey, ctx.signer, netuid, amount_staked)
    _pool(ctx, netuid, amount_staked)
    ctx.emit("SubtensorModule", "StakeAdded", (ctx.signer, hotkey, amount_staked, amount_staked, netuid, 0))


@call(
    "SubtensorModule", "add_stake_limit",
    hotkey=account, netuid=U16, amount_staked=U64, limit_price=U64, allow_partial=boolean,
)  # fmt: skip
def add_stake_limit(
    ctx: Context, hotkey: str, netuid: int, amount_staked: int, limit_price: int, allow_partial: bool
) -> None:
    del allow_partial  # the price never moves, so nothing is ever partial
    ensure(limit_price >= PRICE, "ZeroMaxAmount")
    add_stake(ctx, hotkey, netuid, amount_staked)


@call("SubtensorModule", "remove_stake", hotkey=account, netuid=U16, amount_unstaked=U64)
def remove_stake(ctx: Context, hotkey: str, netuid: int, amount_unstaked: int) -> None:
    _check(ctx, hotkey, netuid)
    ensure(amount_unstaked > 0, "AmountTooLow")
    stake.remove(ctx.state, hotkey, ctx.signer, netuid, amount_unstaked)
    accounts.mint(ctx.state, ctx.signer, amount_unstaked)
    _pool(ctx, netuid, -amount_unstaked)
    ctx.emit("SubtensorModule", "StakeRemoved", (ctx.signer, hotkey, amount_unstaked, amount_unstaked, netuid, 0))


@call(
    "SubtensorModule", "remove_stake_limit",
    hotkey=account, netuid=U16, amount_unstaked=U64, limit_price=U64, allow_partial=boolean,
)  # fmt: skip
def remove_stake_limit(
    ctx: Context, hotkey: str, netuid: int, amount_unstaked: int, limit_price: int, allow_partial: bool
) -> None:
    del allow_partial
    ensure(limit_price <= PRICE, "ZeroMaxAmount")
    remove_stake(ctx, hotkey, netuid, amount_unstaked)


def _pool(ctx: Context, netuid: int, amount: int) -> None:
    """The TAO behind a subnet's stake. Emission is alpha that nobody paid for, hence the floor at zero."""
    held = max(0, ctx.state.get(Subtensor.SubnetTAO, netuid) + amount)
    ctx.state.put(Subtensor.SubnetTAO, netuid, held)
    ctx.state.put(Subtensor.TotalStake, max(0, ctx.state.get(Subtensor.TotalStake) + amount))
