"""Between capability and wire, with expressions that may be hostile."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from time import process_time
from typing import Any

import pytest

from orchestra.subnets.checks import CACHE_SIZE, Schemas, input_violation, output_violation
from orchestra.subnets.mapping import MappingFailed, map_output, map_query, parse_wire, select
from tests.builders import operation


def test_arguments_that_map_to_null_are_dropped() -> None:
    made = operation("op", request="{q: query, count: limit, deep: `false`}")
    assert map_query(made, {"query": "x"}) == {"q": "x", "deep": False}


def test_without_a_mapping_arguments_go_as_they_are() -> None:
    assert map_query(operation("op", request=""), {"query": "x", "limit": None}) == {"query": "x"}


def test_a_body_becomes_what_the_capability_promises() -> None:
    made = operation("op", response="{results: data[].{url: link}}")
    assert map_output(made, b'{"data":[{"link":"u"}]}') == {"results": [{"url": "u"}]}


def test_text_is_the_body_and_must_be_utf8() -> None:
    text = {
        "base_url": "https://x.test",
        "method": "GET",
        "path": "/",
        "arguments": "query",
        "media_type": "text/plain",
    }
    made = operation("op", endpoint=text, response="{text: @}")
    assert map_output(made, "grüß".encode()) == {"text": "grüß"}
    with pytest.raises(MappingFailed) as raised:
        parse_wire(made, b"\xff")
    assert raised.value.code == "malformed"


TWICE = " | [@,@]" * 40
ALL_500 = ",".join("@" * 500)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("data[", {}),
        ("nosuch(@)", {}),
        ("length(`1`)", {}),
        ("to_number(@) + `1`", {}),
        ("{value: to_number(@)}", "nan"),
        ("{value: to_number(@)}", "9" * 30),
        ("[to_number(@)]", "1e999"),
        ("[@,@,@,@,@,@,@,@]" + " | [@,@,@,@,@,@,@,@]" * 40, "x" * 100),
        ("join('', [@,@,@,@])" + " | join('', [@,@,@,@])" * 20, "x" * 1_000),
        (f"[@,@]{TWICE} | to_string(@) | length(@)", "x"),
        (f"{{a: [@,@]{TWICE}, b: [@,@]{TWICE}}} | a == b", "x"),
        (f"[@,@]{TWICE} | abs(@)", "x"),
        (f"[{ALL_500}][] | [{ALL_500}][] | length(@)", ["x"] * 1_000),
        (f"[{ALL_500}] | [*].contains(@, `1`)", ["x"] * 10_000),
        (f"[{ALL_500}][] | [*].[!a, !a, !a, !a, !a, !a, !a] | length(@)", ["x"] * 1_000),
        ("(" * 1_000 + "a" + ")" * 1_000, {}),
    ],
)
def test_an_expression_that_is_wrong_or_never_ends_is_refused(expression: str, value: Any) -> None:
    """Half a second of the processor for the worst here; work that doubles would not end."""
    began = process_time()
    with pytest.raises(MappingFailed) as raised:
        select(expression, value)
    assert raised.value.code == "unmappable"
    assert process_time() - began < 5.0


def test_a_violation_names_the_place_and_not_the_value() -> None:
    made = operation("op")
    assert input_violation(made, {"query": "x"}) is None
    violation = input_violation(made, {"query": ["secret-value"]})
    assert violation == "does not fit input_schema at /query: type"
    assert output_violation(made, {"data": []}) is None
    assert output_violation(made, {}) == "does not fit output_schema at the root: required"


def test_a_hostile_schema_is_a_violation_and_not_a_crash() -> None:
    made = operation("op", output_schema={"$ref": "https://evil.test/schema"})
    assert output_violation(made, {}) == "output_schema of op cannot be used: remote_ref at /$ref"


def test_audits_in_many_threads_share_the_schemas_of_more_operations_than_are_kept() -> None:
    operations = [operation("one", input_schema={"type": "object", "required": [f"a{n}"]}) for n in range(4)]
    schemas, before = Schemas(3), sys.getswitchinterval()

    def use(start: int) -> bool:
        turns = [(start + n) % 4 for n in range(60_000)]
        return all(schemas.of(operations[n], "input_schema").is_valid({f"a{n}": 1}) for n in turns)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(use, range(4)))
    finally:
        sys.setswitchinterval(before)


def test_equal_names_of_different_operations_are_not_confused() -> None:
    for number in range(CACHE_SIZE // 100):
        made = operation("op", input_schema={"type": "object", "required": [f"k{number}"]})
        assert input_violation(made, {f"k{number}": 1}) is None
        assert input_violation(made, {}) is not None
