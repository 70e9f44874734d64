"""What the local services send is what the published facts about SN22, SN13 and SN64 say, and their entries agree.

`tests/fixtures/published_wire.json` holds the facts' output schemas, example requests, example answers and error
bodies.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from ledger.entry import Operation
from ledger.schemas import compile_schema
from orchestra.devnet.entries import ENTRY_IDS, devnet_entries
from orchestra.devnet.subnets import chutes, data_universe, desearch
from tests.unit.test_devnet_services import (
    ALL_DAYS,
    RICH,
    RUNPOD,
    TALK,
    Service,
    ask,
    chat,  # noqa: F401  (a fixture)
    client,
    index,  # noqa: F401
    search,  # noqa: F401
    social,  # noqa: F401
    talk,
)

FACTS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "published_wire.json").read_text(encoding="utf-8")
)
ENTRIES = {entry.netuid: entry for entry in devnet_entries(dict.fromkeys(ENTRY_IDS, "http://127.0.0.1:1"), "5F4")}


def published(name: str) -> Any:
    return compile_schema(FACTS[name]["output_schema"])


def ours(name: str) -> Operation:
    subnet, _, operation = name.partition("/")
    found = ENTRIES[int(subnet.removeprefix("SN"))].operation(operation)
    assert found is not None
    return found


async def test_a_search_answers_in_the_published_schema(search: Service) -> None:  # noqa: F811
    async with client(search.app, RICH) as http:
        answer = await http.get("/web", params=FACTS["SN22/web_search"]["example_request"])
        crawled = await http.get("/web/crawl", params={"url": RUNPOD, "format": "text"})
        extracted = await http.get("/web/extract", params={"url": RUNPOD, "format": "text", "js": True, "wait": 250})
    assert published("SN22/web_search").is_valid(answer.json())
    assert published("SN22/web_crawl").is_valid(crawled.text)
    assert published("SN22/web_extract").is_valid(extracted.text)


@pytest.mark.parametrize("source", ["X", "Reddit", "REDDIT"])
async def test_posts_answer_in_the_published_schema(social: Service, source: str) -> None:  # noqa: F811
    answer = (await ask(social, {"source": source, **ALL_DAYS})).json()
    assert answer["data"]
    assert published("SN13/on_demand_data").errors(answer) == []
    example = await ask(social, FACTS["SN13/on_demand_data"]["example_request"])
    assert (example.status_code, example.json()["data"]) == (200, [])


async def test_the_chat_answers_in_the_published_schema(chat: Service) -> None:  # noqa: F811
    assert published("SN64/chat_completions").errors((await talk(chat, TALK)).json()) == []
    assert (await talk(chat, FACTS["SN64/chat_completions"]["example_request"])).status_code == 200
    async with client(chat.app) as http:
        assert published("SN64/list_models").errors((await http.get("/v1/models")).json()) == []


@pytest.mark.parametrize("name", ["SN22/web_search", "SN13/on_demand_data", "SN64/chat_completions"])
def test_the_entries_accept_what_the_real_services_were_seen_to_answer(name: str) -> None:
    understood = compile_schema(ours(name).output_schema)
    seen = [fixture for fixture in FACTS[name]["fixtures"] if fixture["status"] == 200]
    not_asked_for = {"Reddit post, text under text", "tool call", "stream=true"}
    wanted = [fixture for fixture in seen if fixture["case"] not in not_asked_for]
    assert wanted
    for fixture in wanted:
        assert understood.errors(fixture["body"]) == [], fixture["case"]


ERRORS: dict[str, Callable[[int], Response]] = {
    "SN22": desearch.error,
    "SN13": data_universe.error,
    "SN64": chutes.error,
}
STATED = [(subnet, fact["status"], fact["body"]) for subnet in ERRORS for fact in FACTS[f"{subnet}/errors"]]


@pytest.mark.parametrize(("subnet", "status", "body"), [fact for fact in STATED if fact[1] not in (422, 464)])
def test_errors_have_the_published_status_and_body(subnet: str, status: int, body: Any) -> None:
    answer = ERRORS[subnet](status)
    assert answer.status_code == status
    if body is not None:
        assert json.loads(bytes(answer.body)) == body


@pytest.mark.parametrize(("subnet", "status", "body"), STATED)
def test_entries_know_every_published_error(subnet: str, status: int, body: Any) -> None:
    entry = ENTRIES[int(subnet.removeprefix("SN"))]
    assert all(status in {rule.status for rule in operation.errors} for operation in entry.operations)
