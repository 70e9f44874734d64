"""TAO and rao: exact both ways over the whole range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.money import rao, tao


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (10**9, "1"),
        (1_500_000_000, "1.5"),
        (10**18 + 1, "1000000000.000000001"),
        (-1_500_000_000, "-1.5"),
    ],
)
def test_both_ways(amount: int, text: str) -> None:
    assert tao(amount) == text
    assert tao(str(amount)) == text
    assert rao(text) == amount


@given(st.integers(0, 2**63))
def test_nothing_is_lost(amount: int) -> None:
    assert rao(tao(amount)) == amount
