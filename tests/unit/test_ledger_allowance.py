"""One object decides, refuses and writes the headers; its words are those of the published draft."""

from __future__ import annotations

import pytest

from ledger.serving.allowance import Allowance, Pace, Window, month_bounds_ms, month_of, month_window
from ledger.serving.tiers import TIERS
from tests.fakes.clock import VirtualClock

OCTOBER_15_MS = 1_792_022_400_000
OCTOBER_S = 31 * 86_400


def test_the_headers_of_a_request_that_fits() -> None:
    allowance = Allowance((Window("minute", 120, 60, 119, 1), Window("month", 1000, OCTOBER_S, 7, 1_468_800)))
    assert allowance.headers() == [
        (b"ratelimit-policy", b'"minute";q=120;w=60, "month";q=1000;w=2678400'),
        (b"ratelimit", b'"minute";r=119;t=1, "month";r=7;t=1468800'),
    ]
    assert allowance.refused_by is None


def test_a_refusal_says_which_window_and_how_long() -> None:
    allowance = Allowance((Window("minute", 120, 60, 0, 60, 0.4), Window("month", 1000, OCTOBER_S, 0, 9, 9.0)))
    assert (allowance.refused_by, allowance.retry_after_s) == ("minute", 9)
    assert allowance.headers()[-1] == (b"retry-after", b"9")


def test_a_pace_is_kept_and_its_wait_is_enough_and_not_too_long() -> None:
    clock = VirtualClock()
    pace = Pace(clock=clock)
    windows = [pace.take("ada", 30) for _ in range(31)]
    assert [each.left for each in windows] == [*range(29, -1, -1), 0]
    assert windows[29].retry_s == 0
    assert windows[30].retry_s == pytest.approx(2.0)
    assert windows[30].whole_in_s == 60
    clock.advance(1.9)
    assert pace.take("ada", 30).retry_s > 0
    clock.advance(0.1001)
    assert pace.take("ada", 30).retry_s == 0
    assert pace.take("bob", 30).left == 29, "one caller spends nobody else's"


def test_the_memory_of_a_pace_is_bounded() -> None:
    pace = Pace(clock=VirtualClock(), capacity=2)
    for caller in ("a", "b", "c"):
        pace.take(caller, 2)
    assert pace.take("c", 2).left == 0
    assert pace.take("a", 2).left == 1, "forgotten, so whole again"


def test_the_month_of_a_tier_that_counts_one() -> None:
    window = month_window(TIERS["developer"], 990, OCTOBER_15_MS)
    assert window == Window("month", 1000, OCTOBER_S, 10, 1_468_800)
    refused = month_window(TIERS["developer"], 1000, OCTOBER_15_MS, refused=True)
    assert refused is not None
    assert (refused.left, refused.retry_s) == (0, 1_468_800)
    assert month_window(TIERS["production"], 10**9, OCTOBER_15_MS) is None


@pytest.mark.parametrize(
    ("at_ms", "before", "month"),
    [(OCTOBER_15_MS, 202609, 202610), (1_798_761_599_999, 202611, 202612), (1_798_761_600_000, 202612, 202701)],
)
def test_months_begin_at_midnight_utc(at_ms: int, before: int, month: int) -> None:
    assert month_of(at_ms) == month
    begins, ends = month_bounds_ms(at_ms)
    assert begins <= at_ms < ends
    assert (month_of(begins), month_of(begins - 1), month_of(ends - 1)) == (month, before, month)
