"""target_schema: the demo schemas against a golden table, every word, every refusal, and which dialect is which."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.schemas import DIALECT
from orchestra.schema import (
    AnyShape,
    CoercionError,
    DictOf,
    Enum,
    Field,
    ListOf,
    Nullable,
    Record,
    Scalar,
    Shape,
    TargetSchema,
    TargetSchemaError,
    coerce,
    describe,
    is_free_text,
    to_shorthand,
)

GPU = {
    "competitors": [{"name": "str", "pricing": "dict", "strengths": "list"}],
    "recommendation": {"price_point": "float", "rationale": "str"},
}
SUBNETS = {
    "subnets": [{"netuid": "int", "name": "str", "detects": "str", "base_url": "url", "auth": "str"}],
    "summary": "str",
}
URL = {"type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?# ]+"}
PROSE = {"type": "string", "x-orchestra-free-text": True}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


GOLDEN: list[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    (
        GPU,
        closed(
            competitors={
                "type": "array",
                "items": closed(name={"type": "string"}, pricing={"type": "object"}, strengths={"type": "array"}),
            },
            recommendation=closed(price_point={"type": "number"}, rationale=PROSE),
        ),
        (
            "/competitors/*/name",
            "/competitors/*/pricing",
            "/competitors/*/strengths",
            "/recommendation/price_point",
            "/recommendation/rationale",
        ),
    ),
    (
        SUBNETS,
        closed(
            subnets={
                "type": "array",
                "items": closed(
                    netuid={"type": "integer"},
                    name={"type": "string"},
                    detects={"type": "string"},
                    base_url=URL,
                    auth={"type": "string"},
                ),
            },
            summary=PROSE,
        ),
        (
            "/subnets/*/netuid",
            "/subnets/*/name",
            "/subnets/*/detects",
            "/subnets/*/base_url",
            "/subnets/*/auth",
            "/summary",
        ),
    ),
]


@pytest.mark.parametrize(("raw", "json_schema", "required"), GOLDEN, ids=["gpu", "subnets"])
def test_the_demo_schemas(raw: dict[str, Any], json_schema: dict[str, Any], required: tuple[str, ...]) -> None:
    schema = TargetSchema.parse(raw)
    assert schema.dialect == "shorthand"
    assert schema.json_schema == {"$schema": DIALECT, **json_schema}
    assert schema.required_leaves() == required
    assert TargetSchema.parse(json.dumps(raw)) == schema
    assert json.loads(describe(schema)) == raw


def test_the_digests_of_the_demo_schemas() -> None:
    assert [TargetSchema.parse(raw).digest for raw in (GPU, SUBNETS)] == [
        "0x33ce9a811b28705ee22ea6f18f6af080fedad77382737d4274ef7de4ef405ceb",
        "0x4325fa7b677c5c5a1ed1f238ec1aa000d018166d9195da5bdf9cd4a70500a1f7",
    ]


TEXT, NUMBER = Scalar("str"), Scalar("float")


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("int", Scalar("int")),
        ("bool", Scalar("bool")),
        ("float", NUMBER),
        ("str", TEXT),
        ("datetime", Scalar("datetime")),
        ("url", Scalar("url")),
        ("list", ListOf(AnyShape())),
        ("dict", DictOf(AnyShape())),
        ("list[str]", ListOf(TEXT)),
        ("list[list[int]]", ListOf(ListOf(Scalar("int")))),
        ("dict[str, float]", DictOf(NUMBER)),
        ("dict[str,list[url]]", DictOf(ListOf(Scalar("url")))),
        ("float | null", Nullable(NUMBER)),
        ("null|float", Nullable(NUMBER)),
        ("list[str | null] | null", Nullable(ListOf(Nullable(TEXT)))),
        ("enum(a, b)", Enum(("a", "b"))),
        ("enum(very good, 1) | null", Nullable(Enum(("very good", "1")))),
        ("  list [ str ]  ", ListOf(TEXT)),
        (["str"], ListOf(TEXT)),
        ([{"a": "str"}], ListOf(Record((Field("a", TEXT),)))),
        ([["int"]], ListOf(ListOf(Scalar("int")))),
        ({"a?": "str"}, Record((Field("a", TEXT, required=False),))),
    ],
)
def test_every_word_and_form(word: Any, shape: Shape) -> None:
    schema = TargetSchema.parse({"x": word})
    assert schema.shape == Record((Field("x", shape),))
    assert TargetSchema.parse(schema.json_schema).shape == schema.shape
    assert TargetSchema.parse({"x": to_shorthand(shape)}).shape == schema.shape


@pytest.mark.parametrize(
    ("raw", "pointer", "said"),
    [
        ({"a": "stri"}, "/a", "Did you mean 'str'?"),
        ({"a": "string"}, "/a", "Did you mean 'str'?"),
        ({"a": "Integer"}, "/a", "Did you mean 'int'?"),
        ({"a": "timestamp"}, "/a", "Did you mean 'datetime'?"),
        ({"a": [{"b": {"c/d": "flot"}}]}, "/a/0/b/c~1d", "Did you mean 'float'?"),
        ({"a": "zzz"}, "/a", "found 'zzz'"),
        ({"a": "list[strr]"}, "/a", "Did you mean 'str'?"),
        ({"a": ""}, "/a", "empty word"),
        ({"a": "null"}, "/a", "T | null"),
        ({"a": "str | int"}, "/a", "beside a type only null"),
        ({"a": "str | null | null"}, "/a", "beside a type only null"),
        ({"a": "list[str"}, "/a", "']' is missing"),
        ({"a": "str]"}, "/a", "found 'str]'"),
        ({"a": "dict[int, str]"}, "/a", "dict[str, T]"),
        ({"a": "enum"}, "/a", "enum(a, b)"),
        ({"a": "enum()"}, "/a", "enum(a, b)"),
        ({"a": "enum(a, a)"}, "/a", "distinct"),
        ({"a": 5}, "/a", "which is a value"),
        ({"a": None}, "/a", "which is a value"),
        ({"a": []}, "/a", "a list of 0"),
        ({"a": ["str", "int"]}, "/a", "a list of 2"),
        ({"a": {}}, "/a", '"dict"'),
        ({}, "", '"dict"'),
        ({"?": "str"}, "/?", "needs a name"),
        ({"a": "str", "a?": "str"}, "/a?", "there twice"),
        ({"type": "string", "name": "str"}, "/type", "Did you mean 'str'?"),
        ({"properties": {"a": {"type": "string"}}}, "/properties/a/type", "Did you mean 'str'?"),
    ],
)
def test_a_bad_word_is_refused_with_its_place_and_the_words(raw: Any, pointer: str, said: str) -> None:
    with pytest.raises(TargetSchemaError) as refused:
        TargetSchema.parse(raw)
    assert refused.value.pointer == pointer
    assert said in str(refused.value)
    assert "int, bool, float, str, list, dict, datetime, url" in str(refused.value)


def deep(levels: int) -> dict[str, Any]:
    raw: Any = "str"
    for _ in range(levels):
        raw = {"a": raw}
    return raw


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("[1]", "JSON object"),
        ("{", "not usable JSON"),
        ('{"a": "str", "a": "int"}', "duplicate_key"),
        ("[" * 60_000, "not usable JSON"),
        ('{"a": "' + "x" * 70_000 + '"}', "too_large"),
        ({"a": "x" * 70_000}, "more than 65536 bytes"),
        ({"a": "x" * 3000}, "2000 characters"),
        (deep(18), "nested deeper"),
        (deep(10_000), "nested deeper"),
        ({"a": "list[" * 300 + "str" + "]" * 300}, "nested deeper"),
        ({f"k{n}": "str" for n in range(501)}, "more than 500"),
        ({"$schema": "str"}, "dialect"),
        ({"type": "string"}, '"type": "object"'),
        ({"$schema": DIALECT, "type": "array"}, '"type": "object"'),
        ({"type": "object", "properties": {"a": {"$ref": "http://x"}}}, "remote_ref"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, "recursive_ref"),
        ({"type": "object", "properties": {"a": {"pattern": "(?=a)"}}}, "bad_regex"),
        ({"type": "object", "properties": {"a": {"type": "integer", "x-orchestra-free-text": True}}}, "free-text"),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "array", "minItems": 10**9, "items": {"type": "string"}}},
                "required": ["a"],
            },
            "minItems",
        ),
    ],
)
def test_what_is_too_large_hostile_or_no_object_is_refused(raw: Any, said: str) -> None:
    with pytest.raises(TargetSchemaError) as refused:
        TargetSchema.parse(raw)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 800


@pytest.mark.parametrize(
    ("raw", "dialect"),
    [
        ({"type": "str", "properties": "dict"}, "shorthand"),
        ({"type": {"a": "str"}}, "shorthand"),
        ({"items": ["str"], "required": "bool"}, "shorthand"),
        ({"$schema": DIALECT, "properties": {"a": {"type": "string"}}}, "json-schema"),
        ({"type": "object"}, "json-schema"),
        ({"type": "object", "title": "T", "x-mine": 1, "properties": {}}, "json-schema"),
    ],
)
def test_which_dialect_it_is(raw: Any, dialect: str) -> None:
    assert TargetSchema.parse(raw).dialect == dialect


def test_a_json_schema_becomes_shapes() -> None:
    raw = {
        "$schema": DIALECT,
        "$defs": {"money": {"type": "number", "description": "in USD"}},
        "type": "object",
        "required": ["price", "parts", "undeclared"],
        "properties": {
            "price": {"$ref": "#/$defs/money", "description": "per hour"},
            "parts": {"type": "array", "minItems": 3, "items": {"type": ["string", "null"]}},
            "when": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
            "level": {"enum": ["a", 1, None]},
            "kind": {"const": "x"},
            "by_name": {"type": "object", "additionalProperties": {"type": "integer"}},
            "open": {"type": "object", "properties": {"a": {"type": "boolean"}}},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "numeric": {"type": ["integer", "number"]},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}]},
            "whatever": True,
            "summary": {"type": "string"},
            "answer": {"type": "string", "x-orchestra-free-text": False},
            "story": {"type": ["string", "null"], "x-orchestra-free-text": True},
        },
    }
    schema = TargetSchema.parse(raw)
    assert schema.json_schema == raw
    assert isinstance(schema.shape, Record)
    shapes = {field.name: field.shape for field in schema.shape.fields}
    assert shapes == {
        "price": NUMBER,
        "parts": ListOf(Nullable(TEXT), 3),
        "when": Nullable(Scalar("datetime")),
        "level": Nullable(Enum(("a", 1))),
        "kind": Enum(("x",)),
        "by_name": DictOf(Scalar("int")),
        "open": Record((Field("a", Scalar("bool"), required=False),), AnyShape()),
        "either": AnyShape(),
        "numeric": NUMBER,
        "pair": ListOf(AnyShape()),
        "whatever": AnyShape(),
        "summary": Scalar("str", free_text=True),
        "answer": TEXT,
        "story": Nullable(Scalar("str", free_text=True)),
        "undeclared": AnyShape(),
    }
    assert schema.required_leaves() == ("/price", "/parts/*", "/undeclared")
    assert next(field.description for field in schema.shape.fields if field.name == "price") == "per hour"


@pytest.mark.parametrize(
    ("raw", "free"),
    [
        ({"summary": "str"}, True),
        ({"notes": "str | null"}, True),
        ({"a": {"rationale?": "str"}}, True),
        ({"name": "str"}, False),
        ({"summary": "list[str]"}, False),
        ({"summary": "url"}, False),
        ({"summary": "float"}, False),
        ({"summary": "dict[str, str]"}, False),
        ({"Summary": "str"}, False),
    ],
)
def test_only_a_string_under_a_prose_name_is_free_text(raw: Any, free: bool) -> None:
    assert [is_free_text(leaf.shape) for leaf in TargetSchema.parse(raw).leaves()] == [free]


def test_free_text_can_be_read_off_the_json_schema() -> None:
    properties = TargetSchema.parse({"summary": "str", "name": "str"}).json_schema["properties"]
    assert {name: is_free_text(leaf) for name, leaf in properties.items()} == {"summary": True, "name": False}


@pytest.mark.parametrize(
    ("value", "word", "result"),
    [
        (1, "int", 1),
        (2.0, "int", 2),
        (1, "float", 1),
        ("a", "str", "a"),
        (True, "bool", True),
        (None, "int | null", None),
        ("b", "enum(a, b)", "b"),
        ("2025-01-31T10:00:00Z", "datetime", "2025-01-31T10:00:00Z"),
        ("2025-01-31T10:00:00.123+02:00", "datetime", "2025-01-31T10:00:00.123+02:00"),
        ("https://a.b/c?d", "url", "https://a.b/c?d"),
        ([1, 2.0], "list[int]", [1, 2]),
        ({"a": 1}, "dict[str, float]", {"a": 1}),
        ([1, "a", None], "list", [1, "a", None]),
    ],
)
def test_coerce_takes(value: Any, word: str, result: Any) -> None:
    schema = TargetSchema.parse({"x": word})
    assert schema.coerce({"x": value}) == {"x": result}
    assert type(schema.coerce({"x": value})["x"]) is type(result)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("1", "int"),
        (True, "int"),
        (1.5, "int"),
        ("1.5", "float"),
        (False, "float"),
        (float("inf"), "float"),
        (float("nan"), "int"),
        (1, "str"),
        (1, "bool"),
        ("true", "bool"),
        (None, "str"),
        ("c", "enum(a, b)"),
        ("2025-01-31", "datetime"),
        ("2025-01-31T10:00:00", "datetime"),
        ("2025-02-31T10:00:00Z", "datetime"),
        (1735689600, "datetime"),
        ("a.b/c", "url"),
        ("ftp://a.b", "url"),
        ("https://", "url"),
        ("https://a b", "url"),
        ("javascript:alert(1)", "url"),
        ({}, "list"),
        ([], "dict"),
        ([1, "a"], "list[int]"),
        ("a", "list[str]"),
    ],
)
def test_coerce_refuses(value: Any, word: str) -> None:
    schema = TargetSchema.parse({"x": word})
    with pytest.raises(CoercionError) as refused:
        schema.coerce({"x": value})
    assert refused.value.pointer.startswith("/x")
    assert schema.violations({"x": value}) or value != value


def test_coerce_refuses_missing_and_unknown_keys() -> None:
    record = Record((Field("a", TEXT), Field("b", TEXT, required=False)))
    assert coerce({"a": "x"}, record) == {"a": "x"}
    for wrong in ({"b": "x"}, {"a": "x", "c": 1}, []):
        with pytest.raises(CoercionError):
            coerce(wrong, record)
    assert coerce({"a": "x", "c": 1}, Record(record.fields, AnyShape())) == {"a": "x", "c": 1}


def test_later_changes_of_the_callers_object_do_not_reach_the_schema() -> None:
    raw: dict[str, Any] = {"a": {"b": "str"}}
    schema = TargetSchema.parse(raw)
    raw["a"]["b"] = "nonsense"
    assert schema.raw == {"a": {"b": "str"}}


def test_violations_are_bounded() -> None:
    schema = TargetSchema.parse({"a": "list[int]"})
    assert len(schema.violations({"a": ["x"] * 500})) == 20
    assert len(schema.violations({"a": ["x"] * 500}, limit=3)) == 3
