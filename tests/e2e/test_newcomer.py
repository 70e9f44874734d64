"""A new miner joins the running network from a second terminal, with the commands of docs/operators.md as written.

The blocks marked `terminal 1`, `local` (run in the second), `terminal 2` and `terminal 3` are taken from the page and
run as processes in a home of their own: keys, registration, start, challenges, score, weight, and incentive after an
epoch. (tests/e2e/test_walk.py does the README.)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "operators.md").read_text()
PATIENCE_S = 240.0


def block(mark: str) -> list[str]:
    """The commands of the first block with this mark."""
    found = re.search(rf"<!-- {mark} -->\n```console\n(.*?)```", GUIDE, re.DOTALL)
    assert found, mark
    return [line.removeprefix("$ ") for line in found.group(1).splitlines()]


@dataclass
class Terminal:
    """A shell as a person has it after `source .venv/bin/activate`: `export` lasts, the home is the test's own."""

    environment: dict[str, str]
    home: Path

    @classmethod
    def open(cls, home: Path) -> Terminal:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BT_", "ORCHESTRA_"))}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        return cls({**kept, "HOME": str(home), "PATH": path, "COLUMNS": "160", "PYTHONUNBUFFERED": "1"}, home)

    async def run(self, line: str) -> str:
        """What a command printed; it must succeed."""
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.environment[name] = value
            return ""
        process = await asyncio.create_subprocess_exec(
            *shlex.split(line), cwd=ROOT, env=self.environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE_S):
            said, complained = await process.communicate()
        assert process.returncode == 0, f"{line}\n{said.decode()}{complained.decode()}"
        return said.decode()

    @asynccontextmanager
    async def stays(self, line: str, ready: str) -> AsyncIterator[Running]:
        """A command that keeps running, once its output says `ready`."""
        log = self.home / f"{len(list(self.home.glob('*.log')))}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(line), cwd=ROOT, env=self.environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=file, stderr=file,
            )  # fmt: skip
        running = Running(process, log)
        try:
            await running.says(ready)
            yield running
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@dataclass
class Running:
    """A command in a terminal, and what stands there."""

    process: asyncio.subprocess.Process
    log: Path

    async def says(self, text: str) -> str:
        async def found() -> str | None:
            said = self.log.read_text()
            assert self.process.returncode is None, said
            return said if text in said else None

        return await until(f"{self.log.name} to say {text!r}", found, patience_s=PATIENCE_S)

    async def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


async def test_a_newcomer_is_challenged_scored_weighed_and_paid(tmp_path: Path) -> None:
    first, second = Terminal.open(tmp_path), Terminal.open(tmp_path)
    (up,), (mine,), (status,) = block("terminal 1"), block("terminal 2"), block("terminal 3")
    async with first.stays(up, "The network is up") as network:
        said = [await second.run(line) for line in block("local")]
        hotkey = re.findall(r"^hotkey +(5\w+)", "".join(said), re.MULTILINE)[0]
        assert sum(f"{hotkey} holds uid 6" in each for each in said) == 2, "registering again changes nothing"

        async def on_chain() -> dict[str, Any] | None:
            rows = json.loads(await second.run(f"{status} --json"))["neurons"]
            return next((row for row in rows if row["hotkey"] == hotkey), None)

        async def paid() -> dict[str, Any] | None:
            row = await on_chain()
            return row if row and row["incentive"] > 0 else None

        async with second.stays(mine, '"role": "miner"') as miner:
            await miner.says("published 127.0.0.31:8091 on chain")
            await miner.says("answered 0x")
            await until("incentive for the newcomer", paid, patience_s=PATIENCE_S)
            known = json.loads(await second.run(f"{status} --json"))
            assert known["shares"][hotkey] > 0
            (score,) = (each for each in known["scores"] if each["hotkey"] == hotkey)
            assert score["total"] > 0
            assert hotkey[:6] in await second.run(status), "a person sees it too"
            assert await miner.stop(signal.SIGINT) == 0
        async with second.stays(mine, '"role": "miner"') as again:
            await again.says("answered 0x")
            assert "published" not in again.log.read_text(), "the chain has its address already"
            assert await again.stop(signal.SIGTERM) == 0
        assert not any("Traceback" in log.read_text() for log in tmp_path.glob("*.log"))
        processes = json.loads((tmp_path / ".orchestra/local/network.json").read_text())["processes"].values()
        assert await network.stop(signal.SIGINT) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
