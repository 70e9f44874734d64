"""`from orchestra import Client`: one call to one API instead of a hundred.

    client = Client("http://127.0.0.1:8400")
    answer = client.run("Research cloud GPU pricing ...", {"competitors": [{"name": "str", "pricing": "dict"}]})
    answer.competitors[0].name

Every method exists twice: `run` waits, `arun` is awaited. The answer's fields are those of the target_schema; where the
network could not fill one it is None, and `answer.gaps` says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import ValidationError

from ledger.canonical import StrictJSONError, parse_strict
from orchestra.gateway.messages import DEFAULT_MAX_COST_TAO, ObjectiveRequest, ObjectiveResult
from orchestra.protocol import DEFAULT_DEADLINE_MS
from orchestra.schema import TargetSchema
from orchestra.transport import OutboundClient, TransportError, run

T = TypeVar("T")

DEFAULT_GATEWAY = "http://127.0.0.1:8400"
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
    """A gateway by its URL. Keep one and share it; it holds no connection between calls."""

    def __init__(self, gateway: str = DEFAULT_GATEWAY) -> None:
        self.gateway = gateway.rstrip("/")

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
    ) -> Answer:
        """Have an objective answered within `deadline_ms` for at most `max_cost_tao` TAO (a decimal in a string).

        Raises:
            orchestra.schema.TargetSchemaError: the target_schema is not one; nothing was sent.
            OrchestraError: no answer.
        """
        schema = TargetSchema.parse(target_schema)
        request = ObjectiveRequest(
            objective=objective, target_schema=schema.raw, deadline_ms=deadline_ms, max_cost_tao=max_cost_tao
        )
        body = await self._call("POST", "/v1/objectives", request.model_dump_json().encode(), deadline_ms / 1000)
        try:
            return Answer(ObjectiveResult.model_validate_json(body), schema)
        except ValidationError as error:
            raise OrchestraError(f"{self.gateway} answers in another form: {error}", code="bad_answer") from None

    def status(self) -> dict[str, Any]:
        """As `astatus`, and waits."""
        return _wait(self.astatus)

    async def astatus(self) -> dict[str, Any]:
        """What the gateway says of itself and, when a validator stands behind it, of the network."""
        return json.loads(await self._call("GET", "/v1/status", None, 10.0))

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
            hint = "is it running? Start one with: orchestra up"
            raise OrchestraError(f"no answer from {self.gateway} ({error}): {hint}", code="unreachable") from error
        if answer.status != 200:
            raise _problem(answer.status, answer.body)
        return answer.body


def _problem(status: int, body: bytes) -> OrchestraError:
    try:
        document = parse_strict(body, max_bytes=64 << 10)
    except StrictJSONError:
        document = None
    known: dict[str, Any] = document if isinstance(document, dict) else {}
    title = str(known.get("title", f"the gateway answered with {status}"))
    detail = str(known.get("detail", ""))
    return OrchestraError(f"{title}: {detail}" if detail else title, code=str(known.get("code", "http")), status=status)


def _wait(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in a thread of its own, so that a caller's event loop does not matter."""
    with ThreadPoolExecutor(1, thread_name_prefix="orchestra-client") as pool:
        return pool.submit(lambda: run(make())).result()
