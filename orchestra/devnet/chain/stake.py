"""Stake: who has put how much behind which hotkey.

The real chain trades TAO for a subnet's alpha in a pool; here alpha costs one TAO, always, so a stake is the rao that
was paid for it. Root stake (netuid 0) is TAO itself and counts on every subnet at `TaoWeight`, as on the real chain:
`get_stake_weights_for_network`, `pallets/subtensor/src/staking/stake_utils.rs`.
"""

from __future__ import annotations

from orchestra.devnet.chain.errors import ensure
from orchestra.devnet.chain.items import U64_MAX, Local, Subtensor
from orchestra.devnet.chain.state import State

ROOT = 0


def stake_of(state: State, hotkey: str, coldkey: str, netuid: int) -> int:
    return state.get(Local.Stake, hotkey, coldkey, netuid)


def stakers(state: State, hotkey: str, netuid: int) -> list[tuple[str, int]]:
    """`(coldkey, rao)` of everybody behind a hotkey on a subnet."""
    return [(coldkey, amount) for (coldkey, net), amount in state.pairs(Local.Stake, hotkey) if net == netuid]


def total_alpha(state: State, hotkey: str, netuid: int) -> int:
    return state.get(Subtensor.TotalHotkeyAlpha, hotkey, netuid)


def tao_part(state: State, hotkey: str) -> int:
    """Root stake at the weight with which it counts on a subnet."""
    return total_alpha(state, hotkey, ROOT) * state.get(Subtensor.TaoWeight) // U64_MAX


def stake_weight(state: State, hotkey: str, netuid: int) -> int:
    """What consensus on this subnet counts, in rao."""
    return total_alpha(state, hotkey, netuid) + (tao_part(state, hotkey) if netuid != ROOT else 0)


def add(state: State, hotkey: str, coldkey: str, netuid: int, amount: int) -> None:
    _change(state, hotkey, coldkey, netuid, amount)
    hotkeys = state.get(Subtensor.StakingHotkeys, coldkey)
    if hotkey not in hotkeys:
        state.put(Subtensor.StakingHotkeys, coldkey, [*hotkeys, hotkey])


def remove(state: State, hotkey: str, coldkey: str, netuid: int, amount: int) -> None:
    """Raises NotEnoughStakeToWithdraw."""
    ensure(stake_of(state, hotkey, coldkey, netuid) >= amount, "NotEnoughStakeToWithdraw")
    _change(state, hotkey, coldkey, netuid, -amount)


def _change(state: State, hotkey: str, coldkey: str, netuid: int, amount: int) -> None:
    left = stake_of(state, hotkey, coldkey, netuid) + amount
    if left:
        state.put(Local.Stake, hotkey, coldkey, netuid, left)
    else:
        state.remove(Local.Stake, hotkey, coldkey, netuid)
    state.put(Subtensor.TotalHotkeyAlpha, hotkey, netuid, total_alpha(state, hotkey, netuid) + amount)
    state.put(Subtensor.TotalAlphaStaked, netuid, state.get(Subtensor.TotalAlphaStaked, netuid) + amount)
    if netuid == ROOT:
        return
    state.put(Subtensor.SubnetAlphaOut, netuid, state.get(Subtensor.SubnetAlphaOut, netuid) + amount)
