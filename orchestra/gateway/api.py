"""The gateway's HTTP surface. Errors are problem documents that say what to send instead; progress can be streamed.

With `Accept: application/x-ndjson` the answer is a line of JSON for every stage and the result (or the problem) as the
last line; otherwise it is the result alone. A listener that leaves stops the work it asked for. Requests must name
their content type, so that no web page in a browser on this machine can spend money by posting a form.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError

from ledger.canonical import StrictJSONError, as_object, parse_strict
from orchestra.gateway.backend import Backend, Emit, NobodyAnswered
from orchestra.gateway.messages import NDJSON, ObjectiveRequest, Progress, first_fault
from orchestra.protocol import MAX_REQUEST_BYTES
from orchestra.schema import TargetSchema, TargetSchemaError
from orchestra.transport import Problem, Refused, install_problems, problems, refused_body
from orchestra.transport.receive import read_bounded

BODY_TIMEOUT_S = 10.0
MOST_LINES = 1024
"""More than the steps of the longest pipeline, twice."""

NOT_JSON = Problem("not_json", 415, "Send the objective as JSON, with Content-Type: application/json.")
INVALID_REQUEST = Problem("invalid_request", 422, "A field is missing or wrong")
BAD_TARGET_SCHEMA = Problem("bad_target_schema", 422, "The target_schema cannot be used")
BUSY = Problem("busy", 503, "As many objectives as this gateway takes are under way: try again in a few seconds.")
NOBODY_ANSWERED = Problem("nobody_answered", 503, "No miner gave a usable answer")
RETRY_AFTER_S = 5

PROBLEMS = {problem.code: problem for problem in (NOT_JSON, INVALID_REQUEST, BAD_TARGET_SCHEMA, BUSY, NOBODY_ANSWERED)}
"""What this surface refuses with, besides what every server does (`orchestra.transport.PROBLEMS`)."""


class Unusable(Exception):
    """A request that cannot be answered: `detail` is for the person who wrote it."""

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.document: dict[str, Any] = {**json.loads(problem.body), "detail": detail[:2000]}


def create_app(backend: Backend, *, most_at_once: int = 32, body_timeout_s: float = BODY_TIMEOUT_S) -> FastAPI:
    """The app over one backend, answering at most `most_at_once` objectives at a time."""
    app = FastAPI(title="Orchestra", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    install_problems(app)
    places = asyncio.Semaphore(most_at_once)

    @app.exception_handler(Unusable)
    async def unusable(_: Request, error: Unusable) -> Response:
        return JSONResponse(error.document, error.problem.status, media_type=problems.MEDIA_TYPE)

    @app.post("/v1/objectives")
    async def objectives(request: Request) -> Response:
        asked = await _read(request, body_timeout_s)
        if places.locked():
            raise Refused(BUSY, retry_after_s=RETRY_AFTER_S)
        if NDJSON in request.headers.get("accept", ""):
            return StreamingResponse(_stream(backend, asked, places), media_type=NDJSON)
        async with places:
            return Response(await _answer(backend, asked, lambda _: None), media_type="application/json")

    @app.get("/v1/status")
    async def status() -> Response:
        return JSONResponse(await backend.status())

    @app.get("/v1/health")
    async def health() -> Response:
        return JSONResponse({"role": "gateway", "ready": True})

    return app


async def _read(request: Request, timeout_s: float) -> ObjectiveRequest:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(NOT_JSON)
    try:
        async with asyncio.timeout(timeout_s):
            raw = await read_bounded(request.receive, MAX_REQUEST_BYTES)
    except TimeoutError:
        raise Refused(problems.BODY_TIMEOUT) from None
    try:
        asked = ObjectiveRequest.model_validate(as_object(parse_strict(raw, max_bytes=MAX_REQUEST_BYTES)))
        TargetSchema.parse(asked.target_schema)
    except StrictJSONError as error:
        raise Unusable(refused_body(error.code).problem, error.detail) from None
    except ValidationError as error:
        raise Unusable(INVALID_REQUEST, first_fault(error)) from None
    except TargetSchemaError as error:
        raise Unusable(BAD_TARGET_SCHEMA, str(error)) from None
    return asked


async def _answer(backend: Backend, asked: ObjectiveRequest, emit: Emit) -> str:
    try:
        return (await backend.answer(asked, emit)).model_dump_json()
    except NobodyAnswered as error:
        raise Unusable(NOBODY_ANSWERED, str(error)) from None


async def _stream(backend: Backend, asked: ObjectiveRequest, places: asyncio.Semaphore) -> AsyncIterator[str]:
    lines: asyncio.Queue[str | None] = asyncio.Queue(MOST_LINES)

    def emit(progress: Progress) -> None:
        lines.put_nowait(progress.model_dump_json())

    async def work() -> None:
        last = problems.INTERNAL_ERROR.body.decode()
        try:
            async with places:
                last = await _answer(backend, asked, emit)
        except Unusable as error:
            last = json.dumps(error.document)
        finally:
            lines.put_nowait(last)
            lines.put_nowait(None)

    task = asyncio.create_task(work())
    try:
        while (line := await lines.get()) is not None:
            yield line + "\n"
        await task  # a crash was told to the listener; the server logs it
    finally:  # the listener may be gone: then so is the work
        task.cancel()
        await asyncio.wait([task])
