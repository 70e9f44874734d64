"""From a network's name to a connection: the one place that knows which chain it is.

`finney`, `test`, `local`, `archive` and ws:// URLs are the SDK's own; `orchestra-local[:PORT]` is the chain of the
devnet, resolved here before the SDK sees it. Everything above gets a `bittensor.Substrate` and never asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit
from weakref import WeakSet

import bittensor as bt
from bittensor._transport import SubstrateConnection
from bittensor._transport.rpc import _default_connect  # pyright: ignore[reportPrivateUsage] - the SDK's own dial
from bittensor.settings import (
    FINNEY_GENESIS_HASH,
    NETWORKS,
    SS58_FORMAT,
    default_archive_endpoints,
    default_fallback_endpoints,
)

from orchestra.chain.errors import UnknownNetwork
from orchestra.local_files import read_local_network

LOCAL_NAME = "orchestra-local"
LOCAL_PORT = 9955
"""Where `orchestra-local` is when no `orchestra up` on this machine left word of another port."""
SDK_NAMES = ("finney", "test", "local", "archive")
MAIN_GENESIS = FINNEY_GENESIS_HASH
SAME_READ_S = 2.0


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
    """The SDK's RPC backend for public endpoints: it lets go of what hangs, and does not ask the same thing twice.

    The SDK starts a supervisor task before it knows that the endpoint answers and forgets it when `connect` is
    cancelled (by our deadline, for one), and its `close` waits for the peer. This keeps hold of what it made, and cuts
    the socket instead of negotiating: a peer that is worth leaving may be one that does not answer.

    The SDK looks the hash of a block up for each read at it, and public endpoints answer about one request a second:
    the last hash is remembered for as long as reads at one block take, too short for a replaced block to matter.
    """

    def __init__(self, network: str, endpoint: str) -> None:
        fallbacks = default_fallback_endpoints(network)
        super().__init__(endpoint, fallback_endpoints=fallbacks, archive_endpoints=default_archive_endpoints(network))
        self._made: list[SubstrateConnection] = []
        self._sockets: WeakSet[Any] = WeakSet()
        self._last_hash: tuple[int, str, float] | None = None

    async def block_hash(self, block: int | None = None) -> str:
        now = asyncio.get_running_loop().time()
        if self._last_hash is not None and self._last_hash[0] == block and now - self._last_hash[2] < SAME_READ_S:
            return self._last_hash[1]
        found = await super().block_hash(block)
        if block is not None:
            self._last_hash = (block, found, now)
        return found

    def _interface(self, endpoint: str, fallbacks: list[str]) -> SubstrateConnection:
        made = SubstrateConnection(
            endpoint, ss58_format=SS58_FORMAT, fallback_urls=fallbacks, connect_factory=self._dial
        )
        self._made.append(made)
        return made

    async def _dial(self, url: str) -> Any:
        socket = await _default_connect(url)
        self._sockets.add(socket)
        return socket

    async def close(self) -> None:
        for socket in self._sockets:
            socket.transport.abort()
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
    known = None if text else read_local_network()
    port = int(text) if text else (known and known.chain_port) or LOCAL_PORT
    endpoint = f"http://127.0.0.1:{port}"
    return Network(network, endpoint, lambda: _local_substrate(endpoint))


def _local_substrate(endpoint: str) -> bt.Substrate:
    from orchestra.chain.local import LocalSubstrate  # only devnets load it

    return cast(bt.Substrate, LocalSubstrate(endpoint))
