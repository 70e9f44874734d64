"""The `orchestra` command against a scripted gateway: what goes to stdout, what to stderr, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from orchestra.cli import app
from orchestra.gateway.api import create_app
from orchestra.gateway.backend import NobodyAnswered
from orchestra.gateway.messages import Progress
from orchestra.transport import serving
from tests.fakes.backend import ScriptedBackend, result

SCHEMA = {"name": "str", "price": "float"}
NOWHERE = "http://127.0.0.1:1"
STAGE = Progress(stage="asking", message="asking \x1b[31mred\x1b[0m", at_ms=1500)
VALIDATOR: dict[str, Any] = {
    "role": "validator",
    "hotkey": "5Validator",
    "block": 77,
    "ledger_version": "4:0xab",
    "tempos_since_weights": 1,
    "alarm": False,
    "shares": {},
    "neurons": [],
    "scores": [],
    "weight_attempts": [],
}


@pytest.fixture(autouse=True)
def nothing_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_LOCAL", str(tmp_path / "no-network"))
    monkeypatch.setenv("COLUMNS", "100")


@asynccontextmanager
async def gateway(backend: ScriptedBackend) -> AsyncGenerator[str]:
    async with serving(create_app(backend)) as address:
        yield address.url


async def invoke(*arguments: str) -> Result:
    """Run the command as a process would, beside this test's event loop."""
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), catch_exceptions=False)


async def ask(url: str, *more: str, schema: str = json.dumps(SCHEMA)) -> Result:
    return await invoke("run", "What does Acme cost?", "--schema", schema, "--gateway", url, *more)


def one_line(outcome: Result) -> str:
    """The command failed in one line on stderr, and printed nothing else."""
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("error: ")
    assert outcome.stderr.count("\n") == 1
    return outcome.stderr


async def test_an_answer_is_shown_with_its_way_and_its_sources() -> None:
    async with gateway(backend := ScriptedBackend([result()], [STAGE])) as url:
        outcome = await ask(url, "--deadline-ms", "5000", "--max-cost-tao", "0.5")
    assert outcome.exit_code == 0
    for part in ('"name": "Acme"', "verified", "SN22 desearch", "step 1 /data/0/title", "Acme costs 1.5."):
        assert part in outcome.stdout
    assert "1.5 s  asking" in outcome.stderr
    assert "\x1b[31m" not in outcome.stderr
    assert (backend.asked[0].deadline_ms, backend.asked[0].max_cost_tao) == (5000, "0.5")
    assert backend.asked[0].target_schema == SCHEMA


async def test_the_raw_document() -> None:
    async with gateway(ScriptedBackend([result()], [STAGE])) as url:
        outcome = await ask(url, "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert json.loads(outcome.stdout) == result().model_dump(mode="json")


async def test_a_partial_answer_says_so_and_is_no_failure() -> None:
    gap = {"fields": ["/price"], "capability": "web_search", "reason": "no subnet offers it"}
    partial = result(status="partial", result={"name": "Acme"}, gaps=(gap,))
    async with gateway(ScriptedBackend([partial])) as url:
        outcome = await ask(url)
    assert outcome.exit_code == 0
    assert "partial result" in outcome.stdout
    assert "/price: no subnet offers it" in outcome.stdout


async def test_a_schema_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    async with gateway(backend := ScriptedBackend([result()])) as url:
        assert (await ask(url, schema=str(path))).exit_code == 0
    assert backend.asked[0].target_schema == SCHEMA


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("no-such-file.json", "give a file, or the JSON itself"),
        (".", "cannot read ."),
        ('{"name": "str"', "--schema is not usable JSON"),
        ('{"a": "str", "a": "int"}', "--schema is not usable JSON"),
        ('{"price": "flaot"}', "Did you mean 'float'?"),
    ],
)
async def test_a_schema_that_cannot_be_used(schema: str, says: str) -> None:
    assert says in one_line(await ask(NOWHERE, schema=schema))


async def test_a_file_that_is_no_schema(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text("[]")
    assert "schema.json is not usable JSON" in one_line(await ask(NOWHERE, schema=str(path)))
    for given in ("[]", "", " "):
        assert "--schema is not usable JSON" in one_line(await ask(NOWHERE, schema=given))


async def test_no_gateway() -> None:
    assert "orchestra up" in one_line(await ask(NOWHERE))
    assert "orchestra up" in one_line(await invoke("status"))


async def test_the_gateway_refuses() -> None:
    async with gateway(ScriptedBackend([NobodyAnswered("5Foo: busy")])) as url:
        assert "5Foo: busy" in one_line(await ask(url))


async def test_a_bad_amount() -> None:
    said = one_line(await ask(NOWHERE, "--max-cost-tao", "much"))
    assert said == "error: max_cost_tao: write TAO as a decimal with at most 9 places, such as 0.01\n"


async def test_alone_without_a_ledger() -> None:
    assert "--ledger.seed FILE" in one_line(await ask(NOWHERE, "--local"))


async def test_alone_with_a_ledger_in_which_there_is_nothing(tmp_path: Path) -> None:
    seed = tmp_path / "ledger.json"
    seed.write_text("[]")
    outcome = await ask(NOWHERE, "--local", "--ledger.seed", str(seed), "--json")
    document = json.loads(outcome.stdout)
    assert (outcome.exit_code, document["status"]) == (0, "partial")
    assert {gap["capability"] for gap in document["gaps"]} >= {"web_search"}
    assert document["verification"]["verdict"] == "not audited"


@pytest.mark.parametrize("content", ["", "{}", '[{"id": 7}]'])
async def test_alone_with_a_file_that_is_no_ledger(content: str, tmp_path: Path) -> None:
    seed = tmp_path / "ledger.json"
    seed.write_text(content)
    outcome = await ask(NOWHERE, "--local", "--ledger.seed", str(seed))
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith(f"error: cannot use {seed} as a Ledger seed")


async def test_status_of_a_healthy_network() -> None:
    async with gateway(ScriptedBackend(described=VALIDATOR)) as url:
        shown, raw = await invoke("status", "--gateway", url), await invoke("status", "--gateway", url, "--json")
    assert (shown.exit_code, raw.exit_code, shown.stderr) == (0, 0, "")
    assert "77" in shown.stdout
    assert json.loads(raw.stdout) == VALIDATOR


@pytest.mark.parametrize(("since", "says"), [(3, "for 3 tempos"), (None, "since this validator started")])
async def test_status_exits_non_zero_when_weights_stopped(since: int | None, says: str) -> None:
    silent = VALIDATOR | {"alarm": True, "tempos_since_weights": since}
    async with gateway(ScriptedBackend(described=silent)) as url:
        for more in ((), ("--json",)):
            outcome = await invoke("status", "--gateway", url, *more)
            assert outcome.exit_code == 1
            assert says in outcome.stderr


async def test_status_of_a_gateway_that_is_alone() -> None:
    async with gateway(ScriptedBackend(described={"role": "alone", "capabilities": ["web_search"]})) as url:
        outcome = await invoke("status", "--gateway", url)
    assert (outcome.exit_code, "web_search" in outcome.stdout) == (0, True)


async def test_the_gateway_of_the_local_network_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_LOCAL", str(tmp_path))
    async with gateway(ScriptedBackend(described={"role": "alone", "capabilities": []})) as url:
        (tmp_path / "network.json").write_text(json.dumps({"ledger_committer": "5X", "gateway": url}))
        assert (await invoke("status")).exit_code == 0


async def test_commands_teach_by_example() -> None:
    for command in ((), ("run",), ("up",), ("status",), ("wallet",), ("register",)):
        outcome = await invoke(*command, "--help")
        assert outcome.exit_code == 0
    for command in (("run",), ("up",)):
        assert "Example: orchestra" in (await invoke(*command, "--help")).stdout
    assert "orchestra up" in (await invoke("--help")).stdout
    assert (await invoke("--version")).stdout.startswith("orchestra 0.")


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from orchestra.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'bittensor', 'numpy', 'pydantic', 'sqlalchemy', 'fastapi', 'httpx', 'aiohttp'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
