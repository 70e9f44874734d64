"""The gateway's HTTP surface. Errors are problem documents that say what to send instead; progress can be streamed.

With `Accept: application/x-ndjson` the answer is a line of JSON for every stage and the result (or the problem) as the
last line; otherwise it is the result alone.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError

from ledger.canonical import StrictJSONError, as_object, parse_strict
from orchestra.gateway.backend import Backend, Emit, NobodyAnswered
from orchestra.gateway.messages import ObjectiveRequest, Progress
from orchestra.protocol import MAX_REQUEST_BYTES
from orchestra.schema import TargetSchema, TargetSchemaError
from orchestra.transport import install_problems
from orchestra.transport.receive import read_bounded

logger = logging.getLogger(__name__)
NDJSON = "application/x-ndjson"
BODY_TIMEOUT_S = 10.0
MOST_LINES = 1024
"""More than the steps of the longest pipeline, twice."""


class Unusable(Exception):
    """A request that cannot be answered: `detail` is for the person who wrote it."""

    def __init__(self, status: int, code: str, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.document: dict[str, Any] = {
            "type": f"urn:orchestra:problem:{code}",
            "title": title,
            "status": status,
            "code": code,
            "detail": detail,
        }


def create_app(backend: Backend, *, most_at_once: int = 32) -> FastAPI:
    """The app over one backend, answering at most `most_at_once` objectives at a time."""
    app = FastAPI(title="Orchestra", docs_url=None, redoc_url=None)
    install_problems(app)
    places = asyncio.Semaphore(most_at_once)

    @app.exception_handler(Unusable)
    async def unusable(_: Request, error: Unusable) -> Response:
        return JSONResponse(error.document, error.status, media_type="application/problem+json")

    @app.post("/v1/objectives")
    async def objectives(request: Request) -> Response:
        asked = await _read(request)
        if places.locked():
            raise Unusable(
                503, "busy", "The gateway is busy", "As many objectives as it takes are under way: try later."
            )
        if NDJSON in request.headers.get("accept", ""):
            return StreamingResponse(_stream(backend, asked, places), media_type=NDJSON)
        async with places:
            return Response(await _answer(backend, asked, _ignore), media_type="application/json")

    @app.get("/v1/status")
    async def status() -> Response:
        return JSONResponse(await backend.status())

    @app.get("/v1/health")
    async def health() -> Response:
        return JSONResponse({"role": "gateway", "ready": True})

    return app


def _ignore(_: Progress) -> None:
    return None


async def _read(request: Request) -> ObjectiveRequest:
    async with asyncio.timeout(BODY_TIMEOUT_S):
        raw = await read_bounded(request.receive, MAX_REQUEST_BYTES)
    try:
        asked = ObjectiveRequest.model_validate(as_object(parse_strict(raw, max_bytes=MAX_REQUEST_BYTES)))
        TargetSchema.parse(asked.target_schema)
    except StrictJSONError as error:
        raise Unusable(400, f"json_{error.code}", "The body is not usable JSON", error.detail) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"]) or "the body"
        raise Unusable(422, "invalid_request", "A field is missing or wrong", f"{where}: {first['msg']}") from None
    except TargetSchemaError as error:
        raise Unusable(422, "bad_target_schema", "The target_schema cannot be used", str(error)) from None
    return asked


async def _answer(backend: Backend, asked: ObjectiveRequest, emit: Emit) -> str:
    try:
        return (await backend.answer(asked, emit)).model_dump_json()
    except NobodyAnswered as error:
        raise Unusable(503, "nobody_answered", "No miner gave a usable answer", str(error)) from None


async def _stream(backend: Backend, asked: ObjectiveRequest, places: asyncio.Semaphore) -> AsyncIterator[str]:
    lines: asyncio.Queue[str | None] = asyncio.Queue(MOST_LINES)

    def emit(progress: Progress) -> None:
        lines.put_nowait(progress.model_dump_json())

    async def work() -> None:
        try:
            async with places:
                lines.put_nowait(await _answer(backend, asked, emit))
        except Unusable as error:
            lines.put_nowait(json.dumps(error.document))
        finally:
            lines.put_nowait(None)

    task = asyncio.create_task(work())
    try:
        while (line := await lines.get()) is not None:
            yield line + "\n"
    finally:  # the listener may be gone: then so is the work
        task.cancel()
        await asyncio.wait([task])
