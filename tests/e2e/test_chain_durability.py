"""`kill -9` of the chain process under traffic: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chainkill import kill_rounds

pytestmark = [pytest.mark.e2e, pytest.mark.soak]
ROUNDS = int(os.environ.get("ORCHESTRA_CHAIN_KILLS", "4"))


async def test_kills_at_drawn_moments(tmp_path: Path) -> None:
    report = await kill_rounds(tmp_path, ROUNDS, seed=20261120)
    assert report.sound, report
    assert report.rounds == ROUNDS
    assert report.included >= report.acknowledged > 0
