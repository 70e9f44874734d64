"""Plain words find the right subnet, limits in them are kept, and nothing odd that is typed breaks the search."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import catalogue
from ledger.catalogue import vocabulary
from ledger.entry import Metrics, Price, SubnetEntry
from ledger.search import Hit, search
from ledger.search_query import MAX_QUERY_WORDS, Limits, Query, phrases, stem, stop_words, word_groups
from ledger.view import LedgerView
from tests.builders import entry, operation

VIEW = LedgerView(catalogue.load())
RATE = Decimal(300)
QUESTIONS = json.loads((Path(__file__).parent.parent / "fixtures" / "ledger_questions.json").read_text("utf-8"))


def names(hits: list[Hit]) -> list[str]:
    return [hit.entry.id for hit in hits]


def test_the_right_subnet_is_among_the_first_three() -> None:
    assert len(QUESTIONS) == 40
    found = [
        any(hit.entry.netuid in each["netuids"] for hit in search(VIEW, each["question"], limit=3))
        for each in QUESTIONS
    ]
    assert sum(found) >= 36


@pytest.mark.parametrize(
    ("asked", "entry_id"),
    [
        ("SN22", "desearch"),
        ("netuid 75", "hippius"),
        ("what is subnet 17?", "404-gen"),
        ("Numinous", "numinous"),
        ("Templar", "teutonic"),
        ("hotfloat", "hotfloat"),
        ("HOΤFLOAΤ", "hotfloat"),
        ("tao private network", "tao-private-network"),
    ],
)
def test_a_subnet_is_found_by_its_name_an_older_name_or_its_netuid(asked: str, entry_id: str) -> None:
    assert names(search(VIEW, asked))[0] == entry_id


def test_a_hit_says_what_to_call_and_why() -> None:
    hit = search(VIEW, "is this picture a deepfake?")[0]
    assert {ref.operation.name for ref in hit.operations} == {"detect_any", "detect_image", "detect_video"}
    assert hit.why[0] == f"deepfake_detection: {vocabulary()['deepfake_detection']}"
    support = search(VIEW, "chat with a language model")[0]
    assert support.operations[0].operation.role == "task"


def test_misspelt_words_are_read_as_the_nearest_known_ones() -> None:
    assert names(search(VIEW, "plagiarsm"))[0] == "its-ai"
    assert names(search(VIEW, "trranscribe a meetinng recordiing"))[0] in ("chutes", "vocence")
    assert search(VIEW, "qqqqqqqqq zzzzzzzz") == []


def test_a_deprecated_entry_comes_after_one_that_works() -> None:
    works, gone = entry("one", netuid=1), entry("two", netuid=2, status="deprecated")
    assert names(search(LedgerView([gone, works]), "search the web")) == ["one", "two"]


def test_an_entry_that_serves_a_capability_comes_before_one_that_claims_it() -> None:
    claims = entry("claims", netuid=1, operations=(), capabilities=("web_search",), description="")
    serves = entry("serves", netuid=2, description="")
    assert names(search(LedgerView([claims, serves]), "search the web")) == ["serves", "claims"]


def limited() -> LedgerView:
    def one(name: str, netuid: int, amount: str | None, latency_ms: int | None, **changes: object) -> SubnetEntry:
        price = Price(amount=amount, currency="TAO") if amount else None
        metrics = latency_ms and Metrics(latency_ms=latency_ms, latency_p95_ms=9_999, reliability_permille=990)
        return entry(name, netuid=netuid, operations=(operation(price=price, metrics=metrics, **changes),))

    url = {"type": "object", "properties": {"page_url": {"type": "string"}}}
    return LedgerView(
        [
            one("cheap-slow", 1, "0.0001", 5_000),
            one("dear-fast", 2, "0.1", 100, auth={"kind": "header", "name": "A", "secret": "K"}),
            one("silent", 3, None, None),
            one("by-url", 4, "0.0001", 100, input_schema=url),
        ]
    )


@pytest.mark.parametrize(
    ("asked", "first", "not_among"),
    [
        ("search the web, costs under 0.001 TAO", {"cheap-slow", "by-url"}, {"dear-fast"}),
        ("search the web for less than $1", {"cheap-slow", "by-url"}, {"dear-fast"}),
        ("search the web for under 3 cents", {"cheap-slow", "by-url"}, {"dear-fast"}),
        ("web search that answers within a second", {"dear-fast", "by-url"}, {"cheap-slow"}),
        ("web search, responds in under 200 ms", {"dear-fast", "by-url"}, {"cheap-slow"}),
        ("search the web, takes a URL", {"by-url"}, {"cheap-slow", "dear-fast", "silent"}),
        ("search the web without an API key", {"cheap-slow", "by-url", "silent"}, {"dear-fast"}),
        ("web search, takes a link, costs at most 0.01 TAO, answers within 1 second", {"by-url"}, {"silent"}),
    ],
)
def test_limits_take_out_what_breaks_them(asked: str, first: set[str], not_among: set[str]) -> None:
    found = names(search(limited(), asked, tao_usd=RATE))
    assert set(found[: len(first)]) == first
    assert not_among.isdisjoint(found)


def test_what_is_silent_about_a_limit_comes_last_and_says_so() -> None:
    hits = search(limited(), "search the web, costs under 0.001 TAO", tao_usd=RATE)
    assert hits[-1].entry.id == "silent"
    assert "its price is not known" in hits[-1].why
    assert "a call costs at most 0.0001 TAO" in hits[0].why


def test_without_a_rate_a_price_in_the_other_currency_is_not_known() -> None:
    hits = search(limited(), "search the web for less than $1")
    assert len(hits) == 4
    assert all("priced in TAO, and no rate was given" in hit.why for hit in hits if hit.entry.id != "silent")


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("costs under 0.001 TAO", Limits(cost=(Decimal("0.001"), "TAO"))),
        ("at most 500 rao a call", Limits(cost=(Decimal("5E-7"), "TAO"))),
        ("cheaper than $.05 per request", Limits(cost=(Decimal("0.05"), "USD"))),
        ("free of charge", Limits(cost=(Decimal(0), "USD"))),
        ("answers in half a second", Limits(latency_ms=500)),
        ("takes under 2 minutes", Limits(latency_ms=120_000)),
        ("takes a URL and accepts images", Limits(takes=frozenset({"url", "image"}))),
        ("no api key", Limits(keyless=True)),
        ("the price of bitcoin in 24 hours", Limits()),
        ("rent a GPU for two hours", Limits()),
    ],
)
def test_limits_are_read_from_words(text: str, limits: Limits) -> None:
    assert Query.parse(text).limits == limits


def test_the_words_of_a_limit_do_not_search() -> None:
    assert Query.parse("transcribe audio, costs under 0.001 TAO, answers within a second").words == (
        stem("transcribe"),
        "audio",
    )


def test_the_index_is_that_of_the_version() -> None:
    before = LedgerView([entry("old", netuid=1)])
    after = LedgerView([entry("old", netuid=1), entry("new", netuid=2)])
    assert names(search(before, "search the web")) == ["old"]
    assert sorted(names(search(after, "search the web"))) == ["new", "old"]
    assert search(LedgerView([]), "search the web") == []


@given(st.text(max_size=400))
def test_nothing_typed_breaks_it(text: str) -> None:
    hits = search(VIEW, text, limit=5)
    assert len(hits) <= 5
    assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.entry.id))
    assert len(Query.parse(text * 50).words) <= MAX_QUERY_WORDS


def test_the_synonyms_speak_of_the_vocabulary() -> None:
    assert phrases().keys() == vocabulary().keys() - {"unknown"}
    assert all(phrase for spoken in phrases().values() for phrase in spoken)
    assert not word_groups().keys() & stop_words()
