"""What our apps have beyond FastAPI: errors that are problem documents, and a short way to signed handlers.

A handler that takes a `SignedCall` and returns a `Response` needs nothing of FastAPI's general way (exit stacks, a
solver for dependencies, a serialiser for results), which costs 75 µs a request, more than checking the signature.
Such a route goes from `SignedRequests` to its handler. Every other route, one that is included with further
dependencies, and any app whose dependencies are overridden go the general way.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestra.transport import problems
from orchestra.transport.problems import Refused
from orchestra.transport.receive import SignedCall, SignedRequests

_BY_STATUS = {
    404: problems.NOT_FOUND,
    405: problems.METHOD_NOT_ALLOWED,
    422: problems.UNPROCESSABLE,
    500: problems.INTERNAL_ERROR,
}
_Handler = Callable[[Request], Awaitable[Response]]


class SignedRoute(APIRoute):
    """An `APIRoute` that takes the short way where it can."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        handler = self._short_handler()
        if handler is not None:
            self.app = self._either(request_response(handler), self.app)

    def _either(self, short: ASGIApp, general: ASGIApp) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            overridden = getattr(self.dependency_overrides_provider, "dependency_overrides", None)
            await (general if overridden else short)(scope, receive, send)

        return app

    def _short_handler(self) -> _Handler | None:
        solved = self.dependant  # codespell:ignore dependant
        dependencies = solved.dependencies
        signed = dependencies[0].call if len(dependencies) == 1 else None
        if not isinstance(signed, SignedRequests) or not _returns_response(self.endpoint):
            return None
        endpoint, call_name, request_name = self.endpoint, dependencies[0].name, solved.request_param_name
        parameters = set(inspect.signature(endpoint).parameters)
        if call_name is None or parameters - {call_name, request_name}:
            return None

        async def handler(request: Request) -> Response:
            arguments: dict[str, SignedCall | Request] = {call_name: await signed(request)}
            if request_name is not None:
                arguments[request_name] = request
            return await endpoint(**arguments)

        return handler


def _returns_response(endpoint: Callable[..., Any]) -> bool:
    hint = inspect.signature(endpoint).return_annotation
    named = hint == "Response" or (isinstance(hint, type) and issubclass(hint, Response))
    return named and inspect.iscoroutinefunction(endpoint)


def install_problems(app: FastAPI) -> None:
    """Make every error of `app` a problem document: ours (`Refused`), the framework's 404, 405, 422, and crashes.

    Call it before routes are declared: they become `SignedRoute`s.
    """
    app.router.route_class = SignedRoute

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return error.response()

    async def framework(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Refused(_BY_STATUS.get(error.status_code, problems.BAD_REQUEST)).response()

    async def unprocessable(_: Request, __: Exception) -> Response:
        return Refused(problems.UNPROCESSABLE).response()

    async def crashed(_: Request, __: Exception) -> Response:
        return Refused(problems.INTERNAL_ERROR).response()

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, unprocessable)
    app.add_exception_handler(Exception, crashed)
