"""Every route of the gateway: what it takes, what it refuses and how, and that no listener leaves work behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import Message

from orchestra import transport
from orchestra.gateway import api
from orchestra.gateway.api import create_app
from orchestra.gateway.backend import NobodyAnswered
from orchestra.gateway.messages import NDJSON, ObjectiveResult, Progress
from orchestra.protocol import MAX_OBJECTIVE_CHARS, MAX_REQUEST_BYTES
from tests.fakes.asgi import Reply, request
from tests.fakes.backend import ScriptedBackend, result

GOOD: dict[str, Any] = {"objective": "What does Acme cost?", "target_schema": {"name": "str", "price": "float"}}
AS_JSON = ("Content-Type", "application/json")
STREAMED = ("Accept", NDJSON)
ROUTES = {("POST", "/v1/objectives"), ("GET", "/v1/status"), ("GET", "/v1/health")}


def body(raw: bytes, *, more: bool = False) -> Iterable[Message]:
    return [{"type": "http.request", "body": raw, "more_body": more}]


async def post(
    app: FastAPI, document: Any = None, *headers: tuple[str, str], raw: bytes | None = None, **options: Any
) -> Reply:
    sent = json.dumps(GOOD if document is None else document).encode() if raw is None else raw
    return await request(app, [AS_JSON, *headers], body(sent), path="/v1/objectives", **options)


async def get(app: FastAPI, path: str) -> Reply:
    return await request(app, [], body(b""), method="GET", path=path)


def problem(reply: Reply, code: str, status: int) -> dict[str, Any]:
    """The reply is this problem document, in the one shape that all have."""
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")
    document = json.loads(reply.body)
    assert set(document) in ({"type", "title", "status", "code"}, {"type", "title", "status", "code", "detail"})
    assert document["type"] == f"urn:orchestra:problem:{code}"
    assert (document["code"], document["status"]) == (code, status)
    assert len(reply.body) < 4096
    return document


def test_the_routes_are_these() -> None:
    app = create_app(ScriptedBackend())
    assert {(m, r.path) for r in app.routes if isinstance(r, APIRoute) for m in r.methods} == ROUTES
    assert len(app.routes) == len(ROUTES), "no documentation pages, no schema: nothing that nobody asked for"


async def test_an_objective_is_answered() -> None:
    backend = ScriptedBackend([result()])
    reply = await post(create_app(backend), {**GOOD, "deadline_ms": 5000, "max_cost_tao": "0.5"})
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert ObjectiveResult.model_validate_json(reply.body) == result()
    asked = backend.asked[0]
    assert (asked.deadline_ms, asked.max_cost_tao, asked.objective) == (5000, "0.5", GOOD["objective"])


async def test_what_happens_meanwhile_is_streamed_before_the_answer() -> None:
    stages = (
        Progress(stage="asking", message="asking a miner", at_ms=0),
        Progress(stage="auditing", message="checking", at_ms=9),
    )
    reply = await post(create_app(ScriptedBackend([result()], stages)), None, STREAMED)
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, NDJSON)
    *progress, last = reply.body.splitlines()
    assert [Progress.model_validate_json(line) for line in progress] == list(stages)
    assert ObjectiveResult.model_validate_json(last) == result()


@pytest.mark.parametrize("path", ["/v1/status", "/v1/health"])
async def test_what_one_may_look_at(path: str) -> None:
    reply = await get(create_app(ScriptedBackend(described={"role": "alone"})), path)
    assert reply.status == 200
    assert json.loads(reply.body)["role"] in ("alone", "gateway")


BAD_BODIES: list[tuple[str, bytes, str, int, str]] = [
    ("nothing", b"", "json_malformed", 400, ""),
    ("not JSON", b"{objective", "json_malformed", 400, ""),
    ("not an object", b"[]", "json_malformed", 400, ""),
    ("a key twice", b'{"objective": "a", "objective": "b", "target_schema": {}}', "json_duplicate_key", 400, ""),
    ("NaN", b'{"objective": NaN}', "json_bad_number", 400, ""),
    ("not UTF-8", b'{"objective": "\xff"}', "json_bad_text", 400, ""),
    ("too deep", b"[" * 65 + b"]" * 65, "json_too_deep", 400, ""),
    ("no objective", b'{"target_schema": {"a": "str"}}', "invalid_request", 422, "objective"),
    ("no schema", b'{"objective": "a"}', "invalid_request", 422, "target_schema"),
    ("an empty objective", b'{"objective": "", "target_schema": {"a": "str"}}', "invalid_request", 422, "objective"),
]


@pytest.mark.parametrize(
    ("raw", "code", "status", "names"), [case[1:] for case in BAD_BODIES], ids=[c[0] for c in BAD_BODIES]
)
async def test_a_body_that_is_not_a_request(raw: bytes, code: str, status: int, names: str) -> None:
    backend = ScriptedBackend()
    document = problem(await post(create_app(backend), raw=raw), code, status)
    assert names in document["detail"]
    assert not backend.asked


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"deadline_ms": 999}, "deadline_ms"),
        ({"deadline_ms": 600_001}, "deadline_ms"),
        ({"deadline_ms": "soon"}, "deadline_ms"),
        ({"max_cost_tao": "-1"}, "max_cost_tao"),
        ({"max_cost_tao": "1e3"}, "max_cost_tao"),
        ({"max_cost_tao": "0.0000000001"}, "max_cost_tao"),
        ({"max_cost_tao": 1}, "max_cost_tao"),
        ({"objective": "x" * (MAX_OBJECTIVE_CHARS + 1)}, "objective"),
        ({"target_schema": []}, "target_schema"),
        ({"surprise": 1}, "surprise"),
        ({"x" * 5000: 1}, "xxx"),
    ],
)
async def test_a_field_that_is_wrong_is_named(changes: dict[str, Any], names: str) -> None:
    document = problem(await post(create_app(ScriptedBackend()), GOOD | changes), "invalid_request", 422)
    assert names in document["detail"]


async def test_a_schema_that_is_wrong_gets_its_path_and_the_words_allowed() -> None:
    bad = GOOD | {"target_schema": {"offers": [{"price": "flaot"}]}}
    document = problem(await post(create_app(ScriptedBackend()), bad), "bad_target_schema", 422)
    assert "/offers/0/price" in document["detail"]
    assert "float" in document["detail"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_form_of_a_web_page_spends_nothing(kind: str | None) -> None:
    backend = ScriptedBackend()
    headers = [] if kind is None else [("Content-Type", kind)]
    reply = await request(create_app(backend), headers, body(json.dumps(GOOD).encode()), path="/v1/objectives")
    problem(reply, "not_json", 415)
    assert reply.received == 0, "refused before the body was read"
    assert not backend.asked


async def test_the_content_type_may_have_parameters() -> None:
    headers = [("content-type", "Application/JSON; charset=utf-8")]
    app = create_app(ScriptedBackend([result()]))
    assert (await request(app, headers, body(json.dumps(GOOD).encode()), path="/v1/objectives")).status == 200


async def test_a_body_that_is_too_large_is_cut_off() -> None:
    chunk: Message = {"type": "http.request", "body": b" " * (MAX_REQUEST_BYTES // 2 + 1), "more_body": True}
    reply = await request(create_app(ScriptedBackend()), [AS_JSON], [chunk] * 9, path="/v1/objectives")
    problem(reply, "body_too_large", 413)
    assert reply.received == 2


async def test_a_body_that_does_not_come() -> None:
    app = create_app(ScriptedBackend(), body_timeout_s=0.01)
    problem(await request(app, [AS_JSON], body(b"{", more=True), path="/v1/objectives"), "body_timeout", 408)


async def test_a_peer_that_leaves_before_its_body() -> None:
    app = create_app(ScriptedBackend())
    reply = await request(app, [AS_JSON], [{"type": "http.disconnect"}], path="/v1/objectives")
    problem(reply, "body_incomplete", 400)


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
async def test_another_method(method: str, path: str) -> None:
    other = "DELETE" if method == "POST" else "POST"
    reply = await request(create_app(ScriptedBackend()), [AS_JSON], body(b"{}"), method=other, path=path)
    problem(reply, "method_not_allowed", 405)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/objectives/", "/openapi.json", "/docs"])
async def test_another_path(path: str) -> None:
    problem(await get(create_app(ScriptedBackend()), path), "not_found", 404)


async def test_nobody_answered() -> None:
    why = "5Foo: declined: busy"
    reply = await post(create_app(ScriptedBackend([NobodyAnswered(why)])))
    assert problem(reply, "nobody_answered", 503)["detail"] == why


async def test_nobody_answered_a_stream() -> None:
    reply = await post(create_app(ScriptedBackend([NobodyAnswered("none")])), None, STREAMED)
    assert reply.status == 200
    assert json.loads(reply.body) == {**json.loads(api.NOBODY_ANSWERED.body), "detail": "none"}


async def test_a_bug_is_our_fault_and_says_nothing() -> None:
    reply = Reply()
    with pytest.raises(ZeroDivisionError):
        await post(create_app(ScriptedBackend([ZeroDivisionError("secret")])), into=reply)
    problem(reply, "internal_error", 500)
    assert b"secret" not in reply.body


async def test_a_bug_in_the_middle_of_a_stream_is_its_last_line() -> None:
    stage = Progress(stage="asking", message="asking", at_ms=0)
    reply = Reply()
    with pytest.raises(ZeroDivisionError):
        await post(create_app(ScriptedBackend([ZeroDivisionError("secret")], [stage])), None, STREAMED, into=reply)
    first, last = reply.body.splitlines()
    assert json.loads(first)["stage"] == "asking"
    assert json.loads(last)["code"] == "internal_error"
    assert b"secret" not in reply.body


async def test_no_more_than_so_many_at_once() -> None:
    gate = asyncio.Event()
    app = create_app(backend := ScriptedBackend([result()] * 3, gate=gate), most_at_once=1)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(post(app))
        while not backend.asked:
            await asyncio.sleep(0)
        for headers in ((), (STREAMED,)):
            refused = await post(app, None, *headers)
            problem(refused, "busy", 503)
            assert refused.headers["retry-after"] == "5"
        gate.set()
    assert first.result().status == 200
    assert (await post(app)).status == 200, "the place is free again"


@pytest.mark.parametrize("headers", [(), (STREAMED,)])
async def test_a_place_is_free_again_after_a_failure(headers: tuple[tuple[str, str], ...]) -> None:
    app = create_app(ScriptedBackend([NobodyAnswered("none"), result()]), most_at_once=1)
    await post(app, None, *headers)
    assert (await post(app)).status == 200


async def test_a_listener_that_leaves_stops_its_work() -> None:
    backend = ScriptedBackend([result()], [Progress(stage="asking", message="x", at_ms=0)], gate=asyncio.Event())
    app = create_app(backend, most_at_once=1)
    leaving = [*body(json.dumps(GOOD).encode()), {"type": "http.disconnect"}]
    await request(app, [AS_JSON, STREAMED], leaving, path="/v1/objectives")
    assert (len(backend.asked), backend.ended) == (1, 1)


def test_the_problems_of_this_surface_do_not_change_what_a_code_means() -> None:
    for code, mine in api.PROBLEMS.items():
        assert mine.code == code
        assert code not in transport.PROBLEMS, "one meaning for one code"
