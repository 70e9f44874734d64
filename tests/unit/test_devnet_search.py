"""Both providers of search put the right pages first for what people type, and always the same ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.devnet.subnets.bm25 import Bm25Index, query_terms
from orchestra.devnet.subnets.documents import documents
from orchestra.devnet.subnets.vectors import VectorIndex, terms

VECTORS = VectorIndex(documents())


@pytest.fixture(scope="module")
def bm25() -> Iterator[Bm25Index]:
    with Bm25Index(documents()) as index:
        yield index


def first(bm25: Bm25Index, query: str, count: int) -> tuple[list[str], list[str]]:
    found = [hit.url for hit in bm25.search(query, limit=count)], [hit.url for hit in VECTORS.search(query, count)]
    return tuple([url.removeprefix("https://") for url in urls] for urls in found)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("query", "url"),
    [
        ("RunPod cloud GPU pricing", "runpod.example/pricing"),
        ("Vast.ai cloud GPU pricing", "vast-ai.example/pricing"),
        ("Lambda cloud GPU pricing", "lambda.example/pricing"),
        ("cloud GPU pricing from RunPod", "runpod.example/pricing"),
        ("Kestrel Cloud H100 price", "kestrel.example/pricing"),
        ("Northgrid GPU pricing", "northgrid.example/pricing"),
    ],
)
def test_the_page_of_a_cloud_comes_first(bm25: Bm25Index, query: str, url: str) -> None:
    for urls in first(bm25, query, 1):
        assert urls == [url]


@pytest.mark.parametrize(
    ("query", "wanted", "within"),
    [
        ("deepfake detection API", {"subnets.example/34-bitmind", "subnets.example/34-bitmind/api"}, 4),
        ("detect AI-written text", {"subnets.example/32-itsai", "subnets.example/32-itsai/api"}, 4),
        ("detect AI-written text", {"subnets.example/34-bitmind"}, 5),
        (
            "Which Bittensor subnets can detect deepfakes or AI-written text through a public API, and how does one"
            " authenticate?",
            {"subnets.example/34-bitmind", "subnets.example/32-itsai"},
            8,
        ),
        ("speech synthesis subnet", {"subnets.example/78-vocence"}, 4),
        ("decentralised object storage S3", {"subnets.example/75-hippius"}, 3),
        ("weather forecast", {"subnets.example/18-zeus"}, 3),
    ],
)
def test_the_pages_of_subnets_come_early(bm25: Bm25Index, query: str, wanted: set[str], within: int) -> None:
    for urls in first(bm25, query, within):
        assert wanted <= set(urls)


def test_names_with_dots_and_hyphens_are_found_whole_and_in_parts() -> None:
    assert query_terms("Vast.ai") == ['"vast ai"', '"vast"']
    assert query_terms("AI-written text") == ['"ai written"', '"written"', '"text"']
    assert query_terms("What is the price of it?") == ['"price"']


@pytest.mark.parametrize("query", ["", "the of and", '"""', "' OR 1=1 --", "NEAR(", "*", "a" * 5000, "価格", "\x00"])
def test_odd_queries_are_answered(bm25: Bm25Index, query: str) -> None:
    assert isinstance(bm25.search(query), list)
    assert isinstance(VECTORS.search(query, 5), list)


@given(query=st.text(max_size=60))
def test_no_query_is_a_syntax_error(bm25: Bm25Index, query: str) -> None:
    assert bm25.search(query) == bm25.search(query)


def test_pages_of_results_do_not_overlap(bm25: Bm25Index) -> None:
    pages = [bm25.search("subnet API", start=start, limit=10) for start in (0, 10, 20)]
    urls = [hit.url for page in pages for hit in page]
    assert len(urls) == len(set(urls)) == 30
    assert bm25.search("subnet API", start=900) == []


def test_snippets_show_the_words_that_were_looked_for(bm25: Bm25Index) -> None:
    assert "1.99" in bm25.search("RunPod A100 price")[0].snippet
    assert "$1.45" in VECTORS.search("Vast.ai A100 price", 1)[0].snippet


def test_a_second_index_of_the_same_documents_answers_the_same(bm25: Bm25Index) -> None:
    with Bm25Index(documents()) as again:
        other = VectorIndex(documents())
        for query in ("GPU pricing", "subnet API", "detect deepfakes"):
            assert again.search(query) == bm25.search(query)
            assert other.search(query, 20) == VECTORS.search(query, 20)


def test_the_two_methods_differ(bm25: Bm25Index) -> None:
    queries = ("GPU pricing", "storage API", "which cloud is reliable", "training subnet")
    assert any(
        [hit.url for hit in bm25.search(query)] != [hit.url for hit in VECTORS.search(query, 10)] for query in queries
    )


def test_stems_bring_word_forms_together() -> None:
    assert terms("detects detection detecting") == ["detect", "detect", "detect"]
