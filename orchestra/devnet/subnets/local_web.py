"""The local web as a web server: pages by Host header and path, as a hosting provider serves many sites."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from orchestra.devnet.content import web_pages


def create_app() -> Starlette:
    """Every page with status 200, anything else 404."""
    pages = {(page.host, page.path): page.html for page in web_pages()}

    async def serve_page(request: Request) -> Response:
        host = request.headers.get("host", "").partition(":")[0].lower()
        html = pages.get((host, request.url.path))
        return HTMLResponse(html) if html is not None else PlainTextResponse("Not found\n", 404)

    return Starlette(routes=[Route("/{path:path}", serve_page, methods=["GET", "HEAD"])])
