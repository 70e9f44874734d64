"""Fetches a page for a crawl or an extraction: a real HTTP GET, to the local web whatever host the URL names.

The resolver is the only trick: every host of the local web is on one loopback port, and the Host header says which one
is meant. Nothing else is reachable from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote, urlsplit

import aiohttp

TIMEOUT_S = 5.0
MAX_BYTES = 2 << 20
_SAFE = "/%:@!$&'()*+,;=~-._"


class PageUnavailable(Exception):
    """The page cannot be had: no such host or path, or the web does not answer."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it was published."""

    url: str
    text: str
    media_type: str


class Fetcher(Protocol):
    """What a service needs of a crawler."""

    async def fetch(self, url: str) -> Fetched: ...


class Crawler:
    """Used as `async with Crawler(web_url) as crawler`; `web_url` is where the local web listens."""

    def __init__(self, web_url: str) -> None:
        self._web_url = web_url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str) -> Fetched:
        """The page at a URL.

        Raises:
            ValueError: not an absolute http(s) URL with a host.
            PageUnavailable: no such page, or it is too large, or the web is down.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.hostname.isascii():
            raise ValueError("an absolute http or https URL with a host is needed")
        assert self._session is not None
        query = f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else ""
        target = self._web_url + quote(parts.path or "/", safe=_SAFE) + query
        try:
            async with self._session.get(target, headers={"Host": parts.hostname}, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise PageUnavailable(f"the page answers {answer.status}")
                body = await answer.content.read(MAX_BYTES + 1)
                while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES)):
                    body += more
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PageUnavailable(f"the web does not answer: {type(error).__name__}") from None
        if len(body) > MAX_BYTES:
            raise PageUnavailable("the page is too large")
        return Fetched(url, body.decode("utf-8", "replace"), answer.content_type)
