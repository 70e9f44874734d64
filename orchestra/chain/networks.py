"""From a network's name to a connection: the one place that knows which chain it is.

`finney`, `test`, `local`, `archive` and ws:// URLs are the SDK's own; `orchestra-local[:PORT]` is the chain of the
devnet, resolved here before the SDK sees it. Everything above gets a `bittensor.Substrate` and never asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import bittensor as bt
from bittensor.settings import (
    FINNEY_GENESIS_HASH,
    NETWORKS,
    default_archive_endpoints,
    default_fallback_endpoints,
)

from orchestra.chain.errors import UnknownNetwork

LOCAL_NAME = "orchestra-local"
LOCAL_PORT = 9955
SDK_NAMES = ("finney", "test", "local", "archive")
MAIN_GENESIS = FINNEY_GENESIS_HASH


@dataclass(frozen=True, slots=True)
class Network:
    """`name` as the user gave it, `endpoint` for messages, `open` to make one unconnected Substrate."""

    name: str
    endpoint: str
    open: Callable[[], bt.Substrate]

    @property
    def local(self) -> bool:
        """Whether the chain runs on this machine, where money is play money and development keys are rich."""
        host = urlsplit(self.endpoint).hostname or ""
        return host == "localhost" or host == "::1" or host.startswith("127.")


class RpcSubstrate(bt.RpcSubstrate):
    """The SDK's RPC backend that also lets go of a connection whose opening was cut short.

    The SDK starts a supervisor task before it knows that the endpoint answers, and forgets it when `connect` is
    cancelled (by our deadline, for one). This keeps hold of what it made so that `close` always ends it.
    """

    def __init__(self, network: str, endpoint: str) -> None:
        fallbacks = default_fallback_endpoints(network)
        super().__init__(endpoint, fallback_endpoints=fallbacks, archive_endpoints=default_archive_endpoints(network))
        self._made: list[Any] = []

    def _interface(self, endpoint: str, fallbacks: list[str]) -> Any:
        made = super()._interface(endpoint, fallbacks)
        self._made.append(made)
        return made

    async def close(self) -> None:
        await super().close()
        while self._made:
            await self._made.pop().close()


def resolve(network: str) -> Network:
    """The network of this name; raises UnknownNetwork, without touching the network, when there is none."""
    if network == LOCAL_NAME or network.startswith(f"{LOCAL_NAME}:"):
        return _orchestra_local(network)
    if network.startswith(("ws://", "wss://")):
        endpoint = network
    elif network in SDK_NAMES:
        endpoint = NETWORKS[network]
    else:
        raise UnknownNetwork(network)
    return Network(network, endpoint, lambda: cast(bt.Substrate, RpcSubstrate(network, endpoint)))


def _orchestra_local(network: str) -> Network:
    _, _, text = network.partition(":")
    if text and not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise UnknownNetwork(network)
    endpoint = f"http://127.0.0.1:{int(text) if text else LOCAL_PORT}"
    return Network(network, endpoint, lambda: _local_substrate(endpoint))


def _local_substrate(endpoint: str) -> bt.Substrate:
    from orchestra.chain.local import LocalSubstrate  # only devnets load it

    return cast(bt.Substrate, LocalSubstrate(endpoint))
