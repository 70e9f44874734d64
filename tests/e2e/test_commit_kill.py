"""However often a validator is killed while it commits, the log is what was committed, and its state knows of it."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from tests.commitkill import kill_rounds
from tests.figures import count, record

ROUNDS = count("ledger_commit_kills", short=10, long=100)

pytestmark = [pytest.mark.e2e, pytest.mark.soak]


async def test_no_change_is_lost_or_doubled_and_the_log_stays_consistent(url: str) -> None:
    report = await kill_rounds(url, ROUNDS, seed=7)
    figures = asdict(report)
    wrong = figures.pop("wrong")
    record(f"Ledger commits on {url.partition('+')[0]}", **figures)
    assert wrong == []
    assert report.kills == ROUNDS
    assert report.inside_transaction > 0 or ROUNDS < 50, "some of many land inside a transaction"
    assert report.batches_acknowledged >= ROUNDS
