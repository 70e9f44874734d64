"""What holds for every target_schema: its two validators agree, completeness is monotone, pointers come back."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestra.schema import (
    CoercionError,
    TargetSchema,
    TargetSchemaError,
    completeness,
    leaf_pointers,
    resolve_pointer,
    set_pointer,
    split_pointer,
)
from tests.property.schemas import JSON_VALUES, KEYS, SHORTHAND, WORDS, data_for


@st.composite
def schema_and_data(draw: st.DrawFn) -> tuple[TargetSchema, Any]:
    schema = TargetSchema.parse(draw(SHORTHAND))
    return schema, draw(data_for(schema.shape))


def accepted_by_model(schema: TargetSchema, data: Any) -> bool:
    try:
        schema.model.model_validate(data)
    except ValidationError:
        return False
    return True


def coercible(schema: TargetSchema, data: Any) -> bool:
    try:
        schema.coerce(data)
    except CoercionError:
        return False
    return True


@given(SHORTHAND)
def test_shorthand_compiles_and_reads_back_the_same(raw: dict[str, Any]) -> None:
    schema = TargetSchema.parse(raw)
    assert schema.compiled.digest == schema.digest
    again = TargetSchema.parse(schema.json_schema)
    assert again.dialect == "json-schema"
    assert again.shape == schema.shape
    assert again.required_leaves() == schema.required_leaves()


@settings(max_examples=60)
@given(schema_and_data())
def test_data_that_fits_fits_everywhere(pair: tuple[TargetSchema, Any]) -> None:
    schema, data = pair
    assert schema.violations(data) == []
    assert accepted_by_model(schema, data)
    assert schema.coerce(data) == data
    dumped = schema.model.model_validate(data).model_dump(by_alias=True, exclude_unset=True)
    assert dumped == data


@settings(max_examples=60)
@given(schema_and_data(), JSON_VALUES, st.data())
def test_a_change_anywhere_is_judged_alike(pair: tuple[TargetSchema, Any], value: Any, draw: st.DataObject) -> None:
    schema, data = pair
    changed = copy.deepcopy(data)
    changed = set_pointer(changed, draw.draw(st.sampled_from(places(data))), value)
    verdict = schema.compiled.is_valid(changed)
    assert accepted_by_model(schema, changed) == verdict
    assert coercible(schema, changed) == verdict
    assert bool(schema.violations(changed)) != verdict


@settings(max_examples=60)
@given(schema_and_data(), st.data())
def test_a_missing_or_unknown_key_is_judged_alike(pair: tuple[TargetSchema, Any], draw: st.DataObject) -> None:
    schema, data = pair
    changed = copy.deepcopy(data)
    record = resolve_pointer(changed, draw.draw(st.sampled_from([p for p in places(data) if is_object(data, p)])))
    assert isinstance(record, dict)
    if draw.draw(st.booleans()) and record:
        del record[draw.draw(st.sampled_from(sorted(record)))]
    else:
        record[draw.draw(KEYS)] = 1
    verdict = schema.compiled.is_valid(changed)
    assert accepted_by_model(schema, changed) == verdict
    assert coercible(schema, changed) == verdict


def places(data: Any) -> list[str]:
    """The pointers of every value, containers included."""
    found = {""}
    for leaf in leaf_pointers(data):
        parts = leaf.split("/")
        found.update("/".join(parts[:length]) for length in range(1, len(parts) + 1))
    return sorted(found)


def is_object(data: Any, pointer: str) -> bool:
    return isinstance(resolve_pointer(data, pointer), dict)


@settings(max_examples=60)
@given(schema_and_data())
def test_a_full_sourced_result_is_complete(pair: tuple[TargetSchema, Any]) -> None:
    schema, data = pair
    for sourced in ({""}, set(leaf_pointers(data))):
        assert completeness(schema, data, sourced).score == 1.0
    nothing = completeness(schema, data, ())
    assert nothing.score == (0.0 if nothing.required else 1.0)


@settings(max_examples=60)
@given(schema_and_data(), st.data())
def test_taking_something_away_never_raises_completeness(pair: tuple[TargetSchema, Any], draw: st.DataObject) -> None:
    schema, data = pair
    sourced = set(leaf_pointers(data))
    score = 1.0
    for _ in range(6):
        before = completeness(schema, data, sourced)
        assert 0.0 <= before.score <= score
        assert before.found + min(1000, before.required - before.found) == len(before.present) + len(before.missing)
        score = before.score
        if draw.draw(st.booleans()) and sourced:
            sourced.discard(draw.draw(st.sampled_from(sorted(sourced))))
        elif removable := [pointer for pointer in before.present if is_removable(data, pointer)]:
            data = without(data, draw.draw(st.sampled_from(removable)))


def is_removable(data: Any, pointer: str) -> bool:
    """Of a list only the last item: what moved up would lose its source."""
    parent = resolve_pointer(data, pointer.rpartition("/")[0])
    return isinstance(parent, dict) or (isinstance(parent, list) and pointer.endswith(f"/{len(parent) - 1}"))


def without(data: Any, pointer: str) -> Any:
    data = copy.deepcopy(data)
    parent = resolve_pointer(data, pointer.rpartition("/")[0])
    if isinstance(parent, dict):
        del parent[split_pointer(pointer)[-1]]
    elif isinstance(parent, list):
        parent.pop()
    return data


@given(JSON_VALUES)
def test_every_leaf_pointer_resolves_to_its_leaf(data: Any) -> None:
    found = leaf_pointers(data)
    assert all(resolve_pointer(data, pointer) == value for pointer, value in found.items())
    assert all(value in ([], {}) or not isinstance(value, list | dict) for value in found.values())


@given(JSON_VALUES, JSON_VALUES, st.data())
def test_what_was_set_is_found_and_nothing_else_moves(data: Any, value: Any, draw: st.DataObject) -> None:
    place = draw.draw(st.sampled_from(places(data)))
    changed = set_pointer(copy.deepcopy(data), place, value)
    assert resolve_pointer(changed, place) == value
    elsewhere = {p: v for p, v in leaf_pointers(data).items() if p != place and not p.startswith(place + "/")}
    assert all(resolve_pointer(changed, pointer) == kept for pointer, kept in elsewhere.items())


def refusal(raw: Any) -> TargetSchemaError | None:
    """Why a schema is refused, None when it parses and compiles."""
    try:
        assert TargetSchema.parse(raw).compiled
    except TargetSchemaError as refused:
        return refused
    return None


@given(st.text(max_size=30) | WORDS.map(lambda word: word[:-1]) | st.text("lis[]tdcrenum(a,) |0", max_size=20))
def test_any_word_parses_or_is_refused_with_its_place(word: str) -> None:
    refused = refusal({"x": word})
    assert refused is None or (refused.pointer == "/x" and len(str(refused)) < 800)


@given(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=3))
def test_any_object_parses_or_is_refused_with_a_place_in_it(raw: dict[str, Any]) -> None:
    refused = refusal(raw)
    assert refused is None or resolve_pointer(raw, refused.pointer) is not NotImplemented
