"""SN22 on this machine: search, crawl and extraction with Desearch's paths, headers, errors and billing.

Billed by item, as the service does since October 2026: a search by the results it returns, a page once, nothing for an
empty result or an error; what a call cost stands in its headers. One extension of ours, for lack of a published one:
`GET /web/extract?fields={"name": "str", ...}` answers `{"url", "data": [records]}` instead of the page's text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from ledger.canonical import StrictJSONError, as_object, parse_strict
from orchestra.devnet.subnets.bm25 import Bm25Index
from orchestra.devnet.subnets.crawler import Fetched, Fetcher, PageUnavailable
from orchestra.devnet.subnets.faults import Faults
from orchestra.devnet.subnets.keys import Keys, Standing, fingerprint
from orchestra.synthesis.extraction import extract_records
from orchestra.synthesis.page import read_page, render_text

PAGE_SIZE = 10
MAX_START = 990
MAX_QUERY = 2_000
SEARCH_ITEM_USD = Decimal("0.0001")
"""0.1 USD per 100 searches of ten results."""
PAGE_USD = Decimal("0.0005")
"""Devnet's own figure: none is published."""

_DETAILS: Mapping[int, Any] = {
    401: "Invalid or missing API key",
    402: "Insufficient balance, please add funds to continue.",
    429: {"message": "Too many requests", "status_code": 429},
}


def error(status: int) -> Response:
    """An error in the service's own words."""
    detail = _DETAILS.get(status) or {
        "message": "Internal server error" if status >= 500 else "Request failed",
        "status_code": status,
    }
    return JSONResponse({"detail": detail}, status)


def caller(scope: Scope) -> str:
    """Who calls, for the log."""
    return fingerprint(_key(scope)) if _key(scope) else "anonymous"


def create_app(index: Bm25Index, crawler: Fetcher, keys: Keys, faults: Faults) -> Starlette:
    """The service over an index, a crawler and its customers."""
    service = _Desearch(index, crawler, keys, faults)
    return Starlette(
        routes=[
            Route("/web", service.paid(service.search), methods=["GET"]),
            Route("/web/crawl", service.paid(service.crawl), methods=["GET"]),
            Route("/web/extract", service.paid(service.extract), methods=["GET"]),
        ]
    )


class _Invalid(Exception):
    """A parameter that the service refuses with 422."""

    def __init__(self, name: str, message: str, kind: str) -> None:
        super().__init__(message)
        self.detail = [{"loc": ["query", name], "msg": message, "type": kind}]


Handler = Callable[[Request], Awaitable[tuple[Response, str, int, Decimal]]]


class _Desearch:
    def __init__(self, index: Bm25Index, crawler: Fetcher, keys: Keys, faults: Faults) -> None:
        self._index = index
        self._crawler = crawler
        self._keys = keys
        self._faults = faults

    def paid(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler for customers only, with its cost charged and reported."""

        async def handle(request: Request) -> Response:
            key = _key(request.scope)
            standing = self._keys.standing(key)
            if standing is not Standing.GOOD:
                return error(401 if standing is Standing.UNKNOWN else 402)
            try:
                answer, service, count, price = await handler(request)
            except _Invalid as refused:
                return JSONResponse({"detail": refused.detail}, 422)
            except PageUnavailable as missing:
                return JSONResponse({"detail": {"message": str(missing), "status_code": 404}}, 404)
            cost = price * count
            self._keys.charge(key, cost)
            answer.headers["X-Desearch-Cost-Usd"] = f"{cost.normalize():f}"
            answer.headers["X-Desearch-Usage-Count"] = str(count)
            answer.headers["X-Desearch-Service"] = service
            answer.headers["X-Desearch-Currency"] = "USD"
            return answer

        return handle

    async def search(self, request: Request) -> tuple[Response, str, int, Decimal]:
        query, start = _required(request, "query", MAX_QUERY), _integer(request, "start", MAX_START)
        hits = self._index.search(query, start=start, limit=PAGE_SIZE)
        if self._faults.control.drifted:
            document: Any = {"results": [{"title": h.title, "description": h.snippet, "url": h.url} for h in hits]}
        else:
            document = {"data": [{"title": h.title, "snippet": h.snippet, "link": h.url} for h in hits]}
        return JSONResponse(document), "web_search", len(hits), SEARCH_ITEM_USD

    async def crawl(self, request: Request) -> tuple[Response, str, int, Decimal]:
        page = await self._fetch(request)
        return _as_published(request, page), "web_crawl", 1, PAGE_USD

    async def extract(self, request: Request) -> tuple[Response, str, int, Decimal]:
        fields = _fields(request)
        page = await self._fetch(request)
        if fields is None:
            return _as_published(request, page), "web_extract", 1, PAGE_USD
        try:
            records = extract_records(page.text, fields, page.media_type)
        except ValueError as refused:
            raise _Invalid("fields", str(refused), "value_error") from None
        return JSONResponse({"url": page.url, "data": records}), "web_extract", 1, PAGE_USD

    async def _fetch(self, request: Request) -> Fetched:
        try:
            return await self._crawler.fetch(_required(request, "url", MAX_QUERY))
        except ValueError as refused:
            raise _Invalid("url", str(refused), "value_error.url") from None


def _as_published(request: Request, page: Fetched) -> Response:
    shape = request.query_params.get("format", "text")
    if shape not in ("text", "html"):
        raise _Invalid("format", "value is not 'text' or 'html'", "value_error.enum")
    return PlainTextResponse(page.text if shape == "html" else render_text(read_page(page.text, page.media_type)))


def _key(scope: Scope) -> str:
    """The raw value of `Authorization`: this service knows no scheme word."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")


def _required(request: Request, name: str, limit: int) -> str:
    value = request.query_params.get(name, "").strip()
    if not value:
        raise _Invalid(name, "field required", "value_error.missing")
    if len(value) > limit:
        raise _Invalid(name, f"ensure this value has at most {limit} characters", "value_error.any_str.max_length")
    return value


def _integer(request: Request, name: str, limit: int) -> int:
    value = request.query_params.get(name, "0")
    if not (value.isascii() and value.isdigit() and len(value) < 8 and int(value) <= limit):
        raise _Invalid(name, f"value is not an integer from 0 to {limit}", "type_error.integer")
    return int(value)


def _fields(request: Request) -> dict[str, Any] | None:
    text = request.query_params.get("fields")
    if text is None:
        return None
    try:
        return as_object(parse_strict(text.encode(), max_bytes=16 << 10, max_depth=8))
    except StrictJSONError as refused:
        raise _Invalid("fields", f"not a JSON object of fields: {refused.detail}", "value_error.json") from None
