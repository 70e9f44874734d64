"""Requests to the local chain process: one HTTP session, a deadline on each, one repetition, the SDK's exceptions.

A request that finds its connection gone is sent once more, on a new one: the chain may have been restarted in between,
and all requests but `step` are safe to repeat (an extrinsic is known by its hash). When that fails too, the caller gets
`RpcConnectionError`, and its next request tries again.
"""

from __future__ import annotations

import os
from typing import Any, Final, cast

import aiohttp
from bittensor._transport.errors import StorageFunctionNotFound, SubstrateRequestException
from bittensor.result import ChainError, ConnectionNotReady, RpcConnectionError

from orchestra.devnet.chain.wire import dumps, loads

DEADLINE: Final = 10.0
MAX_ANSWER: Final = 64 << 20
MAX_CONNECTIONS: Final = 64
GONE: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


class PoolRejection(SubstrateRequestException):
    """The chain did not take an extrinsic into its pool."""


class ChainLink:
    """Speaks to `endpoint` between `open` and `close`, from one event loop. `deadline` is seconds for a request."""

    def __init__(self, endpoint: str, deadline: float = DEADLINE) -> None:
        self._endpoint = endpoint
        self._deadline = deadline
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS))

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def call(self, method: str, wait: float = 0.0, /, **params: Any) -> Any:
        """One request; `wait` is seconds that the chain may take on purpose.

        Raises RpcConnectionError, or what the chain answered: ChainError, PoolRejection, StorageFunctionNotFound,
        ValueError.
        """
        body, seconds = dumps({"method": method, "params": params}).encode(), self._deadline + wait
        try:
            try:
                answer = await self._post(body, seconds)
            except GONE:
                if method == "step":
                    raise
                answer = await self._post(body, seconds)
        except (aiohttp.ClientError, OSError) as error:
            message = f"local chain at {self._endpoint}: {_why(error)}; start it with: orchestra up"
            raise RpcConnectionError(message) from error
        return _result(answer)

    async def _post(self, body: bytes, seconds: float) -> dict[str, Any]:
        if self._session is None:
            raise ConnectionNotReady("The local chain is not connected: call `await substrate.connect()` first.")
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self._session.post(self._endpoint, data=body, timeout=timeout) as response:
            if response.status != 200:
                raise aiohttp.ClientPayloadError(f"the chain process answered HTTP {response.status}")
            return _parsed(await _read_bounded(response))


def _why(error: Exception) -> str:
    """The system's words where the connection was not made, without aiohttp's repetition of the address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error) or type(error).__name__


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    total = 0
    async for chunk in response.content.iter_any():
        total += len(chunk)
        if total > MAX_ANSWER:
            raise aiohttp.ClientPayloadError(f"the answer has more than {MAX_ANSWER} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not answer.keys() & {"result", "error"}:
        raise aiohttp.ClientPayloadError("what answers there is not a local chain")
    return cast(dict[str, Any], answer)


def _result(answer: dict[str, Any]) -> Any:
    if "error" not in answer:
        return answer["result"]
    kind, message = answer["error"]["kind"], answer["error"]["message"]
    if kind == "pool":
        raise PoolRejection(message)
    if kind == "unknown":
        raise StorageFunctionNotFound(message)
    if kind == "bad-request":
        raise ValueError(message)
    raise ChainError(message)
