"""One epoch of one subnet: read the matrices, run Yuma per mechanism, write the vectors, pay out.

Follows `epoch_with_mechanisms` and `distribute_emission` of opentensor/subtensor: the emission since the last epoch
loses the owner's cut (18 %); the rest is divided between mechanisms by the emission split and within each half to
miners and half to validators, which makes 41/41/18. A validator's dividends go to its nominators after its take; a
miner's incentive becomes stake of its coldkey; what the owner's own neuron earns as a miner is burned. Root dividends
and the pool's injections do not exist here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orchestra.devnet.chain import registry, stake, yuma
from orchestra.devnet.chain.items import U16_MAX, Item, Local, Subtensor, storage_index
from orchestra.devnet.chain.state import State

PER_MILLION = 1_000_000


def due(state: State, netuid: int, block: int) -> bool:
    """Whether the subnet's epoch runs in this block: a tempo after the last one. A tempo of 0 never runs."""
    tempo = state.get(Subtensor.Tempo, netuid)
    return tempo > 0 and block >= state.get(Subtensor.LastEpochBlock, netuid) + tempo


def pending_emission(state: State, netuid: int, block: int) -> int:
    """Rao of alpha that the subnet has earned since its last epoch, up to and including `block`."""
    first = state.get(Subtensor.FirstEmissionBlockNumber, netuid)
    if first is None:
        return 0
    since = max(first, state.get(Local.EmissionFrom, netuid))
    return max(0, block + 1 - since) * state.get(Subtensor.BlockEmission)


def emission_split(state: State, netuid: int) -> list[float]:
    """Each mechanism's share of the emission; even where the owner set none, and nothing beyond the list he set."""
    count = state.get(Subtensor.MechanismCountCurrent, netuid)
    split = state.get(Subtensor.MechanismEmissionSplit, netuid)
    if not split:
        return [1 / count] * count
    padded = [*split, *[0] * (count - len(split))]
    return [part / sum(padded) for part in padded]


def run(state: State, netuid: int, block: int) -> None:
    """Run the subnet's epoch and pay what has accrued."""
    total = pending_emission(state, netuid, block)
    cut = total * state.get(Subtensor.SubnetOwnerCut) // U16_MAX if state.get(Subtensor.OwnerCutEnabled, netuid) else 0
    if state.get(Subtensor.SubnetworkN, netuid):
        _run_consensus(state, netuid, block, total - cut)
        _pay_owner(state, netuid, cut)
    state.put(Local.EmissionFrom, netuid, block + 1)
    state.put(Subtensor.LastEpochBlock, netuid, block)
    state.put(Subtensor.LastMechansimStepBlock, netuid, block)
    state.put(Subtensor.SubnetEpochIndex, netuid, state.get(Subtensor.SubnetEpochIndex, netuid) + 1)
    _forget_commits(state, netuid)


def _run_consensus(state: State, netuid: int, block: int, emission: int) -> None:
    """Yuma for each mechanism, what it decides, and `emission` rao of alpha to miners and validators."""
    shares = emission_split(state, netuid)
    permits = state.get(Subtensor.ValidatorPermit, netuid)
    inputs = [_inputs(state, netuid, mechanism, block) for mechanism in registry.mechanisms(state, netuid)]
    outputs = [yuma.epoch(given) for given in inputs]
    for mechanism, output in enumerate(outputs):
        _write_mechanism(state, storage_index(netuid, mechanism), output, permits)
    _write_subnet(state, netuid, inputs, outputs, shares)
    combined = sum((o.server_share + o.validator_share) * share for o, share in zip(outputs, shares, strict=True))
    state.put(Subtensor.Emission, netuid, [int(value) for value in np.asarray(combined) * emission])
    _pay(state, netuid, outputs, shares, emission)


def _inputs(state: State, netuid: int, mechanism: int, block: int) -> yuma.Inputs:
    hotkeys = registry.hotkeys(state, netuid)
    index, count = storage_index(netuid, mechanism), len(hotkeys)
    tempo = state.get(Subtensor.Tempo, netuid)
    cutoff = state.get(Subtensor.ActivityCutoffFactorMilli, netuid) * tempo // 1000
    last_update = np.array(state.get(Subtensor.LastUpdate, index), dtype=np.int64)
    registered = [state.get(Subtensor.BlockAtRegistration, netuid, uid) for uid in range(count)]
    return yuma.Inputs(
        stake=_stake_vector(state, netuid, hotkeys),
        weights=_matrix(state, Subtensor.Weights, index, count),
        bonds=_matrix(state, Subtensor.Bonds, index, count),
        active=last_update + cutoff >= block,
        permits=np.array(state.get(Subtensor.ValidatorPermit, netuid), dtype=np.bool_),
        last_update=last_update,
        registered=np.array(registered, dtype=np.int64),
        last_tempo=max(0, block - tempo),
        kappa=state.get(Subtensor.Kappa, netuid) / U16_MAX,
        bonds_penalty=state.get(Subtensor.BondsPenalty, netuid) / U16_MAX,
        alpha=1 - state.get(Subtensor.BondsMovingAverage, netuid) / PER_MILLION,
        max_validators=state.get(Subtensor.MaxAllowedValidators, netuid),
        owner=registry.owner_uid(state, netuid),
    )


def _stake_vector(state: State, netuid: int, hotkeys: list[str]) -> yuma.Vector:
    threshold = state.get(Subtensor.StakeThreshold)
    weights = [stake.stake_weight(state, hotkey, netuid) for hotkey in hotkeys]
    return yuma.normalise(np.array([w if w >= threshold else 0 for w in weights], dtype=np.float64))


def _matrix(state: State, item: Item, index: int, count: int) -> yuma.Matrix:
    matrix = np.zeros((count, count))
    for (uid,), row in state.pairs(item, index):
        for target, value in row:
            if uid < count and target < count:
                matrix[uid, target] = value
    return matrix / U16_MAX


def _u16(vector: yuma.Vector) -> list[int]:
    """Proportions as the chain stores them: `fixed_proportion_to_u16`, rounding down."""
    return [int(value) for value in np.clip(vector, 0, 1) * U16_MAX]


def _write_mechanism(state: State, index: int, output: yuma.Outputs, before: list[bool]) -> None:
    state.put(Subtensor.Incentive, index, _u16(output.incentive))
    for uid, keeps in enumerate(output.permits):
        if keeps:
            row = [(target, value) for target, value in enumerate(_u16(output.bonds[uid])) if value]
            state.put(Subtensor.Bonds, index, uid, row)
        elif before[uid]:
            state.put(Subtensor.Bonds, index, uid, [])


def _write_subnet(
    state: State, netuid: int, inputs: list[yuma.Inputs], outputs: list[yuma.Outputs], shares: list[float]
) -> None:
    """The vectors that the subnet's mechanisms share: each the mean by emission share."""

    def mean(attribute: str) -> yuma.Vector:
        vectors = [share * getattr(output, attribute) for share, output in zip(shares, outputs, strict=True)]
        return np.sum(vectors, axis=0)

    active = np.logical_or.reduce([given.active for given in inputs])
    state.put(Subtensor.Consensus, netuid, _u16(mean("consensus")))
    state.put(Subtensor.Dividends, netuid, _u16(mean("dividends")))
    state.put(Subtensor.ValidatorTrust, netuid, _u16(mean("validator_trust")))
    state.put(Subtensor.ValidatorPermit, netuid, [bool(permit) for permit in outputs[0].permits])
    state.put(Subtensor.StakeWeight, netuid, _u16(inputs[0].stake))
    state.put(Subtensor.Active, netuid, [bool(flag) for flag in active])


def _pay(state: State, netuid: int, outputs: list[yuma.Outputs], shares: list[float], emission: int) -> None:
    owner = state.get(Subtensor.SubnetOwner, netuid)
    burned = paid = 0
    for share, output in zip(shares, outputs, strict=True):
        for uid, hotkey in enumerate(registry.hotkeys(state, netuid)):
            earned = int(output.server_share[uid] * share * emission)
            coldkey = state.get(Subtensor.Owner, hotkey)
            paid += earned
            if coldkey == owner:
                burned += earned
            elif earned:
                stake.add(state, hotkey, coldkey, netuid, earned)
            _pay_validator(state, netuid, hotkey, int(output.validator_share[uid] * share * emission))
    state.put(Subtensor.MinerBurned, netuid, {"bits": 2**64 * burned // paid if paid else 0})


def _pay_validator(state: State, netuid: int, hotkey: str, dividends: int) -> None:
    """The validator's take to its owner, the rest to everybody behind it in proportion to their stake."""
    backers = stake.stakers(state, hotkey, netuid)
    total = sum(amount for _, amount in backers)
    take = dividends * state.get(Subtensor.Delegates, hotkey) // U16_MAX if total else dividends
    left = dividends - take
    for coldkey, amount in backers:
        part = (dividends - take) * amount // total
        left -= part
        if part:
            stake.add(state, hotkey, coldkey, netuid, part)
    if take + left:
        stake.add(state, hotkey, state.get(Subtensor.Owner, hotkey), netuid, take + left)


def _pay_owner(state: State, netuid: int, cut: int) -> None:
    if cut:
        hotkey = state.get(Subtensor.SubnetOwnerHotkey, netuid)
        stake.add(state, hotkey, state.get(Subtensor.SubnetOwner, netuid), netuid, cut)


def _forget_commits(state: State, netuid: int) -> None:
    """Drop timelocked commits whose reveal window has passed."""
    oldest = state.get(Subtensor.SubnetEpochIndex, netuid) - state.get(Subtensor.RevealPeriodEpochs, netuid)
    for mechanism in registry.mechanisms(state, netuid):
        index = storage_index(netuid, mechanism)
        pending: list[tuple[Any, ...]] = [key for key, _ in state.pairs(Subtensor.TimelockedWeightCommits, index)]
        for (epoch,) in pending:
            if epoch < oldest:
                state.remove(Subtensor.TimelockedWeightCommits, index, epoch)
