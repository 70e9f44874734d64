"""Every test gets a HOME of its own: nothing here may read or touch the real one (the SDK writes caches below it)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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
