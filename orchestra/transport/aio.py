"""httpx's transport interface over aiohttp's connections.

httpx's own pool serves about a fifth of what aiohttp does once 32 calls are in flight (docs/transport.md). The
published `httpx-aiohttp` transport hands aiohttp the URL as text, which aiohttp quotes again: `%7E` arrives as `~`
and a signature over the path no longer fits. This one sends the target as it was given, never follows a redirect,
never decompresses, never repeats a request by itself, and takes neither cookies nor proxies from anywhere.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp repeats idempotent requests on connections that break; a signed nonce or a paid call must not be."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(_unconnected(error)) from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise httpx.ReadError(str(error)) from error


def _unconnected(error: aiohttp.ClientConnectorError) -> str:
    """The system's words: aiohttp's own repeat an address that whoever reads them has already."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


class AioTransport(httpx.AsyncBaseTransport):
    """`httpx.AsyncBaseTransport` on one aiohttp session, opened at first use and closed by `aclose`.

    Deadlines are the caller's (`asyncio.timeout`); idle connections are dropped after `keepalive_s`, sooner than common
    servers drop theirs. At most `max_connections` are open; further requests wait for one.
    """

    def __init__(
        self, *, resolver: AbstractResolver | None = None, max_connections: int = 256, keepalive_s: float = 4.0
    ) -> None:
        self._resolver = resolver
        self._max_connections = max_connections
        self._keepalive_s = keepalive_s
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._session or self._open()
        request.headers.encoding = "ascii"  # httpx would look for it anew at every header
        try:
            response = await session.request(
                request.method,
                yarl.URL(str(request.url), encoded=True),
                headers=CIMultiDict(request.headers.multi_items()),
                data=request.content or None,
                allow_redirects=False,
                compress=False,
            )
        except (aiohttp.ClientError, ValueError) as error:
            raise _translated(error) from error
        answer = httpx.Response(response.status, headers=list(response.raw_headers), stream=_Stream(response))
        answer.headers.encoding = "latin-1"
        return answer

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._max_connections, keepalive_timeout=self._keepalive_s, resolver=self._resolver
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=_NO_TIMEOUT,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTOMATIC,
            trust_env=False,
            middlewares=(_once,),
        )
        return self._session

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except aiohttp.ClientError as error:
            raise _translated(error) from error

    async def aclose(self) -> None:
        """Give the connection back when the body was read to its end, otherwise drop it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _translated(error: Exception) -> Exception:
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError)):
        return httpx.RemoteProtocolError(str(error))
    if isinstance(error, (aiohttp.InvalidURL, ValueError)):
        return httpx.UnsupportedProtocol(str(error))
    return httpx.ReadError(str(error))
