"""A reading is a function of the series' name and the day, and a series is found by the words of its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.devnet.subnets.readings import BUCKET_S, Series, all_series, find_series, reading

NOON = 1_795_176_000.0
"""2026-11-20 12:00 UTC."""


def named(name: str) -> Series:
    found = find_series(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("RunPod utilisation", "RunPod utilisation"),
        ("the latest utilisation of vast.ai, please", "Vast.ai utilisation"),
        ("Kestrel Cloud queue time", "Kestrel Cloud queue time"),
        ("utilisation", None),
        ("RunPod", None),
        ("RunPod utilisation and Lambda utilisation", None),
        ("", None),
    ],
)
def test_series_are_found_by_their_words(asked: str, name: str | None) -> None:
    found = find_series(asked)
    assert (found.name if found else None) == name


def test_a_golden_reading() -> None:
    now = reading(named("RunPod utilisation"), NOON)
    assert (now.series, now.unit, now.at) == ("RunPod utilisation", "%", "2026-11-20T00:00:00Z")
    assert now.value == 71.25


@given(seconds=st.floats(0, BUCKET_S - 1), days=st.integers(0, 30_000))
def test_a_day_has_one_value(seconds: float, days: int) -> None:
    series = all_series()[0]
    assert reading(series, days * BUCKET_S + seconds) == reading(series, days * BUCKET_S)


def test_values_move_and_differ() -> None:
    series = named("RunPod utilisation")
    week = {reading(series, NOON + day * BUCKET_S).value for day in range(7)}
    assert len(week) > 4
    assert len({reading(each, NOON).value for each in all_series()}) > len(all_series()) - 3
    for each in all_series():
        assert abs(reading(each, NOON).value - each.mean) <= each.swing
