"""What an operator may ask a node to propose, and what is said of the rest."""

from __future__ import annotations

from ledger.entry import Metrics
from ledger.view import LedgerView
from orchestra.ledger_propose_cli import prepared
from tests.builders import entry, operation


def test_metrics_are_measured_and_not_proposed_by_hand() -> None:
    known = entry("alpha", netuid=1, operations=(operation(),))
    faster = Metrics(latency_ms=1, latency_p95_ms=1, reliability_permille=1000)
    wanted = entry("alpha", netuid=1, operations=(operation(metrics=faster, cache_ttl_s=77),))
    shown, claims = prepared(LedgerView([known]), [wanted], None, 0)
    assert claims == []
    assert sorted(shown) == [
        "alpha: operations/web_search/cache_ttl_s differs, and no proposal changes that",
        "alpha: operations/web_search/metrics differs, and metrics are measured, not proposed by hand",
    ]
