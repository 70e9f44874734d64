"""What is claimed from how much evidence, what a difference is called, and what hostile samples cost."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.difference import MAX_CHANGES
from ledger.inference import LITERAL, Change, Evidence, SamplesRefused, diff, extend, infer, merge
from ledger.schemas import SchemaRefused, compile_schema

STR, INT, NUM, NULL = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "null"}
DATE = "2026-01-02T03:04:05Z"


def obj(*required: str, **properties: Any) -> dict[str, Any]:
    """An object; a name in `required` is required."""
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def arr(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


SEARCH = obj("results", results=arr(obj("title", "snippet", title=STR, snippet=STR)), took=INT)


# Inference -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "schema"),
    [
        ([], {}),
        ([None] * 50, {}),
        ([True], {"type": "boolean"}),
        ([1] * 7, NUM),
        ([1] * 8, INT),
        ([1] * 8 + [1.0], NUM),
        (["a"], STR),
        ([DATE] * 7, STR),
        ([DATE] * 8, {"type": "string", "format": "date-time"}),
        (["https://a.example/b?c"] * 8, {"type": "string", "format": "uri"}),
        ([DATE] * 8 + ["yesterday"], STR),
        (["a", None], {"type": ["string", "null"]}),
        (["a", "b"] * 29, STR),
        (["a", "b"] * 30, {"type": "string", "enum": ["a", "b"]}),
        (["a"] * 60, STR),
        (["a"] * 60 + ["b"] * 5, STR),
        ([f"{n}" for n in range(11)] * 30, STR),
        (["a", "b"] * 40 + ["c" * 65] * 40, STR),
        ([[]], {"type": "array"}),
        ([[1, "a"]] * 3, {"type": "array"}),
        (["a", 1, 1.5, True, None] * 50, {}),
        ([[1, "a"]] * 8, arr({"type": ["integer", "string"]})),
        ([{}], {"type": "object"}),
        ([{"a": "x"}] * 15, obj(a=STR)),
        ([{"a": "x"}] * 16, obj("a", a=STR)),
        ([{"a": "x"}] * 16 + [{}], obj(a=STR)),
        ([{"a": None}] * 16, obj("a", a={})),
        ([{"2026-01-02": 1.5, "2026-01-03": 2.5}], {"type": "object", "additionalProperties": NUM}),
        ([{f"k{n}": n} for n in range(40)], {"type": "object", "additionalProperties": INT}),
        ([{f"k{n}": n} for n in range(11)] * 16, obj(**{f"k{n}": INT for n in range(11)})),
        ([{"a": [{"b": None}, {"b": 1.5}]}], obj(a=arr(obj(b={"type": ["number", "null"]})))),
    ],
)
def test_what_is_claimed_from_how_much(samples: list[Any], schema: dict[str, Any]) -> None:
    found = infer(samples)
    assert diff(found, schema).kind == "identical", found
    assert all(map(compile_schema(found).is_valid, samples))


def test_a_place_that_few_samples_reach_may_hold_anything() -> None:
    samples = [{"a": "x", "b": 1}] * 15 + [{"a": "x"}] * 15
    assert infer(samples)["properties"] == {"a": STR, "b": {}}
    assert infer([*samples, {"b": 1}])["properties"] == {"a": STR, "b": INT}
    assert infer([{"a": "x"}])["properties"] == {"a": STR}


def test_ranges_only_when_asked() -> None:
    samples = [1, 5, 3] * 8
    assert infer(samples) == INT
    assert infer(samples, ranges=True) == {"type": "integer", "minimum": 1, "maximum": 5}


def test_evidence_is_the_callers_to_choose() -> None:
    assert infer([{"a": 1}], evidence=Evidence(required=1, whole=1)) == obj("a", a=INT)
    seen = infer([{"a": None, "b": [], "c": {}, "d": DATE}], evidence=LITERAL)
    assert seen["required"] == ["a", "b", "c", "d"]
    fits = compile_schema(seen).is_valid
    assert fits({"a": None, "b": [], "c": {}, "d": DATE})
    for other in ({"a": 1}, {"b": [1]}, {"c": {"x": 1}}, {"d": "soon"}):
        assert not fits({"a": None, "b": [], "c": {}, "d": DATE} | other)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    "sample",
    [
        nested(64),
        {f"name {n}": n for n in range(5000)},
        {"x" * 100_000: 1},
        {f"a{n}": {f"b{m}": {"c": m, "d": {}} for m in range(60)} for n in range(60)},
        [f"text {n}" for n in range(20_000)],
        [{"a" * (n % 150): n} for n in range(1000)],
        [[[n]] if n % 2 else {"n": n} for n in range(1000)],
        {"$ref": "#/nowhere", "type": 7, "properties": []},
    ],
    ids=["deep", "wide", "long name", "many places", "many texts", "many long names", "mixed", "schema words"],
)
def test_hostile_samples_get_a_schema_that_accepts_them(sample: Any) -> None:
    for schema in (infer([sample]), infer([sample], evidence=LITERAL, ranges=True), extend(obj(a=STR), [sample])):
        assert compile_schema(schema).is_valid(sample)


@pytest.mark.parametrize("sample", [nested(66), [0] * 500_001], ids=["deeper than strict JSON", "too many values"])
def test_samples_that_nobody_looks_at(sample: Any) -> None:
    with pytest.raises(SamplesRefused):
        infer([sample])
    with pytest.raises(SamplesRefused):
        extend({}, [sample])


@pytest.mark.parametrize("sample", [{1: 2}, b"bytes", {1, 2}, [object()]])
def test_samples_that_are_not_json(sample: Any) -> None:
    with pytest.raises(ValueError):
        infer([sample])


# Differences ---------------------------------------------------------------------------------------------------------


def test_the_path_of_a_drift() -> None:
    new = obj(
        "results", results=arr(obj("title", "snippet", title=STR, snippet={"type": ["string", "null"]})), took=INT
    )
    found = diff(SEARCH, new)
    assert found.kind == "breaking"
    assert [str(change) for change in found.changes] == ["output_schema.results.snippet: str -> str | null"]
    assert found.changes == (Change("output_schema.results.snippet", "str", "str | null", "breaking"),)
    assert diff(new, SEARCH).kind == "compatible"


ANY_OF = {"anyOf": [STR, obj("a", a=INT)]}


@pytest.mark.parametrize(
    ("old", "new", "output", "input_", "change"),
    [
        (obj(a=STR), obj(a=STR, b=INT), "compatible", "compatible", "b: absent -> int (optional)"),
        (obj(a=STR), obj("b", a=STR, b=INT), "compatible", "breaking", "b: absent -> int"),
        (obj("a", a=STR), obj(b=STR), "breaking", "compatible", "a: str -> absent"),
        (obj(a=STR, b=STR), obj(a=STR), "compatible", "compatible", "b: str (optional) -> absent"),
        (obj("a", a=STR), obj(a=STR), "breaking", "compatible", "a: str -> str (optional)"),
        (obj(a=STR), obj("a", a=STR), "compatible", "breaking", "a: str (optional) -> str"),
        (obj(a=STR), obj(a=INT), "breaking", "breaking", "a: str -> int"),
        (obj(a=INT), obj(a=NUM), "breaking", "compatible", "a: int -> number"),
        (obj(a=STR), obj(a={}), "breaking", "compatible", "a: str -> any"),
        (obj(**{"a.b": STR}), obj(**{"a.b": INT}), "breaking", "breaking", '"a.b": str -> int'),
        (obj(a=STR), {**obj(a=STR), "additionalProperties": False}, "compatible", "compatible", "*: any -> never"),
        (
            {"type": "object", "additionalProperties": INT},
            {"type": "object", "additionalProperties": STR},
            "breaking",
            "breaking",
            "*: int -> str",
        ),
        (obj(a=arr(STR)), obj(a=arr(INT)), "breaking", "breaking", "a: str -> int"),
        (obj(a=arr(STR)), obj(a=STR), "breaking", "breaking", "a: list[str] -> str"),
        (obj(a=arr(STR)), obj(a=arr(STR, maxItems=3)), "compatible", "breaking", "a: list[str] -> list[str] ..3 items"),
        (obj(a=obj(b=STR)), obj(a=obj(b=INT)), "breaking", "breaking", "a.b: str -> int"),
        (obj(a=ANY_OF), obj(a={"anyOf": [STR, obj("a", a=STR)]}), "breaking", "breaking", "a.a: int -> str"),
        (
            obj(a={"enum": ["x", "y"]}),
            obj(a={"enum": ["x"]}),
            "compatible",
            "breaking",
            'a: "x" | "y" -> "x"',
        ),
        (
            obj(a={"type": "string", "format": "date-time"}),
            obj(a=STR),
            "breaking",
            "compatible",
            "a: str date-time -> str",
        ),
        (obj(a={"type": "integer", "minimum": 0}), obj(a=INT), "breaking", "compatible", "a: int 0.. -> int"),
        (
            obj(a={"type": "string", "pattern": "^a"}),
            obj(a=STR),
            "breaking",
            "compatible",
            'a: str with {"pattern":"^a"} -> str',
        ),
    ],
)
def test_what_a_difference_is_called(old: Any, new: Any, output: str, input_: str, change: str) -> None:
    found = diff(old, new)
    asked = diff(old, new, direction="input")
    assert (found.kind, asked.kind) == (output, input_)
    assert f"output_schema.{change}" in map(str, found.changes)
    assert all(one.path.startswith("input_schema.") for one in asked.changes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"description": "anything"}),
        ({"type": ["integer", "number"]}, NUM),
        ({"type": "integer", "minimum": 1, "maximum": 3}, {"enum": [1, 2, 3.0]}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 0.5}),
        ({"anyOf": [STR, NULL]}, {"type": ["null", "string"], "title": "a text"}),
        ({"oneOf": [STR, INT]}, {"type": ["integer", "string"]}),
        ({"allOf": [obj(a=STR), obj("b", b=INT)]}, obj("b", a=STR, b=INT)),
        ({"$ref": "#/$defs/a", "$defs": {"a": STR}}, STR),
        ({"const": "a", "type": ["string", "null"]}, {"enum": ["a"]}),
        ({"type": "boolean"}, {"enum": [True, False]}),
        ({"type": "object", "properties": {"a": {}}}, {"type": "object"}),
        ({"type": "array", "items": False}, {"type": "array", "maxItems": 0}),
        ({"enum": ["ab", "b"], "pattern": "^a"}, {"const": "ab"}),
        ({"type": "string", "not": {"enum": ["a"]}}, {"not": {"enum": ["a"], "title": "x"}, "type": "string"}),
        ({**obj(a=STR), "patternProperties": {"^x": INT}}, {"patternProperties": {"^x": INT}, **obj(a=STR)}),
        ({"not": {}}, {"not": {}, "description": "nothing"}),
    ],
)
def test_spelling_makes_no_difference(one: Any, other: Any) -> None:
    assert diff(one, other).kind == "identical"
    assert diff(other, one, direction="input").changes == ()


def test_what_a_reference_names_is_part_of_it() -> None:
    def schema(inner: Any) -> dict[str, Any]:
        return {"type": "string", "not": {"$ref": "#/$defs/a"}, "$defs": {"a": inner}}

    assert diff(schema({"const": "a"}), schema({"const": "b"})).kind == "breaking"
    assert diff(schema({"const": "a"}), schema({"const": "a"})).kind == "identical"


def test_changes_are_bounded_and_the_breaking_ones_come_first() -> None:
    old = obj(**{f"a{n}": STR for n in range(300)})
    new = obj(**{f"a{n}": INT if n == 299 else {"enum": ["x" * 130]} for n in range(300)})
    found = diff(old, new)
    assert (found.kind, len(found.changes), str(found.changes[0])) == (
        "breaking",
        MAX_CHANGES,
        "output_schema.a299: str -> int",
    )
    assert max(len(str(one)) for one in found.changes) < 400


def test_hostile_schemas_are_refused() -> None:
    doubled: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    bomb = {"$ref": "#/$defs/d0", "$defs": {**doubled, "d40": STR}}
    for pair in ((bomb, STR), (STR, bomb), ({"$ref": "https://a.example/s"}, STR)):
        with pytest.raises(SchemaRefused):
            diff(*pair)
        with pytest.raises(SchemaRefused):
            merge(*pair)


def test_a_comparison_that_costs_too_much_is_refused() -> None:
    branches = [{"type": "object", "required": [f"a{n}"]} for n in range(900)]
    with pytest.raises(SchemaRefused, match="too_costly"):
        diff({"anyOf": branches}, {"anyOf": branches[::-1]})


def test_a_product_of_unions_is_compared_as_a_whole() -> None:
    def union(letter: str) -> dict[str, Any]:
        return {"anyOf": [obj(**{f"{letter}{n}": {"const": n}}) for n in range(20)]}

    product = {"allOf": [union("a"), union("b"), union("c")]}
    assert diff(product, dict(product)).kind == "identical"
    assert diff(product, {"allOf": [union("a"), union("b")]}).kind == "breaking"
    assert diff({}, product).kind == "compatible"


# What is known, and what was seen ------------------------------------------------------------------------------------


def test_drift_is_named_where_it_is() -> None:
    known = obj(
        "results",
        results=arr(obj("title", "snippet", title={**STR, "description": "its name"}, snippet=STR)),
        state={"enum": ["new", "done"], "title": "how far"},
        code={"type": "string", "pattern": "^[a-z]+$"},
    )
    samples = [
        {"results": [{"title": "a", "snippet": None, "score": 1.5}, {"title": "b", "snippet": "c"}], "code": "x"},
        {"results": [], "state": "failed"},
    ]
    extended = extend(known, samples)
    found = diff(known, extended)
    assert [str(change) for change in found.changes] == [
        "output_schema.results.snippet: str -> str | null",
        'output_schema.state: "done" | "new" -> "done" | "failed" | "new"',
        "output_schema.results.score: absent -> number (optional)",
    ]
    assert extended["properties"]["results"]["items"]["properties"]["title"] == {**STR, "description": "its name"}
    assert extended["properties"]["state"]["title"] == "how far"
    assert extended["properties"]["code"] == known["properties"]["code"]


@pytest.mark.parametrize(
    ("known", "samples", "kind"),
    [
        (SEARCH, [{"results": []}], "identical"),
        (SEARCH, [{"results": [{"title": "a", "snippet": "b"}], "took": 3}], "identical"),
        (SEARCH, [{}], "breaking"),
        (SEARCH, [{"results": []}, {"results": [], "more": 1}], "compatible"),
        ({"type": "object"}, [{"a": 1}], "identical"),
        ({}, [{"a": 1}], "identical"),
        ({"type": "array"}, [[1]], "identical"),
        ({"type": "object", "additionalProperties": INT}, [{"a": 1}], "identical"),
        ({"type": "object", "additionalProperties": INT}, [{"a": "x"}], "breaking"),
        ({**obj(a=STR), "additionalProperties": True}, [{"b": 1}], "identical"),
        ({**obj(a=STR), "additionalProperties": False}, [{"b": 1}], "breaking"),
        ({"anyOf": [obj("a", a=STR), obj("b", b=INT)]}, [{"b": 1}], "identical"),
        ({"anyOf": [obj("a", a=STR), obj("b", b=INT)]}, [{"b": "x"}], "breaking"),
        ({**arr(STR), "uniqueItems": True}, [["a", "a"]], "breaking"),
        ({"$ref": "#/$defs/a", "$defs": {"a": obj("a", a=STR)}}, [{"a": "x"}], "identical"),
        ({"$ref": "#/$defs/a", "$defs": {"a": obj("a", a=STR)}}, [{"a": None}], "breaking"),
        (INT, [1.5], "breaking"),
        ({"type": "integer", "minimum": 0}, [-5, "x", None], "breaking"),
        ({"type": "string", "format": "uri"}, ["not one"], "breaking"),
        ({"type": "string", "maxLength": 2}, ["abc"], "breaking"),
        (NULL, [{"a": []}, [{}]], "breaking"),
    ],
)
def test_what_is_seen_is_accepted_and_what_holds_is_kept(known: Any, samples: list[Any], kind: str) -> None:
    extended = extend(known, samples)
    assert diff(known, extended).kind == kind
    assert all(map(compile_schema(extended).is_valid, samples))
    if kind == "identical":
        assert extended == known


def test_merging_two_descriptions() -> None:
    seen = infer([{"results": [{"title": "a", "snippet": None}], "took": 1}], evidence=LITERAL)
    merged = merge({**SEARCH, "description": "hits"}, seen)
    assert [str(change) for change in diff(SEARCH, merged).changes] == [
        "output_schema.results.snippet: str -> str | null"
    ]
    assert merged["description"] == "hits"
    assert merge(SEARCH, infer([{"results": []}], evidence=LITERAL)) == SEARCH
    assert merge(STR, INT) == {"type": ["integer", "string"]}
    assert merge({"enum": ["a"]}, {"enum": ["b", None]}) == {"type": ["string", "null"], "enum": ["a", "b", None]}
    assert merge({"type": "string", "format": "uri"}, {"enum": ["https://a.example"]}) == {
        "type": "string",
        "format": "uri",
    }
    assert merge(obj("a", a=STR), obj("b", b=INT)) == obj(a=STR, b=INT)
    assert merge({"type": "object", "additionalProperties": INT}, obj(a=STR)) == {
        "type": "object",
        "additionalProperties": {"type": ["integer", "string"]},
    }
