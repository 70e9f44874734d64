"""However often the Ledger API is killed, it counts each lookup once and tells everybody of every change."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from tests.figures import count, record
from tests.ledgerkill import kill_rounds

ROUNDS = count("ledger_api_kills", short=10, long=100)

pytestmark = [pytest.mark.e2e, pytest.mark.soak]


async def test_nothing_is_lost_and_nothing_is_doubled(url: str) -> None:
    report = await kill_rounds(url, ROUNDS, seed=31)
    figures = asdict(report)
    wrong = figures.pop("wrong")
    record(f"Ledger API on {url.partition('+')[0]}", **figures)
    assert wrong == []
    assert report.kills == ROUNDS
    assert report.inside_transaction > 0 or ROUNDS < 50, "some of many land inside a transaction"
    assert report.lookups_answered > ROUNDS
