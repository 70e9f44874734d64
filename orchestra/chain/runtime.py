"""What we ask of a runtime, written down: the calls we send with their arguments, and the storage we read.

A composed call silently accepts arguments the runtime does not know, and a runtime upgrade may rename one under a
neuron that has run for months. So every new connection to a real chain compares this table with the chain's own
metadata, and the tests compare it with the metadata of a real runtime and with what the facade really sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

CALLS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("Balances", "transfer_keep_alive"): ("dest", "value"),
    ("SubtensorModule", "burned_register"): ("netuid", "hotkey"),
    ("SubtensorModule", "serve_axon"): (
        "netuid",
        "version",
        "ip",
        "port",
        "ip_type",
        "protocol",
        "placeholder1",
        "placeholder2",
    ),
    ("SubtensorModule", "set_mechanism_weights"): ("netuid", "mecid", "dests", "weights", "version_key"),
    ("SubtensorModule", "commit_timelocked_mechanism_weights"): (
        "netuid",
        "mecid",
        "commit",
        "reveal_round",
        "commit_reveal_version",
    ),
    ("Commitments", "set_commitment"): ("netuid", "info"),
    ("MevShield", "submit_encrypted"): ("ciphertext",),
    ("SubtensorModule", "register_network"): ("hotkey",),
    ("SubtensorModule", "start_call"): ("netuid",),
    ("SubtensorModule", "set_subnet_identity"): (
        "netuid",
        "subnet_name",
        "github_repo",
        "subnet_contact",
        "subnet_url",
        "discord",
        "description",
        "logo_url",
        "additional",
    ),
    ("AdminUtils", "sudo_set_mechanism_count"): ("netuid", "mechanism_count"),
    ("AdminUtils", "sudo_set_mechanism_emission_split"): ("netuid", "maybe_split"),
    ("AdminUtils", "sudo_set_tempo"): ("netuid", "tempo"),
    ("AdminUtils", "sudo_set_immunity_period"): ("netuid", "immunity_period"),
    ("AdminUtils", "sudo_set_min_allowed_weights"): ("netuid", "min_allowed_weights"),
    ("AdminUtils", "sudo_set_serving_rate_limit"): ("netuid", "serving_rate_limit"),
    ("AdminUtils", "sudo_set_max_allowed_uids"): ("netuid", "max_allowed_uids"),
    ("AdminUtils", "sudo_set_commit_reveal_weights_enabled"): ("netuid", "enabled"),
    ("AdminUtils", "sudo_set_commit_reveal_weights_interval"): ("netuid", "interval"),
}
"""(pallet, call) -> argument names, in the runtime's order."""


@runtime_checkable
class HasMetadata(Protocol):
    """A substrate whose chain brings its metadata along (the SDK's RPC backend does, the local chain does not)."""

    @property
    def raw(self) -> Any: ...


async def difference(substrate: object) -> str | None:
    """The first difference between CALLS and the metadata of a connected substrate; None when there is none to find."""
    if not isinstance(substrate, HasMetadata):
        return None
    metadata = await substrate.raw.metadata_ir()
    return next(differences(call_arguments(metadata)), None)


def call_arguments(metadata: Any) -> dict[tuple[str, str], tuple[str, ...]]:
    """(pallet, call) -> argument names, out of the SDK's MetadataIR."""
    return {
        (cast(str, pallet.name), cast(str, call.name)): tuple(cast(str, arg.name) for arg in call.args)
        for pallet in metadata.pallets
        for call in pallet.calls
    }


def differences(theirs: Mapping[tuple[str, str], tuple[str, ...]]) -> Iterator[str]:
    """Every way in which the runtime's calls differ from what we send, as text."""
    for (pallet, name), ours in CALLS.items():
        actual = theirs.get((pallet, name))
        if actual is None:
            yield f"{pallet}.{name} is gone"
        elif set(actual) != set(ours):
            yield f"{pallet}.{name} takes ({', '.join(actual)}), we send ({', '.join(ours)})"
