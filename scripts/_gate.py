"""What ./scripts/check, ./scripts/test and ./scripts/soak do, with the standard library alone.

Every step is named and timed, all of them run even when one fails, and the exit code is 1 when any did. Steps of the
check run two at a time, because the slowest of them waits for one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PY = sys.executable
PYTEST = (PY, "-m", "pytest", "-q")
NOTHING_COLLECTED = 5
SOAK_MINUTES = 75


@dataclass(frozen=True)
class Step:
    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    step: Step
    code: int
    seconds: float
    output: str = ""

    def __str__(self) -> str:
        return f"{'ok    ' if self.code == 0 else 'FAILED'} {self.step.name:<12} {self.seconds:6.1f} s"


CHECKS = (
    Step("types", (PY, "-m", "basedpyright")),
    Step("lint", (PY, "-m", "ruff", "check", ".")),
    Step("format", (PY, "-m", "ruff", "format", "--check", ".")),
    Step("imports", (PY, "-c", "from importlinter.cli import lint_imports_command as run; run()")),
    Step("dependencies", (PY, "-m", "deptry", ".")),
    Step("spelling", (PY, "-m", "codespell_lib")),
    Step("docs", (*PYTEST, "README.md", "docs")),
)


def main(arguments: Sequence[str]) -> int:
    os.chdir(ROOT)
    gate, *rest = arguments
    return {"check": check, "test": test, "soak": soak}[gate](rest)


def check(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("scripts/check", description="Types, lint, format, imports, dependencies, docs.")
    parser.add_argument(
        "only", nargs="*", help=f"steps to run: {', '.join(step.name for step in CHECKS)} (default: all)"
    )
    only = set(parser.parse_args(arguments).only)
    if unknown := only - {step.name for step in CHECKS}:
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    done = run_checks([step for step in CHECKS if not only or step.name in only])
    return int(any(each.code for each in done))


def run_checks(steps: Sequence[Step]) -> list[Done]:
    with ThreadPoolExecutor(2) as pool:
        finished: list[Done] = []
        for done in pool.map(captured, steps):
            print(done, flush=True)
            if done.code:
                print(f"  $ {shlex.join(done.step.command)}\n{done.output.rstrip()}", flush=True)
            finished.append(done)
        return finished


def captured(step: Step) -> Done:
    began = time.monotonic()
    result = subprocess.run(step.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return Done(step, result.returncode, time.monotonic() - began, result.stdout)


def shown(step: Step, environment: dict[str, str] | None = None, timeout_s: float | None = None) -> Done:
    """Run with its output as it comes."""
    began = time.monotonic()
    with subprocess.Popen(step.command, env={**os.environ, **(environment or {})}) as process:
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            code = process.wait() or 1
    return Done(step, code, time.monotonic() - began)


def install_postgresql() -> None:
    """For the tests that run on both engines: where we may, install it; elsewhere they say what to type."""
    if shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql"
        print(shown(Step("postgresql", ("sh", "-c", install)), {"DEBIAN_FRONTEND": "noninteractive"}), flush=True)


def test(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "scripts/test", description="./scripts/check, then unit, property and contract tests, then end-to-end tests."
    )
    parser.add_argument("--fast", action="store_true", help="leave out the end-to-end tests")
    parser.add_argument("--no-check", action="store_true", help="leave out ./scripts/check")
    parser.add_argument("-n", "--workers", default="2", help="processes for the tests that share nothing (default: 2)")
    parser.add_argument("pytest", nargs="*", metavar="-- PYTEST_ARGUMENT", help="for pytest, as in: -- -k gateway")
    asked = parser.parse_args(arguments)
    install_postgresql()
    done = [] if asked.no_check else run_checks(CHECKS)
    parallel = ("-n", asked.workers, "--dist", "worksteal", "-m", "not e2e", "tests")
    done.append(shown(Step("tests", (*PYTEST, *parallel, *asked.pytest))))
    if not asked.fast:
        done.append(shown(Step("end to end", (*PYTEST, "-m", "e2e", "tests", *asked.pytest))))
    for each in done:
        print(each)
    print(f"{sum(each.seconds for each in done):.0f} s of steps")
    fine = {0, NOTHING_COLLECTED} if asked.pytest else {0}
    return int(any(each.code not in fine for each in done))


def soak(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "scripts/soak",
        description=f"Tests marked soak at length, at most {SOAK_MINUTES} minutes; their figures go to docs/soak.md.",
        epilog="Counts come from the environment: a test says which name it reads, such as ORCHESTRA_SOAK_KILLS=100.",
    )
    parser.add_argument("pytest", nargs="*", metavar="-- PYTEST_ARGUMENT", help="for pytest, as in: -- -k kill")
    asked = parser.parse_args(arguments)
    install_postgresql()
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.jsonl"
        environment = {"ORCHESTRA_SOAK": "1", "ORCHESTRA_FIGURES": str(figures)}
        step = Step("soak", (*PYTEST, "-m", "soak", "tests", *asked.pytest))
        done = shown(step, environment, SOAK_MINUTES * 60)
        lines = figures.read_text().splitlines() if figures.exists() else []
    if lines and not asked.pytest:
        (ROOT / "docs" / "soak.md").write_text(soak_page([json.loads(line) for line in lines], done))
    print(done)
    return int(done.code != 0)


def soak_page(figures: Sequence[dict[str, Any]], done: Done) -> str:
    """Markdown of what the tests recorded (`tests/figures.py`)."""
    commit = captured(Step("commit", ("git", "rev-parse", "--short", "HEAD"))).output.strip()
    rows = [f"| {each['test']} | {each['figure']} | {each['value']} |" for each in figures]
    return "\n".join(
        [
            "# Soak",
            "",
            "Written by `./scripts/soak`: the long versions of the tests, and what they measured.",
            "",
            f"Commit {commit}, {time.strftime('%Y-%m-%d', time.gmtime())}, Python {platform.python_version()}, "
            f"{os.cpu_count()} cores, {done.seconds / 60:.0f} minutes, {'passed' if done.code == 0 else 'FAILED'}.",
            "",
            "| test | figure | value |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
