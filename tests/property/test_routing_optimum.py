"""The optimiser against brute force."""

from __future__ import annotations

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.routing.optimum import Choice, Option, assign, critical_path_ms


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Choice], int, float]:
    choices: list[Choice] = []
    for i in range(draw(st.integers(1, 6))):
        waits_for = draw(st.sets(st.integers(0, i - 1), max_size=2)) if i else set[int]()
        options = tuple(
            Option(draw(st.integers(0, 9)), draw(st.integers(1, 9)), draw(st.sampled_from([0.5, 0.9, 0.99])), str(n))
            for n in range(draw(st.integers(1, 4)))
        )
        choices.append(Choice(tuple(sorted(waits_for)), options))
    return choices, draw(st.integers(1, 40)), draw(st.sampled_from([0.0, 0.5, 0.8]))


@given(problems())
@settings(max_examples=300, deadline=None)
def test_no_assignment_within_the_limits_is_cheaper(problem: tuple[list[Choice], int, float]) -> None:
    choices, deadline_ms, least = problem
    picked = assign(choices, deadline_ms=deadline_ms, least_success=least)

    def fits(options: tuple[Option, ...]) -> bool:
        success = math.prod(option.success for option in options)
        return critical_path_ms(choices, options) <= deadline_ms and success >= least

    feasible = [options for options in itertools.product(*(c.options for c in choices)) if fits(options)]
    if feasible:
        assert fits(picked)
        assert sum(o.cost for o in picked) == min(sum(o.cost for o in options) for options in feasible)
    else:
        assert critical_path_ms(choices, picked) == min(
            critical_path_ms(choices, options) for options in itertools.product(*(c.options for c in choices))
        )
