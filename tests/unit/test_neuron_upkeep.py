"""A miner's own looks at subnets: what they see is noticed like what its work sees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from ledger.probe import Reply
from ledger.view import LedgerView, OperationRef
from neurons.governing import NoticingCalls, is_as_described
from orchestra.governing.noticing import FAILURES_FOR_DEAD, Noticed
from tests.builders import entry, operation

SEARCH = operation(
    input_schema={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    output_schema={
        "type": "object",
        "properties": {"data": {"type": "array", "items": {"type": "object"}}},
        "required": ["data"],
    },
    request="{query: query}",
    response="{results: data[*].{title: title, url: link, snippet: snippet}}",
)
ENTRY = entry("alpha", netuid=1, operations=(SEARCH,))
VIEW = LedgerView((ENTRY,))
REF = OperationRef(ENTRY, SEARCH)
HIT = {"title": "T", "link": "https://a.example", "snippet": "S"}
MOVED = {"results": [{"title": "T", "url": "https://a.example", "description": "S"}]}


@dataclass
class Live:
    """A subnet that answers as it is told."""

    replies: list[Reply]
    asked: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], /) -> Reply:
        assert ref.operation == SEARCH
        self.asked.append(query)
        return self.replies.pop(0)


def answered(body: object) -> Reply:
    return Reply(latency_ms=5, status=200, body=json.dumps(body).encode())


async def look(noticed: Noticed, *replies: Reply) -> None:
    live = Live(list(replies))
    calls = NoticingCalls(live, noticed)
    for reply in replies:
        assert await calls(REF, {"query": "test"}) == reply


async def test_an_answer_in_another_shape_is_as_good_as_one_from_work() -> None:
    noticed = Noticed()
    await look(noticed, answered(MOVED))
    (drift,) = await noticed.drifts(VIEW)
    assert (drift.entry, drift.operation) == ("alpha", SEARCH.name)
    assert drift.response == "{results: results[*].{title: title, url: url, snippet: description}}"


async def test_an_answer_as_the_ledger_says_is_nothing_and_takes_back_what_was_seen_before() -> None:
    noticed = Noticed()
    await look(noticed, answered({"data": [HIT]}))
    assert await noticed.drifts(VIEW) == []
    await look(noticed, answered(MOVED), answered({"data": [HIT]}))
    assert await noticed.drifts(VIEW) == []


async def test_looks_without_an_answer_count_towards_giving_a_subnet_up() -> None:
    noticed = Noticed()
    await look(noticed, *[Reply(latency_ms=5, fault="unreachable")] * (FAILURES_FOR_DEAD - 1))
    await look(noticed, Reply(latency_ms=5, fault="throttled"))
    assert noticed._endpoints["alpha"].failures == FAILURES_FOR_DEAD - 1
    await look(noticed, Reply(latency_ms=5, fault="timeout"))
    assert noticed._endpoints["alpha"].failures == FAILURES_FOR_DEAD


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (answered({"data": [HIT]}), True),
        (answered(MOVED), False),
        (Reply(latency_ms=5, fault="unreachable"), False),
        (Reply(latency_ms=5, fault="auth"), None),
        (Reply(latency_ms=5, fault="refused"), None),
    ],
)
async def test_a_sample_entry_of_a_copy_is_held_against_the_live_subnet(reply: Reply, *, told: bool | None) -> None:
    live = Live([reply])
    assert await is_as_described(lambda _: True, live, ENTRY) is told
    assert len(live.asked) == 1
    assert await is_as_described(lambda _: False, live, ENTRY) is None, "an entry that this node may not ask"
