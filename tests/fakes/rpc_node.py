"""A Substrate node as the SDK's RPC backend sees one: JSON-RPC over a WebSocket, with a real runtime's metadata.

It answers reads from encoded storage that a test put there (a miss is the runtime's own default), refuses methods
nobody prepared with JSON-RPC's "method not found", and has no blocks to put a transaction into. With it the RPC path of
the facade runs end to end on loopback: connect, metadata, runtime check, typed reads, real encoding.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from bittensor._transport.codec import RuntimeCodec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

HEAD = 500
FINALIZED = 497


class RpcNode:
    """State of the node; `url` is set while it runs, `asked` counts the requests by method."""

    def __init__(self, codec: RuntimeCodec, *, genesis: str = "0x" + "11" * 32, spec: int | None = None) -> None:
        self.codec = codec
        self.genesis = genesis
        self.spec = codec.spec_version if spec is None else spec
        self.storage: dict[str, str] = {}
        self.calls: dict[str, str] = {"Metadata_metadata_at_version": _opaque(codec.metadata_bytes)}
        self.asked: dict[str, int] = {}
        self.url = ""

    def store(self, item: str, params: list[Any], value: Any, pallet: str = "SubtensorModule") -> None:
        """Encode a value with the runtime's own type and keep it under the runtime's own key."""
        entry = self.codec.storage_entry(pallet, item)
        key = "0x" + self.codec.storage_key(entry, params).hex()
        self.storage[key] = "0x" + self.codec.encode(entry.value_type, value).hex()

    def answer(self, method: str, params: list[Any]) -> Any:
        """The result of one request. Raises KeyError for a method it does not know."""
        self.asked[method] = self.asked.get(method, 0) + 1
        match method, params:
            case "state_getRuntimeVersion", _:
                return {"specVersion": self.spec, "transactionVersion": 1, "specName": "node-subtensor"}
            case "chain_getBlockHash", [number]:
                return self.genesis if number == 0 else _hash(number)
            case (("chain_getHead" | "chain_getFinalizedHead"), _):
                return _hash(HEAD)
            case "chain_getHeader", [block_hash]:
                number = HEAD if block_hash is None else int(block_hash, 16)
                return {"number": hex(number), "parentHash": _hash(number - 1)}
            case "state_call", [method, _, *_]:
                return self.calls[method]
            case "state_getStorageAt", [key, *_]:
                return self.storage.get(key)
            case "state_getKeysPaged", [prefix, count, start, *_]:
                return [key for key in sorted(self.storage) if key.startswith(prefix) and key > (start or "")][:count]
            case "state_queryStorageAt", [keys, *_]:
                return [{"changes": [[key, self.storage.get(key)] for key in keys]}]
            case _:
                raise KeyError(method)

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        frame = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            return {**frame, "result": self.answer(request["method"], request["params"])}
        except KeyError as error:
            return {**frame, "error": {"code": -32601, "message": f"Method not found: {error}"}}

    async def _talk(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in connection:
                request = json.loads(message)
                batch = isinstance(request, list)
                reply = [self._reply(one) for one in request] if batch else self._reply(request)
                await connection.send(json.dumps(reply))


@asynccontextmanager
async def running_node(node: RpcNode) -> AsyncIterator[RpcNode]:
    """The node on a free port of 127.0.0.1 for the `with` block."""
    async with serve(node._talk, "127.0.0.1", 0) as server:
        node.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield node


def _hash(number: int) -> str:
    return f"0x{number:064x}"


def _opaque(metadata: bytes) -> str:
    """SCALE `Option<Vec<u8>>` of the metadata: Some, compact length (four-byte mode), bytes."""
    return "0x01" + (len(metadata) << 2 | 2).to_bytes(4, "little").hex() + metadata.hex()
