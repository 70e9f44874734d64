"""An answer that is read line by line while it is made: one deadline and one byte limit over the whole of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

import httpx

from orchestra.transport.errors import BadResponse, ResponseTooLarge
from orchestra.transport.exchange import STATUSES, translated


@dataclass(frozen=True, slots=True)
class LineStream:
    """Status and headers, and then the body's lines as they come. Iterate once."""

    status: int
    headers: Mapping[str, str]
    lines: AsyncIterator[bytes]


@contextlib.asynccontextmanager
async def line_stream(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, *, timeout_s: float, max_bytes: int
) -> AsyncGenerator[LineStream]:
    """Send, and read lines while the body of this context runs; leaving early drops the connection.

    Raises:
        PeerTimeout: the context took longer than `timeout_s`.
        PeerUnreachable, ResponseTooLarge, BadResponse, AddressRefused: as in `exchange`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            response = await transport.handle_async_request(request)
            stream = response.stream
            assert isinstance(stream, httpx.AsyncByteStream)
            try:
                if response.status_code not in STATUSES:
                    raise BadResponse("the answer's status is none")
                if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                    raise BadResponse("the answer has a content-encoding that was not asked for")
                async with contextlib.aclosing(_lines(stream, max_bytes)) as lines:
                    yield LineStream(response.status_code, response.headers, lines)
            finally:
                await stream.aclose()
    except (TimeoutError, httpx.TransportError) as error:
        raise translated(error, timeout_s) from error


async def _lines(stream: httpx.AsyncByteStream, max_bytes: int) -> AsyncGenerator[bytes]:
    """The lines without their ends; a last one without an end counts. Each byte is looked at once."""
    pending: list[bytes] = []
    received = 0
    async for chunk in stream:
        received += len(chunk)
        if received > max_bytes:
            raise ResponseTooLarge(max_bytes)
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            yield b"".join([*pending, part])
            pending = []
        if rest:
            pending.append(rest)
    if pending:
        yield b"".join(pending)
