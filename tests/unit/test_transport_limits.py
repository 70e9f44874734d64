"""Rates by an injected clock, and memory that does not grow with the number of strangers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.addresses import peer_key
from orchestra.transport.limits import InFlight, TokenBuckets
from tests.fakes.clock import VirtualClock


def test_a_burst_then_the_rate() -> None:
    clock = VirtualClock()
    buckets = TokenBuckets(2.0, 3, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    clock.advance(0.5)
    assert buckets.take("a") == 0.0
    assert buckets.take("a") == 0.5
    assert buckets.take("b") == 0.0


def test_asking_spends_nothing() -> None:
    buckets = TokenBuckets(1.0, 1, clock=VirtualClock())
    assert [buckets.wait("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a") == 0.0
    assert buckets.wait("a") == 1.0


def test_the_key_unused_for_longest_is_forgotten() -> None:
    clock = VirtualClock()
    buckets = TokenBuckets(1.0, 1, clock=clock, capacity=2)
    for key in ("a", "b", "a", "c"):
        clock.advance(1.0)
        assert buckets.take(key) == 0.0
    assert buckets.wait("b") == 0.0
    assert buckets.wait("c") == 1.0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=60))
def test_never_more_than_burst_and_rate_allow(steps: list[tuple[str, float]]) -> None:
    clock = VirtualClock(0.0)
    buckets = TokenBuckets(2.0, 5, clock=clock)
    granted = {"a": 0, "b": 0}
    for key, seconds in steps:
        clock.advance(seconds)
        granted[key] += buckets.take(key) == 0.0
        assert granted[key] <= 5 + 2.0 * clock.now() + 1e-6


def test_in_flight_is_counted_per_key() -> None:
    flights = InFlight(2)
    assert flights.enter("a")
    assert flights.enter("a")
    assert not flights.enter("a")
    assert flights.full("a")
    assert flights.enter("b")
    flights.leave("a")
    assert not flights.full("a")
    assert flights.enter("a")


@pytest.mark.parametrize(
    ("host", "key"),
    [
        (None, "unknown"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_ipv6_network_is_one_peer(host: str | None, key: str) -> None:
    assert peer_key(host) == key


@pytest.mark.parametrize(("per_s", "burst", "capacity"), [(0.0, 1, 1), (1.0, 0, 1), (1.0, 1, 0)])
def test_a_bucket_without_room_is_a_mistake(per_s: float, burst: int, capacity: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        TokenBuckets(per_s, burst, clock=VirtualClock(), capacity=capacity)
    with pytest.raises(ValueError, match="at least one"):
        InFlight(0)
