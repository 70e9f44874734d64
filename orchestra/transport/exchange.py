"""One request and its whole answer, under one deadline and one byte limit that also holds after decompression."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from orchestra.transport.errors import BadResponse, PeerTimeout, PeerUnreachable, ResponseTooLarge, TransportError

ACCEPT_ENCODING = "gzip"
STATUSES = range(100, 600)
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, case-insensitive headers, and the body after content-decoding."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def exchange(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, *, timeout_s: float, max_bytes: int
) -> Answer:
    """Send and read to the end.

    Raises:
        PeerTimeout: not done after `timeout_s`, whatever it was waiting for.
        PeerUnreachable: no connection, or it broke.
        ResponseTooLarge: more than `max_bytes`, on the wire or decompressed.
        BadResponse: not HTTP as we speak it.
        AddressRefused: the host resolves to an address that may not be called.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(transport, request, max_bytes)
    except (TimeoutError, httpx.TransportError) as error:
        raise translated(error, timeout_s) from error


def translated(error: Exception, timeout_s: float) -> TransportError:
    """What a failed attempt means, from what httpx's transport interface or the deadline raised."""
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return PeerTimeout(timeout_s)
    if isinstance(error, (httpx.RemoteProtocolError, httpx.UnsupportedProtocol)):
        return BadResponse(str(error)[:200])
    return PeerUnreachable(str(error)[:200] or type(error).__name__)


async def _exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request, max_bytes: int) -> Answer:
    response = await transport.handle_async_request(request)
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    try:
        if response.status_code not in STATUSES:
            raise BadResponse("the answer's status is none")
        declared = "" if request.method == "HEAD" else response.headers.get("content-length", "")
        if declared.isdigit() and (len(declared) > 15 or int(declared) > max_bytes):
            raise ResponseTooLarge(max_bytes)
        body = await _read(stream, _decoder(response.headers, max_bytes), max_bytes)
    finally:
        await stream.aclose()
    return Answer(response.status_code, response.headers, body)


async def _read(stream: httpx.AsyncByteStream, decoder: _Gunzip | None, max_bytes: int) -> bytes:
    received, body = 0, bytearray()
    async for chunk in stream:
        received += len(chunk)
        body += decoder.feed(chunk) if decoder else chunk
        if received > max_bytes or len(body) > max_bytes:
            raise ResponseTooLarge(max_bytes)
    if decoder and received:
        decoder.finish()
    return bytes(body)


def _decoder(headers: httpx.Headers, max_bytes: int) -> _Gunzip | None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "x-gzip"):
        raise BadResponse("the answer has a content-encoding that was not asked for")
    return _Gunzip(max_bytes)


class _Gunzip:
    """Decompresses to one byte past the limit at most, so that a bomb never unfolds."""

    def __init__(self, max_bytes: int) -> None:
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self._room = max_bytes + 1

    def feed(self, chunk: bytes) -> bytes:
        try:
            out = self._inflate.decompress(chunk, self._room)
        except zlib.error:
            raise BadResponse("the answer's compression is broken") from None
        self._room -= len(out)
        return out

    def finish(self) -> None:
        if not self._inflate.eof or self._inflate.unused_data:
            raise BadResponse("the answer's compression does not end where the answer does")
