"""Random documents import into operations that can be used as they are; hostile ones are refused, unfetched."""

from __future__ import annotations

import json
import socket
from copy import deepcopy
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.canonical import StrictJSONError, canonical, parse_strict
from ledger.entry import SubnetEntry
from ledger.openapi import DocumentRefused, Origin, ProposalFailed, propose, read_document, read_operations
from ledger.openapi.yaml_reader import parse_yaml
from ledger.schemas import compile_schema
from tests.property.schemas import JSON_VALUES

ORIGIN = Origin("test", "2026-11-27", "https://a.example/o.json")
NAMES = ("One", "Two", "Three")
WORDS = st.sampled_from(["search", "pages", "audio", "x-y", "Ä", "a b", "id", ""])
LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "nullable": True, "enum": ["a", "b"]},
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "example": 2},
        {"type": ["string", "null"]},
        {"$ref": "#/components/schemas/One"},
        {"$ref": "#/components/schemas/Two", "description": "beside"},
        {"$ref": "#/components/schemas/Missing"},
        {"$ref": "https://b.example/s.json"},
        {"pattern": "^(a+)+$"},
        {},
        True,
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda parts: {"allOf": parts}, st.lists(inner, max_size=2))
        | st.builds(
            lambda properties, required, nullable: {
                "type": "object",
                "properties": properties,
                "required": required,
                "nullable": nullable,
            },
            st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
            st.lists(st.sampled_from("abcd"), max_size=2, unique=True),
            st.booleans(),
        )
    ),
    max_leaves=6,
)
PARAMETERS = st.lists(
    st.fixed_dictionaries(
        {"name": WORDS, "in": st.sampled_from(["query", "path", "header", "cookie"]), "schema": SCHEMAS},
        optional={"required": st.booleans(), "style": st.sampled_from(["form", "simple", "deepObject"])},
    ),
    max_size=3,
)
CONTENTS = st.dictionaries(
    st.sampled_from(["application/json", "text/plain", "multipart/form-data", "text/csv"]),
    st.fixed_dictionaries({}, optional={"schema": SCHEMAS, "example": JSON_VALUES}),
    max_size=2,
)
OPERATIONS = st.fixed_dictionaries(
    {
        "responses": st.dictionaries(
            st.sampled_from(["200", "201", "2XX", "401", "503", "default"]),
            st.fixed_dictionaries({"description": st.just("")}, optional={"content": CONTENTS}),
            max_size=3,
        )
    },
    optional={
        "operationId": WORDS,
        "summary": WORDS,
        "parameters": PARAMETERS,
        "requestBody": st.fixed_dictionaries({"content": CONTENTS}, optional={"required": st.booleans()}),
        "security": st.lists(
            st.sampled_from([{}, {"K": []}, {"O": []}, {"Nobody": []}, {"K": [], "O": []}]), max_size=2
        ),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "openapi": st.sampled_from(["3.0.3", "3.1.0"]),
        "info": st.fixed_dictionaries({"title": WORDS, "version": st.just("1")}),
        "paths": st.dictionaries(
            st.sampled_from(["/a", "/a/{id}", "/{x-y}/b", "/c"]),
            st.dictionaries(st.sampled_from(["get", "post", "delete", "patch"]), OPERATIONS, min_size=1, max_size=2),
            min_size=1,
            max_size=3,
        ),
        "components": st.fixed_dictionaries(
            {
                "schemas": st.fixed_dictionaries(dict.fromkeys(NAMES, SCHEMAS)),
                "securitySchemes": st.just(
                    {"K": {"type": "apiKey", "in": "header", "name": "X-K"}, "O": {"type": "oauth2", "flows": {}}}
                ),
            }
        ),
    }
)


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS)
def test_every_operation_is_imported_whole_or_skipped_with_a_reason(document: dict[str, Any]) -> None:
    read = read_operations(read_document(json.dumps(document).encode()), published_at=ORIGIN.url)
    asked = [(method.upper(), path) for path, item in document["paths"].items() for method in item]
    assert len(read.drafts) + len(read.skipped) == len(asked)
    assert all(each.reason for each in read.skipped)
    made = propose(read, None, ORIGIN, entry_id="x", netuid=1, capability="web_search")
    assert SubnetEntry.model_validate_json(made.entry.canonical()) == made.entry
    for operation in made.entry.operations:
        compile_schema(operation.input_schema)
        compile_schema(operation.output_schema)
        assert operation.input_schema.get("type", "object") in ("object", ["object", "null"])
    again = propose(read, made.entry, ORIGIN, entry_id="x", capability="web_search")
    assert again.entry == made.entry


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.integers(0, 3) | st.text(max_size=2) | st.none(), st.lists, max_leaves=4) | JSON_VALUES)
def test_anything_in_a_document_s_place_is_refused_and_nothing_else_happens(value: Any) -> None:
    for place in ("paths", "components", "servers", "security", "info"):
        document = {
            "openapi": "3.1.0",
            "paths": {"/a": {"get": {"responses": {}, "security": [{"K": []}]}}},
            place: value,
        }
        try:
            read_operations(read_document(json.dumps(document).encode()))
        except DocumentRefused as refused:
            assert refused.code in ("not_openapi", "bad_number", "bad_text")  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(JSON_VALUES)
def test_yaml_reads_json_as_json_does(value: Any) -> None:
    try:
        raw = canonical(value)
    except ValueError:
        return
    if all(letter.isprintable() for letter in raw.decode()):
        read = parse_yaml(raw, max_bytes=1 << 20, max_depth=64, max_values=10_000)
        assert canonical(read) == canonical(parse_strict(raw))


# Hostile -------------------------------------------------------------------------------------------------------------


def deep(levels: int) -> bytes:
    return b'{"not": ' * levels + b"{}" + b"}" * levels


def doubled(levels: int, keyword: str) -> dict[str, Any]:
    """Components that each name the next one twice."""
    last: dict[str, Any] = {"type": "string"}
    steps = {f"S{n}": {keyword: [{"$ref": f"#/components/schemas/S{n + 1}"}] * 2} for n in range(levels)}
    return {**steps, f"S{levels}": last}


def inline_doubled(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"allOf": [schema, {}]}
    return schema


def document_with(schema: bytes, components: dict[str, Any], where: str) -> bytes:
    media = b'{"content": {"application/json": {"schema": ' + schema + b"}}}"
    stated = b'"requestBody": ' + media if where == "input" else b'"responses": {"200": ' + media + b"}"
    return (
        b'{"openapi": "3.1.0", "paths": {"/a": {"post": {' + stated + b'}}}, "components": {"schemas": '
        + json.dumps(components).encode() + b"}}"
    )  # fmt: skip


TO_FIRST = b'{"$ref": "#/components/schemas/S0"}'
HOSTILE: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "remote reference": (b'{"$ref": "http://127.0.0.1:%d/s.json"}', {}, "remote_ref"),
    "remote reference behind a local one": (TO_FIRST, {"S0": {"$ref": "http://127.0.0.1:%d/s.json"}}, "remote_ref"),
    "look-around": (b'{"type": "object", "properties": {"a": {"pattern": "^(?=(a+)+$)"}}}', {}, "bad_regex"),
    "a regex that grows": (b'{"type": "object", "properties": {"a": {"pattern": "(a{999}){999}"}}}', {}, "bad_regex"),
    "1 MB": (b'{"type": "object", "description": "' + b"a" * (1 << 20) + b'"}', {}, "too_large"),
    "1 MB of parts": (TO_FIRST, {"S0": {"anyOf": [{"minimum": n} for n in range(60_000)]}}, "too_many_values"),
    "many parts": (TO_FIRST, {"S0": {"anyOf": [{"minimum": n} for n in range(12_000)]}}, "too_many_expansions"),
    "itself": (TO_FIRST, {"S0": {"items": {"$ref": "#/components/schemas/S0"}}}, "recursive_ref"),
    "nothing but itself": (TO_FIRST, {"S0": {"$ref": "#/components/schemas/S0"}}, "recursive_ref"),
    "doubling references": (TO_FIRST, doubled(20, "allOf"), "too_many_expansions"),
    "doubling alternatives": (TO_FIRST, doubled(20, "anyOf"), "too_many_expansions"),
    "40 levels of doubling": (TO_FIRST, doubled(40, "allOf"), "too_deep"),
    "deep combinations": (json.dumps(inline_doubled(40)).encode(), {}, ""),
    "another dialect": (b'{"$schema": "http://json-schema.org/draft-07/schema#"}', {}, "dialect"),
    "dynamic references": (b'{"$dynamicRef": "#a", "type": "object"}', {}, "unsupported"),
}


@pytest.mark.parametrize("where", ["input", "output"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_costs_its_operation_and_nothing_is_fetched(name: str, where: str) -> None:
    schema, components, code = HOSTILE[name]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        raw = document_with(schema, components, where).replace(b"127.0.0.1:%d", b"127.0.0.1:%d" % port)
        began = perf_counter()
        try:
            read = read_operations(read_document(raw))
        except DocumentRefused as refused:
            assert refused.code in ("too_deep", code)  # noqa: PT017
        else:
            if code:
                assert not read.drafts
                assert code in read.skipped[0].reason, read.skipped
        assert perf_counter() - began < 1.0
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "raw",
    [
        b'{"openapi": "3.1.0", "x": [' + b"1," * 90_000 + b"1]}",
        b"openapi: 3.1.0\nx: [" + b"1," * 30_000 + b"1]",
        b"openapi: 3.1.0\nx: " + (b"[" + b"1," * 9_000) * 4 + b"1" + b"]" * 4,
    ],
)
def test_a_document_of_too_many_values_is_refused(raw: bytes) -> None:
    began = perf_counter()
    with pytest.raises(DocumentRefused, match="too_many_values"):
        read_document(raw)
    assert perf_counter() - began < 1.0


@pytest.mark.parametrize("levels", [65, 10_000])
def test_a_deep_document_is_refused_before_it_is_built(levels: int) -> None:
    raw = document_with(deep(levels), {}, "output")
    began = perf_counter()
    if levels > 90:
        with pytest.raises(DocumentRefused, match="too_deep"):
            read_document(raw)
    else:
        assert "too_deep" in read_operations(read_document(raw)).skipped[0].reason
    assert perf_counter() - began < 1.0


@pytest.mark.parametrize("turns", [2, 20])
def test_references_between_parts_lead_to_an_end(turns: int) -> None:
    parameters = {f"P{n}": {"$ref": f"#/components/parameters/P{(n + 1) % turns}"} for n in range(turns)}
    stated = {"parameters": [{"$ref": "#/components/parameters/P0"}], "responses": {}}
    document = {"openapi": "3.1.0", "paths": {"/a": {"get": stated}}, "components": {"parameters": parameters}}
    [skipped] = read_operations(read_document(json.dumps(document).encode())).skipped
    assert "recursive_ref" in skipped.reason


def test_many_operations_share_one_purse() -> None:
    parts = {"S0": {"allOf": [{"properties": {f"p{n}": {"type": "string"}}} for n in range(2_000)]}}
    answer = {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S0"}}}}}
    document: dict[str, Any] = {"openapi": "3.1.0", "components": {"schemas": parts}}
    document["paths"] = {f"/p{n}": {"get": {"responses": answer}} for n in range(501)}
    with pytest.raises(DocumentRefused, match="too_many"):
        read_operations(read_document(json.dumps(document).encode()))
    del document["paths"]["/p0"]
    read = read_operations(read_document(json.dumps(document).encode()))
    assert len(read.skipped) == 500
    assert "more than an import translates" in read.skipped[-1].reason


# YAML ----------------------------------------------------------------------------------------------------------------


def laughs(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (laughs(12), "too_many_values"),
        (b"a: &a [*a]", "unsupported"),
        (b"a: 1\na: 2", "duplicate_key"),
        (b"a: 1\n? &x a\n: 2", "duplicate_key"),
        (b"x: &x {a: 1}\ny: {<<: *x}", "unsupported"),
        (b"a: !!python/object/apply:os.system [x]", "unsupported"),
        (b"a: !!binary aaaa", "unsupported"),
        (b"--- 1\n--- 2", "malformed"),
        (b"? [a]\n: 1", "unsupported"),
        (b"a: .nan", "bad_number"),
        (b"a: 1e999", "bad_number"),
        (b"a: 9007199254740993", "bad_number"),
        (b"a: " + b"9" * 5_000, "bad_number"),
        (b"- " * 10_000, "too_deep"),
        (b"[" * 10_000, "too_deep"),
        (b"a: \xff", "bad_text"),
        (b"a: {b", "malformed"),
        (b"x" * (1 << 20), "too_large"),
        (b"[" + b"1," * 250_000 + b"]", "too_many_values"),
    ],
)
def test_yaml_that_is_refused(raw: bytes, code: str) -> None:
    bound = 600_000 if code != "too_large" else 512 << 10
    with pytest.raises(StrictJSONError) as refused:
        parse_yaml(raw, max_bytes=bound, max_depth=96, max_values=200_000)
    assert refused.value.code in (code, "malformed") if code == "too_deep" else refused.value.code == code


def test_a_refusal_names_the_line() -> None:
    for raw, line in ((b"a: 1\nb:\n  c: 1\n  c: 2\n", 4), (b"a: 1\nb: c: d\n", 2)):
        with pytest.raises(StrictJSONError, match=f"line {line}: "):
            parse_yaml(raw, max_bytes=1000, max_depth=9, max_values=99)


def test_yaml_is_read_as_its_version_1_2_says() -> None:
    raw = b"""
    no: no
    on: on
    time: 1:30
    day: 2026-11-27
    octal: 0o17
    hex: 0xfF
    old: 017
    quoted: '12'
    null: ~
    empty:
    200: {x: 1.5, y: -3, z: .5, w: 1e3}
    shared: &s [true, False]
    again: *s
    """
    assert parse_yaml(raw, max_bytes=1000, max_depth=9, max_values=99) == {
        "no": "no",
        "on": "on",
        "time": "1:30",
        "day": "2026-11-27",
        "octal": 15,
        "hex": 255,
        "old": 17,
        "quoted": "12",
        "null": None,
        "empty": None,
        "200": {"x": 1.5, "y": -3, "z": 0.5, "w": 1000.0},
        "shared": [True, False],
        "again": [True, False],
    }


# Documents with something wrong in them ------------------------------------------------------------------------------

HARBOUR = (Path(__file__).parents[1] / "fixtures" / "openapi" / "harbour.yaml").read_bytes()
WRONG = st.sampled_from(
    [None, True, -1, 1.5, "", "x", "{a}", [], {}, [1], [[1]], {"$ref": 5}, {"type": 5}, {"properties": 7}, "a" * 300]
    + [{"$ref": f"#/{path}"} for path in ("", "paths", "components/schemas/Hit", "paths/~1search/get/responses/200")]
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in pairs for place in places(child, (*path, key)))]


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_wrong_part_is_a_reason_and_never_a_crash(data: st.DataObject) -> None:
    document = cast("Any", parse_yaml(HARBOUR, max_bytes=1 << 20, max_depth=96, max_values=10_000))
    for _ in range(data.draw(st.integers(1, 2))):
        put(document, data.draw(st.sampled_from(places(document)[1:])), deepcopy(data.draw(WRONG)))
    try:
        read = read_operations(read_document(json.dumps(document).encode()), published_at=ORIGIN.url)
        made = propose(read, None, ORIGIN, entry_id="x", netuid=1, capability="web_search")
    except (DocumentRefused, ProposalFailed):
        return
    for operation in made.entry.operations:
        compile_schema(operation.input_schema)
        compile_schema(operation.output_schema)
