"""The demonstration as somebody runs it: one process, one document, nothing left behind, however it ends."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestra.devnet.content import clouds
from orchestra.validation.components import COMPONENTS, WEIGHTS
from tests.network import MARK, alive, marked
from tests.waiting import until

pytestmark = pytest.mark.e2e

PATIENCE_S = 170.0
OURS = {"result", "pipeline", "provenance", "proof", "scores", "weights", "incentive", "miners", "gaps", "status"}
NAMES = ("miner-1", "miner-2", "miner-3", "forger")
PROCESSES = 12


@dataclass
class Demo:
    """A running `python -m orchestra.devnet.demo`."""

    process: asyncio.subprocess.Process
    mark: str
    folder: Path

    async def document(self) -> dict[str, Any]:
        """What it prints, once it has ended well."""
        async with asyncio.timeout(PATIENCE_S):
            out, err = await self.process.communicate()
        assert self.process.returncode == 0, err.decode()[-3000:]
        return json.loads(out)

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    async def running(self, least: int) -> list[int] | None:
        """Its processes, itself included, once there are so many."""
        assert self.process.returncode is None
        pids = marked(self.mark)
        return pids if len(pids) >= least else None

    async def gone(self, pids: list[int]) -> bool | None:
        return None if marked(self.mark) or alive(pids) else True


@asynccontextmanager
async def demo(folder: Path, *arguments: str) -> AsyncIterator[Demo]:
    mark = uuid.uuid4().hex
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestra.devnet.demo", "--json", "--block-time", "0.5", "--keep", str(folder)),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, MARK: mark},
    )
    try:
        yield Demo(process, mark, folder)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)


async def test_one_document_says_everything_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        document = await running.document()
        assert marked(running.mark) == []
    assert set(document) >= OURS
    assert document["status"] == "complete"
    assert [miner["role"] for miner in document["miners"]] == ["honest", "honest", "honest", "forger"]
    _the_answer_is_right(document)
    _everybody_got_what_they_deserve(document)


def _the_answer_is_right(document: dict[str, Any]) -> None:
    result = document["result"]
    said = {cloud.name: cloud for cloud in clouds() if cloud.name in ("RunPod", "Vast.ai", "Lambda")}
    assert [each["name"] for each in result["competitors"]] == list(said)
    for each in result["competitors"]:
        cloud = said[each["name"]]
        assert set(each["pricing"].values()) <= {price for gpu in cloud.gpus for price in (gpu.on_demand, gpu.spot)}
        assert set(cloud.strengths) & set(each["strengths"])
    prices = {each["name"]: each["pricing"]["a100_80gb"] for each in result["competitors"]}
    assert prices == {"RunPod": 1.99, "Vast.ai": 1.45, "Lambda": 1.89}
    recommended = document["provenance"]["/recommendation/price_point"]
    assert recommended["op"] in ("scale", "min", "median", "mean")
    assert 0 < result["recommendation"]["price_point"] <= max(prices.values())
    assert str(result["recommendation"]["price_point"]) in result["recommendation"]["rationale"]
    succeeded = {step["step"] for step in document["pipeline"] if step["error"] is None}
    assert succeeded
    assert document["cost_rao"] == str(sum(int(step["cost"]) for step in document["pipeline"]))


def _everybody_got_what_they_deserve(document: dict[str, Any]) -> None:
    for part in ("scores", "weights", "incentive"):
        assert set(document[part]) == set(NAMES)
    for name in NAMES[:3]:
        assert document["scores"][name]["total"] > 0.0
        assert document["weights"][name] > 0.0
        assert document["incentive"][name] > 0.0
    forger = document["scores"]["forger"]
    assert (forger["total"], forger["refuted"]) == (0.0, True)
    assert (document["weights"]["forger"], document["incentive"]["forger"]) == (0.0, 0.0)
    assert math.isclose(sum(document["weights"].values()), 1.0, abs_tol=1e-3)
    assert math.isclose(sum(document["incentive"].values()), 1.0, abs_tol=1e-3)
    for row in document["scores"].values():
        assert set(row["components"]) == set(COMPONENTS)
        assert all(part["weighted"] == WEIGHTS[name] * part["value"] for name, part in row["components"].items())
    for scores in document["scores_by_validator"].values():
        totals = {each["hotkey"]: each["total"] for each in scores}
        assert totals[document["scores"]["forger"]["hotkey"]] == 0.0


async def test_a_second_run_with_an_objective_of_ones_own_is_as_good(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"providers": [{"name": "str", "pricing": "dict"}]}))
    asked = ("--objective", "Compare Northgrid and Basalt Compute on GPU prices.", "--schema", str(schema))
    async with demo(tmp_path / "run", *asked) as running:
        document = await running.document()
        assert marked(running.mark) == []
    facts = {cloud.name: {gpu.on_demand for gpu in cloud.gpus} for cloud in clouds()}
    found = {each["name"]: set(each["pricing"].values()) for each in document["result"]["providers"]}
    assert found == {name: facts[name] for name in ("Northgrid", "Basalt Compute")}
    assert (document["status"], document["objective"]) == ("complete", asked[1])
    _everybody_got_what_they_deserve(document)


@pytest.mark.parametrize(
    ("number", "least", "code"),
    [
        (signal.SIGINT, 4, 130),  # while the network is starting
        (signal.SIGINT, PROCESSES, 130),
        (signal.SIGTERM, PROCESSES, 130),
        (signal.SIGKILL, PROCESSES, -signal.SIGKILL),
    ],
)
async def test_stopped_in_the_middle_it_leaves_no_process(
    tmp_path: Path, number: signal.Signals, least: int, code: int
) -> None:
    async with demo(tmp_path) as running:
        pids = await until(f"{least} processes", lambda: running.running(least), patience_s=PATIENCE_S)
        running.process.send_signal(number)
        assert await running.ended() == code
        await until("every process to end", lambda: running.gone(pids))


async def test_a_schema_that_is_none_is_said_in_one_line_and_starts_nothing(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"providers": "strin"}')
    async with demo(tmp_path / "run", "--schema", str(schema)) as running:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await running.process.communicate()
        assert running.process.returncode == 1
        assert out == b""
        assert err.decode().startswith("demo: ")
        assert b"Traceback" not in err
        assert not (tmp_path / "run").exists()
