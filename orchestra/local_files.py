"""What `orchestra up` leaves for whoever joins its network on this machine: where its chain listens, what its Ledger
starts from and who commits to it, the keys for its subnets, its gateway.

`--network orchestra-local` means this network, whatever port it got. A module of its own, of the standard library
alone: the chain's door, the settings and the command line all look here, and none of them should import the others.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class LocalNetworkFiles:
    """The network of `orchestra up`, as its folder describes it. `chain_port` is None in folders that name none."""

    ledger_seed: Path
    ledger_committer: str
    keys: Path
    gateway: str
    chain_port: int | None = None


def read_local_network() -> LocalNetworkFiles | None:
    """The network of `orchestra up` on this machine, if there is one."""
    try:
        known: Any = json.loads(local_file("network.json").read_bytes())
        port = known.get("chain_port")
        return LocalNetworkFiles(
            ledger_seed=local_file("ledger.json"),
            ledger_committer=str(known["ledger_committer"]),
            keys=local_file("keys.json"),
            gateway=str(known["gateway"]),
            chain_port=port if isinstance(port, int) else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def local_file(name: str) -> Path:
    """A file in the folder of `orchestra up`: `ORCHESTRA_LOCAL`, by default ~/.orchestra/local."""
    return Path(os.environ.get("ORCHESTRA_LOCAL", "~/.orchestra/local")).expanduser() / name


def is_local(network: str) -> bool:
    """Is this the network of `orchestra up`?"""
    return network == "orchestra-local" or network.startswith("orchestra-local:")
