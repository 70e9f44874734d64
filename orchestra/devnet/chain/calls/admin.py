"""What a subnet's owner may change: hyperparameters, mechanisms, their split.

Each is its own `AdminUtils` call on the real chain, under the same guards (`ensure_sn_owner_or_root_with_limits`):
only the owner, once per `OwnerHyperparamRateLimit` tempos and call, not within `AdminFreezeWindow` blocks of an epoch.
There is no sudo key here, so what finney reserves to root (the weights rate limit, the number of validators, kappa)
comes from the genesis file only. A genesis may lower the freeze window, which at a tempo of ten would otherwise never
open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from orchestra.devnet.chain import networks
from orchestra.devnet.chain.calls.base import (
    U8,
    U16,
    U32,
    U64,
    Context,
    Decoder,
    boolean,
    call,
    fixed_bits,
    listing,
    optional,
)  # fmt: skip
from orchestra.devnet.chain.errors import ensure
from orchestra.devnet.chain.items import U16_MAX, Item, Local, Subtensor
from orchestra.devnet.chain.state import State

MAX_UIDS: Final = 256


def next_epoch(state: State, netuid: int) -> int:
    """The block in which the subnet's next epoch runs."""
    due = state.get(Subtensor.LastEpochBlock, netuid) + state.get(Subtensor.Tempo, netuid)
    triggered = state.get(Subtensor.PendingEpochAt, netuid)
    return min(due, triggered) if triggered else due


def _guard(ctx: Context, netuid: int, name: str) -> None:
    state = ctx.state
    ensure(networks.exists(state, netuid), "SubnetDoesNotExist")
    ensure(state.get(Subtensor.SubnetOwner, netuid) == ctx.signer, "NotSubnetOwner")
    window = state.get(Subtensor.AdminFreezeWindow)
    ensure(next_epoch(state, netuid) - ctx.block >= window, "AdminActionProhibitedDuringWeightsWindow")
    last = state.get(Local.LastOwnerSet, netuid, name)
    limit = state.get(Subtensor.OwnerHyperparamRateLimit) * state.get(Subtensor.Tempo, netuid)
    ensure(last == 0 or ctx.block - last >= limit, "TxRateLimitExceeded")
    state.put(Local.LastOwnerSet, netuid, name, ctx.block)


def _nothing(ctx: Context, netuid: int, value: Any) -> None:
    """No bounds beyond the argument's type."""


def _tempo_bounds(ctx: Context, netuid: int, value: int) -> None:
    low, high = ctx.state.get(Local.Spec)["tempo_bounds"]
    ensure(low <= value <= high, "TempoOutOfBounds")


def _uid_bounds(ctx: Context, netuid: int, value: int) -> None:
    ensure(value >= ctx.state.get(Subtensor.MinAllowedUids, netuid), "MaxAllowedUidsLessThanMinAllowedUids")
    ensure(value >= ctx.state.get(Subtensor.SubnetworkN, netuid), "MaxAllowedUIdsLessThanCurrentUIds")
    ensure(value <= MAX_UIDS, "MaxAllowedUidsGreaterThanDefaultMaxAllowedUids")
    mechanisms = ctx.state.get(Subtensor.MechanismCountCurrent, netuid)
    ensure(value * mechanisms <= MAX_UIDS, "TooManyUIDsPerMechanism")


def _cutoff_bounds(ctx: Context, netuid: int, value: int) -> None:
    ensure(1_000 <= value <= 50_000, "ActivityCutoffFactorMilliOutOfBounds")


def _min_burn_bounds(ctx: Context, netuid: int, value: int) -> None:
    ensure(value < ctx.state.get(Subtensor.MaxBurn, netuid), "ValueNotInBounds")


def _max_burn_bounds(ctx: Context, netuid: int, value: int) -> None:
    ensure(value > ctx.state.get(Subtensor.MinBurn, netuid), "ValueNotInBounds")


def _bonds_bounds(ctx: Context, netuid: int, value: int) -> None:
    ensure(value <= 975_000, "BondsMovingAverageMaxReached")


def _reveal_bounds(ctx: Context, netuid: int, value: int) -> None:
    ensure(value >= 1, "RevealPeriodTooSmall")
    ensure(value <= 100, "RevealPeriodTooLarge")


_SETTERS: Final[dict[str, tuple[str, Decoder, Item, Callable[[Context, int, Any], None]]]] = {
    "sudo_set_tempo": ("tempo", U16, Subtensor.Tempo, _tempo_bounds),
    "sudo_set_immunity_period": ("immunity_period", U16, Subtensor.ImmunityPeriod, _nothing),
    "sudo_set_min_allowed_weights": ("min_allowed_weights", U16, Subtensor.MinAllowedWeights, _nothing),
    "sudo_set_weights_version_key": ("weights_version_key", U64, Subtensor.WeightsVersionKey, _nothing),
    "sudo_set_activity_cutoff_factor": ("factor_milli", U32, Subtensor.ActivityCutoffFactorMilli, _cutoff_bounds),
    "sudo_set_min_burn": ("min_burn", U64, Subtensor.MinBurn, _min_burn_bounds),
    "sudo_set_max_burn": ("max_burn", U64, Subtensor.MaxBurn, _max_burn_bounds),
    "sudo_set_burn_half_life": ("burn_half_life", U16, Subtensor.BurnHalfLife, _nothing),
    "sudo_set_burn_increase_mult": ("burn_increase_mult", fixed_bits, Subtensor.BurnIncreaseMult, _nothing),
    "sudo_set_bonds_moving_average": ("bonds_moving_average", U64, Subtensor.BondsMovingAverage, _bonds_bounds),
    "sudo_set_bonds_penalty": ("bonds_penalty", U16, Subtensor.BondsPenalty, _nothing),
    "sudo_set_serving_rate_limit": ("serving_rate_limit", U64, Subtensor.ServingRateLimit, _nothing),
    "sudo_set_max_allowed_uids": ("max_allowed_uids", U16, Subtensor.MaxAllowedUids, _uid_bounds),
    "sudo_set_commit_reveal_weights_interval": ("interval", U64, Subtensor.RevealPeriodEpochs, _reveal_bounds),
    "sudo_set_commit_reveal_weights_enabled": ("enabled", boolean, Subtensor.CommitRevealWeightsEnabled, _nothing),
    "sudo_set_network_registration_allowed": (
        "registration_allowed", boolean, Subtensor.NetworkRegistrationAllowed, _nothing
    ),
    "sudo_set_owner_cut_enabled": ("enabled", boolean, Subtensor.OwnerCutEnabled, _nothing),
    "sudo_set_toggle_transfer": ("toggle", boolean, Subtensor.TransferToggle, _nothing),
}  # fmt: skip


def _register_setter(
    name: str, argument: str, decode: Decoder, item: Item, check: Callable[[Context, int, Any], None]
) -> None:
    def setter(ctx: Context, netuid: int, **value: Any) -> None:
        _guard(ctx, netuid, name)
        check(ctx, netuid, value[argument])
        ctx.state.put(item, netuid, value[argument])

    call("AdminUtils", name, netuid=U16, **{argument: decode})(setter)


for _name, (_argument, _decode, _item, _check) in _SETTERS.items():
    _register_setter(_name, _argument, _decode, _item, _check)


@call("AdminUtils", "sudo_set_mechanism_count", netuid=U16, mechanism_count=U8)
def sudo_set_mechanism_count(ctx: Context, netuid: int, mechanism_count: int) -> None:
    _guard(ctx, netuid, "sudo_set_mechanism_count")
    ensure(1 <= mechanism_count <= ctx.state.get(Subtensor.MaxMechanismCount), "InvalidValue")
    uids = ctx.state.get(Subtensor.MaxAllowedUids, netuid)
    ensure(mechanism_count * uids <= MAX_UIDS or mechanism_count == 1, "TooManyUIDsPerMechanism")
    networks.set_mechanism_count(ctx.state, netuid, mechanism_count)


@call("AdminUtils", "sudo_set_mechanism_emission_split", netuid=U16, maybe_split=optional(listing(U16, 16)))
def sudo_set_mechanism_emission_split(ctx: Context, netuid: int, maybe_split: list[int] | None) -> None:
    _guard(ctx, netuid, "sudo_set_mechanism_emission_split")
    if maybe_split is None:
        ctx.state.remove(Subtensor.MechanismEmissionSplit, netuid)
        return
    count = ctx.state.get(Subtensor.MechanismCountCurrent, netuid)
    ensure(0 < len(maybe_split) <= count and sum(maybe_split) == U16_MAX, "InvalidValue")
    ctx.state.put(Subtensor.MechanismEmissionSplit, netuid, maybe_split)
