"""A crawler that holds its pages in memory: no sockets, and no page that nobody put there."""

from __future__ import annotations

from collections.abc import Mapping

from orchestra.devnet.subnets.crawler import Fetched, PageUnavailable


class MemoryCrawler:
    """Serves HTML by URL and remembers what was asked for."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = dict(pages)
        self.fetched: list[str] = []

    async def fetch(self, url: str) -> Fetched:
        self.fetched.append(url)
        if "://" not in url:
            raise ValueError("an absolute http or https URL with a host is needed")
        if url not in self._pages:
            raise PageUnavailable("the page answers 404")
        return Fetched(url, self._pages[url], "text/html")
