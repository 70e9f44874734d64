"""A subnet as one record: the runtime APIs behind the SDK's metagraph, neurons and hyperparameters reads.

Field for field after `pallets/subtensor/src/rpc_info/{metagraph,neuron_info,subnet_info,dynamic_info}.rs`. Rank, trust
and pruning score are no longer kept by the runtime and read as the constants that it answers.
"""

from __future__ import annotations

from typing import Any, Final

from orchestra.devnet.chain import epoch, networks, registry, stake
from orchestra.devnet.chain.items import NOBODY, U16_MAX, Item, Subtensor, storage_index
from orchestra.devnet.chain.state import State

NO_AXON: Final = {
    "block": 0, "version": 0, "ip": 0, "port": 0, "ip_type": 0, "protocol": 0, "placeholder1": 0, "placeholder2": 0
}  # fmt: skip
NO_PROMETHEUS: Final = {"block": 0, "version": 0, "ip": 0, "port": 0, "ip_type": 0}
NO_FIXED: Final = {"bits": 0}
ONE_FIXED: Final = {"bits": 2**32}


def _vector(state: State, item: Item, key: int, count: int, start: Any = 0) -> list[Any]:
    values = list(state.get(item, key))
    return (values + [start] * count)[:count]


def _name(state: State, netuid: int) -> list[int]:
    identity = state.get(Subtensor.SubnetIdentitiesV3, netuid)
    return list((identity["subnet_name"] if identity else f"subnet-{netuid}").encode())


def activity_cutoff(state: State, netuid: int) -> int:
    """Blocks without weights after which a validator no longer counts."""
    return state.get(Subtensor.ActivityCutoffFactorMilli, netuid) * state.get(Subtensor.Tempo, netuid) // 1000


def _pool(state: State, netuid: int) -> dict[str, Any]:
    """What the metagraph and the dynamic info share."""
    last_step = state.get(Subtensor.LastMechansimStepBlock, netuid)
    return {
        "owner_hotkey": state.get(Subtensor.SubnetOwnerHotkey, netuid),
        "owner_coldkey": state.get(Subtensor.SubnetOwner, netuid),
        "tempo": state.get(Subtensor.Tempo, netuid),
        "last_step": last_step,
        "blocks_since_last_step": state.block - last_step,
        "alpha_in": state.get(Subtensor.SubnetAlphaIn, netuid),
        "alpha_out": state.get(Subtensor.SubnetAlphaOut, netuid),
        "tao_in": state.get(Subtensor.SubnetTAO, netuid),
        "alpha_out_emission": state.get(Subtensor.BlockEmission),
        "alpha_in_emission": 0,
        "tao_in_emission": 0,
        "pending_alpha_emission": epoch.pending_emission(state, netuid, state.block),
        "pending_root_emission": 0,
        "subnet_volume": 0,
        "network_registered_at": state.get(Subtensor.NetworkRegisteredAt, netuid),
        "moving_price": ONE_FIXED,
    }


def _rules(state: State, netuid: int) -> dict[str, Any]:
    alpha_low, alpha_high = state.get(Subtensor.AlphaValues, netuid)
    named: dict[str, Item] = {
        "rho": Subtensor.Rho, "kappa": Subtensor.Kappa, "min_allowed_weights": Subtensor.MinAllowedWeights,
        "max_weights_limit": Subtensor.MaxWeightsLimit, "weights_version": Subtensor.WeightsVersionKey,
        "weights_rate_limit": Subtensor.WeightsSetRateLimit, "max_validators": Subtensor.MaxAllowedValidators,
        "max_uids": Subtensor.MaxAllowedUids, "burn": Subtensor.Burn, "difficulty": Subtensor.Difficulty,
        "registration_allowed": Subtensor.NetworkRegistrationAllowed,
        "pow_registration_allowed": Subtensor.NetworkPowRegistrationAllowed,
        "immunity_period": Subtensor.ImmunityPeriod, "min_difficulty": Subtensor.MinDifficulty,
        "max_difficulty": Subtensor.MaxDifficulty, "min_burn": Subtensor.MinBurn, "max_burn": Subtensor.MaxBurn,
        "adjustment_alpha": Subtensor.AdjustmentAlpha, "adjustment_interval": Subtensor.AdjustmentInterval,
        "target_regs_per_interval": Subtensor.TargetRegistrationsPerInterval,
        "max_regs_per_block": Subtensor.MaxRegistrationsPerBlock, "serving_rate_limit": Subtensor.ServingRateLimit,
        "commit_reveal_weights_enabled": Subtensor.CommitRevealWeightsEnabled,
        "commit_reveal_period": Subtensor.RevealPeriodEpochs, "liquid_alpha_enabled": Subtensor.LiquidAlphaOn,
        "bonds_moving_avg": Subtensor.BondsMovingAverage,
    }  # fmt: skip
    return {
        **{name: state.get(item, netuid) for name, item in named.items()},
        "activity_cutoff": activity_cutoff(state, netuid),
        "alpha_high": alpha_high,
        "alpha_low": alpha_low,
    }


def metagraph(state: State, netuid: int, mechanism: int = 0) -> dict[str, Any] | None:
    """`get_metagraph` and `get_mechagraph`; None for a subnet that does not exist."""
    if not networks.exists(state, netuid) or mechanism not in registry.mechanisms(state, netuid):
        return None
    hotkeys = registry.hotkeys(state, netuid)
    pool = _pool(state, netuid)
    return {
        **pool,
        **_rules(state, netuid),
        **_columns(state, netuid, storage_index(netuid, mechanism), hotkeys),
        "netuid": storage_index(netuid, mechanism),
        "name": _name(state, netuid),
        "symbol": list(state.get(Subtensor.TokenSymbol, netuid).encode()),
        "identity": state.get(Subtensor.SubnetIdentitiesV3, netuid),
        "block": state.block,
        "subnet_emission": 0,
        "num_uids": len(hotkeys),
    }


def _columns(state: State, netuid: int, index: int, hotkeys: list[str]) -> dict[str, list[Any]]:
    count = len(hotkeys)
    coldkeys = [state.get(Subtensor.Owner, hotkey) for hotkey in hotkeys]
    alpha = [stake.total_alpha(state, hotkey, netuid) for hotkey in hotkeys]
    tao = [stake.tao_part(state, hotkey) for hotkey in hotkeys]
    return {
        "hotkeys": hotkeys,
        "coldkeys": coldkeys,
        "identities": [state.get(Subtensor.IdentitiesV2, coldkey) for coldkey in coldkeys],
        "axons": [state.get(Subtensor.Axons, netuid, hotkey) or NO_AXON for hotkey in hotkeys],
        "active": _vector(state, Subtensor.Active, netuid, count, False),
        "validator_permit": _vector(state, Subtensor.ValidatorPermit, netuid, count, False),
        "pruning_score": [U16_MAX] * count,
        "last_update": _vector(state, Subtensor.LastUpdate, index, count),
        "emission": _vector(state, Subtensor.Emission, netuid, count),
        "dividends": _vector(state, Subtensor.Dividends, netuid, count),
        "incentives": _vector(state, Subtensor.Incentive, index, count),
        "consensus": _vector(state, Subtensor.Consensus, netuid, count),
        "trust": [0] * count,
        "rank": [0] * count,
        "block_at_registration": [state.get(Subtensor.BlockAtRegistration, netuid, uid) for uid in range(count)],
        "alpha_stake": alpha,
        "tao_stake": tao,
        "total_stake": [mine + root for mine, root in zip(alpha, tao, strict=True)],
        "tao_dividends_per_hotkey": [(hotkey, 0) for hotkey in hotkeys],
        "alpha_dividends_per_hotkey": [(hotkey, 0) for hotkey in hotkeys],
        "collateral_locked": [0] * count,
        "collateral_min": [0] * count,
        "collateral_earned": [0] * count,
    }


def all_metagraphs(state: State) -> list[dict[str, Any] | None]:
    return [metagraph(state, netuid) for netuid in networks.netuids(state)]


def dynamic_info(state: State, netuid: int) -> dict[str, Any] | None:
    if not networks.exists(state, netuid):
        return None
    return {
        **_pool(state, netuid),
        "netuid": netuid,
        "subnet_name": _name(state, netuid),
        "token_symbol": list(state.get(Subtensor.TokenSymbol, netuid).encode()),
        "emission": 0,
        "subnet_identity": state.get(Subtensor.SubnetIdentitiesV3, netuid),
    }


def all_dynamic_info(state: State) -> list[dict[str, Any] | None]:
    return [dynamic_info(state, netuid) for netuid in networks.netuids(state)]


def neurons_lite(state: State, netuid: int) -> list[dict[str, Any]]:
    """`get_neurons_lite`: one record for each neuron, without weights and bonds."""
    hotkeys = registry.hotkeys(state, netuid)
    columns = _columns(state, netuid, storage_index(netuid, 0), hotkeys)
    vtrust = _vector(state, Subtensor.ValidatorTrust, netuid, len(hotkeys))
    return [
        {
            "hotkey": hotkey,
            "coldkey": columns["coldkeys"][uid],
            "uid": uid,
            "netuid": netuid,
            "active": columns["active"][uid],
            "axon_info": columns["axons"][uid],
            "prometheus_info": state.get(Subtensor.Prometheus, netuid, hotkey) or NO_PROMETHEUS,
            "stake": [(columns["coldkeys"][uid], columns["total_stake"][uid])],
            "rank": 0,
            "emission": columns["emission"][uid],
            "incentive": columns["incentives"][uid],
            "consensus": columns["consensus"][uid],
            "trust": 0,
            "validator_trust": vtrust[uid],
            "dividends": columns["dividends"][uid],
            "last_update": columns["last_update"][uid],
            "validator_permit": columns["validator_permit"][uid],
            "pruning_score": U16_MAX,
        }
        for uid, hotkey in enumerate(hotkeys)
    ]


def neurons(state: State, netuid: int) -> list[dict[str, Any]]:
    """`get_neurons`: with each neuron's weights and bonds in mechanism 0."""
    return [
        {
            **record,
            "weights": state.get(Subtensor.Weights, netuid, record["uid"]),
            "bonds": state.get(Subtensor.Bonds, netuid, record["uid"]),
        }
        for record in neurons_lite(state, netuid)
    ]


_V3: Final[dict[str, tuple[str, Item]]] = {
    "kappa": ("U16", Subtensor.Kappa),
    "immunity_period": ("U16", Subtensor.ImmunityPeriod),
    "min_allowed_weights": ("U16", Subtensor.MinAllowedWeights),
    "max_weights_limit": ("U16", Subtensor.MaxWeightsLimit),
    "tempo": ("U16", Subtensor.Tempo),
    "weights_version": ("U64", Subtensor.WeightsVersionKey),
    "weights_rate_limit": ("U64", Subtensor.WeightsSetRateLimit),
    "activity_cutoff_factor": ("U32", Subtensor.ActivityCutoffFactorMilli),
    "registration_allowed": ("Bool", Subtensor.NetworkRegistrationAllowed),
    "target_regs_per_interval": ("U16", Subtensor.TargetRegistrationsPerInterval),
    "min_burn": ("TaoBalance", Subtensor.MinBurn),
    "max_burn": ("TaoBalance", Subtensor.MaxBurn),
    "burn_half_life": ("U16", Subtensor.BurnHalfLife),
    "burn_increase_mult": ("U64F64", Subtensor.BurnIncreaseMult),
    "bonds_moving_avg": ("U64", Subtensor.BondsMovingAverage),
    "bonds_penalty": ("U16", Subtensor.BondsPenalty),
    "max_regs_per_block": ("U16", Subtensor.MaxRegistrationsPerBlock),
    "serving_rate_limit": ("U64", Subtensor.ServingRateLimit),
    "max_validators": ("U16", Subtensor.MaxAllowedValidators),
    "max_allowed_uids": ("U16", Subtensor.MaxAllowedUids),
    "commit_reveal_period": ("U64", Subtensor.RevealPeriodEpochs),
    "commit_reveal_weights_enabled": ("Bool", Subtensor.CommitRevealWeightsEnabled),
    "liquid_alpha_enabled": ("Bool", Subtensor.LiquidAlphaOn),
    "subnet_is_active": ("Bool", Subtensor.SubtokenEnabled),
    "transfers_enabled": ("Bool", Subtensor.TransferToggle),
    "bonds_reset_enabled": ("Bool", Subtensor.BondsResetOn),
    "owner_cut_enabled": ("Bool", Subtensor.OwnerCutEnabled),
}


def hyperparameters(state: State, netuid: int) -> list[dict[str, Any]] | None:
    """`get_subnet_hyperparams_v3`: a list of `{"name", "value": {type: value}}`."""
    if not networks.exists(state, netuid) or state.get(Subtensor.SubnetOwner, netuid) == NOBODY:
        return None
    alpha_low, alpha_high = state.get(Subtensor.AlphaValues, netuid)
    values: dict[str, dict[str, Any]] = {name: {kind: state.get(item, netuid)} for name, (kind, item) in _V3.items()}
    values |= {
        "activity_cutoff": {"U64": activity_cutoff(state, netuid)},
        "alpha_high": {"U16": alpha_high},
        "alpha_low": {"U16": alpha_low},
        "yuma_version": {"U16": 2},
        "user_liquidity_enabled": {"Bool": False},
    }
    return [{"name": name, "value": value} for name, value in values.items()]
