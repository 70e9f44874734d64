"""What a miner's own work makes it claim: only what others must see too, nothing on one bad moment, no user's text."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import Operation
from ledger.schemas import compile_schema
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Attempt
from orchestra.governing.noticing import (
    FAILURES_FOR_DEAD,
    KEPT_BYTES,
    MAX_SAMPLE_BYTES,
    OPERATIONS_KEPT,
    SAMPLES_FOR_LOSS,
    SAMPLES_KEPT,
    Noticed,
    Sample,
    drift_of,
)
from orchestra.governing.shapes import keeps_promise
from orchestra.protocol import ErrorKind, StepError
from tests.builders import entry, operation
from tests.fakes.drifting import drifting
from tests.property.schemas import JSON_VALUES

STRING = {"type": "string"}
RECORD = {"type": "object", "properties": {"title": STRING, "link": STRING, "snippet": STRING}, "required": ["link"]}
SCHEMA = {
    "type": "object",
    "properties": {"data": {"type": "array", "items": RECORD}, "status": {"enum": ["ok"]}},
    "required": ["data"],
}
OLD = operation(output_schema=SCHEMA)
VIEW = LedgerView([entry("alpha", netuid=1, operations=(OLD,)), entry("beta", netuid=2)])
MOVED = {"hits": [{"title": "T", "url": "https://a.example", "description": "S"}]}


def ref(made: Operation = OLD) -> OperationRef:
    return OperationRef(entry("alpha", netuid=1, operations=(made,)), made)


def sample(answer: Any, *asked: str) -> Sample:
    return Sample(json.dumps(answer).encode(), frozenset(asked))


def attempt(
    kind: ErrorKind | None = None, answer: Any = None, *, name: str = "alpha", query: dict[str, Any] | None = None
) -> Attempt:
    return Attempt(
        step=1,
        task_id="t",
        task="search",
        capability="web_search",
        subnet="SN1",
        entry=name,
        operation="web_search",
        query=query or {},
        request=json.dumps(query or {}).encode(),
        response=None if answer is None else json.dumps(answer).encode(),
        output=None,
        error=StepError(kind=kind, detail="") if kind else None,
        started_ms=0,
        latency_ms=1,
        cost=0,
        attempt=1,
        depends_on=(),
    )


# drifts


async def test_an_answer_that_does_not_fit_is_a_claim_once() -> None:
    noticed = Noticed(b"secret")
    noticed.take([attempt("schema_mismatch", MOVED), attempt(answer=MOVED, name="local")])
    (found,) = await noticed.drifts(VIEW)
    assert (found.entry, found.operation) == ("alpha", "web_search")
    assert found.response == "{results: hits[*].{title: title, url: url, snippet: description}}"
    assert compile_schema(found.output_schema).is_valid(MOVED)
    assert await noticed.drifts(VIEW) == [], "looked at already"
    noticed.take([attempt("schema_mismatch", {"hits": []})])
    assert await noticed.drifts(VIEW, but={("alpha", "web_search")}) == []
    assert len(await noticed.drifts(VIEW)) == 1, "there is another answer"


async def test_what_fits_again_is_forgotten() -> None:
    noticed = Noticed()
    noticed.take([attempt("schema_mismatch", MOVED), attempt(None)])
    assert await noticed.drifts(VIEW) == []
    noticed.take([attempt("schema_mismatch", MOVED)])
    (found,) = await noticed.drifts(VIEW)
    mended = OLD.model_copy(update={"output_schema": found.output_schema, "response": found.response})
    assert await noticed.drifts(LedgerView([entry("alpha", netuid=1, operations=(mended,))])) == []
    assert await noticed.drifts(VIEW) == [], "it is gone"


@pytest.mark.parametrize("kind", sorted(set(get_args(ErrorKind)) - {"schema_mismatch"}))
async def test_a_failure_is_no_drift(kind: ErrorKind) -> None:
    noticed = Noticed()
    noticed.take([attempt(kind, MOVED), attempt("schema_mismatch", None), attempt("schema_mismatch", {"error": "x"})])
    assert await noticed.drifts(VIEW) == []


async def test_memory_is_bounded() -> None:
    noticed = Noticed()
    noticed.take([attempt("schema_mismatch", {"hits": "x" * MAX_SAMPLE_BYTES})])
    assert not noticed._strange
    for number in range(OPERATIONS_KEPT + 10):
        noticed.answered(f"e{number}", "o", b"{}", {})
        noticed.failed(f"f{number}", b"")
    assert len(noticed._strange) == len(noticed._endpoints) == OPERATIONS_KEPT
    for number in range(SAMPLES_KEPT * 40):
        body = b"%d" % number * (MAX_SAMPLE_BYTES // 4)
        noticed.answered(f"e{number % 20}", "o", body, {})
    assert sum(each.size for each in noticed._strange.values()) <= KEPT_BYTES
    assert max(len(each.samples) for each in noticed._strange.values()) <= SAMPLES_KEPT


def test_a_claim_says_no_more_than_names_and_types() -> None:
    rows = [{"title": f"T{n}", "link": "https://a.example", "at": "2026-01-01T00:00:00Z", "n": n} for n in range(90)]
    drift = drift_of(ref(OLD), [sample({"data": [*rows, {"title": None, "link": "u"}], "status": "other"})])
    assert drift is not None
    record = drift.output_schema["properties"]["data"]["items"]  # type: ignore[index,call-overload]
    assert record["properties"]["at"] == STRING  # type: ignore[index,call-overload]
    assert record["properties"]["n"] == {"type": "number"}  # type: ignore[index,call-overload]
    assert "status" in drift.output_schema["properties"]  # type: ignore[operator]


def test_what_was_always_there_and_is_gone_is_not_kept() -> None:
    drift = drift_of(ref(), [sample(MOVED)])
    assert drift is not None
    assert drift.output_schema["properties"].keys() == {"hits", "status"}  # type: ignore[union-attr]


def test_the_richest_mapping_of_all_samples_is_taken() -> None:
    partly = {"hits": [{"title": "T", "url": "u", "description": None}]}
    for samples in ([sample(MOVED), sample(partly)], [sample(partly), sample(MOVED)]):
        drift = drift_of(ref(), samples)
        assert drift is not None
        assert drift.response == "{results: hits[*].{title: title, url: url, snippet: description}}"


def test_a_field_is_only_given_up_when_several_answers_lack_it() -> None:
    poor = [sample({"hits": [{"title": "T", "url": f"u{n}"}]}) for n in range(SAMPLES_FOR_LOSS)]
    assert drift_of(ref(), poor[:-1]) is None
    drift = drift_of(ref(), poor)
    assert drift is not None
    assert drift.response == "{results: hits[*].{title: title, url: url}}"


def test_an_optional_field_that_moved_is_mapped_though_the_promise_holds_without_it() -> None:
    strict = OLD.model_copy(update={"output_schema": {**SCHEMA, "required": ["data", "status"]}})
    answer = {"data": [{"title": "T", "link": "u", "description": "S"}]}
    drift = drift_of(ref(strict), [sample(answer)])
    assert drift is not None
    assert drift.response == "{results: data[*].{title: title, url: link, snippet: description}}"


@pytest.mark.parametrize("answer", [None, [], {}, "text", 3, {"hits": []}, {"hits": [{"url": None}]}, {"hits": {}}])
def test_nothing_is_made_of_an_answer_that_does_not_say_enough(answer: Any) -> None:
    assert drift_of(ref(), [sample(answer)]) is None
    assert drift_of(ref(), [Sample(b"\xff<html>")]) is None


@given(st.lists(JSON_VALUES | st.fixed_dictionaries({"data": JSON_VALUES, "url": JSON_VALUES}), min_size=1, max_size=4))
def test_whatever_was_answered_a_claim_accepts_it_and_keeps_the_promise(answers: list[Any]) -> None:
    drift = drift_of(ref(), [sample(each) for each in answers])
    if drift is not None:
        changed = {"output_schema": drift.output_schema, "response": drift.response or OLD.response}
        claimed = OLD.model_copy(update=changed)
        assert all(compile_schema(drift.output_schema).is_valid(each) for each in answers)
        assert all(keeps_promise(claimed, each) for each in answers)


# privacy

SECRET = "Operation Nightingale"


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"title": SECRET, "link": 3}] * 80, "status": SECRET},
        {"hits": [{"title": SECRET, "url": SECRET, "description": SECRET}] * 90},
        {"hits": [{"title": "T", "url": "u", SECRET: {SECRET: 1}}]},
        {"hits": [{"title": "T", "url": "u", "tag": tag} for tag in [SECRET, "b"] * 60]},
        {"hits": [{"title": "T", "url": "u"}], "Nightingale": {"price": 1}},
        {"data": SECRET, "status": [SECRET], "Nightingale": [{"url": "u", "title": "t", "snippet": "s"}]},
    ],
)
def test_no_text_of_an_answer_and_no_word_of_a_question_leaves_in_a_claim(answer: Any) -> None:
    lenient = OLD.model_copy(update={"response": "{results: hits[].{title: title, url: url}}"})
    for made in (OLD, lenient, OLD.model_copy(update={"capability": "subnet_api"})):
        drift = drift_of(ref(made), [sample(answer, "nightingale")] * 1, b"secret")
        told = json.dumps([drift.output_schema, drift.response]) if drift else ""
        assert SECRET not in told
        assert "Nightingale" not in told


async def test_evidence_cannot_be_found_by_trying() -> None:
    claims = []
    for secret in (b"one", b"two"):
        noticed = Noticed(secret)
        noticed.take([attempt("schema_mismatch", MOVED, query={"q": "x"})])
        claims += await noticed.drifts(VIEW)
    assert claims[0].evidence != claims[1].evidence


async def test_names_that_a_question_brought_are_found_in_its_query() -> None:
    noticed = Noticed()
    query = {"companies": ["Nightingale"], "more": {"a": 1}}
    noticed.take([attempt("schema_mismatch", {**MOVED, "Nightingale": {"price": 1}}, query=query)])
    (found,) = await noticed.drifts(VIEW)
    assert "Nightingale" not in json.dumps(found.output_schema)


# deaths


def failures(number: int, name: str = "alpha") -> list[Attempt]:
    return [attempt("unreachable", name=name, query={"n": each}) for each in range(number)]


def test_ten_failures_in_a_row_for_a_while_and_others_answered() -> None:
    noticed = Noticed()
    noticed.take([*failures(FAILURES_FOR_DEAD), attempt(name="beta")])
    assert noticed.dead(VIEW, block=100, patience=5) == {}
    assert noticed.dead(VIEW, block=104, patience=5) == {}
    (evidence,) = noticed.dead(VIEW, block=105, patience=5).values()
    assert len(evidence) == SAMPLES_KEPT
    noticed.take([attempt()])
    assert noticed.dead(VIEW, block=110, patience=5) == {}


def test_where_nobody_answers_it_is_us() -> None:
    noticed = Noticed()
    noticed.take([attempt(name="beta"), *failures(50), *failures(50, "beta")])
    assert noticed.dead(VIEW, block=1, patience=0) == {}
    noticed.take([attempt(name="beta")])
    assert noticed.dead(VIEW, block=2, patience=0).keys() == {"alpha"}


@pytest.mark.parametrize(
    "between", [attempt(), attempt("schema_mismatch", MOVED)], ids=["an answer", "an answer in another shape"]
)
def test_any_answer_starts_the_count_again(between: Attempt) -> None:
    noticed = Noticed()
    noticed.take([*failures(9), between, *failures(9), attempt(name="beta")])
    assert noticed.dead(VIEW, block=1, patience=0) == {}


def test_the_unknown_the_deprecated_and_the_forgotten_are_not_dead() -> None:
    noticed = Noticed()
    noticed.take([*failures(20), *failures(20, "nobody"), attempt(name="beta")])
    gone = LedgerView([entry("alpha", netuid=1, status="deprecated")])
    assert noticed.dead(gone, block=1, patience=0) == {}
    assert noticed.dead(VIEW, block=1, patience=0).keys() == {"alpha"}
    noticed.forget("alpha", "")
    assert noticed.dead(VIEW, block=1, patience=0) == {}


async def test_a_drift_that_came_to_nothing_is_forgotten() -> None:
    noticed = Noticed()
    noticed.take([attempt("schema_mismatch", MOVED)])
    noticed.forget("alpha", "web_search")
    assert await noticed.drifts(VIEW) == []


@pytest.mark.parametrize("name", ["desearch", "data-universe", "chutes", "atlas"])
async def test_the_drifts_of_the_local_network_are_noticed_from_one_answer(name: str) -> None:
    found, truth, before, after = await drifting(name)
    assert drift_of(found, [Sample(each) for each in before]) is None
    drift = drift_of(found, [Sample(after[0])])
    assert drift is not None
    claimed = found.operation.model_copy(update={"response": drift.response})
    for body in after:
        assert keeps_promise(claimed, json.loads(body))
        assert keeps_promise(truth.operation, json.loads(body))
