"""A new mapping is found where names say enough, and whatever a stranger answers, none is found that does not work."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.capabilities import CONTRACTS
from ledger.remapping import MAX_PATHS, remap
from orchestra.subnets.caller import promise_violation
from orchestra.subnets.mapping import map_wire, select
from tests.fakes.drifting import drifting
from tests.property.schemas import JSON_VALUES

SEARCH = CONTRACTS["web_search"].result
READING = CONTRACTS["time_series"].result


@pytest.mark.parametrize("name", ["desearch", "data-universe", "chutes", "atlas"])
async def test_the_mapping_after_each_drift_of_the_local_network_is_found(name: str) -> None:
    ref, truth, before, after = await drifting(name)
    capability = ref.operation.capability
    for body in after:
        answer = json.loads(body)
        found = remap(CONTRACTS[capability].result, ref.operation.response, answer)
        assert found is not None
        assert select(found, answer) == map_wire(truth.operation, answer), "as its authors would map it"
    assert map_wire(ref.operation, json.loads(before[0])) == select(
        remap(CONTRACTS[capability].result, ref.operation.response, json.loads(before[0])) or "@", json.loads(before[0])
    ), "what did not drift is mapped as before"


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"x": {"0": [{"link": "u"}]}}, {"results": [{"url": "u"}]}),
        ({"*": [{"url": "u"}]}, {"results": [{"url": "u"}]}),
        ({"a\nb\x00": [{"url": "u"}]}, {"results": [{"url": "u"}]}),
        ({"": [{"url": "u"}]}, {"results": [{"url": "u"}]}),
        ({'q"\\': [{"url": "u"}]}, {"results": [{"url": "u"}]}),
        ({"`@`": [{"url": "u"}, {"url": "v"}]}, {"results": [{"url": "u"}, {"url": "v"}]}),
        ([{"url": "u"}], {"results": [{"url": "u"}]}),
        ({"data": [{"uri": "u", "name": "t"}], "more": [{"url": "x"}]}, {"results": [{"url": "u", "title": "t"}]}),
    ],
)
def test_odd_names_are_names(answer: Any, result: Any) -> None:
    found = remap(SEARCH, "", answer)
    assert found is not None
    assert select(found, answer) == result


@pytest.mark.parametrize(
    "answer",
    [None, 1, "text", [], {}, [1, 2], {"results": []}, {"results": [{"size": 3}]}, {"url": "u"}],
)
def test_where_nothing_fits_nothing_is_found(answer: Any) -> None:
    assert remap(SEARCH, "", answer) is None


def test_a_numeral_becomes_a_number_and_a_nullable_number_too() -> None:
    assert remap(READING, "", {"value": "12.50", "unit": "%"}) == "{reading: {value: to_number(value), unit: unit}}"
    promise = {"properties": {"score": {"type": ["number", "null"]}}, "required": ["score"]}
    assert remap(promise, "", {"score": "0.5"}) == "{score: to_number(score)}"


def test_a_field_is_looked_for_where_it_was_read_before() -> None:
    answer = {"value": 3, "level": 5}
    assert remap(READING, "{reading: {value: level}}", answer) == "{reading: {value: level}}"


def test_records_are_merged_only_until_there_are_names_enough() -> None:
    few: dict[str, str] = {f"k{number}": "v" for number in range(MAX_PATHS // 2)}
    assert remap(SEARCH, "", [few, {"_url": "u"}]) == "{results: [*].{url: _url}}"
    assert remap(SEARCH, "", [few | {f"m{number}": "v" for number in range(MAX_PATHS)}, {"_url": "u"}]) is None


def test_a_deep_or_wide_answer_is_cut_short() -> None:
    deep: Any = "u"
    for _ in range(60):
        deep = {"a": [deep]}
    assert remap(SEARCH, "", deep) is None
    wide = {f"n{number:05}": number for number in range(100 * MAX_PATHS)}
    assert remap(READING, "", wide | {"a": {"value": 1}}) == "{reading: {value: a.value}}"


@given(
    answer=JSON_VALUES | st.dictionaries(st.sampled_from(["url", "results", "value", "0", "*", "text"]), JSON_VALUES)
)
def test_whatever_is_answered_what_is_found_evaluates_and_names_what_is_promised(answer: Any) -> None:
    for name, contract in CONTRACTS.items():
        found = remap(contract.result, "{results: data[*].{url: link}}", answer)
        if found is None:
            continue
        mapped = select(found, answer)
        assert isinstance(mapped, dict)
        assert set(contract.result.get("required", ())) <= mapped.keys()
        if promise_violation(name, mapped) is not None:
            assert "[*]" in found or "to_number" in found or name in _BOUNDED, "only a record may lack what others have"


_BOUNDED = {"ai_text_detection", "plagiarism_check", "probability_forecast", "deepfake_detection", "weather_forecast"}
"""Promises that also bound a value."""
