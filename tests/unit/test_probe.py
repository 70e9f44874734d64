"""Probes: what is asked, how often, what an answer says about the schema, and where a look is worth most."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import catalogue
from ledger.entry import Endpoint, Operation, Price, RateLimit
from ledger.example_query import example_queries, query_units
from ledger.inference import diff
from ledger.probe import (
    DEFAULT_INTERVAL_S,
    NotProbed,
    Observation,
    ProbeRecord,
    Reply,
    minimum_interval_s,
    observe,
    probe,
    unprobeable,
)
from ledger.probe_history import MemoryProbeHistory, SqlProbeHistory
from ledger.probe_plan import DAY_S, PRIOR_S, Prospect, chance_of_change, plan, worth
from ledger.schemas import compile_schema
from ledger.view import OperationRef
from tests.builders import entry, operation
from tests.fakes.clock import VirtualClock

ANSWER = {"results": [{"title": "t", "snippet": "s"}]}
OUTPUT = {
    "type": "object",
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"title": {"type": "string"}, "snippet": {"type": "string"}},
                "required": ["title", "snippet"],
            },
        }
    },
    "required": ["results"],
}


def search(**changes: Any) -> Operation:
    return operation(**{"output_schema": OUTPUT, **changes})


def ref(one: Operation) -> OperationRef:
    return OperationRef(entry("a", netuid=1, operations=(one,)), one)


def replied(body: Any, **more: Any) -> Reply:
    return Reply(7, 200, json.dumps(body).encode(), **more)


@dataclass
class Calls:
    """A `Call` that replays replies, remembers queries and the time of each, and refuses one that nobody scripted."""

    clock: VirtualClock
    replies: list[Reply]
    queries: list[tuple[float, Mapping[str, Any]]] = field(default_factory=list[Any])

    async def __call__(self, _: OperationRef, query: Mapping[str, Any], /) -> Reply:
        self.queries.append((self.clock(), query))
        assert len(self.queries) <= len(self.replies), "nobody scripted this call"
        return self.replies[len(self.queries) - 1]


class Bench:
    """One operation under probes, in virtual time."""

    def __init__(self, one: Operation, *replies: Reply) -> None:
        self.ref = ref(one)
        self.clock = VirtualClock()
        self.calls = Calls(self.clock, list(replies))
        self.history = MemoryProbeHistory()

    async def look(self, **more: Any) -> Observation:
        return await probe(self.ref, self.calls, self.history, clock=self.clock, sleep=self.clock.sleep, **more)

    async def record(self) -> ProbeRecord:
        found = await self.history.read(self.ref.name)
        assert found is not None
        return found


# What is asked -------------------------------------------------------------------------------------------------------


def takes(required: tuple[str, ...] = ("a",), /, price: Price | None = None, **properties: Any) -> Operation:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return operation(input_schema=schema, price=price)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "test"),
        ({"type": "string", "enum": ["x", "y"]}, "x"),
        ({"type": "string", "default": "d", "examples": ["e"]}, "e"),
        ({"const": 5}, 5),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3, "multipleOf": 5}, 5),
        ({"type": "number", "maximum": -2}, -2),
        ({"type": "number", "exclusiveMinimum": 0}, 1),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "boolean"}, False),
        ({"type": "array", "items": {"type": "string"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "string", "pattern": "^https?://"}, "https://example.com/"),
        ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z"),
        ({"type": "string", "minLength": 9}, "testaaaaa"),
        ({"type": "string", "maxLength": 1}, "t"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"allOf": [{"required": ["b"]}, {"properties": {"b": {"type": "boolean"}}}]}, {"b": False}),
        ({"type": "object", "properties": {"b": {"type": "string"}}}, {}),
    ],
)
def test_a_value_is_what_the_schema_offers_or_the_least_it_allows(schema: Any, value: Any) -> None:
    [query] = example_queries(takes(a=schema))
    assert query == {"a": value}


def test_only_required_arguments_are_given_and_references_are_followed() -> None:
    one = operation(
        input_schema={
            "type": "object",
            "properties": {"q": {"$ref": "#/$defs/Q"}, "other": {"type": "string"}},
            "required": ["q"],
            "$defs": {"Q": {"type": "string", "examples": ["tug"]}},
        }
    )
    assert example_queries(one) == [{"q": "tug"}]


def test_nothing_is_asked_that_the_schema_does_not_take() -> None:
    assert example_queries(takes(a={"type": "string", "pattern": "^zz[0-9]{9}$"})) == []
    assert example_queries(operation(input_schema={"$ref": "https://x.example"})) == []
    assert example_queries(takes(a={"type": "string", "pattern": "^zz"}), [{"a": "no"}, {"a": "zzz"}]) == [{"a": "zzz"}]


def test_the_cheapest_query_comes_first_and_what_answered_before_comes_before_what_was_made_up() -> None:
    limit = {"type": "integer", "minimum": 2, "default": 10}
    by_item = Price(amount="1", currency="TAO", unit="item", max_units=50)
    one = takes(("q",), by_item, q={"type": "string"}, limit=limit)
    queries = example_queries(one, [{"q": "boats", "limit": 20}])
    assert queries == [
        {"q": "boats", "limit": 2},
        {"q": "test", "limit": 2},
        {"q": "boats", "limit": 20},
        {"q": "test"},
    ]
    assert [query_units(one, each) for each in queries] == [2, 2, 20, 50]
    by_call = one.model_copy(update={"price": None})
    assert example_queries(by_call, [{"q": "boats", "limit": 20}])[0] == {"q": "boats", "limit": 2}


def test_units_of_a_query() -> None:
    by_token = takes(("q",), Price(amount="1", currency="TAO", unit="token", max_units=500), q={"type": "string"})
    assert query_units(by_token, {"q": "x"}) == 500
    assert query_units(by_token, {"q": "x", "max_tokens": 5}) == 12  # 25 characters, and 5
    assert query_units(by_token, {"q": "x" * 9_000, "max_tokens": 5}) == 500
    by_hour = by_token.model_copy(update={"price": Price(amount="1", currency="TAO", unit="hour", max_units=3)})
    assert query_units(by_hour, {"limit": 1}) == 3


SCALARS = st.sampled_from(
    [{"type": "string"}, {"type": "string", "maxLength": 3}, {"enum": ["a", 1]}, {"type": ["string", "null"]}]
) | st.builds(
    lambda low, width, kind: {"type": kind, "minimum": low, "maximum": low + width},
    st.integers(-50, 50),
    st.integers(0, 9),
    st.sampled_from(["integer", "number"]),
)
ARGUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(lambda one, least: {"type": "array", "items": one, "minItems": least}, inner, st.integers(0, 3))
        | st.builds(lambda one: {"anyOf": [one, {"type": "null"}]}, inner)
        | st.builds(
            lambda members: {"type": "object", "properties": members, "required": sorted(members)},
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "limit"]), ARGUMENTS, min_size=1))
def test_for_plain_schemas_there_is_always_a_query(properties: dict[str, Any]) -> None:
    one = operation(input_schema={"type": "object", "properties": properties, "required": sorted(properties)})
    queries = example_queries(one)
    assert queries
    assert all(map(compile_schema(one.input_schema).is_valid, queries))


def test_a_hostile_schema_makes_no_endless_query() -> None:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(12):
        inner = {"type": "array", "items": inner, "minItems": 8}
    assert example_queries(takes(a=inner)) == []


def test_most_operations_of_the_catalogue_can_be_asked() -> None:
    every = [each for one in catalogue.load() for each in one.operations if unprobeable(each) is None]
    asked = [each for each in every if example_queries(each)]
    assert len(every) > 50
    assert len(asked) > 0.9 * len(every)


# How often -----------------------------------------------------------------------------------------------------------


async def test_nothing_is_asked_twice_within_the_interval() -> None:
    bench = Bench(search(), replied(ANSWER), replied(ANSWER))
    await bench.look()
    bench.clock.advance(DEFAULT_INTERVAL_S - 1)
    with pytest.raises(NotProbed) as early:
        await bench.look()
    assert early.value.until == bench.clock() + 1
    bench.clock.advance(1)
    await bench.look()
    assert len(bench.calls.queries) == 2


async def test_a_look_is_written_down_before_it_is_sent() -> None:
    bench = Bench(search())
    with pytest.raises(AssertionError, match="nobody scripted"):
        await bench.look()
    with pytest.raises(NotProbed, match="a short while ago"):
        await bench.look()


@pytest.mark.parametrize(
    ("changes", "interval"),
    [
        ({}, 60),
        ({"cache_ttl_s": 3_600}, 3_600),
        ({"rate_limit": RateLimit(requests=100, window_s=86_400)}, 86_400),
        ({"rate_limit": RateLimit(requests=1_000, window_s=60)}, 60),
    ],
)
def test_the_interval_is_the_longest_of_what_is_known(changes: dict[str, Any], interval: float) -> None:
    assert minimum_interval_s(search(**changes), 60) == pytest.approx(interval)


async def test_waiting_doubles_with_faults_in_a_row_and_a_retry_after_is_obeyed() -> None:
    down = Reply(9, fault="unreachable")
    bench = Bench(search(), down, down, replace(down, retry_after_s=100_000.0), replied(ANSWER))
    waits: list[float] = []
    for _ in range(4):
        await bench.look(least_s=100)
        waits.append((await bench.record()).not_before - bench.clock())
        bench.clock.advance(waits[-1])
    assert waits == [200, 400, 100_000, 100]
    assert (await bench.record()).looks == 4


async def test_a_refused_query_is_followed_by_one_other_within_the_rate_limit() -> None:
    limit = RateLimit(requests=6, window_s=60)
    refused = Reply(3, 422, b"{}", "refused", cost=2)
    bench = Bench(search(rate_limit=limit), refused, replied(ANSWER, cost=3))
    seen = await bench.look(known=[{"query": "b"}])
    assert [(at - bench.calls.queries[0][0], query["query"]) for at, query in bench.calls.queries] == [
        (0, "b"),
        (10, "test"),
    ]
    assert (seen.ok, seen.calls, seen.cost, seen.query) == (True, 2, 5, {"query": "test"})
    bench = Bench(search(), refused, refused)
    assert (await bench.look(known=[{"query": "b"}, {"query": "c"}])).fault == "refused"


@pytest.mark.parametrize("fault", ["throttled", "auth", "out_of_credit", "timeout"])
async def test_any_other_fault_is_the_last_word(fault: Any) -> None:
    bench = Bench(search(), Reply(3, 429, b"", fault))
    seen = await bench.look(known=[{"query": "b"}])
    assert (seen.ok, seen.fault, seen.schema, seen.difference, seen.calls) == (False, fault, None, None, 1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"safe_to_retry": False}, "not safe to repeat"),
        ({"endpoint": operation().endpoint.model_copy(update={"method": "DELETE"})}, "not safe to repeat"),
        ({"role": "job"}, "part of a job"),
        ({"sensitive": True}, "sensitive"),
        ({"endpoint": Endpoint(base_url="", method="GET", path="/", arguments="none")}, "no public address"),
        ({"input_schema": {"not": {}}}, "no valid query"),
    ],
)
async def test_what_must_not_be_asked_is_not(changes: dict[str, Any], why: str) -> None:
    bench = Bench(search(**changes))
    with pytest.raises(NotProbed, match=why) as refused:
        await bench.look()
    assert refused.value.until is None
    assert await bench.history.read(bench.ref.name) is None


# What an answer says -------------------------------------------------------------------------------------------------


async def test_an_answer_as_known_is_no_drift() -> None:
    bench = Bench(search(), replied(ANSWER))
    seen = await bench.look()
    assert (seen.ok, seen.drifted, seen.latency_ms, seen.status) == (True, False, 7, 200)
    assert seen.difference is not None
    assert seen.difference.kind == "identical"
    assert seen.schema == OUTPUT
    assert (await bench.record()).drifts == 0


async def test_a_drift_is_named_by_its_path_and_counted() -> None:
    bench = Bench(search(), replied({"results": [{"title": "t", "snippet": None}]}))
    seen = await bench.look()
    assert seen.ok
    assert seen.drifted
    assert seen.difference is not None
    assert [str(each) for each in seen.difference.changes] == ["output_schema.results.snippet: str -> str | null"]
    assert seen.difference.kind == "breaking"
    assert seen.schema is not None
    assert diff(OUTPUT, seen.schema) == seen.difference
    assert (await bench.record()).drifts == 1


async def test_a_drift_that_lasts_is_one_and_a_property_more_is_none() -> None:
    broken, more = {"results": None}, {**ANSWER, "took_ms": 3}
    down = Reply(9, fault="timeout")
    bench = Bench(search(), *map(replied, (more, broken)), down, *map(replied, (broken, ANSWER, broken)))
    drifts: list[int] = []
    for _ in bench.calls.replies:
        seen = await bench.look()
        drifts.append((await bench.record()).drifts)
        bench.clock.advance(10_000)
        if len(drifts) == 1:
            assert seen.difference is not None
            assert seen.difference.kind == "compatible"
            assert not seen.drifted
    assert drifts == [0, 1, 1, 1, 1, 2]


def test_where_nothing_was_known_the_answer_says_what_there_is() -> None:
    seen = observe(ref(search(output_schema={})), {}, [replied({"a": 1})], 0)
    assert (seen.drifted, seen.difference) == (False, None)
    assert seen.schema is not None
    assert seen.schema["properties"] == {"a": {"type": "number"}}


@pytest.mark.parametrize("body", [b"<html>", b'{"a": 1, "a": 2}', b"[" * 100, b"\xff"])
def test_what_cannot_be_read_is_malformed(body: bytes) -> None:
    seen = observe(ref(search()), {}, [Reply(1, 200, body)], 0)
    assert (seen.ok, seen.fault, seen.schema) == (False, "malformed", None)
    assert seen.response_hash is not None


def test_text_is_read_as_text() -> None:
    endpoint = operation().endpoint.model_copy(update={"media_type": "text/plain"})
    one = search(endpoint=endpoint, output_schema={"type": "string"})
    seen = observe(ref(one), {}, [Reply(1, 200, "ä".encode())], 0)
    assert (seen.ok, seen.drifted) == (True, False)
    assert observe(ref(one), {}, [Reply(1, 200, b"\xff")], 0).fault == "malformed"


def test_a_known_schema_that_is_refused_is_compared_with_nothing() -> None:
    seen = observe(ref(search(output_schema={"$ref": "https://x.example"})), {}, [replied(ANSWER)], 0)
    assert (seen.ok, seen.difference) == (True, None)
    assert seen.schema is not None


# Where a look is worth most ------------------------------------------------------------------------------------------


def test_the_chance_of_a_change_grows_with_age_and_past_drift() -> None:
    assert chance_of_change(Prospect("a", 1, 0)) == 1.0
    fresh, old = (Prospect("a", 1, 0, age_s=age, watched_s=PRIOR_S) for age in (0.0, 60 * DAY_S))
    assert chance_of_change(fresh) == 0.0
    assert chance_of_change(old) == pytest.approx(0.632, abs=1e-3)  # 1 - 1/e: once in 60 days
    assert chance_of_change(replace(old, drifts=1)) == pytest.approx(0.865, abs=1e-3)  # twice
    assert chance_of_change(replace(old, watched_s=5 * PRIOR_S)) < chance_of_change(old)


def test_looks_go_to_demand_age_drift_and_low_price() -> None:
    base = Prospect("base", demand=10, cost=1_000, age_s=DAY_S, watched_s=PRIOR_S)
    better = [
        replace(base, name="asked", demand=100),
        replace(base, name="old", age_s=10 * DAY_S),
        replace(base, name="moving", drifts=5),
        replace(base, name="cheap", cost=0),
        replace(base, name="new", age_s=None),
    ]
    assert all(worth(each) > worth(base) for each in better)
    assert plan([base, *better], budget=10**6, most=9)[-1] is base


def test_a_plan_stays_within_its_budget_and_number() -> None:
    dear, cheap = Prospect("dear", 1_000, 900), Prospect("cheap", 1, 200)
    assert [each.name for each in plan([cheap, dear], budget=1_000, most=9)] == ["dear"]
    assert [each.name for each in plan([cheap, dear], budget=800, most=9)] == ["cheap"]
    assert [each.name for each in plan([cheap, dear], budget=1_100, most=9)] == ["dear", "cheap"]
    assert len(plan([cheap, dear], budget=1_100, most=1)) == 1
    assert plan([cheap, dear], budget=100, most=9) == []
    assert [each.name for each in plan([Prospect("b", 1, 1), Prospect("a", 1, 1)], budget=9, most=9)] == ["a", "b"]


# What is remembered --------------------------------------------------------------------------------------------------


async def test_a_record_survives_a_restart(url: str) -> None:
    record = ProbeRecord(1.5, 2.5, 1e9 + 0.25, 3, 2, True, 1)
    async with await SqlProbeHistory.open(url) as history:
        assert await history.read("a/b") is None
        await history.write("a/b", replace(record, looks=1))
        await history.write("a/b", record)
    async with await SqlProbeHistory.open(url) as history:
        assert await history.read("a/b") == record


async def test_what_was_looked_at_longest_ago_is_forgotten_first(url: str) -> None:
    async with await SqlProbeHistory.open(url, most=2) as stored:
        for history in (stored, MemoryProbeHistory(2)):
            for at, name in ((1.0, "a"), (2.0, "b"), (3.0, "a"), (4.0, "c")):
                await history.write(name, ProbeRecord(at, at, at))
            assert [await history.read(name) is not None for name in "abc"] == [True, False, True]
