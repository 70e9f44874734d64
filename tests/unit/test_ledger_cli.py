"""`orchestra ledger` lists, shows, searches and writes a seed that a Ledger can start from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ledger import catalogue
from ledger.view import LedgerView
from orchestra.cli import app
from orchestra.ledger_node import read_seed
from tests.builders import entry


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["ledger", *arguments])


def seed_of(path: Path, *entries: object) -> str:
    path.write_text(json.dumps(entries))
    return str(path)


def test_list_shows_every_entry_and_can_narrow_it_down() -> None:
    assert len(json.loads(run("list", "--json").stdout)) == 128
    named = json.loads(run("list", "--capability", "chat_completion", "--callable", "--json").stdout)
    assert {each["netuid"] for each in named} == {28, 53, 64, 95, 96, 110}
    shown = run("list").stdout
    assert "deepfake_detection" in shown
    assert "deprecated (deprecated)" in shown


def test_a_misspelt_capability_gets_a_hint() -> None:
    outcome = run("list", "--capability", "chat_completon")
    assert outcome.exit_code == 1
    assert "did you mean chat_completion?" in outcome.stderr


@pytest.mark.parametrize("name", ["bitmind", "34", "SN34"])
def test_show_takes_an_id_or_a_netuid(name: str) -> None:
    assert json.loads(run("show", name, "--json").stdout)["id"] == "bitmind"


def test_show_tells_what_a_person_needs() -> None:
    shown = run("show", "desearch").stdout
    for part in (
        "netuid 22",
        "GET https://api.desearch.ai/web",
        "ORCHESTRA_KEY_SN22 in Authorization",
        "claim /netuid",
    ):
        assert part in shown
    assert "price not known" in shown
    assert "0.004 USD / 10 item" in shown
    assert "(everybody has their own)/trade-pairs" in run("show", "vanta").stdout
    assert "free, ORCHESTRA_KEY_SN19 in Authorization (optional)" in run("show", "blockmachine").stdout


def test_show_of_nothing_says_how_to_find_it() -> None:
    outcome = run("show", "desearsh")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "orchestra ledger list" in outcome.stderr


def test_search_answers_with_operations_and_reasons() -> None:
    document = json.loads(run("search", "detect", "deepfakes", "--json", "--limit", "1").stdout)
    [hit] = document["hits"]
    assert hit["netuid"] == 34
    assert "detect_any" in hit["operations"]
    assert document["ledger_version"] == LedgerView(catalogue.load()).version
    assert "bitmind" in run("search", "is this picture a deepfake?").stdout


def test_search_converts_limits_at_the_given_rate() -> None:
    asked = ("search", "probability of an event, costs under 0.001 TAO", "--json", "--tao-usd")
    dear = json.loads(run(*asked, "50").stdout)["hits"]
    cheap = json.loads(run(*asked, "300").stdout)["hits"]
    assert "numinous" not in [hit["id"] for hit in dear]
    assert "numinous" in [hit["id"] for hit in cheap]


def test_search_without_a_result_fails_and_says_what_to_do() -> None:
    outcome = run("search", "qqqqqqqq")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "orchestra ledger list" in outcome.stderr


def test_a_seed_written_is_a_seed_read(tmp_path: Path) -> None:
    path = tmp_path / "seed.json"
    assert run("seed", "--out", str(path), "--callable").stdout == f"27 entries in {path}\n"
    assert read_seed(path.read_bytes()) == tuple(each for each in catalogue.load() if each.operations)
    refused = run("seed", "--out", str(path))
    assert (refused.exit_code, "--force" in refused.stderr) == (1, True)
    assert run("seed", "--out", str(path), "--force", "desearch", "SN64").exit_code == 0
    assert [each.id for each in read_seed(path.read_bytes())] == ["desearch", "chutes"]
    assert "cannot write" in run("seed", "--out", str(tmp_path / "no" / "seed.json")).stderr


def test_a_seed_file_takes_the_place_of_the_catalogue(tmp_path: Path) -> None:
    hostile = entry("mine", netuid=7, description="search \x1b[31mthe web", notes="x")
    path = seed_of(tmp_path / "mine.json", hostile.model_dump(mode="json"))
    assert [each["id"] for each in json.loads(run("list", "--ledger.seed", path, "--json").stdout)] == ["mine"]
    for command in (("show", "mine"), ("search", "the web")):
        shown = run(*command, "--ledger.seed", path).stdout
        assert "mine" in shown
        assert "\x1b[31m" not in shown


@pytest.mark.parametrize("content", ["{}", "[1]", "not json"])
def test_a_seed_that_is_none_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    outcome = run("list", "--ledger.seed", str(path))
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith(f"error: {path} is no Ledger seed")
    assert outcome.stderr.count("\n") == 1
    assert "cannot read" in run("list", "--ledger.seed", str(tmp_path / "missing.json")).stderr
