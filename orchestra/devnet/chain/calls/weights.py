"""Setting weights, plain or timelocked, for one or two mechanisms.

Checks, their order and their names follow `internal_set_weights` in `pallets/subtensor/src/subnets/weights.rs`. A
timelocked commit can only be opened with drand's signature of a later round, which no offline chain has: it is checked,
stored, counted against the rate limit and dropped after its reveal window, never revealed.
"""

from __future__ import annotations

from typing import Final

from orchestra.devnet.chain.calls.base import U8, U16, U64, Context, blob, call, listing
from orchestra.devnet.chain.errors import ensure
from orchestra.devnet.chain.items import U16_MAX, Subtensor, storage_index
from orchestra.devnet.chain.registry import owner_uid, set_at
from orchestra.devnet.chain.stake import stake_weight
from orchestra.devnet.chain.wire import digest, text_or_hex

MAX_COMMIT: Final = 5000
MAX_VECTOR: Final = 4096


@call(
    "SubtensorModule",
    "set_weights",
    netuid=U16,
    dests=listing(U16, MAX_VECTOR),
    weights=listing(U16, MAX_VECTOR),
    version_key=U64,
)
def set_weights(ctx: Context, netuid: int, dests: list[int], weights: list[int], version_key: int) -> None:
    set_mechanism_weights(ctx, netuid, 0, dests, weights, version_key)


@call(
    "SubtensorModule", "set_mechanism_weights",
    netuid=U16, mecid=U8, dests=listing(U16, MAX_VECTOR), weights=listing(U16, MAX_VECTOR), version_key=U64,
)  # fmt: skip
def set_mechanism_weights(
    ctx: Context, netuid: int, mecid: int, dests: list[int], weights: list[int], version_key: int
) -> None:
    state, index = ctx.state, storage_index(netuid, mecid)
    ensure(not state.get(Subtensor.CommitRevealWeightsEnabled, netuid), "CommitRevealEnabled")
    _check_mechanism(ctx, netuid, mecid)
    ensure(len(dests) == len(weights), "WeightVecNotEqualSize")
    ensure(netuid != 0, "CanNotSetRootNetworkWeights")
    count = state.get(Subtensor.SubnetworkN, netuid)
    ensure(len(dests) <= count, "UidsLengthExceedUidsInSubNet")
    uid = _registered(ctx, netuid)
    required = state.get(Subtensor.WeightsVersionKey, netuid)
    ensure(required == 0 or version_key >= required, "IncorrectWeightVersionKey")
    _check_rate(ctx, netuid, index, uid, "SettingWeightsTooFast")

    own = dests == [uid]
    permitted = state.get(Subtensor.ValidatorPermit, netuid)[uid] or own or uid == owner_uid(state, netuid)
    ensure(permitted, "NeuronNoValidatorPermit")
    ensure(len(set(dests)) == len(dests), "DuplicateUids")
    ensure(all(dest < count for dest in dests), "UidVecContainInvalidOne")
    minimum = min(state.get(Subtensor.MinAllowedWeights, netuid), count)
    ensure(own or len(dests) >= minimum, "WeightVecLengthIsLow")
    ensure(own or _within_limit(weights, state.get(Subtensor.MaxWeightsLimit, netuid)), "MaxWeightExceeded")

    row = list(zip(dests, max_upscale(weights), strict=True))
    state.put(Subtensor.Weights, index, uid, row)
    set_at(state, Subtensor.LastUpdate, index, uid, ctx.block)
    ctx.emit("SubtensorModule", "WeightsSet", (index, uid))


@call(
    "SubtensorModule", "commit_timelocked_mechanism_weights",
    netuid=U16, mecid=U8, commit=blob(MAX_COMMIT + 1), reveal_round=U64, commit_reveal_version=U16,
)  # fmt: skip
def commit_timelocked_mechanism_weights(
    ctx: Context, netuid: int, mecid: int, commit: bytes, reveal_round: int, commit_reveal_version: int
) -> None:
    state, index = ctx.state, storage_index(netuid, mecid)
    _check_mechanism(ctx, netuid, mecid)
    ensure(state.get(Subtensor.CommitRevealWeightsEnabled, netuid), "CommitRevealDisabled")
    ensure(commit_reveal_version == state.get(Subtensor.CommitRevealWeightsVersion), "IncorrectCommitRevealVersion")
    uid = _registered(ctx, netuid)
    _check_rate(ctx, netuid, index, uid, "CommittingWeightsTooFast")
    ensure(len(commit) <= MAX_COMMIT, "CommitPayloadTooLarge")

    epoch = state.get(Subtensor.SubnetEpochIndex, netuid)
    sealed = (ctx.signer, ctx.block, text_or_hex(commit), reveal_round)
    pending = state.get(Subtensor.TimelockedWeightCommits, index, epoch)
    state.put(Subtensor.TimelockedWeightCommits, index, epoch, [*pending, sealed])
    set_at(state, Subtensor.LastUpdate, index, uid, ctx.block)
    ctx.emit("SubtensorModule", "TimelockedWeightsCommitted", (ctx.signer, index, digest(sealed), reveal_round))


def max_upscale(weights: list[int]) -> list[int]:
    """Scale so that the largest is 65535, rounding down, as `vec_u16_max_upscale_to_u16`."""
    top = max(weights, default=0)
    return [weight * U16_MAX // top for weight in weights] if top else list(weights)


def _within_limit(weights: list[int], limit: int) -> bool:
    return limit == U16_MAX or max(weights, default=0) * U16_MAX <= limit * sum(weights)


def _check_mechanism(ctx: Context, netuid: int, mecid: int) -> None:
    exists = ctx.state.get(Subtensor.NetworksAdded, netuid)
    ensure(exists and mecid < ctx.state.get(Subtensor.MechanismCountCurrent, netuid), "MechanismDoesNotExist")


def _registered(ctx: Context, netuid: int) -> int:
    """The signer's uid. Raises when it has none, or less stake than the chain asks of those who set weights."""
    uid = ctx.state.get(Subtensor.Uids, netuid, ctx.signer)
    ensure(uid is not None, "HotKeyNotRegisteredInSubNet")
    threshold = ctx.state.get(Subtensor.StakeThreshold)
    ensure(stake_weight(ctx.state, ctx.signer, netuid) >= threshold, "NotEnoughStakeToSetWeights")
    return uid


def _check_rate(ctx: Context, netuid: int, index: int, uid: int, error: str) -> None:
    last = ctx.state.get(Subtensor.LastUpdate, index)[uid]
    ensure(last == 0 or ctx.block - last >= ctx.state.get(Subtensor.WeightsSetRateLimit, netuid), error)
