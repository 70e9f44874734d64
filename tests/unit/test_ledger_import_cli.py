"""`orchestra ledger import` shows what a document would change, writes it where it is told, and fetches one URL."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from ledger import catalogue
from orchestra.cli import app
from orchestra.ledger_node import read_seed
from orchestra.transport import serving

FIXTURE = Path(__file__).parents[1] / "fixtures" / "openapi" / "harbour.yaml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["ledger", "import", *arguments])


def test_a_new_entry_is_shown_and_written_as_a_seed(tmp_path: Path) -> None:
    out = tmp_path / "seed.json"
    arguments = (str(FIXTURE), "--entry", "harbour", "--netuid", "7", "--out", str(out))
    shown = run(*arguments)
    assert shown.exit_code == 0, shown.output
    for line in (
        "harbour: a new entry",
        "+ operation web_search",
        "web_search: guessed: capability web_search; role variant",
        "web_search: not said: price; rate_limit; determinism; safe_to_retry; max_batch",
        "skipped: GET /session: cookie parameter sid",
        f"the entry is in {out}",
    ):
        assert line in shown.stdout
    [made] = read_seed(out.read_bytes())
    assert (made.id, made.netuid, len(made.operations)) == ("harbour", 7, 4)
    assert made.operations[0].endpoint.base_url == "https://api.harbour.example/v2"
    assert "exists" in run(*arguments).stderr
    assert run(*arguments, "--force").exit_code == 0


def test_a_second_look_shows_paths_of_what_changed(tmp_path: Path) -> None:
    out, drifted = tmp_path / "seed.json", tmp_path / "drifted.yaml"
    run(str(FIXTURE), "--entry", "harbour", "--netuid", "7", "--name", "Ours", "--out", str(out))
    same = run(str(FIXTURE), "--entry", "harbour", "--ledger.seed", str(out))
    assert same.stdout.splitlines()[0] == "harbour: identical"
    text = FIXTURE.read_text().replace("title: {type: string}", "title: {type: string, nullable: true}")
    drifted.write_text(text)
    found = run(str(drifted), "--entry", "harbour", "--ledger.seed", str(out))
    assert found.stdout.splitlines()[0] == "harbour: breaking"
    assert "    output_schema.results.title: str -> str | null (breaking)" in found.stdout.splitlines()
    document = json.loads(run(str(drifted), "--entry", "harbour", "--ledger.seed", str(out), "--json").stdout)
    assert document["difference"]["kind"] == "breaking"
    assert document["entry"]["name"] == "Ours"
    assert document["skipped"][0]["path"] == "/uploads"


def test_an_entry_of_the_catalogue_is_what_it_is_compared_with() -> None:
    document = json.loads(run(str(FIXTURE), "--entry", "desearch", "--json").stdout)
    known = next(each for each in catalogue.load() if each.id == "desearch")
    assert document["entry"]["netuid"] == 22
    assert [each["state"] for each in document["difference"]["operations"]] == ["added"] * 4
    assert len(document["entry"]["operations"]) == len(known.operations) + 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((str(FIXTURE), "--entry", "harbour"), "a new one needs --netuid"),
        ((str(FIXTURE), "--entry", "No Id", "--netuid", "7"), "is no entry id"),
        ((str(FIXTURE), "--entry", "x", "--netuid", "7", "--capability", "web_serch"), "did you mean web_search?"),
        (("missing.yaml", "--entry", "x", "--netuid", "7"), "cannot read missing.yaml"),
        ((__file__, "--entry", "x", "--netuid", "7"), "is no usable OpenAPI document (malformed"),
        (("http://127.0.0.1:9/o.json", "--entry", "x", "--netuid", "7"), "cannot fetch"),
        (("https://10.0.0.1/o.json", "--entry", "x", "--netuid", "7"), "10.0.0.1 is not a public address"),
        ((str(FIXTURE), "--entry", "x", "--netuid", "7", "--out", "/nowhere/x.json"), "cannot write"),
    ],
)
def test_a_failure_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    outcome = run(*arguments)
    assert outcome.exit_code == 1
    assert said in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_what_a_stranger_wrote_cannot_turn_the_terminal(tmp_path: Path) -> None:
    document = {
        "openapi": "3.1.0",
        "info": {"title": "T\x1b[2J", "version": "1"},
        "paths": {"/a\x1b[2J": {"get": {"responses": {}}}, "/b": {"get": {"responses": {}}}},
    }
    path = tmp_path / "o.json"
    path.write_text(json.dumps(document))
    shown = run(str(path), "--entry", "x", "--netuid", "7", "--capability", "web_search")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout


async def test_a_url_is_fetched_once_and_its_servers_are_resolved_against_it(tmp_path: Path) -> None:
    asked: list[str] = []

    async def serve(request: Request) -> Response:
        asked.append(request.url.path)
        if request.url.path == "/moved":
            return RedirectResponse("http://127.0.0.2:1/o.json")
        document: dict[str, Any] = {
            "openapi": "3.1.0",
            "servers": [{"url": "../v3"}],
            "paths": {"/a": {"get": {"parameters": [{"$ref": "/parameters.json#/P"}], "responses": {}}}},
        }
        document["paths"]["/b"] = {"get": {"responses": {}}}
        return Response(json.dumps(document), 200 if request.url.path == "/docs/o.json" else 404)

    app = Starlette(routes=[Route("/{path:path}", serve)])
    async with serving(app, "127.0.0.1", 0) as address:
        base = f"http://127.0.0.1:{address.port}"
        given = ("--entry", "x", "--netuid", "7", "--capability", "web_search", "--json")
        local = ("--network", "orchestra-local")
        refused = await asyncio.to_thread(run, f"{base}/docs/o.json", *given)
        assert "cannot fetch" in refused.stderr
        assert not asked
        found = await asyncio.to_thread(run, f"{base}/docs/o.json", *given, *local)
        missing = await asyncio.to_thread(run, f"{base}/none", *given, *local)
        moved = await asyncio.to_thread(run, f"{base}/moved", *given, *local)
    document = json.loads(found.stdout)
    [made] = document["entry"]["operations"]
    assert made["endpoint"]["base_url"] == f"{base}/v3"
    assert document["entry"]["surfaces"] == [{"kind": "openapi", "url": f"{base}/docs/o.json"}]
    assert "remote_ref" in document["skipped"][0]["reason"]
    assert "it answers 404" in missing.stderr
    assert "another origin" in moved.stderr
    assert asked == ["/docs/o.json", "/none", "/moved"]
