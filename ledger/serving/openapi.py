"""The API's OpenAPI document. Its examples are real: the app is asked for each of them, over the edition in force."""

from __future__ import annotations

import copy
import json
import re
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.openapi.utils import get_openapi
from starlette.types import Message

from ledger.serving.allowance import Window
from ledger.serving.door import Visit
from ledger.serving.edition import Edition
from ledger.serving.pages import Pages
from ledger.serving.problems import MEDIA_TYPE, PROBLEMS
from ledger.serving.tiers import TIERS

ABOUT = (
    "What the Bittensor network knows about its subnets: what each does, how to call it, what it costs; every change "
    "governed and provable. Without a key the Free tier answers."
)
_KEYS = {"key": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"}}
_JSON = "application/json"


class Documents:
    """The document of one app, made once for each edition."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._made: tuple[Pages, bytes] | None = None

    async def of(self, pages: Pages) -> bytes:
        """The document with the answers of this edition, as JSON."""
        if self._made is None or self._made[0] is not pages:
            document = copy.deepcopy(self._bare)
            for path, parameters in examples(pages.edition).items():
                await self._fill(document["paths"][path]["get"], path, parameters)
            self._made = (pages, json.dumps(document, separators=(",", ":")).encode())
        return self._made[1]

    def methods(self, path: str) -> list[str]:
        """The methods that a path takes."""
        for template, item in self._bare["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
                return sorted(method.upper() for method in item)
        return ["GET"]

    @cached_property
    def _bare(self) -> dict[str, Any]:
        app = self._app
        document = get_openapi(title=app.title, version=app.version, routes=app.routes, description=ABOUT)
        document["components"]["securitySchemes"] = _KEYS
        document["security"] = [{}, {"key": []}]
        for item in document["paths"].values():
            for route in item.values():
                _with_problems(route["responses"])
        return document

    async def _fill(self, route: dict[str, Any], path: str, parameters: dict[str, Any]) -> None:
        for each in route.get("parameters", ()):
            if each["name"] in parameters:
                each["example"] = parameters[each["name"]]
        answer = await self._ask(*address(path, parameters))
        route["responses"]["200"]["content"][_JSON]["example"] = json.loads(answer)

    async def _ask(self, path: str, query: str) -> bytes:
        """What the app answers to a key that sees everything. No door: nothing is limited or counted."""
        tier = TIERS["production"]
        visit = Visit(None, tier, Window("minute", tier.per_minute, 60, tier.per_minute, 0))
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "app": self._app,
            "state": {"visit": visit},
        }
        body = b""

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal body
            body += message.get("body", b"")

        await AsyncExitStackMiddleware(self._app.router)(scope, receive, send)
        return body


def _with_problems(responses: dict[str, Any]) -> None:
    """Say what every refusal is: a problem document, of those that are the door's on every route."""
    for status, code in (("401", "key_unknown"), ("429", "rate_limited"), ("503", "no_database")):
        responses.setdefault(status, {"description": f"`{code}`: {PROBLEMS[code].title}"})
    responses.get("422", {})["description"] = f"`unprocessable`: {PROBLEMS['unprocessable'].title}"
    for status, answer in responses.items():
        if int(status) >= 400:
            answer["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemPage"}}}


def address(path: str, parameters: dict[str, Any]) -> tuple[str, str]:
    """The path and the query of a route with these parameters."""
    inside = {name: value for name, value in parameters.items() if f"{{{name}}}" in path}
    query = {name: value for name, value in parameters.items() if name not in inside}
    return path.format(**inside), urlencode(query)


def examples(edition: Edition) -> dict[str, dict[str, Any]]:
    """By path: parameters to which this edition has an answer. An empty one has none about an entry."""
    found: dict[str, dict[str, Any]] = {
        "/v1/health": {},
        "/v1/tiers": {},
        "/v1/ledger": {},
        "/v1/capabilities": {},
        "/v1/subnets": {"limit": 2},
        "/v1/operations": {"limit": 2},
        "/v1/search": {"q": "search the web", "limit": 3},
        "/v1/changes": {"since": "0", "limit": 1},
    }
    able = [entry for entry in edition.entries.values() if entry.operations]
    if able:
        entry = min(able, key=lambda each: each.id)
        operation = entry.operations[0]
        found["/v1/operations"] = {"capability": operation.capability, "limit": 2}
        found["/v1/subnets/{subnet}/operations/{operation}"] = {"subnet": entry.id, "operation": operation.name}
        for page in ("", "/history", "/proof"):
            found[f"/v1/subnets/{{subnet}}{page}"] = {"subnet": entry.id}
    return found
