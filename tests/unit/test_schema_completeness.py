"""The exact counting of completeness, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.schema import Missing, TargetSchema, completeness

EVERYTHING = {""}
GPU = {
    "competitors": [{"name": "str", "pricing": "dict", "strengths": "list"}],
    "recommendation": {"price_point": "float", "rationale": "str"},
}
FULL = {
    "competitors": [
        {"name": "RunPod", "pricing": {"a100": 1.99}, "strengths": ["spot"]},
        {"name": "Lambda", "pricing": {"a100": 1.89}, "strengths": ["reliable", "enterprise"]},
    ],
    "recommendation": {"price_point": 1.3, "rationale": "lowest"},
}


def score(schema: Any, data: Any, sourced: set[str] = EVERYTHING) -> tuple[int, int, list[tuple[str, str]]]:
    result = completeness(TargetSchema.parse(schema), data, sourced)
    assert result.score == (result.found / result.required if result.required else 1.0)
    assert len(result.present) == result.found
    return result.found, result.required, [(missing.pointer, missing.reason) for missing in result.missing]


def test_a_full_result() -> None:
    result = completeness(TargetSchema.parse(GPU), FULL, EVERYTHING)
    assert result.score == 1.0
    assert result.missing == ()
    assert result.present == (
        "/competitors/0/name",
        "/competitors/0/pricing",
        "/competitors/0/strengths",
        "/competitors/1/name",
        "/competitors/1/pricing",
        "/competitors/1/strengths",
        "/recommendation/price_point",
        "/recommendation/rationale",
    )


def test_nothing_at_all() -> None:
    assert score(GPU, {}) == (
        0,
        3,
        [
            ("/competitors", "absent"),
            ("/recommendation/price_point", "absent"),
            ("/recommendation/rationale", "absent"),
        ],
    )
    assert score(GPU, None)[2][0] == ("/competitors", "empty")
    assert score(GPU, [])[2][0] == ("/competitors", "wrong_type")


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        ("str", "a", None),
        ("str", "", "empty"),
        ("str", " \n", "empty"),
        ("str", None, "empty"),
        ("str", 1, "wrong_type"),
        ("str", {}, "wrong_type"),
        ("int", 0, None),
        ("int", 2.0, None),
        ("int", "2", "wrong_type"),
        ("bool", False, None),
        ("bool", 0, "wrong_type"),
        ("float", 1, None),
        ("datetime", "yesterday", "wrong_type"),
        ("url", "https://a", None),
        ("enum(a, b)", "c", "wrong_type"),
        ("list", [], "empty"),
        ("list", [None], None),
        ("list", "a", "wrong_type"),
        ("dict", {}, "empty"),
        ("dict", {"a": 1}, None),
        ("dict", [1], "wrong_type"),
        ("str | null", None, None),
        ("str | null", "", "empty"),
        ("str | null", 5, "wrong_type"),
        ("list[str]", [], "empty"),
        ("list[str]", None, "empty"),
        ("list[str]", "a", "wrong_type"),
        ("dict[str, int]", {}, "empty"),
    ],
)
def test_one_leaf(word: str, value: Any, reason: str | None) -> None:
    expected = (1, 1, []) if reason is None else (0, 1, [("/x", reason)])
    assert score({"x": word}, {"x": value}) == expected


@pytest.mark.parametrize(
    ("sourced", "missing"),
    [
        (set[str](), ["/n", "/d", "/l/0", "/m/k"]),
        ({""}, []),
        ({"/n", "/d", "/l", "/m"}, []),
        ({"/n", "/d/a/0", "/d/a/1", "/d/b", "/l/0", "/m/k"}, []),
        ({"/n", "/d/a", "/d/b", "/l/0", "/m/k"}, []),
        ({"/n", "/d/a/0", "/d/b", "/l/0", "/m/k"}, ["/d"]),
        ({"/n", "/d", "/l/00", "/m/k/x"}, ["/l/0", "/m/k"]),
    ],
)
def test_a_source_covers_what_is_below_it(sourced: set[str], missing: list[str]) -> None:
    schema = {"n": "int", "d": "dict", "l": "list[str]", "m": "dict[str, int]"}
    data = {"n": 1, "d": {"a": [1, 2], "b": []}, "l": ["x"], "m": {"k": 1}}
    found, required, reasons = score(schema, data, sourced)
    assert (found, required) == (4 - len(missing), 4)
    assert reasons == [(pointer, "unsourced") for pointer in missing]


def test_null_needs_a_source_where_it_is_allowed() -> None:
    assert score({"x": "str | null"}, {"x": None}, set()) == (0, 1, [("/x", "empty")])
    assert score({"x": "str | null"}, {}) == (0, 1, [("/x", "absent")])


def test_what_is_optional_never_counts() -> None:
    schema = {"a": "str", "b?": "str", "c?": {"d": "str"}}
    for rest in ({}, {"b": "x"}, {"b": 5}, {"c": {}}, {"c": {"d": "x"}}):
        assert score(schema, {"a": "x", **rest}) == (1, 1, [])
    assert completeness(TargetSchema.parse({"a?": "str"}), {}, ()).score == 1.0


def list_of(min_items: int, item: Any) -> dict[str, Any]:
    listed = {"type": "array", "items": item, "minItems": min_items}
    return {"type": "object", "properties": {"l": listed}, "required": ["l"]}


PAIR = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    "required": ["a", "b"],
}


def test_missing_items_miss_all_their_leaves() -> None:
    assert score(list_of(3, PAIR), {"l": [{"a": "x", "b": "y"}]}) == (
        2,
        6,
        [("/l/1/a", "absent"), ("/l/1/b", "absent"), ("/l/2/a", "absent"), ("/l/2/b", "absent")],
    )
    assert score(list_of(2, PAIR), {})[:2] == (0, 4)
    assert score(list_of(2, PAIR), {"l": []})[:2] == (0, 4)
    assert score(list_of(1, {"type": "string"}), {"l": ["a", "b"]})[:2] == (2, 2)


def test_a_plain_list_shorter_than_its_minimum_is_one_missing_leaf() -> None:
    assert score(list_of(3, {}), {"l": [1, 2]}) == (0, 1, [("/l", "empty")])
    assert score(list_of(3, {}), {"l": [1, 2, 3]}) == (1, 1, [])


def test_an_item_or_record_of_another_type_misses_its_leaves() -> None:
    assert score({"l": [{"a": "str", "b": "int"}]}, {"l": ["x", None, {"a": "y"}]}) == (
        1,
        6,
        [
            ("/l/0/a", "wrong_type"),
            ("/l/0/b", "wrong_type"),
            ("/l/1/a", "empty"),
            ("/l/1/b", "empty"),
            ("/l/2/b", "absent"),
        ],
    )


def test_all_missing_leaves_count_and_a_thousand_are_listed() -> None:
    result = completeness(TargetSchema.parse({"l": [{"a": "str", "b": "str"}]}), {"l": [{}] * 5000}, ())
    assert (result.found, result.required, len(result.missing)) == (0, 10_000, 1000)
    assert result.missing[0] == Missing("/l/0/a", "absent")


def test_keys_are_escaped() -> None:
    assert score({"a/b": {"c~d": "str"}}, {"a/b": {"c~d": "x"}}, {"/a~1b/c~0d"}) == (1, 1, [])
