"""What a miner that is behind makes of a hint: the newest word it has, and never a way to crash or to inject."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.view import LedgerView
from orchestra.mining.hints import HintedView
from orchestra.protocol import Hint
from tests.builders import entry, operation

BASE = LedgerView([entry("desearch", netuid=22), entry("other", netuid=13)])
MAPPING = "{query: query}"


def schema(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}


def hinted(input_schema: dict[str, Any] | None, /, **changes: Any) -> HintedView:
    fields: dict[str, Any] = {"entry": "desearch", "operation": "web_search", "input_schema": input_schema}
    return HintedView(BASE, [Hint.model_validate(fields | changes)])


def request_of(view: LedgerView) -> str:
    found = view.operation("desearch", "web_search")
    assert found is not None
    return found.operation.request


def test_a_renamed_property_is_renamed_in_the_mapping() -> None:
    view = hinted(schema("q"))
    found = view.operation("desearch", "web_search")
    assert found is not None
    assert found.operation.input_schema == schema("q")
    assert found.operation.request == "{q: query}", "the key is renamed, the value still comes from the capability"


def test_it_keeps_the_version_it_was_made_from_and_leaves_the_base_alone() -> None:
    view = hinted(schema("q"))
    assert (view.version, view.leaves, view.size) == (BASE.version, BASE.leaves, BASE.size)
    assert request_of(BASE) == MAPPING
    assert view.entry("other") == BASE.entry("other")
    assert view.capabilities == BASE.capabilities


@pytest.mark.parametrize(
    "hint",
    [
        {"entry": "nobody"},
        {"operation": "nothing"},
        {"operation": ""},
        {"input_schema": None},
        {"input_schema": None, "output_schema": {"type": "null"}, "note": "trust me"},
    ],
)
def test_a_hint_about_nothing_we_know_changes_nothing(hint: dict[str, Any]) -> None:
    view = hinted(schema("q"), **hint)
    assert [view.entry(name) for name in BASE.entries] == list(BASE.entries.values())


@pytest.mark.parametrize(
    "name", ["\\1", "\\g<0>", "a: `1`, b", "q}||{x", "", "x" * 65, "9lives", "naïve", "a b", "q\n"]
)
def test_a_name_that_is_not_a_plain_one_does_not_reach_the_expression(name: str) -> None:
    assert request_of(hinted(schema(name))) == MAPPING


@pytest.mark.parametrize("properties", [None, 7, "query", ["query"], True])
def test_properties_that_are_none_are_read_as_none(properties: Any) -> None:
    assert request_of(hinted({"properties": properties})) == MAPPING


def test_names_that_stay_are_not_touched() -> None:
    two = operation("web_search", request="{query: query, limit: limit}", input_schema=schema("query", "limit"))
    base = LedgerView([entry("desearch", netuid=22, operations=(two,))])
    hint = Hint(entry="desearch", operation="web_search", input_schema=schema("q", "limit"))
    assert request_of(HintedView(base, [hint])) == "{q: query, limit: limit}"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
def test_no_hint_can_crash_it(properties: Any) -> None:
    view = hinted({"type": "object", "properties": properties})
    assert view.version == BASE.version
