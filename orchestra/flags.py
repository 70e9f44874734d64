"""The flags of the neurons, and of commands that take the same ones: names that Bittensor people know, said once.

Apart from `orchestra.settings`, which checks them, so that a command's `--help` imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_TAO_USD = "300"
DEFAULT_MIN_STAKE = 1_000
COUNCIL = "council"
"""Instead of a committer: the validators agree on the Ledger."""

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - a neuron is asked from outside

Netuid = Annotated[int, typer.Option("--netuid", envvar="BT_NETUID", min=0, max=65535, help="Orchestra's netuid.")]
AxonIp = Annotated[
    str,
    typer.Option(
        "--axon.ip", envvar="BT_AXON_IP", help="Address to listen on. Local chains refuse 127.0.0.1: use .2 up."
    ),
]
AxonExternalIp = Annotated[
    str, typer.Option("--axon.external_ip", envvar="BT_AXON_EXTERNAL_IP", help="Address to publish, if another.")
]
AxonPort = Annotated[
    int,
    typer.Option("--axon.port", envvar="BT_AXON_PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="ORCHESTRA_DATA", help="Folder for databases. Default: ~/.orchestra/NETWORK/NETUID/HOTKEY."
    ),
]
LedgerSeed = Annotated[
    Path | None,
    typer.Option(
        "--ledger.seed", envvar="ORCHESTRA_LEDGER_SEED", help="JSON file of entries that a new Ledger starts from."
    ),
]
LedgerCommitter = Annotated[
    str,
    typer.Option(
        "--ledger.committer",
        envvar="ORCHESTRA_LEDGER_COMMITTER",
        help="Who commits Ledger changes: 'council' (the default on real networks: all validators by quorum), or the"
        " hotkey of the one validator that does.",
    ),
]
LedgerFollow = Annotated[
    bool,
    typer.Option("--ledger.follow/--no-ledger.follow", envvar="ORCHESTRA_LEDGER_FOLLOW", help="Follow Ledger changes."),
]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        envvar="ORCHESTRA_KEYS",
        help='Subnet keys: JSON {"ORCHESTRA_KEY_SN22": {"key": "...", "origin": "https://..."}}, mode 0600.',
    ),
]
TaoUsd = Annotated[
    str, typer.Option("--tao-usd", envvar="ORCHESTRA_TAO_USD", help="Dollars for one TAO, for prices given in USD.")
]
MinStake = Annotated[
    int,
    typer.Option(
        "--validator.min-stake",
        envvar="ORCHESTRA_VALIDATOR_MIN_STAKE",
        min=0,
        help="Stake (alpha) from which a permit holder counts as a validator.",
    ),
]
Debug = Annotated[bool, typer.Option("--logging.debug", help="Log more.")]
