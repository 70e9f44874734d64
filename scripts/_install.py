"""Builds `.venv` from the hash-locked requirements, once: what scripts/_env.sh runs with any Python 3.11 to 3.13.

A stamp in the environment names what it was built from (lock, pyproject, Python, folder); while it fits nothing is
done. Only the standard library is used. pip's own words go to `.venv/install.log`; a failure is one line that names it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
MADE = VENV / "orchestra-made"
SETS = ("runtime", "dev")  # each holds all of those before it
ROOM_MB = 700
PINNED = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.MULTILINE)


class InstallFailed(Exception):
    """One line: what went wrong and what to do."""


def main(wanted: str) -> None:
    try:
        VENV.mkdir(exist_ok=True)
        with one_at_a_time():
            if not python_works():
                make_environment()
            if not any(
                stamp(name).exists() and stamp(name).read_text() == fingerprint(name) for name in enough(wanted)
            ):
                install(wanted)
    except OSError as error:
        hint = f"the folder of the clone must be writable, with {ROOM_MB} MB of room"
        raise InstallFailed(f"cannot use {error.filename or VENV} ({error.strerror}): {hint}") from None


def enough(wanted: str) -> tuple[str, ...]:
    return SETS[SETS.index(wanted) :]


def stamp(name: str) -> Path:
    return VENV / f"orchestra-{name}.stamp"


def lock(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def fingerprint(name: str) -> str:
    """Of everything that the environment depends on; the folder too, because an editable install points to it."""
    version = subprocess.run([PYTHON, "-IVV"], capture_output=True, text=True, check=True).stdout
    parts = [lock(name).read_bytes(), (ROOT / "pyproject.toml").read_bytes(), version.encode(), os.fsencode(ROOT)]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def python_works() -> bool:
    """Whole, and of a version that does: what was broken off in the middle may look well and miss half of pip."""
    if not (MADE.exists() or any(stamp(name).exists() for name in SETS)):
        return False
    check = "import pip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))"
    return PYTHON.exists() and subprocess.run([PYTHON, "-Ic", check], capture_output=True).returncode == 0


def make_environment() -> None:
    for stale in (MADE, *map(stamp, SETS)):
        stale.unlink(missing_ok=True)
    for part in ("bin", "include", "lib", "lib64"):
        remove(VENV / part)
    say(f"creating .venv with Python {sys.version.split()[0]}")
    try:
        venv.EnvBuilder(with_pip=True, upgrade=False, symlinks=True).create(VENV)
    except (subprocess.CalledProcessError, OSError) as error:
        hint = "on Debian and Ubuntu: apt install python3-venv"
        raise InstallFailed(f"cannot create {VENV} ({error}): {advice(hint, free_mb())}; then try again") from None
    MADE.touch()
    if not python_works():
        raise InstallFailed(f"{VENV} does not work: remove it and try again")


def remove(path: Path) -> None:
    """Whatever is there, if anything; lib64 is a link to lib."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def install(wanted: str) -> None:
    for name in SETS:
        stamp(name).unlink(missing_ok=True)
    began = time.monotonic()
    packages = len(PINNED.findall(lock(wanted).read_text()))
    LOG.write_text("")
    say(f"installing {packages} packages, about a minute: {LOG}")
    pip(["install", "--require-hashes", "-r", str(lock(wanted))], packages)
    pip(["install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    stamp(wanted).write_text(fingerprint(wanted))
    say(f"installed {packages} packages in {time.monotonic() - began:.0f} s")


def pip(arguments: list[str], packages: int = 0) -> None:
    """Run pip, count what it collects, keep what it says. -I: settings meant for another Python do not apply."""
    environment = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    command = [PYTHON, "-Im", "pip", *arguments, "--progress-bar", "off", "--no-warn-script-location"]
    done = 0
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            words = line.split()
            if packages and line.startswith(("Collecting", "Requirement already")):
                done += 1
                at = 1 if line.startswith("Collecting") else 3
                say(f"packages: {min(done, packages)} of at most {packages} ({words[at].split('=')[0]})", passing=True)
            elif packages and line.startswith("Installing collected"):
                say("packages: unpacking", passing=True)
    if process.returncode:
        lines = [line for line in LOG.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
        cause = lines[0].removeprefix("ERROR: ")[:300] if lines else f"pip ended with {process.returncode}"
        hint = f"check the network or your pip settings, see {LOG}"
        raise InstallFailed(f"{cause}: {advice(hint, free_mb())}, then run it again")


def advice(usual: str, free: int) -> str:
    """What to do about a failure, which a full disk explains better than anything else."""
    return f"only {free} MB are free of the {ROOM_MB} MB that it takes: make room" if free < ROOM_MB else usual


def free_mb() -> int:
    return shutil.disk_usage(ROOT).free >> 20


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two scripts started together build one environment, one after the other."""
    with (VENV / "install.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(message: str, *, passing: bool = False) -> None:
    """Tell how far it is; what passes is overwritten on a terminal and left out elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{message}" + ("" if passing else "\n"))
        sys.stderr.flush()
    elif not passing:
        sys.stderr.write(message + "\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except InstallFailed as error:
        say(f"error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped: the next run goes on where this one was")
        sys.exit(130)
