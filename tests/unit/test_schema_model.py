"""The pydantic model: attributes a person would type, for any key a schema may have."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestra.schema import TargetSchema
from orchestra.schema.model import attribute_names


def test_attributes_all_the_way_down() -> None:
    schema = TargetSchema.parse(
        {
            "competitors": [{"name": "str", "pricing": "dict"}],
            "by_region": "dict[str, list[float]]",
            "best": {"name?": "str", "since": "datetime | null"},
        }
    )
    data = {
        "competitors": [{"name": "Vast.ai", "pricing": {"a100": 1.45}}],
        "by_region": {"eu": [1, 2.5]},
        "best": {"since": "2025-01-31T10:00:00Z"},
    }
    result: Any = schema.model.model_validate(data)
    assert result.competitors[0].name == "Vast.ai"
    assert result.competitors[0].pricing["a100"] == 1.45
    assert result.by_region["eu"] == [1.0, 2.5]
    assert result.best.name is None
    assert result.best.since == "2025-01-31T10:00:00Z"
    assert result.model_dump(by_alias=True, exclude_unset=True) == data
    assert schema.model is schema.model


@pytest.mark.parametrize(
    ("names", "attributes"),
    [
        (["name", "Name", "naïve"], ["name", "Name", "naïve"]),
        (["class", "from", "None", "match", "type"], ["class_", "from_", "None_", "match", "type"]),
        (
            ["json", "copy", "model_dump", "model_fields", "schema"],
            ["json_", "copy_", "model_dump_", "model_fields_", "schema_"],
        ),
        (["a b", "a-b", "a_b"], ["a_b_2", "a_b_3", "a_b"]),
        (["_private", "__dict__"], ["private", "dict__"]),
        (["1st", "", "$", "💰"], ["field_1st", "field_", "field_2", "field_3"]),
        (["ﬁt"], ["fit"]),
        (["class", "class_"], ["class_2", "class_"]),
    ],
)
def test_keys_that_cannot_be_attributes_get_a_safe_name(names: list[str], attributes: list[str]) -> None:
    assert attribute_names(names) == attributes


def test_awkward_keys_keep_their_name_as_alias() -> None:
    keys = ["class", "json", "a b", "a_b", "_x", "model_config", "1", "self", "cls", "data", "values", "root"]
    schema = TargetSchema.parse({"x": dict.fromkeys(keys, "int")})
    data = {"x": {key: number for number, key in enumerate(keys)}}
    result: Any = schema.model.model_validate(data)
    assert result.model_dump(by_alias=True) == data
    assert result.x.class_ == 0


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"a": {"b": ["x"]}}, ("a", "b", 0)),
        ({"a": {}}, ("a", "b")),
        ({"a": {"b": [1]}, "c": 1}, ("c",)),
        ({"a": {"b": (1,)}}, ("a", "b")),
    ],
)
def test_errors_name_the_place(data: Any, place: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        TargetSchema.parse({"a": {"b": "list[int]"}}).model.model_validate(data)
    assert [error["loc"] for error in refused.value.errors()] == [place]


def test_what_only_the_json_schema_says_holds_for_the_model_too() -> None:
    schema = TargetSchema.parse(
        {
            "type": "object",
            "properties": {"n": {"type": "integer", "minimum": 3}, "s": {"type": "string", "pattern": "^a"}},
            "required": ["n"],
            "additionalProperties": {"type": "boolean"},
        }
    )
    result: Any = schema.model.model_validate({"n": 3, "s": "ab", "more": True})
    assert (result.n, result.s, result.more) == (3, "ab", True)
    for wrong in ({"n": 2}, {"n": 3, "s": "b"}, {"n": 3, "more": "yes"}):
        with pytest.raises(ValidationError):
            schema.model.model_validate(wrong)


def test_an_object_of_any_keys_is_a_root_model() -> None:
    schema = TargetSchema.parse({"type": "object", "additionalProperties": {"type": "integer"}})
    result: Any = schema.model.model_validate({"a": 1})
    assert result.root == {"a": 1}
    with pytest.raises(ValidationError):
        schema.model.model_validate({"a": "x"})


def test_results_cannot_be_changed() -> None:
    result: Any = TargetSchema.parse({"a": "int"}).model.model_validate({"a": 1})
    with pytest.raises(ValidationError):
        result.a = 2
