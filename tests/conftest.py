"""Every test gets a HOME of its own: nothing here may read or touch the real one (the SDK writes caches below it).

What is stored is tested on both engines: a test that takes `url` runs once on SQLite and once on PostgreSQL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ledger.database import sqlite_url
from tests import postgres

settings.register_profile("orchestra", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("orchestra")  # no test depends on how busy the machine is


@pytest.fixture(autouse=True, scope="session")
def temporary_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    before = {name: os.environ.get(name) for name in ("HOME", "BITTENSOR_RUNTIME_CACHE_DIR")}
    os.environ["HOME"] = str(home)
    os.environ["BITTENSOR_RUNTIME_CACHE_DIR"] = str(home / "runtime")
    yield home
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[], postgres.Server]]:
    """Starts PostgreSQL when it is first called, and stops it when the session ends."""
    with ExitStack() as stack:
        yield cache(lambda: stack.enter_context(postgres.running()))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, postgres_server: Callable[[], postgres.Server]) -> str:
    """The URL of an empty database, on each of the engines in turn."""
    return sqlite_url(tmp_path / "db.sqlite") if request.param == "sqlite" else postgres_server().database()
