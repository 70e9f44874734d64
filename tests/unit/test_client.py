"""The client against a real gateway on a real socket whose backend is scripted, and against what is no gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

import orchestra
from orchestra.client import Answer, Client, OrchestraError
from orchestra.gateway.api import create_app
from orchestra.gateway.backend import NobodyAnswered
from orchestra.gateway.messages import NDJSON, Progress
from orchestra.schema import TargetSchemaError
from orchestra.transport import serving
from tests.fakes.backend import ScriptedBackend, result

OBJECTIVE, SCHEMA = "What does Acme cost?", {"name": "str", "price": "float"}
STAGE = Progress(stage="asking", message="asking a miner", at_ms=1)


@asynccontextmanager
async def gateway(backend: ScriptedBackend) -> AsyncGenerator[Client]:
    async with serving(create_app(backend)) as address:
        yield Client(address.url + "/")


@asynccontextmanager
async def server(answer: Callable[[Request], Response]) -> AsyncGenerator[Client]:
    """Something that is not a gateway."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def anything(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return answer(request)

    async with serving(app) as address:
        yield Client(address.url)


async def failing(client: Client, **options: Any) -> OrchestraError:
    with pytest.raises(OrchestraError) as caught:
        await client.arun(OBJECTIVE, SCHEMA, **options)
    return caught.value


async def failing_stream(client: Client) -> OrchestraError:
    with pytest.raises(OrchestraError) as caught:
        async for _ in client.astream(OBJECTIVE, SCHEMA):
            pass
    return caught.value


def test_it_is_a_public_name() -> None:
    assert orchestra.Client is Client
    with pytest.raises(AttributeError, match="Clint"):
        _ = orchestra.Clint
    assert all(getattr(orchestra, name) for name in orchestra.__all__)


async def test_the_answer_has_the_fields_of_the_schema() -> None:
    async with gateway(backend := ScriptedBackend([result()])) as client:
        answer = await client.arun(OBJECTIVE, SCHEMA, deadline_ms=2000, max_cost_tao="0.2")
    assert (answer.name, answer.price, answer.status, answer.cost_tao) == ("Acme", 1.5, "complete", "0.000003334")
    asked = backend.asked[0]
    assert (asked.objective, asked.target_schema, asked.deadline_ms, asked.max_cost_tao) == (
        OBJECTIVE,
        SCHEMA,
        2000,
        "0.2",
    )
    assert "complete" in repr(answer)


async def test_nested_fields_are_objects_and_what_is_missing_is_none() -> None:
    schema = {"offers": [{"name": "str", "price": "float"}], "note?": "str"}
    partial = result(status="partial", target_schema=schema, result={"offers": [{"name": "Acme"}]})
    async with gateway(ScriptedBackend([partial])) as client:
        answer = await client.arun(OBJECTIVE, schema)
    assert (answer.offers[0].name, answer.offers[0].price, answer.note) == ("Acme", None, None)


async def test_a_field_of_the_schema_goes_before_one_of_the_answer() -> None:
    schema = {"status": "str", "miner": "str"}
    named = result(target_schema=schema, result={"status": "open", "miner": "coal"})
    async with gateway(ScriptedBackend([named])) as client:
        answer = await client.arun(OBJECTIVE, schema)
    assert (answer.status, answer.miner, answer.raw.status) == ("open", "coal", "complete")
    with pytest.raises(AttributeError):
        _ = answer.nothing_of_this_name


async def test_progress_comes_before_the_answer() -> None:
    async with gateway(ScriptedBackend([result()], [STAGE, STAGE])) as client:
        seen = [each async for each in client.astream(OBJECTIVE, SCHEMA)]
    assert seen[:2] == [STAGE, STAGE]
    assert isinstance(seen[2], Answer)
    assert (len(seen), seen[2].name) == (3, "Acme")


async def test_progress_is_seen_while_the_work_goes_on() -> None:
    gate = asyncio.Event()
    async with gateway(ScriptedBackend([result()], [STAGE], gate=gate)) as client:
        async for each in client.astream(OBJECTIVE, SCHEMA):
            if each == STAGE:
                gate.set()  # without it the answer would never come
    assert gate.is_set()


async def test_one_may_stop_listening() -> None:
    backend = ScriptedBackend([result()], [STAGE], gate=asyncio.Event())
    async with gateway(backend) as client:
        stream = client.astream(OBJECTIVE, SCHEMA)
        assert await anext(stream) == STAGE
        await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue] - it is a generator
        while not backend.ended:
            await asyncio.sleep(0)


def test_it_waits_where_no_loop_runs(tmp_path: Path) -> None:
    with pytest.raises(OrchestraError) as caught:
        Client("http://127.0.0.1:1").run(OBJECTIVE, SCHEMA)
    assert caught.value.code == "unreachable"
    assert "orchestra up" in str(caught.value)


async def test_it_waits_inside_a_running_loop_as_in_a_notebook() -> None:
    async with gateway(ScriptedBackend([result()], described={"role": "alone"})) as client:
        answer = await asyncio.to_thread(client.run, OBJECTIVE, SCHEMA)
        assert await asyncio.to_thread(client.status) == {"role": "alone"}
    assert answer.name == "Acme"
    with pytest.raises(OrchestraError, match="orchestra up"):
        Client("http://127.0.0.1:1").status()  # this test's own loop is running


async def test_a_bad_schema_is_refused_before_anything_is_sent() -> None:
    async with gateway(backend := ScriptedBackend()) as client:
        with pytest.raises(TargetSchemaError, match="/price"):
            await client.arun(OBJECTIVE, {"price": "flaot"})
    assert not backend.asked


async def test_another_server_is_not_taken_for_a_gateway() -> None:
    async with server(lambda _: Response("<h1>nothing here</h1>", 404)) as client:
        assert "is no Orchestra gateway: check its URL" in str(await failing(client))


@pytest.mark.parametrize("gateway", ["localhost:8400", "http://gateway.example", "gateway"])
async def test_a_url_that_may_not_be_called_is_not_a_gateway_that_is_down(gateway: str) -> None:
    error = await failing(Client(gateway))
    assert "http://127.0.0.1:8400" in str(error)
    assert "orchestra up" not in str(error)


@pytest.mark.parametrize("options", [{"deadline_ms": 1}, {"max_cost_tao": "much"}])
async def test_a_bad_option_is_named_before_anything_is_sent(options: dict[str, Any]) -> None:
    error = await failing(Client("http://127.0.0.1:1"), **options)
    assert error.code == "invalid_request"
    assert next(iter(options)) in str(error)


async def test_a_refusal_says_what_the_gateway_said() -> None:
    why = "5Foo: declined: busy"
    async with gateway(ScriptedBackend([NobodyAnswered(why)] * 2)) as client:
        for error in (await failing(client), await failing_stream(client)):
            assert (error.code, error.status) == ("nobody_answered", 503)
            assert why in str(error)


async def test_a_gateway_that_breaks_down() -> None:
    async with gateway(ScriptedBackend([ZeroDivisionError(), ZeroDivisionError()])) as client:
        assert (await failing(client)).code == "internal_error"
        assert (await failing_stream(client)).code == "internal_error"


@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        (Response(b"<html>", 502), "http", 502),
        (Response(b'{"code": 7}', 500), "7", 500),
        (Response(b"not json"), "bad_answer", None),
        (Response(b"[]"), "bad_answer", None),
        (Response(b'{"result": {}}'), "bad_answer", None),
        (Response(result(result={"name": 7}).model_dump_json()), "bad_answer", None),
    ],
)
async def test_what_is_not_a_gateway_is_one_error(answer: Response, code: str, status: int | None) -> None:
    async with server(lambda _: answer) as client:
        for error in (await failing(client), await failing_stream(client)):
            assert (error.code, error.status) == (code, status)


async def test_a_stream_that_ends_before_the_answer() -> None:
    line = STAGE.model_dump_json()
    async with server(lambda _: Response(line, media_type=NDJSON)) as client:
        assert (await failing_stream(client)).code == "broken_off"
    async with server(lambda _: Response(b"", media_type=NDJSON)) as client:
        assert (await failing_stream(client)).code == "broken_off"


async def test_fields_of_a_newer_gateway_are_ignored() -> None:
    newer = json.dumps(result().model_dump(mode="json") | {"carbon_g": 1})
    async with server(lambda _: Response(newer)) as client:
        assert (await client.arun(OBJECTIVE, SCHEMA)).name == "Acme"


async def test_status_of_what_is_not_a_gateway() -> None:
    async with server(lambda _: Response(b"[1]")) as client:
        with pytest.raises(OrchestraError) as caught:
            await client.astatus()
    assert caught.value.code == "bad_answer"
