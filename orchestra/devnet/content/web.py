"""The local web: every page with its stable address."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page of the local web. `topic` names the collection: subnets, clouds or articles."""

    host: str
    path: str
    title: str
    html: str
    topic: str

    @property
    def url(self) -> str:
        return f"https://{self.host}{self.path}"


@cache
def web_pages() -> tuple[WebPage, ...]:
    """All pages, in a fixed order, every address once."""
    from orchestra.devnet.content import articles, cloud_pages, subnet_pages

    return (*cloud_pages.pages(), *articles.pages(), *subnet_pages.pages())
