"""The calls we send, as plain values: pallet, function, arguments.

A call can be printed, encoded and tested before it is a transaction: `scripts/subnet --dry-run` shows exactly what
would be sent because it is the same object. `Chain.submit` signs and sends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import bittensor as bt

U16 = 65535
UID_BUDGET = 256
"""uids x mechanisms that the chain allows one subnet."""


class Call(NamedTuple):
    """One extrinsic before it is encoded: what the SDK's call builders return, with a name for each part."""

    pallet: str
    function: str
    args: dict[str, Any]


class Setter(NamedTuple):
    """How one hyperparameter is set: AdminUtils call and argument, and the storage item that holds its value."""

    function: str
    argument: str
    item: str


SETTERS: Mapping[str, Setter] = {
    "tempo": Setter("sudo_set_tempo", "tempo", "Tempo"),
    "immunity_period": Setter("sudo_set_immunity_period", "immunity_period", "ImmunityPeriod"),
    "min_allowed_weights": Setter("sudo_set_min_allowed_weights", "min_allowed_weights", "MinAllowedWeights"),
    "serving_rate_limit": Setter("sudo_set_serving_rate_limit", "serving_rate_limit", "ServingRateLimit"),
    "max_allowed_uids": Setter("sudo_set_max_allowed_uids", "max_allowed_uids", "MaxAllowedUids"),
    "commit_reveal_weights_enabled": Setter(
        "sudo_set_commit_reveal_weights_enabled", "enabled", "CommitRevealWeightsEnabled"
    ),
    "commit_reveal_period": Setter("sudo_set_commit_reveal_weights_interval", "interval", "RevealPeriodEpochs"),
}
"""Hyperparameters that a subnet's owner (not only root) may set, by the SDK's names."""


RAW_LIMIT = 128
FIELD_LIMIT = 3
COMMITMENT_LIMIT = RAW_LIMIT * FIELD_LIMIT
"""Bytes that one commitment can carry: the pallet takes three fields of at most 128 bytes."""


def transfer(dest_ss58: str, rao: int) -> Call:
    """Send `rao` from the signing coldkey, which must keep the existential deposit."""
    return Call(*bt.calls.Balances.transfer_keep_alive(dest=dest_ss58, value=rao))


def register(netuid: int, hotkey: str) -> Call:
    """Register a hotkey on a subnet at its current price, paid by the signing coldkey."""
    return Call(*bt.calls.SubtensorModule.burned_register(netuid=netuid, hotkey=hotkey))


def commit(netuid: int, data: str) -> Call:
    """Put a text of 1 to 384 UTF-8 bytes into the signing hotkey's slot; it reads back as the same text.

    Raises ValueError for an empty or longer text: the chain would refuse it, the codec would not.
    """
    raw = data.encode()
    if not 0 < len(raw) <= COMMITMENT_LIMIT:
        raise ValueError(f"a commitment carries 1 to {COMMITMENT_LIMIT} bytes, this one has {len(raw)}")
    chunks = [raw[start : start + RAW_LIMIT] for start in range(0, len(raw), RAW_LIMIT)]
    info = {"fields": [{f"Raw{len(chunk)}": "0x" + chunk.hex()} for chunk in chunks]}
    return Call(*bt.calls.Commitments.set_commitment(netuid=netuid, info=info))


def register_subnet(hotkey: str) -> Call:
    """Create a subnet owned by the signing coldkey, with this hotkey as its owner hotkey."""
    return Call(*bt.calls.SubtensorModule.register_network(hotkey=hotkey))


def start_call(netuid: int) -> Call:
    """Activate a subnet: staking, epochs and emission begin."""
    return Call(*bt.calls.SubtensorModule.start_call(netuid=netuid))


def set_hyperparameter(netuid: int, name: str, value: int | bool) -> Call:
    """Set one of SETTERS. Raises KeyError for a name that owners cannot set."""
    setter = SETTERS[name]
    return Call("AdminUtils", setter.function, {"netuid": netuid, setter.argument: value})


def set_mechanism_count(netuid: int, count: int) -> Call:
    """Run `count` mechanisms; a change resets the emission split to even shares."""
    return Call(*bt.calls.AdminUtils.sudo_set_mechanism_count(netuid=netuid, mechanism_count=count))


def set_mechanism_split(netuid: int, percent: Sequence[int]) -> Call:
    """Split the emission between the mechanisms, in percent that sum to 100."""
    return Call(
        *bt.calls.AdminUtils.sudo_set_mechanism_emission_split(netuid=netuid, maybe_split=list(split_u16(percent)))
    )


def set_identity(netuid: int, identity: Mapping[str, str]) -> Call:
    """Publish who the subnet is; fields as in the chain's SubnetIdentityV3, missing ones are cleared."""
    fields = ("subnet_name", "github_repo", "subnet_contact", "subnet_url", "discord", "description", "logo_url")
    values = {field: identity.get(field, "").encode() for field in (*fields, "additional")}
    return Call(*bt.calls.SubtensorModule.set_subnet_identity(netuid=netuid, **values))


def split_u16(percent: Sequence[int]) -> tuple[int, ...]:
    """Percentages as u16 shares that sum to exactly 65535; the last share takes the rounding: 60/40 is 39321, 26214."""
    if len(percent) < 2 or sum(percent) != 100 or min(percent) < 1:
        raise ValueError(f"a split is two or more whole percentages that sum to 100, not {'/'.join(map(str, percent))}")
    shares = [share * U16 // 100 for share in percent[:-1]]
    return (*shares, U16 - sum(shares))
