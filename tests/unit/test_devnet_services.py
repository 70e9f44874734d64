"""The local services speak like the subnets they stand for: wire shapes, errors, billing, and the same bytes again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestra.devnet.content import Post, posts, web_pages
from orchestra.devnet.subnets import chutes, data_universe, desearch
from orchestra.devnet.subnets.bm25 import Bm25Index
from orchestra.devnet.subnets.documents import documents
from orchestra.devnet.subnets.faults import Control, Faults
from orchestra.devnet.subnets.keys import Keys
from orchestra.transport import OutboundClient, serving
from tests.fakes.crawler import MemoryCrawler

RICH, POOR = "rich-key-0123456789", "poor-key-0123456789"
BALANCES = {RICH: Decimal(1), POOR: Decimal(0)}
PAGES = {page.url: page.html for page in web_pages()}
RUNPOD = "https://runpod.example/pricing"


def client(app: Any, authorization: str = "") -> httpx.AsyncClient:
    headers = {"Authorization": authorization} if authorization else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://subnet.test", headers=headers)


class Service:
    """An app with what the test may look at."""

    def __init__(self, app: Any, faults: Faults, keys: Keys) -> None:
        self.app = app
        self.faults = faults
        self.keys = keys

    def drift(self) -> None:
        self.faults.set(Control.model_validate({"schema": "drifted"}))


# desearch ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index() -> Iterator[Bm25Index]:
    with Bm25Index(documents()) as found:
        yield found


@pytest.fixture
def search(index: Bm25Index) -> Service:
    keys, faults = Keys(BALANCES), Faults(desearch.error, desearch.caller)
    return Service(desearch.create_app(index, MemoryCrawler(PAGES), keys, faults), faults, keys)


async def test_a_search_is_ten_results_billed_by_the_result(search: Service) -> None:
    async with client(search.app, RICH) as http:
        answer = await http.get("/web", params={"query": "GPU cloud pricing"})
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 10
    assert all(hit.keys() == {"title", "snippet", "link"} for hit in answer.json()["data"])
    assert answer.headers["X-Desearch-Cost-Usd"] == "0.001"
    assert answer.headers["X-Desearch-Usage-Count"] == "10"
    assert answer.headers["X-Desearch-Service"] == "web_search"
    assert answer.headers["X-Desearch-Currency"] == "USD"
    assert search.keys.charge(RICH, Decimal(0)) == Decimal("0.999")


async def test_a_later_page_and_an_empty_one_which_is_free(search: Service) -> None:
    async with client(search.app, RICH) as http:
        first = (await http.get("/web", params={"query": "subnet API"})).json()["data"]
        second = (await http.get("/web", params={"query": "subnet API", "start": 10})).json()["data"]
        empty = await http.get("/web", params={"query": "xyzzyplugh"})
    assert not {hit["link"] for hit in first} & {hit["link"] for hit in second}
    assert empty.json() == {"data": []}
    assert empty.headers["X-Desearch-Cost-Usd"] == "0"


@pytest.mark.parametrize("path", ["/web?query=a", f"/web/crawl?url={RUNPOD}", f"/web/extract?url={RUNPOD}"])
async def test_customers_only(search: Service, path: str) -> None:
    for key, status, detail in (
        ("", 401, "Invalid or missing API key"),
        ("Bearer " + RICH, 401, "Invalid or missing API key"),
        (POOR, 402, "Insufficient balance, please add funds to continue."),
    ):
        async with client(search.app, key) as http:
            answer = await http.get(path)
        assert (answer.status_code, answer.json()) == (status, {"detail": detail})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/web", "query"), ("/web?query=%20", "query"), ("/web?query=a&start=-1", "start"),
        ("/web?query=a&start=x", "start"), ("/web/crawl", "url"), ("/web/crawl?url=runpod.example", "url"),
        (f"/web/crawl?url={RUNPOD}&format=pdf", "format"),
        (f"/web/extract?url={RUNPOD}&fields=nope", "fields"), (f"/web/extract?url={RUNPOD}&fields=[]", "fields"),
        (f'/web/extract?url={RUNPOD}&fields={{"a":"thing"}}', "fields"),
    ],
)  # fmt: skip
async def test_parameters_are_checked_and_errors_cost_nothing(search: Service, path: str, name: str) -> None:
    async with client(search.app, RICH) as http:
        answer = await http.get(path)
    [detail] = answer.json()["detail"]
    assert answer.status_code == 422
    assert detail["loc"] == ["query", name]
    assert search.keys.charge(RICH, Decimal(0)) == 1


async def test_a_missing_page_is_not_billed(search: Service) -> None:
    async with client(search.app, RICH) as http:
        answer = await http.get("/web/crawl", params={"url": "https://nowhere.example/"})
    assert answer.status_code == 404
    assert search.keys.charge(RICH, Decimal(0)) == 1


async def test_crawl_gives_text_or_html(search: Service) -> None:
    async with client(search.app, RICH) as http:
        text = await http.get("/web/crawl", params={"url": RUNPOD})
        html = await http.get("/web/crawl", params={"url": RUNPOD, "format": "html"})
        published = await http.get("/web/extract", params={"url": RUNPOD})
    assert text.headers["content-type"].startswith("text/plain")
    assert "A100 80 GB | 80 GB | $1.99/hr" in text.text
    assert html.text == PAGES[RUNPOD]
    assert published.content == text.content


async def test_extract_gives_records_and_the_same_bytes_again(search: Service) -> None:
    fields = json.dumps({"name": "str", "pricing": "dict", "strengths": "list"})
    async with client(search.app, RICH) as http:
        first = await http.get("/web/extract", params={"url": RUNPOD, "fields": fields})
        again = await http.get("/web/extract", params={"url": RUNPOD, "fields": fields})
    [record] = first.json()["data"]
    assert first.json()["url"] == RUNPOD
    assert (record["name"], record["pricing"]["a100_80gb"]) == ("RunPod", 1.99)
    assert first.content == again.content


async def test_a_drift_renames_the_results(search: Service) -> None:
    search.drift()
    async with client(search.app, RICH) as http:
        answer = (await http.get("/web", params={"query": "RunPod"})).json()
    assert answer.keys() == {"results"}
    assert answer["results"][0].keys() == {"title", "description", "url"}


# data-universe -------------------------------------------------------------------------------------------------------

CALL = "/sn13.v1.Sn13Service/OnDemandData"
ALL_DAYS = {"start_date": "2026-10-01T00:00:00Z", "end_date": "2026-11-20T00:00:00Z"}


@pytest.fixture
def social() -> Service:
    keys, faults = Keys(BALANCES), Faults(data_universe.error, data_universe.caller)
    return Service(data_universe.create_app(posts(), keys, faults), faults, keys)


async def ask(service: Service, body: Any, key: str = f"Bearer {RICH}") -> httpx.Response:
    async with client(service.app, key) as http:
        return await http.post(CALL, content=body if isinstance(body, bytes) else json.dumps(body).encode())


async def test_posts_by_keyword_newest_first(social: Service) -> None:
    answer = (await ask(social, {"source": "X", "keywords": ["BitMind"], "limit": 5, **ALL_DAYS})).json()
    assert answer["status"] == "success"
    assert answer["meta"]["items_returned"] == len(answer["data"]) > 1
    assert all("bitmind" in row["content"].lower() and row["source"] == "X" for row in answer["data"])
    dates = [row["datetime"] for row in answer["data"]]
    assert dates == sorted(dates, reverse=True)
    assert {"uri", "datetime", "source", "label", "content", "media", "user", "tweet"} == answer["data"][0].keys()


async def test_any_and_all_keywords(social: Service) -> None:
    async def count(mode: str) -> int:
        body = {"source": "X", "keywords": ["RunPod", "templates"], "keyword_mode": mode, **ALL_DAYS}
        return (await ask(social, body)).json()["meta"]["items_returned"]

    assert 0 < await count("all") < await count("any")


async def test_users_dates_limits_and_single_posts(social: Service) -> None:
    mine = (await ask(social, {"source": "X", "usernames": ["@dockwatch"], **ALL_DAYS})).json()["data"]
    assert {row["user"]["username"] for row in mine} == {"dockwatch"}
    day = {"source": "X", "start_date": "2026-11-01T00:00:00Z", "end_date": "2026-11-02T00:00:00Z"}
    assert {row["datetime"][:10] for row in (await ask(social, day)).json()["data"]} == {"2026-11-01"}
    assert len((await ask(social, {"source": "X", "limit": 3, **ALL_DAYS})).json()["data"]) == 3
    [one] = (await ask(social, {"source": "X", "url": mine[0]["uri"]})).json()["data"]
    assert one == mine[0]


async def test_without_dates_the_last_day_of_the_collection(social: Service) -> None:
    answer = (await ask(social, {"source": "X"})).json()["data"]
    assert {row["datetime"][:10] for row in answer} == {"2026-11-19"}


async def test_reddit_says_text_and_youtube_has_nothing(social: Service) -> None:
    answer = (await ask(social, {"source": "Reddit", **ALL_DAYS})).json()["data"]
    assert all(row["source"] == "REDDIT" and row["text"] and "content" not in row for row in answer)
    assert (await ask(social, {"source": "YouTube", **ALL_DAYS})).json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'{"source":"X","source":"X"}', {"keywords": ["a"]}, {"source": "Usenet"},
        {"source": "X", "keywords": list("abcdef")}, {"source": "X", "limit": 0}, {"source": "X", "limit": 1001},
        {"source": "X", "unknown": 1}, {"source": "X", "start_date": "2026-11-01"},
        {"source": "X", "url": "u", "keywords": ["a"]},
        b'{"source":"' + b"X" * 70_000 + b'"}',
    ],
)  # fmt: skip
async def test_anything_else_is_an_invalid_request(social: Service, body: Any) -> None:
    answer = await ask(social, body)
    assert (answer.status_code, answer.json()) == (400, {"error": "Invalid request"})


async def test_keys_of_the_social_service(social: Service) -> None:
    body = {"source": "X"}
    missing = await ask(social, body, "")
    assert (missing.status_code, missing.content) == (464, b"")
    assert (await ask(social, body, "Bearer wrong")).json() == {"error": "Unauthorized"}
    assert (await ask(social, body, RICH)).status_code == 401
    assert (await ask(social, body, f"Bearer {POOR}")).status_code == 402


async def test_rows_are_billed(social: Service) -> None:
    answer = (await ask(social, {"source": "X", "limit": 4, **ALL_DAYS})).json()
    assert answer["meta"]["cost_usd"] == 0.0002
    assert social.keys.charge(RICH, Decimal(0)) == Decimal("0.9998")


async def test_a_drift_renames_the_members_of_a_post(social: Service) -> None:
    social.drift()
    row = (await ask(social, {"source": "X", "limit": 1, **ALL_DAYS})).json()["data"][0]
    assert {"body", "created_at", "author"} <= row.keys()
    assert not {"content", "datetime", "user"} & row.keys()


def test_every_post_can_be_found_by_its_own_words() -> None:
    for post in posts():
        query = data_universe.Query.model_validate(
            {"source": post.source, "keywords": [post.text], "limit": 1000, **ALL_DAYS}
        )
        found: list[Post] = data_universe.find(posts(), query)
        assert post in found


# chutes --------------------------------------------------------------------------------------------------------------

CHAT = "/v1/chat/completions"
TALK: dict[str, Any] = {
    "model": chutes.MODEL,
    "messages": [
        {"role": "system", "content": "Say in one sentence which cloud is cheapest."},
        {"role": "user", "content": "RunPod has templates. Vast.ai is the cheapest cloud. Lambda is reliable."},
    ],
}


@pytest.fixture
def chat() -> Service:
    keys, faults = Keys(BALANCES), Faults(chutes.error, chutes.caller)
    return Service(chutes.create_app(keys, faults), faults, keys)


async def talk(service: Service, body: Any, key: str = f"Bearer {RICH}") -> httpx.Response:
    async with client(service.app, key) as http:
        return await http.post(CHAT, content=body if isinstance(body, bytes) else json.dumps(body).encode())


async def test_a_chat_is_a_pure_function_of_the_request(chat: Service) -> None:
    first, again = await talk(chat, TALK), await talk(chat, TALK)
    answer = first.json()
    assert first.content == again.content
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Vast.ai is the cheapest cloud."}
    assert answer["choices"][0]["finish_reason"] == "stop"
    other = await talk(chat, {**TALK, "max_tokens": 400})
    assert other.json()["id"] != answer["id"]


async def test_tokens_are_counted_and_billed(chat: Service) -> None:
    usage = (await talk(chat, TALK)).json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    cost = (Decimal("0.104") * usage["prompt_tokens"] + Decimal("0.416") * usage["completion_tokens"]) / 10**6
    assert Decimal(str(usage["cost_usd"])) == cost
    assert 1 - chat.keys.charge(RICH, Decimal(0)) >= cost


async def test_a_stream_says_the_same(chat: Service) -> None:
    whole = (await talk(chat, TALK)).json()
    stream = await talk(chat, {**TALK, "stream": True})
    assert stream.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in stream.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert (
        "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        == (whole["choices"][0]["message"]["content"])
    )
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["usage"] == whole["usage"]


async def test_a_limit_of_tokens_is_kept(chat: Service) -> None:
    answer = (await talk(chat, {**TALK, "max_tokens": 3})).json()
    assert answer["usage"]["completion_tokens"] <= 3
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_keys_and_errors_of_the_chat(chat: Service) -> None:
    assert (await talk(chat, TALK, "")).json() == {"detail": "rate limit"}
    assert (await talk(chat, TALK, "Bearer wrong")).json() == {"detail": "Invalid authentication"}
    assert (await talk(chat, TALK, f"Bearer {POOR}")).status_code == 402
    assert (await talk(chat, {**TALK, "model": "other"})).status_code == 404
    for body in (b"{", {"model": chutes.MODEL}, {**TALK, "messages": []}, {**TALK, "max_tokens": 0}):
        assert (await talk(chat, body)).status_code == 400


async def test_the_list_of_models_is_open(chat: Service) -> None:
    async with client(chat.app) as http:
        [model] = (await http.get("/v1/models")).json()["data"]
    assert model["id"] == chutes.MODEL
    assert model["pricing"] == {"prompt": 0.104, "completion": 0.416}


async def test_a_drift_puts_the_content_in_parts(chat: Service) -> None:
    chat.drift()
    content = (await talk(chat, TALK)).json()["choices"][0]["message"]["content"]
    assert content == [{"type": "text", "text": "Vast.ai is the cheapest cloud."}]


class Model:
    """A real OpenAI-compatible endpoint in small: says back what it was told, or fails as scripted."""

    def __init__(self) -> None:
        self.status = 200
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append((request.headers["authorization"], body))
        message = {"role": "assistant", "content": f"{body['model']} heard {body['messages'][-1]['content']}"}
        document = {"id": "up-1", "created": 5, "choices": [{"message": message, "finish_reason": "stop"}]}
        return JSONResponse(document, self.status)


@pytest.fixture
async def forwarding() -> AsyncIterator[tuple[Service, Model]]:
    model, keys, faults = Model(), Keys(BALANCES), Faults(chutes.error, chutes.caller)
    async with serving(model.app) as address, OutboundClient(allow_loopback=True) as outbound:
        upstream = chutes.Upstream(f"{address.url}/v1", "real-model", SecretStr("up-key"))
        yield Service(chutes.create_app(keys, faults, upstream=upstream, client=outbound), faults, keys), model


async def test_with_an_upstream_a_real_model_answers(forwarding: tuple[Service, Model]) -> None:
    service, model = forwarding
    answer = (await talk(service, TALK)).json()
    assert answer["choices"][0]["message"]["content"].startswith("real-model heard RunPod")
    assert answer["model"] == chutes.MODEL
    assert answer["usage"]["completion_tokens"] > 0
    assert model.seen[0][0] == "Bearer up-key"
    assert [message["role"] for message in model.seen[0][1]["messages"]] == ["system", "user"]


async def test_an_upstream_that_fails_is_a_busy_service(forwarding: tuple[Service, Model]) -> None:
    service, model = forwarding
    model.status = 500
    assert (await talk(service, TALK)).status_code == 503
    assert service.keys.charge(RICH, Decimal(0)) == 1
