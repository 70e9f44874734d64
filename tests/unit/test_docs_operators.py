"""docs/operators.md cannot drift: its commands are the programs' own, its local walk runs, its tables are the code."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestra import cli, subnet_cli
from orchestra.chain import owner
from tests.chainproc import one_subnet, running_chain

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "operators.md").read_text()
SUBNET = str(ROOT / "scripts" / "subnet")
BLOCK = re.compile(r"(<!-- local -->\n)?```console\n(.*?)```", re.DOTALL)
NEURONS = ("neurons/miner.py", "neurons/validator.py")


def commands(*, local: bool = False) -> list[str]:
    """The command lines of the guide's console blocks, one program each; with `local`, of the marked blocks only."""
    lines = [line for mark, block in BLOCK.findall(GUIDE) if mark or not local for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines), "console blocks hold commands only"
    return [part.strip() for line in lines for part in line.removeprefix("$ ").split(" && ")]


def program(argv: list[str]) -> tuple[Any, list[str]] | None:
    """The click command behind a command line and its arguments; None for a program that is not about Bittensor."""
    match argv:
        case [name, *rest] if name.endswith("scripts/subnet"):
            return typer.main.get_command(subnet_cli.app), rest
        case ["orchestra", *rest]:
            return typer.main.get_command(cli.app), rest
        case ["btcli", *rest]:
            return typer.main.get_command(importlib.import_module("bittensor.cli.main").app), rest
        case _:
            return None


def parse(command: Any, arguments: list[str]) -> None:
    """Parse as the program would, down to the subcommand, without running anything. Exits or raises on a bad line."""
    context = command.make_context(command.name or "x", list(arguments))
    if hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        _, chosen, rest = command.resolve_command(context, rest)
        parse(chosen, rest)


@pytest.mark.parametrize("line", [line for line in dict.fromkeys(commands()) if not line.startswith("python ")])
def test_every_command_is_one_that_the_program_takes(line: str) -> None:
    found = program(shlex.split(line))
    if found is None:
        assert shlex.split(line)[0] in {"export", "git", "cd", "python3", ".venv/bin/pip", "sudo", "cp"}, line
    else:
        parse(*found)


@pytest.mark.parametrize("line", [line for line in dict.fromkeys(commands()) if line.startswith("python ")])
def test_every_neuron_starts_as_documented_up_to_the_wallet_that_is_not_there(line: str, tmp_path: Path) -> None:
    done = neuron(*shlex.split(line)[1:], "--ledger.committer", "somebody", home=tmp_path)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "orchestra wallet new" in done.stderr


def neuron(script: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "400", "NO_COLOR": "1"}
    argv = [sys.executable, str(ROOT / script), *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)


def test_a_flag_that_does_not_exist_would_be_noticed() -> None:
    found = program(shlex.split("scripts/subnet configure --netuid 2 --no-such-flag"))
    assert found is not None
    with pytest.raises(Exception, match="no-such-flag"):
        parse(*found)


async def test_the_local_walk_runs_as_written(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain", one_subnet()) as chain:
        network = f"orchestra-local:{chain.port}"
        environment = {**os.environ, "HOME": str(tmp_path), "BT_NETWORK": network, "PYTHONPATH": str(ROOT)}
        for line in commands(local=True):
            if line == "export BT_NETWORK=orchestra-local":
                continue  # the test's chain has a port of its own
            argv = shlex.split(line.replace("--network orchestra-local", f"--network {network}"))
            programs = {"orchestra": [sys.executable, "-m", "orchestra.wallet_cli"], "scripts/subnet": [SUBNET]}
            argv = [*programs[argv[0]], *argv[1:]]
            done = await asyncio.to_thread(
                subprocess.run, argv, env=environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            if "--dry-run" in argv:
                assert "would send" in done.stdout


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, cells without backticks."""
    section = GUIDE.split(heading, 1)[1]
    rows = re.findall(r"^\| (.*) \|$", section.split("\n\n## ")[0], re.MULTILINE)
    return [[cell.strip().replace("`", "") for cell in row.split(" | ")] for row in rows[2:]]


def test_the_table_of_hyperparameters_is_what_configure_sets() -> None:
    assert table("### Hyperparameters") == [
        [name, str(rule.value).lower(), str(owner.LOCAL[name].value).lower(), rule.why]
        for name, rule in owner.PUBLIC.items()
    ]


def options(script: str, home: Path) -> Iterator[tuple[str, str]]:
    """Every (flag, environment name) in a neuron's own --help."""
    shown = neuron(script, "--help", home=home)
    assert shown.returncode == 0, shown.stderr
    for row in re.findall(r"^\W+(--.*)$", shown.stdout, re.MULTILINE):
        environment = re.search(r"\[env var: (\w+)\]", row)
        for flag in re.findall(r"--[\w.-]+", row.split(" <")[0]):
            yield flag, environment.group(1) if environment else ""


def test_every_flag_of_the_neurons_is_explained_and_no_other(tmp_path: Path) -> None:
    rows = re.findall(r"^\| (`--.*?`) \| (.*?) ?\| (.+) \|$", GUIDE, re.MULTILINE)
    explained = {
        (flag.strip("` "), environment.strip("` ")) for flags, environment, _ in rows for flag in flags.split(",")
    }
    taken = {option for script in NEURONS for option in options(script, tmp_path)}
    assert explained == taken - {("--help", "")}
