"""`from orchestra import Client`: one call to one API instead of a hundred.

    client = Client("http://127.0.0.1:8400")
    answer = client.run("Research cloud GPU pricing ...", {"competitors": [{"name": "str", "pricing": "dict"}]})
    answer.competitors[0].name

Every method exists twice: `run` waits, `arun` is awaited; `astream` tells what happens meanwhile. The answer's fields
are those of the target_schema; where the network could not fill one it is None, and `answer.gaps` says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ledger.canonical import StrictJSONError, as_object, parse_strict
from orchestra.gateway.messages import (
    DEFAULT_MAX_COST_TAO,
    NDJSON,
    ObjectiveRequest,
    ObjectiveResult,
    Progress,
    first_fault,
)
from orchestra.protocol import DEFAULT_DEADLINE_MS
from orchestra.schema import TargetSchema
from orchestra.settings import default_gateway
from orchestra.transport import AddressRefused, OutboundClient, TransportError, run

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

PROBLEM_TYPE = "urn:orchestra:problem:"
MAX_RESULT_BYTES = 16 << 20
GRACE_S = 30.0
"""Beyond the objective's deadline: quoting, auditing and the way there and back."""


class OrchestraError(Exception):
    """No answer. `code` is stable, `status` the HTTP status where there was one; the message says what to do."""

    def __init__(self, message: str, *, code: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Answer:
    """A result: attributes are the target_schema's fields, everything else is below.

    `data` is the pydantic object behind the attributes; `status` is "complete" or "partial".
    """

    def __init__(self, raw: ObjectiveResult, schema: TargetSchema) -> None:
        self.raw = raw
        self.data = schema.partial_model.model_validate(raw.result)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("raw", "data"):
            raise AttributeError(name)
        if name in type(self.data).model_fields:
            return getattr(self.data, name)
        return getattr(self.raw, name)

    def __repr__(self) -> str:
        return f"Answer({self.raw.status}, {self.raw.result!r})"


class Client:
    """A gateway by its URL; without one the network of `orchestra up` on this machine, where there is one.

    Keep one and share it; it holds no connection between calls.
    """

    def __init__(self, gateway: str | None = None) -> None:
        self.gateway = (gateway or default_gateway()).rstrip("/")

    def run(self, objective: str, target_schema: Mapping[str, Any], **options: Any) -> Answer:
        """As `arun`, and waits. Works inside a running event loop (a notebook) too."""
        return _wait(lambda: self.arun(objective, target_schema, **options))

    async def arun(
        self,
        objective: str,
        target_schema: Mapping[str, Any],
        *,
        deadline_ms: int = DEFAULT_DEADLINE_MS,
        max_cost_tao: str = DEFAULT_MAX_COST_TAO,
        allow_replay: bool = False,
    ) -> Answer:
        """Have an objective answered within `deadline_ms` for at most `max_cost_tao` TAO (a decimal in a string).

        With `allow_replay` calls behind the answer may be made again to verify it, by another validator too.

        Raises:
            orchestra.schema.TargetSchemaError: the target_schema is not one; nothing was sent.
            OrchestraError: no answer.
        """
        request, schema = build_request(objective, target_schema, deadline_ms, max_cost_tao, allow_replay=allow_replay)
        body = await self._call("POST", "/v1/objectives", request.model_dump_json().encode(), deadline_ms / 1000)
        return self._answer(self._read(body), schema)

    async def astream(
        self,
        objective: str,
        target_schema: Mapping[str, Any],
        *,
        deadline_ms: int = DEFAULT_DEADLINE_MS,
        max_cost_tao: str = DEFAULT_MAX_COST_TAO,
        allow_replay: bool = False,
    ) -> AsyncIterator[Progress | Answer]:
        """As `arun`, but what happens meanwhile comes first, as it happens; the answer is the last thing to come.

        Raises:
            orchestra.schema.TargetSchemaError: the target_schema is not one; nothing was sent.
            OrchestraError: no answer.
        """
        request, schema = build_request(objective, target_schema, deadline_ms, max_cost_tao, allow_replay=allow_replay)
        async with aclosing(self._lines(request.model_dump_json().encode(), deadline_ms / 1000)) as lines:
            async for line in lines:
                fields = self._read(line)
                if "stage" in fields:
                    yield self._model(Progress, fields)
                    continue
                yield self._answer(fields, schema)
                return
        raise OrchestraError(f"{self.gateway} broke off before the answer: try again", code="broken_off")

    def status(self) -> dict[str, Any]:
        """As `astatus`, and waits."""
        return _wait(self.astatus)

    async def astatus(self) -> dict[str, Any]:
        """What the gateway says of itself and, when a validator stands behind it, of the network."""
        return self._read(await self._call("GET", "/v1/status", None, 10.0))

    async def _call(self, method: str, path: str, body: bytes | None, wait_s: float) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with OutboundClient(allow_loopback=True) as http:
                answer = await http.request(
                    method,
                    self.gateway + path,
                    headers=headers,
                    content=body,
                    timeout_s=wait_s + GRACE_S,
                    max_bytes=MAX_RESULT_BYTES,
                )
        except TransportError as error:
            raise self._no_answer(error) from error
        if answer.status != 200:
            raise _problem(answer.status, answer.body)
        return answer.body

    async def _lines(self, body: bytes, wait_s: float) -> AsyncGenerator[bytes]:
        """Lines of a streamed answer. Problems are raised, whether they are the whole answer or its last line."""
        headers = {"Content-Type": "application/json", "Accept": NDJSON}
        url, wait_s = self.gateway + "/v1/objectives", wait_s + GRACE_S
        try:
            async with (
                OutboundClient(allow_loopback=True) as http,
                http.lines(
                    "POST", url, headers=headers, content=body, timeout_s=wait_s, max_bytes=MAX_RESULT_BYTES
                ) as answer,
            ):
                if answer.status != 200:
                    raise _problem(answer.status, b"\n".join([line async for line in answer.lines]))
                async for line in answer.lines:
                    yield line
        except TransportError as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: TransportError) -> OrchestraError:
        hint = "is it running? Start one with: orchestra up"
        if isinstance(error, AddressRefused):
            hint = "write its URL as http://127.0.0.1:8400 on this machine, as https://gateway.example elsewhere"
        return OrchestraError(f"no answer from {self.gateway} ({error}): {hint}", code="unreachable")

    def _read(self, body: bytes) -> dict[str, Any]:
        try:
            fields = as_object(parse_strict(body, max_bytes=MAX_RESULT_BYTES))
        except StrictJSONError as error:
            raise OrchestraError(f"{self.gateway} does not answer in JSON: {error}", code="bad_answer") from None
        if str(fields.get("type", "")).startswith(PROBLEM_TYPE):
            status = fields.get("status")
            raise _problem(status if isinstance(status, int) else 500, body)
        return fields

    def _answer(self, fields: dict[str, Any], schema: TargetSchema) -> Answer:
        raw = self._model(ObjectiveResult, fields)
        try:
            return Answer(raw, schema)
        except ValidationError as error:
            raise self._bad(error) from None

    def _model(self, model: type[M], fields: dict[str, Any]) -> M:
        """Fields that a newer gateway added are ignored."""
        try:
            return model.model_validate(fields, extra="ignore")
        except ValidationError as error:
            raise self._bad(error) from None

    def _bad(self, error: ValidationError) -> OrchestraError:
        return OrchestraError(f"{self.gateway} answers in another form: {first_fault(error)}", code="bad_answer")


def build_request(
    objective: str,
    target_schema: Mapping[str, Any],
    deadline_ms: int = DEFAULT_DEADLINE_MS,
    max_cost_tao: str = DEFAULT_MAX_COST_TAO,
    *,
    allow_replay: bool = False,
) -> tuple[ObjectiveRequest, TargetSchema]:
    """The request and its schema, checked before anything is sent.

    Raises:
        orchestra.schema.TargetSchemaError, OrchestraError: what does not fit, by name.
    """
    schema = TargetSchema.parse(target_schema)
    try:
        request = ObjectiveRequest(
            objective=objective,
            target_schema=schema.raw,
            deadline_ms=deadline_ms,
            max_cost_tao=max_cost_tao,
            allow_replay=allow_replay,
        )
    except ValidationError as error:
        raise OrchestraError(first_fault(error), code="invalid_request") from None
    return request, schema


def _problem(status: int, body: bytes) -> OrchestraError:
    try:
        document = parse_strict(body, max_bytes=64 << 10)
    except StrictJSONError:
        document = None
    known: dict[str, Any] = document if isinstance(document, dict) else {}
    title = str(known.get("title", f"what answers there ({status}) is no Orchestra gateway: check its URL"))
    detail = str(known.get("detail", ""))
    return OrchestraError(f"{title}: {detail}" if detail else title, code=str(known.get("code", "http")), status=status)


def _wait(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end; where an event loop runs already (a notebook), in a thread beside it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run(make())
    with ThreadPoolExecutor(1, thread_name_prefix="orchestra-client") as pool:
        return pool.submit(lambda: run(make())).result()
