"""What one validator's answers say of a claim: the honest are confirmed whatever data they saw, lies are denied, and a
validator that could not look says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from ledger.applying import base_of
from ledger.entry import Operation, Price, SubnetEntry
from ledger.governance.effects import Probe
from ledger.probe import Fault, Reply
from ledger.proposals import Anchor, Deprecation, MetricsUpdate, NewSubnet, Proposal, SchemaUpdate, SignedProposal
from ledger.view import OperationRef
from neurons.governing import MOST_RAO_AN_HOUR, purse
from orchestra.governing.judge import SAMPLE, LiveJudge, compared, measured
from orchestra.governing.noticing import Sample, drift_of
from tests.builders import entry, operation
from tests.fakes.clock import VirtualClock
from tests.fakes.drifting import drifting

HASH = "0x" + "11" * 32
ME = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
STRING = {"type": "string"}


def listed(**fields: Any) -> dict[str, Any]:
    record = {"type": "object", "properties": fields}
    return {"type": "object", "properties": {"data": {"type": "array", "items": record}}, "required": ["data"]}


OLD = operation(output_schema=listed(title=STRING, link=STRING, snippet=STRING))
DRIFTED = {"data": [{"title": "T", "url": "https://a.example", "description": "S", "rank": 1}]}
TRUE = listed(title=STRING, url=STRING, description=STRING, rank={"type": "number"})
MAPPED = "{results: data[].{title: title, url: url, snippet: description}}"


def new(schema: Mapping[str, Any] = TRUE, response: str = MAPPED, old: Operation = OLD) -> Operation:
    return old.model_copy(update={"output_schema": dict(schema), "response": response})


# schemas and mappings


@pytest.mark.parametrize("name", ["desearch", "data-universe", "chutes", "atlas"])
async def test_what_a_miner_makes_of_one_answer_is_borne_out_by_every_other(name: str) -> None:
    ref, truth, before, after = await drifting(name)
    for body in after:
        drift = drift_of(ref, [Sample(body)])
        assert drift is not None
        claimed = new(drift.output_schema, drift.response or ref.operation.response, ref.operation)
        for other in after:
            assert compared(ref.operation, claimed, json.loads(other)) == "holds"
        assert compared(ref.operation, claimed, json.loads(before[0])) == "differs", "it did not change at all"
        assert compared(ref.operation, truth.operation, json.loads(body)) == "holds", "as its authors write it"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": ["object", "array", "null"]},
        {"type": "object", "properties": {"data": {}}},
        {"type": "object", "properties": {"data": {"type": "array"}}, "required": ["data"]},
        listed(),
        listed(title={}, url=STRING, description=STRING, rank={"type": "number"}),
        listed(title=STRING),
        listed(title=STRING, link=STRING, snippet=STRING, more=STRING),
        listed(title=STRING, url={"type": "integer"}),
        {"type": "array"},
    ],
)
def test_a_schema_that_tells_less_or_not_what_is_new_is_denied(schema: dict[str, Any]) -> None:
    assert compared(OLD, new(schema), DRIFTED) == "differs"


@pytest.mark.parametrize(
    "schema",
    [
        TRUE,
        listed(title=STRING, link=STRING, snippet=STRING, url=STRING, description=STRING, rank={"type": "number"}),
        listed(title=STRING, url={}, description=STRING),
        listed(
            title=STRING, url=STRING, description={"type": ["string", "null"]}, rank={"type": "number"}, more=STRING
        ),
    ],
    ids=["inferred", "widened", "a null where others have a text", "more than we see"],
)
def test_an_honest_schema_is_confirmed_though_the_proposer_saw_other_data(schema: dict[str, Any]) -> None:
    assert compared(OLD, new(schema), DRIFTED) == "holds"


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"title": "T", "link": "l", "snippet": "S"}]},
        {"data": []},
    ],
    ids=["no drift for this query", "an empty list"],
)
def test_where_nothing_of_it_shows_nothing_is_said(answer: Any) -> None:
    nullable = listed(title=STRING, link=STRING, snippet={"type": ["string", "null"]}, rank={"type": "number"})
    assert compared(OLD, new(nullable, OLD.response), answer) == "unable"


def test_a_claim_that_says_less_is_denied_even_where_nothing_drifted() -> None:
    assert compared(OLD, new({"type": "object"}, OLD.response), {"data": [{"title": "T"}]}) == "differs"


@pytest.mark.parametrize(
    ("response", "seen"),
    [
        (MAPPED, "holds"),
        ("{results: data[*].{url: url, title: title, snippet: description}}", "holds"),
        ("{results: data[].{title: description, url: url, snippet: title}}", "differs"),
        ("{results: data[].{title: title, url: title, snippet: description}}", "differs"),
        ("{results: data[].{url: url}}", "differs"),
        ("{results: data[].{title: title, snippet: description}}", "differs"),
        ("{results: nothing[]}", "differs"),
        ("{results: data[", "differs"),
        ("{results: data[].{title: title, url: url, snippet: gone}}", "unable"),
        ("{results: data[].{title: title, url: `https://evil.example`, snippet: description}}", "unable"),
    ],
)
def test_a_mapping_gives_what_we_would_have_found(response: str, seen: str) -> None:
    assert compared(OLD, new(response=response), DRIFTED) == seen


def test_a_mapping_may_read_what_is_null_in_our_answer() -> None:
    answer = {"data": [{"title": "T", "url": "u", "description": None, "rank": 1, "abstract": "text"}]}
    schema = listed(title=STRING, url=STRING, description={"type": ["string", "null"]}, rank={"type": "number"})
    assert compared(OLD, new(schema), answer) == "holds"


def test_a_mapping_alone_has_to_change_something() -> None:
    answer = {"data": [{"title": "T", "link": "u", "snippet": "s"}]}
    assert (
        compared(
            OLD,
            new(OLD.output_schema, "{results: data[?title!='x'].{title: title, url: link, snippet: snippet}}"),
            answer,
        )
        == "unable"
    )
    poor = new(OLD.output_schema, "{results: data[].{url: link}}")
    assert compared(poor, OLD, answer) == "holds"
    assert compared(OLD, poor, answer) == "differs"


# the live judge


class Calls:
    """Answers in order, by operation; refuses what nobody scripted."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[OperationRef, Mapping[str, Any]]] = []

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], /) -> Reply:
        self.asked.append((ref, query))
        assert self.answers, f"nobody scripted a call of {ref.name}"
        found = self.answers.pop(0)
        if isinstance(found, Reply):
            return found
        return Reply(40, 200, found if isinstance(found, bytes) else json.dumps(found).encode())


def fault(kind: Fault) -> Reply:
    return Reply(10_000, None, None, kind)


def judge(
    calls: Calls, *versions: SubnetEntry, usable: bool = True, spend: Callable[[Operation], bool] = lambda _: True
) -> LiveJudge:
    return LiveJudge(
        calls, lambda _: usable, lambda name: [e for e in versions if e.id == name], VirtualClock().sleep, spend
    )


def probe(proposal: Proposal, attempt: int = 0) -> Probe:
    anchor = Anchor(hotkey=ME, size=1, root=HASH, index=0)
    return Probe(SignedProposal(proposal=proposal, signature="0x" + "00" * 64, anchor=anchor), attempt)


COMMON: dict[str, Any] = {"proposer": ME, "entry": "alpha", "salt": HASH, "base": HASH}


def alpha(made: Operation = OLD) -> SubnetEntry:
    return entry("alpha", netuid=1, operations=(made,))


def update(base: SubnetEntry | None = None, **parts: Any) -> SchemaUpdate:
    found = SchemaUpdate(**COMMON, operation="web_search", **(parts or {"output_schema": TRUE, "response": MAPPED}))
    return found.model_copy(update={"base": base_of(base or alpha(), found)})


async def test_a_schema_update_is_held_against_a_live_answer() -> None:
    assert await judge(Calls(DRIFTED), alpha())(probe(update())) == ("holds", None)
    vague = update(output_schema={})
    assert await judge(Calls(DRIFTED), alpha())(probe(vague)) == ("differs", None)


@pytest.mark.parametrize("kind", ["unreachable", "timeout", "throttled", "out_of_credit", "auth", "fault", "malformed"])
async def test_what_is_no_answer_denies_nothing(kind: Fault) -> None:
    assert await judge(Calls(fault(kind)), alpha())(probe(update())) == ("unable", None)
    fresh = NewSubnet(proposer=ME, entry="alpha", salt=HASH, body=entry("alpha", netuid=1, operations=(new(),)))
    assert await judge(Calls(fault(kind)), alpha())(probe(fresh)) == ("unable", None)


async def test_a_body_that_is_no_json_denies_nothing_and_null_is_an_answer() -> None:
    assert await judge(Calls(b"<html>"), alpha())(probe(update())) == ("unable", None)
    nothing = alpha(OLD.model_copy(update={"capability": "subnet_api", "output_schema": {"type": "object"}}))
    claim = update(nothing, output_schema={"type": ["object", "null"]})
    assert await judge(Calls(b"null"), nothing)(probe(claim)) == ("holds", None)


async def test_another_query_is_tried_where_one_shows_nothing() -> None:
    choice = {"type": "object", "properties": {"query": STRING, "limit": {"type": "integer"}}, "required": ["query"]}
    old = alpha(OLD.model_copy(update={"input_schema": choice}))
    calls = Calls({"data": []}, DRIFTED)
    assert await judge(calls, old)(probe(update(old))) == ("holds", None)
    assert len({json.dumps(query) for _, query in calls.asked}) == 2


async def test_a_later_claim_is_judged_by_what_it_meant_to_replace() -> None:
    changed = alpha(new(listed(title=STRING, url=STRING, description=STRING)))
    calls = Calls(DRIFTED)
    assert await judge(calls, changed, alpha())(probe(update())) == ("holds", None)
    assert await judge(Calls(), changed)(probe(update())) == ("unable", None), "nobody knows that base"


async def test_an_input_schema_is_denied_only_where_the_old_one_still_works() -> None:
    wanted = {"type": "object", "properties": {"words": STRING}, "required": ["words"]}
    claim = update(input_schema=wanted, request="{words: query}")
    refused = fault("refused")
    old_answer = {"data": [{"title": "T", "link": "u", "snippet": "s"}]}
    assert await judge(Calls(refused, old_answer), alpha())(probe(claim)) == ("differs", None)
    assert await judge(Calls(refused, refused), alpha())(probe(claim)) == ("unable", None)
    assert await judge(Calls(refused), alpha())(probe(update())) == ("unable", None)


async def test_what_could_never_be_an_operation_is_denied_and_what_is_not_to_be_asked_is_not() -> None:
    secret = alpha(OLD.model_copy(update={"sensitive": True}))
    assert await judge(Calls(), secret)(probe(update(secret))) == ("unable", None)
    assert await judge(Calls())(probe(update())) == ("unable", None)


@pytest.mark.parametrize(
    ("answer", "seen"),
    [(DRIFTED, "holds"), ({"data": [{"url": 3}]}, "differs"), ({"data": [{"title": "no url"}]}, "differs"),
     (fault("refused"), "unable")],
)  # fmt: skip
async def test_a_new_subnet_answers_as_it_says_and_keeps_its_promise(answer: Any, seen: str) -> None:
    body = entry("omega", netuid=9, operations=(new(),))
    claim = NewSubnet(proposer=ME, entry="omega", salt=HASH, body=body)
    assert await judge(Calls(answer))(probe(claim)) == (seen, None)


async def test_a_death_is_failures_and_any_answer_is_a_sign_of_life() -> None:
    claim = Deprecation(**COMMON)
    two = entry("alpha", netuid=1, operations=(OLD, operation("other")))
    calls = Calls(fault("unreachable"), fault("malformed"), fault("refused"), DRIFTED, fault("throttled"))
    seen = [(await judge(calls, two)(probe(claim, attempt)))[0] for attempt in range(5)]
    assert seen == ["holds", "holds", "differs", "differs", "unable"]
    assert [ref.operation.name for ref, _ in calls.asked] == ["web_search", "other"] * 2 + ["web_search"]
    assert (await judge(Calls(), two, usable=False)(probe(claim)))[0] == "unable"


async def test_metrics_are_a_sample_or_nothing() -> None:
    metrics = {"latency_ms": 40, "latency_p95_ms": 40, "reliability_permille": 900}
    claim = MetricsUpdate(**COMMON, operation="web_search", metrics=metrics, sample=10)
    calls = Calls(*[DRIFTED] * (SAMPLE - 1), fault("timeout"))
    seen, found = await judge(calls, alpha())(probe(claim))
    assert seen == "holds"
    assert found is not None
    assert (found.latency_ms, found.latency_p95_ms, found.reliability_permille) == (40, 40, 900)
    assert await judge(Calls(DRIFTED, fault("throttled")), alpha())(probe(claim)) == ("unable", None)
    assert await judge(Calls(), alpha(), usable=False)(probe(claim)) == ("unable", None)


async def test_a_call_that_is_too_dear_is_not_made() -> None:
    metrics = {"latency_ms": 40, "latency_p95_ms": 40, "reliability_permille": 900}
    claim = MetricsUpdate(**COMMON, operation="web_search", metrics=metrics, sample=10)
    for each in (claim, update(), Deprecation(**COMMON)):
        assert (await judge(Calls(), alpha(), spend=lambda _: False)(probe(each)))[0] == "unable"
    clock = VirtualClock()
    spend = purse(Decimal(300), clock)
    dear = operation(price=Price(amount=str(MOST_RAO_AN_HOUR // 2 / 10**9), currency="TAO"))
    assert [spend(dear), spend(dear), spend(dear), spend(operation(price=None))] == [True, True, False, False]
    clock.advance(3600)
    assert spend(dear)
    assert [spend(operation(price=None)) for _ in range(251)] == [True] * 250 + [False]


def test_measures() -> None:
    found = measured([Reply(each) for each in (10, 20, 30, 1000)])
    assert (found.latency_ms, found.latency_p95_ms, found.reliability_permille) == (25, 1000, 1000)
    dead = measured([fault("timeout"), fault("timeout")])
    assert (dead.latency_ms, dead.reliability_permille) == (10_000, 0)
