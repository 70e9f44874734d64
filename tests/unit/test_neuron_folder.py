"""A database that a neuron cannot open is one line for its operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.cosigning import MIGRATIONS, CheckpointStore
from ledger.database import sqlite_url
from ledger.upgrade import version_table
from neurons.folder import opening
from orchestra.settings import SettingsError
from tests.databases import execute


async def test_files_of_a_newer_release_are_said_to_be_that(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    with opening(path):
        await (await CheckpointStore.open(sqlite_url(path))).close()
    await execute(sqlite_url(path), f"UPDATE {version_table(MIGRATIONS)} SET version_num = '9999'")
    said = pytest.raises(SettingsError, match=r"cannot use .*checkpoints.sqlite .*9999.*: run the newer release")
    with said, opening(path):
        await CheckpointStore.open(sqlite_url(path))
