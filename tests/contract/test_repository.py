"""A fresh clone works: locks that pin all that is declared, scripts that run from anywhere and fail in one line."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("demo", "story", "test", "check", "soak", "subnet")
LOCKS = ("runtime", "dev")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = ("3.11", "3.12", "3.13")


def load(name: str) -> ModuleType:
    """A script of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def pins(lock: str) -> list[Requirement]:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text().replace("\\\n", " ")
    lines = [re.sub(r"\s--hash=\S+", "", line).strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def declared(lock: str) -> list[Requirement]:
    groups = PROJECT["dependency-groups"]
    lists = [PROJECT["project"]["dependencies"], groups["build"]] + ([groups["dev"]] if lock == "dev" else [])
    return [Requirement(line) for each in lists for line in each]


def applies(pin: Requirement, python: str) -> bool:
    environment = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux"}
    return pin.marker is None or pin.marker.evaluate(environment)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_pins_what_is_declared_once_and_in_range(lock: str, python: str) -> None:
    found = [pin for pin in pins(lock) if applies(pin, python)]
    versions = {canonicalize_name(pin.name): Version(next(iter(pin.specifier)).version) for pin in found}
    assert len(versions) == len(found), "one version each"
    for wanted in declared(lock):
        assert versions[canonicalize_name(wanted.name)] in wanted.specifier, wanted


def test_the_runtime_is_the_same_in_both_locks() -> None:
    dev = {str(pin) for pin in pins("dev")}
    assert {str(pin) for pin in pins("runtime")} <= dev


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", text)[1:]
    assert len(blocks) == len(pins(lock))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert not re.search(r"://|^-|@ ", text, re.MULTILINE), (
        "where packages come from is the user's pip settings' business"
    )


def test_the_supported_pythons_are_said_once() -> None:
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    for name in ("_env.sh", "_install.py"):
        text = (ROOT / "scripts" / name).read_text()
        assert "(3, 11) <= sys.version_info < (3, 14)" in text


@pytest.mark.parametrize("script", [f"scripts/{name}" for name in SCRIPTS] + [".ci/run"])
def test_a_script_can_be_run(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    if path.read_text().startswith("#!/bin/sh"):
        subprocess.run(["sh", "-n", path], check=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The scripts in a folder with a space in its name, without an environment."""
    folder = tmp_path / "a clone"
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("bench", "__pycache__"))
    (folder / "requirements").mkdir()
    (folder / "pyproject.toml").write_text("[project]\n")
    for name in LOCKS:
        (folder / "requirements" / f"{name}.txt").write_text("nothing-of-this-name==1 --hash=sha256:" + "0" * 64 + "\n")
    return folder


def run(command: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [command, *arguments], cwd="/", env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["check", "test", "soak"])
def test_help_needs_no_environment(name: str, clone: Path) -> None:
    done = run(clone / "scripts" / name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"scripts/{name}" in done.stdout
    assert not (clone / ".venv").exists()


def test_without_a_python_it_says_which(clone: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # too old a Python answers the question with 1
    old.chmod(0o755)
    done = run(clone / "scripts" / "check", PATH=str(tools))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no Python 3.11, 3.12 or 3.13 found: install one")
    assert done.stderr.count("\n") == 1


def test_a_python_that_is_named_must_do(clone: Path) -> None:
    done = run(clone / "scripts" / "check", ORCHESTRA_PYTHON="/no/python")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "ORCHESTRA_PYTHON=/no/python is not Python" in done.stderr


def test_an_installation_that_fails_ends_in_one_line_and_is_tried_again(clone: Path) -> None:
    for _ in range(2):
        done = run(clone / "scripts" / "demo", PIP_NO_INDEX="1", PIP_FIND_LINKS="", ORCHESTRA_PYTHON=sys.executable)
        assert (done.returncode, done.stdout) == (1, "")
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: ")
        assert "nothing-of-this-name" in last
        assert "install.log" in last
    assert not list((clone / ".venv").glob("*.stamp"))


def test_an_environment_that_cannot_be_written_ends_in_one_line(clone: Path) -> None:
    (clone / ".venv").touch()
    done = run(clone / "scripts" / "demo", ORCHESTRA_PYTHON=sys.executable)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"error: cannot use {clone / '.venv'} (")
    assert "must be writable" in done.stderr


def test_an_environment_that_was_broken_off_is_made_anew(clone: Path) -> None:
    """Its Python runs, its pip can be imported, and there is nothing in it."""
    half = clone / ".venv"
    venv.EnvBuilder(with_pip=False).create(half)
    (pip,) = half.glob("lib/python3*/site-packages")
    (pip / "pip").mkdir()
    (pip / "pip" / "__init__.py").touch()
    done = run(clone / "scripts" / "demo", PIP_NO_INDEX="1", PIP_FIND_LINKS="", ORCHESTRA_PYTHON=sys.executable)
    assert "creating .venv" in done.stderr
    assert "nothing-of-this-name" in done.stderr, "pip works"


def test_a_full_disk_is_the_first_thing_to_look_at() -> None:
    install = load("_install")
    assert "make room" in install.advice("check the network", 12)
    assert install.advice("check the network", 12_000) == "check the network"


def test_an_environment_is_built_again_only_when_something_changed(clone: Path, tmp_path: Path) -> None:
    install = load("_install")
    stamps = {install.fingerprint(name) for name in LOCKS}
    assert len(stamps) == 2
    assert {install.fingerprint(name) for name in LOCKS} == stamps, "the same every time"
    assert install.enough("runtime") == ("runtime", "dev"), "dev holds all that the demo needs"
    assert install.enough("dev") == ("dev",)


def test_every_step_runs_even_when_one_fails(capsys: pytest.CaptureFixture[str]) -> None:
    gate = load("_gate")
    bad = gate.Step("bad", (sys.executable, "-c", "print('why'); raise SystemExit(3)"))
    good = gate.Step("good", (sys.executable, "-c", "print('noise')"))
    assert [done.code for done in gate.run_checks([bad, good])] == [3, 0]
    shown = capsys.readouterr().out
    assert re.search(r"FAILED bad +[\d.]+ s", shown)
    assert re.search(r"ok +good +[\d.]+ s", shown)
    assert "why" in shown
    assert "noise" not in shown


def test_an_unknown_step_is_refused() -> None:
    gate = load("_gate")
    with pytest.raises(SystemExit) as caught:
        gate.check(["speling"])
    assert caught.value.code == 2


def test_the_soak_page_shows_every_figure() -> None:
    gate = load("_gate")
    figures = [{"test": "kill", "figure": "kills", "value": 100}, {"test": "kill", "figure": "lost", "value": 0}]
    page = gate.soak_page(figures, gate.Done(gate.Step("soak", ()), 0, 120.0))
    assert "| kill | kills | 100 |" in page
    assert "| kill | lost | 0 |" in page
    assert "2 minutes, passed" in page
    assert "FAILED" in gate.soak_page(figures, gate.Done(gate.Step("soak", ()), 1, 120.0))
