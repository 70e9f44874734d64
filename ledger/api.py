"""The Ledger API: an app over its services. Routes find pages, the door decides who gets them, errors are problems.

OpenAPI is served at `/openapi.json`, with examples that are answers of the edition in force.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from ledger.serving import listeners, reads
from ledger.serving.door import Door
from ledger.serving.openapi import Documents
from ledger.serving.problems import (
    BAD_REQUEST,
    BY_STATUS,
    INTERNAL_ERROR,
    METHOD_NOT_ALLOWED,
    NO_DATABASE,
    UNPROCESSABLE,
    Refused,
)
from ledger.serving.services import Services

TITLE = "Orchestra Subnet Ledger"
VERSION = "1.0.0"


def create_app(services: Services) -> FastAPI:
    """The app. Its services are opened and closed by the caller."""
    app = FastAPI(title=TITLE, version=VERSION, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.services = services
    app.include_router(reads.router)
    app.include_router(listeners.router)
    documents = Documents(app)
    _install_problems(app, documents)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(here: reads.Free) -> Response:
        return Response(await documents.of(here.pages), media_type=reads.JSON)

    app.add_middleware(
        Door,
        ready=services.ready,
        accounts=services.accounts,
        meter=services.meter,
        pace=services.pace,
        wall=services.wall,
        behind_proxy=services.behind_proxy,
    )
    return app


def _install_problems(app: FastAPI, documents: Documents) -> None:
    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        if error.status_code != 405:
            return Refused(BY_STATUS.get(error.status_code, BAD_REQUEST), headers=error.headers).response()
        allowed = {"allow": ", ".join([*documents.methods(request.url.path), "OPTIONS"])}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allowed)
        return Refused(METHOD_NOT_ALLOWED, headers=allowed).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = "/".join(str(part) for part in first["loc"])
        return Refused(UNPROCESSABLE, f"{where[:100]}: {first['msg']}").response()

    @app.exception_handler(SQLAlchemyError)
    async def database(_: Request, error: SQLAlchemyError) -> Response:
        return Refused(NO_DATABASE, headers={"retry-after": "1"}).response()

    @app.exception_handler(Exception)
    async def ours(_: Request, error: Exception) -> Response:
        return Refused(INTERNAL_ERROR).response()
