"""Whatever a stranger sends: refused or compiled, and either way after a bounded count of work."""

from __future__ import annotations

import sys
from time import perf_counter
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.schema_measure import MAX_EXPANSIONS, measure
from ledger.schemas import CompiledSchema, SchemaRefused, compile_schema
from tests.property.schemas import JSON_VALUES

NAMES = [f"d{number}" for number in range(12)]
REFERENCES = st.sampled_from([{"$ref": f"#/$defs/{name}"} for name in NAMES])
PATTERNS = st.lists(
    st.sampled_from(
        ["a", "(a+)+", ".*", "(a|a)*", r"\w{50}", "{900}", "(?=a)", "(", ")", "[^b]", "|", "$", r"\1", "+"]
    ),
    min_size=1,
    max_size=8,
).map("".join)
LEAVES = st.one_of(
    st.booleans(),
    REFERENCES,
    st.sampled_from([{"type": "integer"}, {"type": "string"}, {"enum": [1, "a"]}, {"const": 1}, {"minItems": 2}]),
    PATTERNS.map(lambda pattern: {"pattern": pattern}),
)


def applied(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "allOf": several,
            "anyOf": several,
            "oneOf": several,
            "not": inner,
            "if": inner,
            "then": inner,
            "properties": named,
            "additionalProperties": inner,
            "items": inner,
            "unevaluatedProperties": inner,
            "unevaluatedItems": inner,
            "dependentSchemas": named,
            "$ref": st.sampled_from([f"#/$defs/{name}" for name in NAMES]),
        },
    )


SCHEMAS = st.recursive(LEAVES, applied, max_leaves=6)


@st.composite
def document(draw: st.DrawFn, *, acyclic: bool) -> dict[str, Any]:
    """A root over twelve definitions: anything, or (acyclic) each two to four times the next or the one after it."""
    definitions = {name: draw(SCHEMAS) for name in NAMES}
    if acyclic:
        for number, name in enumerate(NAMES[:-1]):
            following = [{"$ref": f"#/$defs/{NAMES[min(number + draw(st.integers(1, 2)), len(NAMES) - 1)]}"}]
            keyword = draw(st.sampled_from(["allOf", "anyOf", "oneOf"]))
            definitions[name] = {keyword: following * draw(st.integers(2, 4))}
        definitions[NAMES[-1]] = {"type": "integer"}
    return {"$defs": definitions, "$ref": "#/$defs/d0"}


class CallCount:
    calls = 0

    def __enter__(self) -> CallCount:
        self._before = sys.getprofile()
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _count(self, _frame: FrameType, event: str, _arg: object) -> None:
        self.calls += event == "call"


def compiled(schema: dict[str, Any]) -> tuple[CompiledSchema | None, int]:
    with CallCount() as counted:
        try:
            result = compile_schema(schema)
        except SchemaRefused:
            result = None
    return result, counted.calls


@given(document(acyclic=False), JSON_VALUES)
def test_any_document_is_refused_or_bounded(schema: dict[str, Any], instance: Any) -> None:
    result, calls = compiled(schema)
    assert calls < 50_000
    if result is not None:
        assert measure(schema).total <= MAX_EXPANSIONS
        assert len(result.errors(instance, limit=5)) <= 5


@given(document(acyclic=True))
def test_doubling_compiles_up_to_the_bound_and_no_further(schema: dict[str, Any]) -> None:
    result, calls = compiled(schema)
    assert calls < 50_000
    reached = written_out(schema, "d0") + 1
    if result is not None:
        assert reached <= MAX_EXPANSIONS
    else:
        assert sum(written_out(schema, name) for name in schema["$defs"]) + 1 > MAX_EXPANSIONS


def written_out(schema: dict[str, Any], name: str) -> int:
    """The expansions of one definition, counted from its construction: itself and, per branch, a reference's own."""
    definition = schema["$defs"][name]
    if "type" in definition:
        return 1
    (branches,) = definition.values()
    target = branches[0]["$ref"].removeprefix("#/$defs/")
    return 1 + len(branches) * (1 + written_out(schema, target))


@pytest.mark.soak
@settings(max_examples=40, deadline=None)
@given(document(acyclic=True), st.sampled_from(["x" * 20_000, [1] * 5000, {"a": ["b"] * 5000}]))
def test_what_is_accepted_validates_and_explains_in_bounded_time(schema: dict[str, Any], instance: Any) -> None:
    """Each takes a few milliseconds or is refused as too costly; exponential work would take minutes."""
    result, _ = compiled(schema)
    if result is None:
        return
    begun = perf_counter()
    try:
        result.errors(instance)
    except SchemaRefused as refused:
        costly = refused.code == "too_costly"
    else:
        costly = False
    assert costly or not result.is_valid(instance)
    assert perf_counter() - begun < 2.0
