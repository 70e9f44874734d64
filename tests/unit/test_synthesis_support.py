"""What counts as containing a value, and what a derivation is worth: the auditor relies on both."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.protocol import Derivation, Source
from orchestra.synthesis.derivation import DerivationError, evaluate, sources_of
from orchestra.synthesis.instants import instant
from orchestra.synthesis.numbers import MAX_TEXT, first_number, numbers_in
from orchestra.synthesis.support import _normalised, normalised, supports  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (1.99, 1.99),
        (2, 2.0),
        ("$1.99", 1.99),
        ("1.99 USD/h", 1.99),
        ("$1,990.50 a month", 1990.5),
        ("SN34", 34),
        ("costs −3 °C", -3),
        (34, "34"),
        ("Bearer <key> in the Authorization header", "bearer"),
        ("Uses   AI-generated\nmedia", "AI generated media"),
        ("https://x.example/v1", "https://x.example/v1/"),
        ("2026-08-07T07:00:56.015Z", "2026-08-07"),
        ("Opened on 7 August 2026 in Oslo", "2026-08-07T00:00:00Z"),
        ("August 7, 2026", "2026-08-07"),
        (True, True),
        ("yes", True),
        ("No, on request only", False),
        (["a"], ["a"]),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_supported(found: Any, value: Any) -> None:
    assert supports(found, value)


@pytest.mark.parametrize(
    ("found", "value"),
    [
        ("A100 80GB", 100),
        ("v2", 2),
        ("1.99", 1.9),
        ("category", "cat"),
        ("cat", "category"),
        (1, True),
        (True, 1),
        (0, False),
        ("yes, but no", False),
        (None, None),
        ("", ""),
        ("x", ""),
        (1.99, "1.99 USD"),
        ("2026-08-07", "2026-08-08"),
        ({"a": "x"}, "x"),
        (["x"], "x"),
        ([], {}),
        ("nan", 1.0),
        ("since 0001-01-01T00:00:00+23:00", "2026-08-07"),
        ("since 2026-08-07", "9999-12-31T23:59:59-10:00"),
    ],
)
def test_not_supported(found: Any, value: Any) -> None:
    assert not supports(found, value)


def test_numbers_as_people_write_them() -> None:
    assert [str(number) for number in numbers_in("from $1,000 to 2.5 (or -3), not A100 or v2")] == [
        "1000",
        "2.5",
        "-3",
    ]
    assert first_number(True) is None
    assert first_number("none") is None
    assert first_number(float("inf")) is None


def test_instants_need_a_day() -> None:
    assert instant("2026-08-07T07:00:00+02:00") == instant("2026-08-07T05:00:00Z")
    assert instant("August 2026") is None
    assert instant("31 February 2026") is None
    assert instant("0001-01-01T00:00:00+23:00") is None  # before the calendar begins, in UTC


FIGURES = {"/a": 1.99, "/b": "$1.45", "/c": 1.89, "/i": 3, "/j": 5, "/s": "no number", "/big": 10**30}


def lookup(source: Source) -> Any:
    return FIGURES[source.pointer]


def cite(*pointers: str) -> tuple[Source, ...]:
    return tuple(Source(step=1, pointer=pointer) for pointer in pointers)


@pytest.mark.parametrize(
    ("derivation", "value"),
    [
        (Derivation(op="min", of=cite("/a", "/b", "/c")), 1.45),
        (Derivation(op="max", of=cite("/a", "/b", "/c")), 1.99),
        (Derivation(op="mean", of=cite("/a", "/b", "/c")), 1.776667),
        (Derivation(op="median", of=cite("/a", "/b", "/c")), 1.89),
        (Derivation(op="median", of=cite("/i", "/j")), 4),
        (Derivation(op="sum", of=cite("/a", "/b")), 3.44),
        (Derivation(op="sum", of=cite("/i", "/j")), 8),
        (Derivation(op="difference", of=cite("/a", "/b")), 0.54),
        (Derivation(op="difference", of=cite("/i", "/j")), -2),
        (Derivation(op="rank", of=cite("/c", "/a", "/b")), 2),
        (Derivation(op="rank", of=cite("/i", "/i")), 1),
        (Derivation(op="scale", by="0.9", of=Derivation(op="min", of=cite("/a", "/b"))), 1.305),
        (Derivation(op="scale", by="2", of=cite("/i")), 6),
        (Derivation(op="scale", by="0.333333333", of=cite("/i")), 1),
    ],
)
def test_a_derivation_is_worth_exactly(derivation: Derivation, value: float) -> None:
    result = evaluate(derivation, lookup)
    assert result == value
    assert isinstance(result, type(value))


def test_whole_results_of_whole_numbers_are_ints() -> None:
    assert isinstance(evaluate(Derivation(op="sum", of=cite("/i", "/j")), lookup), int)
    assert isinstance(evaluate(Derivation(op="rank", of=cite("/a", "/b")), lookup), int)
    assert sources_of(Derivation(op="scale", by="1", of=Derivation(op="max", of=cite("/i")))) == cite("/i")


def test_a_value_that_almost_stands_everywhere_is_given_up() -> None:
    assert not supports("a" * MAX_TEXT, "a" * (MAX_TEXT // 2))  # without a bound this takes minutes


@pytest.mark.parametrize(
    "derivation",
    [
        Derivation(op="min", of=()),
        Derivation(op="min", of=cite("/missing")),
        Derivation(op="min", of=cite("/s")),
        Derivation(op="difference", of=cite("/a")),
        Derivation(op="scale", of=cite("/a")),
        Derivation(op="scale", by="2", of=cite("/a", "/b")),
        Derivation(op="min", by="2", of=cite("/a")),
        Derivation(op="difference", of=Derivation(op="min", of=cite("/a"))),
        Derivation(op="scale", by="999999999", of=cite("/big")),
    ],
)
def test_what_cannot_be_computed_is_refused(derivation: Derivation) -> None:
    with pytest.raises(DerivationError):
        evaluate(derivation, lookup)


def test_nesting_is_bounded() -> None:
    deep = Derivation(op="min", of=cite("/a"))
    for _ in range(20):
        deep = Derivation(op="scale", by="1", of=deep)
    with pytest.raises(DerivationError, match="deeply"):
        evaluate(deep, lookup)


def test_what_one_character_stands_for_does_not_multiply_the_work() -> None:
    assert len(normalised("\ufdfa" * MAX_TEXT)) <= MAX_TEXT


def test_a_page_is_normalised_once_for_all_values_looked_for_in_it() -> None:
    page = "one page " * 1_000
    before = _normalised.cache_info().misses
    assert not any(supports(page, f"value {number}") for number in range(3))
    assert supports(page, "one page")
    assert _normalised.cache_info().misses - before == 5, "the page, and each of the four values"
