"""Hostile schemas are refused before they cost anything, useful ones compile and say what is wrong with an instance."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from time import perf_counter
from types import FrameType
from typing import Any

import pytest

from ledger.schema_measure import measure
from ledger.schemas import DIALECT, SchemaRefused, SchemaViolation, compile_schema


def doubling(levels: int, keyword: str = "allOf") -> dict[str, Any]:
    defs: dict[str, Any] = {f"l{n}": {keyword: [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**defs, f"l{levels}": {"type": "integer"}}, "$ref": "#/$defs/l0"}


def nested(levels: int, wrap: Callable[[Any], Any], core: Any = True) -> Any:
    for _ in range(levels):
        core = wrap(core)
    return core


def tree_of_pairs(levels: int) -> dict[str, Any]:
    return nested(levels, lambda inner: {"allOf": [inner, inner]}, {"type": "integer"})


def chain(length: int) -> dict[str, Any]:
    """References in a line, named so that the end of the line comes first in every order."""
    defs: dict[str, Any] = {f"l{n:04}": {"$ref": f"#/$defs/l{n - 1:04}"} for n in range(1, length)}
    return {"$defs": {"l0000": {}, **defs}, "$ref": f"#/$defs/l{length - 1:04}"}


def cyclic() -> dict[str, Any]:
    schema: dict[str, Any] = {}
    schema["not"] = schema
    return schema


HOSTILE: dict[str, tuple[Any, str]] = {
    "doubling allOf and $ref": (doubling(26), "too_many_expansions"),
    "doubling anyOf and $ref": (doubling(26, "anyOf"), "too_many_expansions"),
    "doubling oneOf and $ref": (doubling(26, "oneOf"), "too_many_expansions"),
    "doubling allOf and $ref, 40 levels": (doubling(40), "too_deep"),
    "doubling written out": (tree_of_pairs(40), "too_large"),
    "doubling below properties": (
        {
            "$defs": {
                **{f"l{n}": {"properties": {key: {"$ref": f"#/$defs/l{n + 1}"} for key in "ab"}} for n in range(30)},
                "l30": {},
            },
            "$ref": "#/$defs/l0",
        },
        "too_many_expansions",
    ),
    "nested unevaluatedProperties": (
        nested(20, lambda inner: {"allOf": [inner], "unevaluatedProperties": False}),
        "too_many_expansions",
    ),
    "nested unevaluatedItems": (
        nested(20, lambda inner: {"allOf": [inner], "unevaluatedItems": False}),
        "too_many_expansions",
    ),
    "recursion at the root": ({"$ref": "#"}, "recursive_ref"),
    "recursion through a property": ({"properties": {"child": {"items": {"$ref": "#"}}}}, "recursive_ref"),
    "mutual recursion": (
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        "recursive_ref",
    ),
    "recursion that nothing uses": ({"$defs": {"a": {"$ref": "#/$defs/a"}}}, "recursive_ref"),
    "depth 10,000": (nested(10_000, lambda inner: {"not": inner}), "too_deep"),
    "an object that contains itself": (cyclic(), "too_deep"),
    "a long line of references": (chain(1000), "too_deep"),
    "1 MB": ({"description": "x" * 1_000_000}, "too_large"),
    "1 MB of keys": ({"properties": {f"p{n}": {} for n in range(60_000)}}, "too_large"),
    "13,000 trivial branches": ({"allOf": [True] * 13_000}, "too_many_expansions"),
    "a thousand patterns": ({"patternProperties": {f"^a{{{n}}}$": {} for n in range(1000)}}, "too_many_expansions"),
    "a mixed enum of thousands": ({"items": {"enum": [*range(5000)]}}, "too_many_expansions"),
    "exponential size": ({"pattern": "(a{1000}){1000}"}, "bad_regex"),
    "exponential size, thrice": ({"pattern": "((a{100}){100}){100}"}, "bad_regex"),
    "look-ahead": ({"pattern": "(?=a)b"}, "bad_regex"),
    "back-reference": ({"properties": {"x": {"pattern": r"(a)\1"}}}, "bad_regex"),
    "look-behind in a key": ({"patternProperties": {"(?<=a)b": {}}}, "bad_regex"),
    "broken regex": ({"pattern": "["}, "bad_regex"),
    "remote $ref": ({"$ref": "http://127.0.0.1:1/x"}, "remote_ref"),
    "file $ref": ({"$ref": "file:///etc/passwd"}, "remote_ref"),
    "relative $ref": ({"items": {"$ref": "other.json"}}, "remote_ref"),
    "the metaschema": ({"$ref": DIALECT}, "remote_ref"),
    "$ref that leads nowhere": ({"$ref": "#/$defs/none"}, "bad_ref"),
    "$ref to a string": ({"description": "x", "$ref": "#/description"}, "bad_ref"),
    "$ref past a list": ({"allOf": [{}], "$ref": "#/allOf/1"}, "bad_ref"),
    "$ref with escapes": ({"$defs": {"a b": {}}, "$ref": "#/$defs/a%20b"}, "bad_ref"),
    "anchor": ({"$defs": {"a": {"$anchor": "x"}}, "$ref": "#x"}, "bad_ref"),
    "another base inside": ({"properties": {"a": {"$id": "http://127.0.0.1:1/"}}}, "unsupported"),
    "$dynamicRef": ({"$dynamicRef": "#x"}, "unsupported"),
    "another draft": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "dialect"),
    "a draft of their own": ({"$schema": "http://127.0.0.1:1/x"}, "dialect"),
    "a draft further in": ({"items": {"$schema": DIALECT}}, "dialect"),
    "no object": ([], "invalid"),
    "wrong keyword value": ({"type": "text"}, "invalid"),
    "negative minItems": ({"minItems": -1}, "invalid"),
    "a set": ({"enum": {1, 2}}, "not_json"),
    "a key that is a number": ({"properties": {1: {}}}, "not_json"),
    "NaN": ({"maximum": float("nan")}, "not_json"),
    "a huge integer": ({"maximum": 10**400}, "not_json"),
    "a lone surrogate": ({"title": "\ud800"}, "not_json"),
}


@pytest.mark.parametrize(("schema", "code"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_schemas_are_refused_for_a_bounded_amount_of_work(schema: Any, code: str) -> None:
    with CallCount() as counted, pytest.raises(SchemaRefused) as refused:
        compile_schema(schema)
    assert refused.value.code == code
    assert len(refused.value.detail) < 400
    assert counted.calls < 300_000


def test_every_hostile_schema_is_refused_in_well_under_a_second() -> None:
    """About 20 ms for the worst here; the bound leaves room for a loaded machine, exponential work none."""
    for name, (schema, _) in HOSTILE.items():
        assert min(seconds_to_refuse(schema) for _ in range(3)) < 0.25, name


def seconds_to_refuse(schema: Any) -> float:
    begun = perf_counter()
    with pytest.raises(SchemaRefused):
        compile_schema(schema)
    return perf_counter() - begun


class CallCount:
    """Counts Python calls: the work of a refusal, independent of the machine."""

    calls = 0

    def __enter__(self) -> CallCount:
        self._before = sys.getprofile()
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _count(self, _frame: FrameType, event: str, _arg: object) -> None:
        if event == "call":
            self.calls += 1


def test_nothing_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        base = f"http://127.0.0.1:{server.getsockname()[1]}"
        spellings = ({"$ref": f"{base}/x"}, {"$schema": f"{base}/x"}, {"items": {"$id": f"{base}/", "$ref": "x"}})
        for schema in spellings:
            with pytest.raises(SchemaRefused):
                compile_schema(schema)
        assert compile_schema({"$id": f"{base}/mine", "$defs": {"a": {}}, "$ref": "#/$defs/a"}).is_valid(1)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_larger_bound_is_the_callers_choice() -> None:
    schema = {"description": "x" * 100_000}
    with pytest.raises(SchemaRefused, match="too_large"):
        compile_schema(schema)
    assert compile_schema(schema, max_bytes=200_000).is_valid(1)
    with pytest.raises(SchemaRefused, match="too_large"):
        compile_schema(schema)


PERSON = {
    "$schema": DIALECT,
    "$id": "https://example.test/person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "born": {"$ref": "#/$defs/day"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"day": {"type": "string", "format": "date"}},
}


@pytest.mark.parametrize(
    ("instance", "violations"),
    [
        ({"name": "Ada", "born": "1815-12-10", "tags": ["a", "b"]}, []),
        ({}, [("", "required")]),
        ({"name": ""}, [("/name", "minLength")]),
        ({"name": "Ada", "born": "yesterday"}, [("/born", "format")]),
        ({"name": "Ada", "tags": ["a", "c"]}, [("/tags/1", "enum")]),
        ({"name": 1, "tags": {}}, [("/name", "type"), ("/tags", "type")]),
        ({"name": "Ada", "a/b~c": 1}, [("", "additionalProperties")]),
    ],
)
def test_errors_name_the_place_and_the_keyword(instance: Any, violations: list[tuple[str, str]]) -> None:
    compiled = compile_schema(PERSON)
    assert [(found.pointer, found.keyword) for found in compiled.errors(instance)] == violations
    assert compiled.is_valid(instance) is (not violations)


def test_a_pointer_into_the_instance_is_escaped() -> None:
    compiled = compile_schema({"additionalProperties": {"type": "integer"}})
    assert [found.pointer for found in compiled.errors({"a/b~c": "x"})] == ["/a~1b~0c"]


def test_errors_are_limited_and_messages_short() -> None:
    compiled = compile_schema({"items": {"type": "integer"}})
    found = compiled.errors(["x" * 5000] * 100, limit=7)
    assert len(found) == 7
    assert all(len(violation.message) <= 200 for violation in found)


def test_where_listing_all_errors_would_cost_too_much_only_the_first_is_given() -> None:
    compiled = compile_schema({"allOf": [{"type": "integer"}] * 200})
    large = {"a": ["y" * 10] * 80_000}
    assert [found.keyword for found in compiled.errors(large)] == ["type"]
    assert len(compiled.errors({"a": 1}, limit=1000)) == 200


def test_where_even_the_first_error_would_cost_too_much_the_root_is_named() -> None:
    compiled = compile_schema({"anyOf": [{"type": "integer"}] * 200})
    assert compiled.errors({"a": ["y" * 10] * 80_000}) == [
        SchemaViolation("", "does not fit the schema, and is too large to say where", "json")
    ]


def test_a_wide_schema_over_a_large_instance_is_refused_as_too_costly() -> None:
    compiled = compile_schema({"items": {"allOf": [{"type": "integer"}] * 3000}})
    assert compiled.is_valid([1] * 100)
    with pytest.raises(SchemaRefused, match="too_costly"):
        compiled.is_valid([1] * 100_000)


def test_many_properties_are_not_a_wide_schema() -> None:
    fields = {f"p{n}": {"type": "integer"} for n in range(500)}
    rows = [{f"p{n}": n for n in range(500)} for _ in range(100)]
    assert compile_schema({"items": {"properties": fields, "additionalProperties": False}}).is_valid(rows)


@pytest.mark.parametrize("instance", [float("nan"), {1: 2}, {"a": {1}}, "\ud800", object()])
def test_what_is_not_json_does_not_fit(instance: Any) -> None:
    compiled = compile_schema({"type": ["object", "string"], "additionalProperties": {"type": "integer"}})
    assert not compiled.is_valid(instance)
    assert len(compiled.errors(instance)) == 1


def test_a_deep_instance_is_refused_and_does_not_overflow() -> None:
    deep = nested(100_000, lambda inner: [inner], 1)
    compiled = compile_schema({"type": "object"})
    assert not compiled.is_valid(deep)
    assert [found.keyword for found in compiled.errors(deep)] == ["json"]


def test_equal_schemas_share_one_compiled_form_and_later_changes_do_not_reach_it() -> None:
    schema: dict[str, Any] = {"type": "integer", "minimum": 1}
    compiled = compile_schema(schema)
    assert compile_schema({"minimum": 1, "type": "integer"}) is compiled
    schema["minimum"] = 100
    assert compiled.is_valid(2)
    assert not compile_schema(schema).is_valid(2)


def test_the_digest_is_of_the_canonical_form() -> None:
    """Golden: SHA-256 of `{"type":"integer"}`."""
    expected = "0xf0765dbf409c74f001806c446f2cf171d8c46b5b15779d54423dde921a4b0670"
    assert compile_schema({"type": "integer"}).digest == expected


def test_a_measure_counts_expansions_height_and_width() -> None:
    assert measure(doubling(3)).total == 1 + sum(2**level * 2 for level in range(3)) + 2**3 + 2**3 - 1
    widths = measure({"properties": {"a": {"items": {}}, "b": {"allOf": [{}, {}]}}}).widths
    assert widths == (1, 3, 1)
    assert measure({"anyOf": [{}]}).branching
    assert not measure({"allOf": [{}]}).branching
