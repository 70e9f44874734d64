"""Who sits on which uid: registration, eviction from a full subnet, and the vectors that hold one value per uid.

After `pallets/subtensor/src/subnets/{registration,uids}.rs`: a free uid is appended; a full subnet gives away the uid
of the non-immune neuron with the lowest emission (ties: older registration, then lower uid); the owner's own neuron is
immune. Everything the old holder had at that uid is cleared, so that nothing earned passes to the new one.
"""

from __future__ import annotations

from typing import Any, Final

from orchestra.devnet.chain.errors import DispatchError
from orchestra.devnet.chain.items import NOBODY, Item, Subtensor, storage_index
from orchestra.devnet.chain.state import State

PER_UID: Final[dict[Item, Any]] = {
    Subtensor.Active: True,
    Subtensor.Consensus: 0,
    Subtensor.Dividends: 0,
    Subtensor.Emission: 0,
    Subtensor.ValidatorTrust: 0,
    Subtensor.ValidatorPermit: False,
    Subtensor.StakeWeight: 0,
}
"""Vectors by netuid, with what a new neuron starts with. Incentive and LastUpdate are kept per mechanism."""


def mechanisms(state: State, netuid: int) -> range:
    return range(state.get(Subtensor.MechanismCountCurrent, netuid))


def owner_uid(state: State, netuid: int) -> int | None:
    return state.get(Subtensor.Uids, netuid, state.get(Subtensor.SubnetOwnerHotkey, netuid))


def hotkeys(state: State, netuid: int) -> list[str]:
    """Every hotkey of a subnet, ordered by uid."""
    return [hotkey for _, hotkey in state.pairs(Subtensor.Keys, netuid)]


def claim_hotkey(state: State, hotkey: str, coldkey: str) -> None:
    """Bind a hotkey to its coldkey on first use. Raises NonAssociatedColdKey when another coldkey has it."""
    owner = state.get(Subtensor.Owner, hotkey)
    if owner == NOBODY:
        state.put(Subtensor.Owner, hotkey, coldkey)
        state.put(Subtensor.OwnedHotkeys, coldkey, [*state.get(Subtensor.OwnedHotkeys, coldkey), hotkey])
    elif owner != coldkey:
        raise DispatchError("NonAssociatedColdKey")


def register(state: State, netuid: int, hotkey: str, block: int) -> int:
    """Seat a hotkey and return its uid. Raises NoNeuronIdAvailable when every seat is immune."""
    count = state.get(Subtensor.SubnetworkN, netuid)
    if count < state.get(Subtensor.MaxAllowedUids, netuid):
        state.put(Subtensor.SubnetworkN, netuid, count + 1)
        _seat(state, netuid, count, hotkey, block)
        return count
    uid = neuron_to_prune(state, netuid, block)
    if uid is None:
        raise DispatchError("NoNeuronIdAvailable")
    _clear(state, netuid, uid)
    _seat(state, netuid, uid, hotkey, block)
    return uid


def neuron_to_prune(state: State, netuid: int, block: int) -> int | None:
    """The uid that a newcomer takes on a full subnet, or None when all are immune."""
    immunity = state.get(Subtensor.ImmunityPeriod, netuid)
    emission = state.get(Subtensor.Emission, netuid)
    owner = owner_uid(state, netuid)
    candidates: list[tuple[int, int, int]] = []
    for (uid,), _ in state.pairs(Subtensor.Keys, netuid):
        registered = state.get(Subtensor.BlockAtRegistration, netuid, uid)
        if uid != owner and block - registered >= immunity:
            candidates.append((emission[uid], registered, uid))
    return min(candidates)[2] if candidates else None


def _seat(state: State, netuid: int, uid: int, hotkey: str, block: int) -> None:
    state.put(Subtensor.Keys, netuid, uid, hotkey)
    state.put(Subtensor.Uids, netuid, hotkey, uid)
    state.put(Subtensor.BlockAtRegistration, netuid, uid, block)
    state.put(Subtensor.IsNetworkMember, hotkey, netuid, True)
    for item, start in PER_UID.items():
        set_at(state, item, netuid, uid, start)
    for mechanism in mechanisms(state, netuid):
        set_at(state, Subtensor.LastUpdate, storage_index(netuid, mechanism), uid, block)
        set_at(state, Subtensor.Incentive, storage_index(netuid, mechanism), uid, 0)


def _clear(state: State, netuid: int, uid: int) -> None:
    hotkey = state.get(Subtensor.Keys, netuid, uid)
    state.remove(Subtensor.Uids, netuid, hotkey)
    state.remove(Subtensor.IsNetworkMember, hotkey, netuid)
    state.remove(Subtensor.Axons, netuid, hotkey)
    state.remove(Subtensor.Prometheus, netuid, hotkey)
    for mechanism in mechanisms(state, netuid):
        index = storage_index(netuid, mechanism)
        state.remove(Subtensor.Weights, index, uid)
        state.remove(Subtensor.Bonds, index, uid)


def set_at(state: State, item: Item, key: int, uid: int, value: Any) -> None:
    """Write one element of a per-uid vector, growing it by one when the uid is new."""
    vector = list(state.get(item, key))
    vector[uid : uid + 1] = [value]
    state.put(item, key, vector)
