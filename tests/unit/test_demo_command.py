"""What `./scripts/demo` refuses before it starts anything, and how it says so: in one line, with the next step."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestra.cli import app as orchestra
from orchestra.devnet.demo import DemoFailed, Waiting, app
from orchestra.devnet.up import alone_in
from tests.fakes.clock import run_virtual


def refused(*arguments: str) -> str:
    """The one line that it ends with; nothing else was printed, so nothing was started."""
    outcome = CliRunner().invoke(app, list(arguments))
    assert outcome.exit_code == 1
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("demo: ")
    assert outcome.stderr.count("\n") == 1
    return outcome.stderr


def test_an_objective_that_says_nothing() -> None:
    assert "objective" in refused("--objective", "")


@pytest.mark.parametrize("text", ["# not JSON", '{"a": "str", "a": "int"}', "[]"])
def test_a_file_that_is_no_schema_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(text)
    assert f"{file} is not usable JSON" in refused("--schema", str(file))


def test_a_schema_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file or directory" in refused("--schema", str(tmp_path / "schema.json"))


def test_a_schema_may_stand_in_the_command_itself() -> None:
    assert "target_schema at /a: found 'strin'" in refused("--schema", '{"a": "strin"}')


@pytest.mark.parametrize("below", ["", "network"])
def test_a_folder_that_cannot_be_used(below: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert f"cannot use {file / below}" in refused("--keep", str(file / below))
    up = CliRunner().invoke(orchestra, ["up", "--dir", str(file / below)])
    assert (up.exit_code, up.stdout) == (1, "")
    assert up.stderr.startswith(f"error: cannot use {file / below} (")
    assert up.stderr.endswith("choose another folder\n")


def test_a_folder_whose_network_runs(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        assert "is up already" in refused("--keep", str(tmp_path))


def test_it_goes_by_the_name_that_was_typed() -> None:
    command = [sys.executable, "-m", "orchestra.devnet.demo", "--objectve", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ./scripts/demo ")
    assert "--objective" in done.stderr


@pytest.mark.parametrize(("block_time_s", "after_s"), [(0.5, 100), (12.0, 1_000)])
def test_slow_blocks_are_waited_for_and_one_hears_of_it(block_time_s: float, after_s: int) -> None:
    said: list[str] = []

    async def wait() -> float:
        now = asyncio.get_running_loop().time
        ready_at = now() + after_s

        async def ready() -> float | None:
            return now() if now() >= ready_at else None

        return await Waiting(block_time_s, said.append).until("an epoch", ready) - ready_at

    assert 0 <= run_virtual(wait()) < 1
    assert set(said) == {"  still waiting for an epoch"}
    assert after_s / 20 < len(said) <= after_s / 15


def test_what_never_comes_is_given_up() -> None:
    async def never() -> int | None:
        return None

    with pytest.raises(DemoFailed, match=r"gave up after 120 s waiting for an epoch.*--keep FOLDER"):
        run_virtual(Waiting(1.0, print).until("an epoch", never))
