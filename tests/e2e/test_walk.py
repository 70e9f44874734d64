"""The walk of the README as written: a network comes up, answers, is joined by a miner that gets weight, and goes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestra.client import Client
from tests.waiting import until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PATIENCE_S = 150


def written(heading: str) -> list[str]:
    """The command lines under a heading of the README."""
    text = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def environment(folder: Path) -> dict[str, str]:
    """As a person has it who has sourced `.venv/bin/activate`, with a home and a network of the test's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BT_", "ORCHESTRA_"))}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**kept, "PATH": path, "HOME": str(folder), "ORCHESTRA_LOCAL": str(folder / "net"), "COLUMNS": "120"}


@asynccontextmanager
async def started(line: str, folder: Path, *, ready: str) -> AsyncGenerator[subprocess.Popen[bytes]]:
    """A command that stays, once its output says `ready`; it is gone afterwards, whatever happens."""
    log = folder / f"{len(list(folder.iterdir()))}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            shlex.split(line), cwd=ROOT, env=environment(folder), stdout=output, stderr=subprocess.STDOUT
        )
    try:

        async def said() -> bool | None:
            assert process.poll() is None, f"{line} ended with {process.returncode}:\n{log.read_text()}"
            return ready in log.read_text() or None

        await until(f"{line} to say {ready!r}", said, patience_s=PATIENCE_S)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def run(line: str, folder: Path) -> str:
    done = subprocess.run(
        shlex.split(line), cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def network_file(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "net" / "network.json").read_text())


async def status(folder: Path) -> dict[str, Any]:
    """What `orchestra status --json` prints, without a process for each look."""
    return await Client(network_file(folder)["gateway"]).astatus()


def gone(pids: Iterable[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_the_walk_of_the_readme(tmp_path: Path) -> None:
    up, ask, look = written("Ask")
    wallet, register, mine = written("Mine")
    async with started(up, tmp_path, ready="The network is up") as network:
        assert "RunPod" in run(ask, tmp_path)
        assert "validator" in run(look, tmp_path)
        shown = run(wallet, tmp_path)
        hotkey = re.findall(r"hotkey +(5\w+)", shown)[0]
        assert "holds uid" in run(register, tmp_path)
        async with started(mine.replace("8099", "0"), tmp_path, ready='"role": "miner"') as miner:

            async def has_weight() -> bool | None:
                return (await status(tmp_path))["shares"].get(hotkey, 0) > 0 or None

            await until("the newcomer's weight", has_weight, patience_s=PATIENCE_S)
            score = next(each for each in (await status(tmp_path))["scores"] if each["hotkey"] == hotkey)
            assert score["components"]["schema_compliance"]["events"] > 0, "it was challenged"
            miner.send_signal(signal.SIGTERM)
            assert miner.wait(30) == 0
        processes = network_file(tmp_path)["processes"].values()
        network.send_signal(signal.SIGINT)
        assert network.wait(60) == 0
    assert gone(processes)


async def test_a_network_comes_back_where_it_was_and_only_once(tmp_path: Path) -> None:
    async with started("orchestra up --block-time 0.5", tmp_path, ready="The network is up") as network:
        second = subprocess.run(
            ["orchestra", "up"], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=False
        )
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert "is up already" in second.stderr
        before = await status(tmp_path)
        network.send_signal(signal.SIGTERM)
        assert network.wait(60) == 0
    async with started("orchestra up --block-time 0.5", tmp_path, ready="The network is up"):

        async def seen() -> bool | None:
            return (await status(tmp_path))["block"] is not None or None

        await until("the validator to see the chain", seen, patience_s=PATIENCE_S)
        after = await status(tmp_path)
    assert after["block"] >= before["block"]
    assert {each["hotkey"] for each in after["neurons"]} == {each["hotkey"] for each in before["neurons"]}
