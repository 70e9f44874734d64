"""A private PostgreSQL for one test session: its own folder, a unix socket in it, a fresh database for each test.

Every xdist worker has its own, so nothing is shared. `initdb` refuses root, so root becomes the user `postgres` for it.
Without PostgreSQL the tests that ask for it are skipped with the command that installs it; with
`ORCHESTRA_REQUIRE_ALL=1` they fail.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

INSTALL = "PostgreSQL is not installed: apt-get install postgresql (Debian, Ubuntu) or brew install postgresql"
START_DEADLINE_S = 60
_numbers = itertools.count()


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: on the path, or where Debian keeps them. The newest version."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    places = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(places, key=lambda path: float(path.parent.name), default=None)


class Server:
    """A running server; `database()` makes one more empty database in it and gives its URL."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def database(self) -> str:
        name = f"t{next(_numbers)}"
        asyncio.run(self._execute(f"CREATE DATABASE {name}"))
        return f"postgresql+asyncpg://postgres@/{name}?host={self._folder}"

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(host=str(self._folder), user="postgres", database="postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def answers(self) -> bool:
        try:
            await self._execute("SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True


@contextmanager
def running(find: Callable[[], Path | None] = binaries) -> Iterator[Server]:
    """Start a server and stop it at the end; skips or fails the test where there is none to start."""
    programs = find()
    if programs is None:
        if os.environ.get("ORCHESTRA_REQUIRE_ALL") == "1":
            pytest.fail(INSTALL)
        pytest.skip(INSTALL)
    folder = Path(tempfile.mkdtemp(prefix="orchestra-pg-", dir="/tmp"))
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        other = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": folder}
    data = folder / "data"
    try:
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        made = subprocess.run(initdb, capture_output=True, text=True, check=False, **other)
        assert made.returncode == 0, made.stderr
        command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log, **other) as process:
            try:
                yield _ready(Server(folder), process, folder / "log")
            finally:
                process.send_signal(signal.SIGQUIT)  # immediate: nothing in it is worth keeping
    finally:
        shutil.rmtree(folder)


def _ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> Server:
    deadline = time.monotonic() + START_DEADLINE_S
    while not asyncio.run(server.answers()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"PostgreSQL did not start: {log.read_text()}")
        time.sleep(0.02)
    return server
