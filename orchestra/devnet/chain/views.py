"""What can be read: storage by name, the runtime APIs that the SDK's reads call, and pallet constants.

Every value has exactly the shape that the SDK decodes from the real runtime (spec 461), field by field; a test encodes
and decodes each one with the real type. An unknown item raises, as a node that lacks it would; an item or API that the
real chain has and this one does not says so by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from orchestra.devnet.chain import metagraph, networks, stake
from orchestra.devnet.chain.calls.admin import next_epoch
from orchestra.devnet.chain.calls.commitments import MAX_FIELDS
from orchestra.devnet.chain.calls.staking import PRICE
from orchestra.devnet.chain.calls.subnets import lock_cost
from orchestra.devnet.chain.items import PUBLIC, Item, Local, Subtensor
from orchestra.devnet.chain.state import State


class Unknown(LookupError):
    """No such storage item, runtime API or constant here; the message names it."""


def item_of(pallet: str, name: str) -> Item:
    item = PUBLIC.get((pallet, name))
    if item is None:
        raise Unknown(f'Storage function "{pallet}.{name}" not found on the local chain')
    return item


def query(state: State, pallet: str, name: str, params: list[Any]) -> Any:
    """One storage value. Raises Unknown, or ValueError for a wrong number of keys."""
    item = item_of(pallet, name)
    if len(params) != item.keys:
        raise ValueError(f"{pallet}.{name} takes {item.keys} keys, got {len(params)}")
    if item is Subtensor.BlocksSinceLastStep:
        return blocks_since_step(state, params[0])
    return state.get(item, *params)


def query_map(state: State, pallet: str, name: str, params: list[Any]) -> list[tuple[Any, Any]]:
    """Every `(rest of the key, value)` under a key prefix; a single remaining key is bare, several are a tuple."""
    item = item_of(pallet, name)
    if len(params) >= item.keys:
        raise ValueError(f"{pallet}.{name} has {item.keys} keys; a map needs at least one of them free")
    if item is Subtensor.BlocksSinceLastStep:
        return [(netuid, blocks_since_step(state, netuid)) for netuid in networks.netuids(state)]
    return [(key[0] if len(key) == 1 else key, value) for key, value in state.pairs(item, *params)]


def blocks_since_step(state: State, netuid: int) -> int:
    return state.block - state.get(Subtensor.LastMechansimStepBlock, netuid) if networks.exists(state, netuid) else 0


def constants(state: State, slot_ms: int) -> dict[tuple[str, str], Any]:
    spec = state.get(Local.Spec)
    return {
        ("Aura", "SlotDuration"): slot_ms,
        ("Balances", "ExistentialDeposit"): spec["existential_deposit"],
        ("Commitments", "MaxFields"): MAX_FIELDS,
        ("SubtensorModule", "InitialStartCallDelay"): spec["start_call_delay"],
        ("SubtensorModule", "MinTempo"): spec["tempo_bounds"][0],
        ("SubtensorModule", "MaxTempo"): spec["tempo_bounds"][1],
        ("System", "SS58Prefix"): 42,
        ("System", "BlockHashCount"): 2400,
    }


# Runtime APIs ---------------------------------------------------------------------------------------------------------


def runtime_call(state: State, api: str, method: str, params: list[Any]) -> Any:
    """Raises Unknown."""
    view = APIS.get((api, method))
    if view is None:
        raise Unknown(f"Runtime API {api}.{method} not found on the local chain")
    return view(state, *params)


def _next_epoch_start_block(state: State, netuid: int) -> int | None:
    if not networks.exists(state, netuid) or not state.get(Subtensor.Tempo, netuid):
        return None
    return next_epoch(state, netuid)


def _registration_cost(state: State) -> int:
    return lock_cost(state, state.block)


def _stake_info(state: State, hotkey: str, coldkey: str, netuid: int) -> dict[str, Any]:
    return {
        "hotkey": hotkey,
        "coldkey": coldkey,
        "netuid": netuid,
        "stake": stake.stake_of(state, hotkey, coldkey, netuid),
        "locked": 0,
        "emission": 0,
        "tao_emission": 0,
        "drain": 0,
        "is_registered": state.get(Subtensor.IsNetworkMember, hotkey, netuid),
    }


def _stake_for_coldkey(state: State, coldkey: str) -> list[dict[str, Any]]:
    return [
        _stake_info(state, hotkey, coldkey, netuid)
        for hotkey in state.get(Subtensor.StakingHotkeys, coldkey)
        for (owner, netuid), _ in state.pairs(Local.Stake, hotkey)
        if owner == coldkey
    ]


def _stake_for_coldkeys(state: State, coldkeys: list[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(coldkey, _stake_for_coldkey(state, coldkey)) for coldkey in coldkeys]


def _alpha_price(state: State, netuid: int) -> int:
    return PRICE


def _alpha_prices(state: State) -> list[dict[str, int]]:
    return [{"netuid": netuid, "price": PRICE} for netuid in networks.netuids(state)]


def _swap(tao: int, alpha: int) -> dict[str, int]:
    fees = {"tao_fee": 0, "alpha_fee": 0, "tao_slippage": 0, "alpha_slippage": 0}
    return {"tao_amount": tao, "alpha_amount": alpha, **fees}


def _buy(state: State, netuid: int, tao: int) -> dict[str, int]:
    return _swap(tao, tao)


def _account_nonce(state: State, who: str) -> int:
    return query(state, "System", "Account", [who])["nonce"]


APIS: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("SubnetInfoRuntimeApi", "get_metagraph"): metagraph.metagraph,
    ("SubnetInfoRuntimeApi", "get_mechagraph"): metagraph.metagraph,
    ("SubnetInfoRuntimeApi", "get_all_metagraphs"): metagraph.all_metagraphs,
    ("SubnetInfoRuntimeApi", "get_subnet_hyperparams_v3"): metagraph.hyperparameters,
    ("SubnetInfoRuntimeApi", "get_dynamic_info"): metagraph.dynamic_info,
    ("SubnetInfoRuntimeApi", "get_all_dynamic_info"): metagraph.all_dynamic_info,
    ("SubnetInfoRuntimeApi", "get_next_epoch_start_block"): _next_epoch_start_block,
    ("NeuronInfoRuntimeApi", "get_neurons"): metagraph.neurons,
    ("NeuronInfoRuntimeApi", "get_neurons_lite"): metagraph.neurons_lite,
    ("SubnetRegistrationRuntimeApi", "get_network_registration_cost"): _registration_cost,
    ("StakeInfoRuntimeApi", "get_stake_info_for_coldkey"): _stake_for_coldkey,
    ("StakeInfoRuntimeApi", "get_stake_info_for_coldkeys"): _stake_for_coldkeys,
    ("StakeInfoRuntimeApi", "get_stake_info_for_hotkey_coldkey_netuid"): _stake_info,
    ("SwapRuntimeApi", "current_alpha_price"): _alpha_price,
    ("SwapRuntimeApi", "current_alpha_price_all"): _alpha_prices,
    ("SwapRuntimeApi", "sim_swap_tao_for_alpha"): _buy,
    ("SwapRuntimeApi", "sim_swap_alpha_for_tao"): _buy,
    ("AccountNonceApi", "account_nonce"): _account_nonce,
}
