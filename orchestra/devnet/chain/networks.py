"""Subnets coming into being: what a new one starts with, and how its hyperparameters are called outside.

The names are those of the SDK's `subnet_hyperparameters` read, so that a genesis file, a `set_hyperparameter` intent
and a printed table speak one language. Starting values follow `init_new_network`
(`pallets/subtensor/src/subnets/subnet.rs`), except where a network of seconds instead of days needs others; the genesis
file's `new_subnet` overrides them.
"""

from __future__ import annotations

from typing import Any, Final

from orchestra.devnet.chain import registry
from orchestra.devnet.chain.items import U64_MAX, Item, Subtensor, storage_index
from orchestra.devnet.chain.state import State

HYPERPARAMETERS: Final[dict[str, Item]] = {
    "rho": Subtensor.Rho,
    "kappa": Subtensor.Kappa,
    "immunity_period": Subtensor.ImmunityPeriod,
    "min_allowed_weights": Subtensor.MinAllowedWeights,
    "max_weights_limit": Subtensor.MaxWeightsLimit,
    "tempo": Subtensor.Tempo,
    "weights_version": Subtensor.WeightsVersionKey,
    "weights_rate_limit": Subtensor.WeightsSetRateLimit,
    "activity_cutoff_factor": Subtensor.ActivityCutoffFactorMilli,
    "registration_allowed": Subtensor.NetworkRegistrationAllowed,
    "min_burn": Subtensor.MinBurn,
    "max_burn": Subtensor.MaxBurn,
    "burn_half_life": Subtensor.BurnHalfLife,
    "bonds_moving_avg": Subtensor.BondsMovingAverage,
    "bonds_penalty": Subtensor.BondsPenalty,
    "max_regs_per_block": Subtensor.MaxRegistrationsPerBlock,
    "serving_rate_limit": Subtensor.ServingRateLimit,
    "max_validators": Subtensor.MaxAllowedValidators,
    "max_allowed_uids": Subtensor.MaxAllowedUids,
    "min_allowed_uids": Subtensor.MinAllowedUids,
    "commit_reveal_period": Subtensor.RevealPeriodEpochs,
    "commit_reveal_weights_enabled": Subtensor.CommitRevealWeightsEnabled,
    "owner_cut_enabled": Subtensor.OwnerCutEnabled,
    "mechanism_count": Subtensor.MechanismCountCurrent,
    "mechanism_emission_split": Subtensor.MechanismEmissionSplit,
}

NEW_SUBNET: Final[dict[str, Any]] = {
    "tempo": 10,
    "weights_rate_limit": 10,
    "min_allowed_weights": 1,
    "immunity_period": 5000,
    "max_validators": 64,
    "max_allowed_uids": 256,
}
"""Differences from the items' own defaults. Tempo and weights rate limit are 360 and 100 on finney."""

SYMBOLS: Final = "αβγδεζηθικλμνξοπρςτυφχψω"


def exists(state: State, netuid: int) -> bool:
    return state.get(Subtensor.NetworksAdded, netuid)


def netuids(state: State) -> list[int]:
    return [netuid for (netuid,), added in state.pairs(Subtensor.NetworksAdded) if added]


def add(state: State, netuid: int, coldkey: str, hotkey: str, block: int, hyperparameters: dict[str, Any]) -> None:
    """A subnet without neurons, inactive until `start_call`."""
    state.put(Subtensor.NetworksAdded, netuid, True)
    state.put(Subtensor.TotalNetworks, state.get(Subtensor.TotalNetworks) + 1)
    state.put(Subtensor.NetworkRegisteredAt, netuid, block)
    state.put(Subtensor.SubnetOwner, netuid, coldkey)
    state.put(Subtensor.SubnetOwnerHotkey, netuid, hotkey)
    state.put(Subtensor.SubnetMechanism, netuid, 1)
    state.put(Subtensor.TokenSymbol, netuid, SYMBOLS[(netuid - 1) % len(SYMBOLS)])
    state.put(Subtensor.SubnetworkN, netuid, 0)
    state.put(Subtensor.LastEpochBlock, netuid, block)
    state.put(Subtensor.LastMechansimStepBlock, netuid, block)
    state.put(Subtensor.MinDifficulty, netuid, U64_MAX)
    state.put(Subtensor.MaxDifficulty, netuid, U64_MAX)
    state.put(Subtensor.Difficulty, netuid, U64_MAX)
    state.put(Subtensor.NetworkPowRegistrationAllowed, netuid, False)
    for name, value in {**NEW_SUBNET, **hyperparameters}.items():
        state.put(HYPERPARAMETERS[name], netuid, value)
    state.put(Subtensor.Burn, netuid, state.get(Subtensor.MinBurn, netuid))


def start(state: State, netuid: int, block: int) -> None:
    """From the next block on the subnet earns, and its token can be staked."""
    state.put(Subtensor.FirstEmissionBlockNumber, netuid, block + 1)
    state.put(Subtensor.SubtokenEnabled, netuid, True)


def set_mechanism_count(state: State, netuid: int, count: int) -> None:
    """Open or close mechanisms. Closing forgets what was theirs; any change makes the emission split even again."""
    before = registry.mechanisms(state, netuid)
    state.put(Subtensor.MechanismCountCurrent, netuid, count)
    state.remove(Subtensor.MechanismEmissionSplit, netuid)
    neurons = state.get(Subtensor.SubnetworkN, netuid)
    for mechanism in range(len(before), count):
        index = storage_index(netuid, mechanism)
        state.put(Subtensor.LastUpdate, index, [0] * neurons)
        state.put(Subtensor.Incentive, index, [0] * neurons)
    for mechanism in range(count, len(before)):
        _forget_mechanism(state, storage_index(netuid, mechanism))


def _forget_mechanism(state: State, index: int) -> None:
    state.remove(Subtensor.LastUpdate, index)
    state.remove(Subtensor.Incentive, index)
    for item in (Subtensor.Weights, Subtensor.Bonds):
        for key, _ in state.pairs(item, index):
            state.remove(item, index, *key)
