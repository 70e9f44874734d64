"""The local web carries the facts, in several layouts, and the demo records can be read from it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from ledger.canonical import sha256
from ledger.catalogue import vocabulary
from ledger.entry import SubnetEntry
from orchestra.devnet.content import clouds, posts, subnets, web_pages
from orchestra.devnet.content.posts import COLLECTED_AT
from orchestra.synthesis.extraction import extract_records
from orchestra.synthesis.page import read_html, render_text

PAGES = {page.url: page for page in web_pages()}
CLOUD = {"name": "str", "pricing": "dict", "strengths": "list"}
ITSAI_AUTH = "API key in the Authorization header, written as APIKey <key>. Keys come from its-ai.org account."
SUBNET = {"netuid": "int", "name": "str", "detects": "str", "base_url": "url", "auth": "str"}


def text_of(url: str) -> str:
    return render_text(read_html(PAGES[url].html))


def test_there_are_128_subnets_and_each_has_a_page_with_its_facts() -> None:
    assert [facts.netuid for facts in subnets()] == list(range(1, 129))
    for facts in subnets():
        text = text_of(f"https://subnets.example/{facts.slug}")
        assert facts.name in text
        assert str(facts.netuid) in text
        assert facts.description in text


def test_capabilities_are_of_the_vocabulary_and_every_used_one_has_a_page() -> None:
    used = {tag for facts in subnets() for tag in facts.capabilities}
    assert len(vocabulary()) == 66
    assert used <= vocabulary().keys()
    assert {f"https://subnets.example/capability/{tag}" for tag in used} <= PAGES.keys()
    assert SubnetEntry.model_fields["capabilities"]  # the tags are slugs of the Ledger
    assert all(tag == tag.lower() and " " not in tag for tag in vocabulary())


def test_addresses_are_unique_and_stable() -> None:
    assert len(PAGES) == len(web_pages())
    assert all(page.host.endswith(".example") and page.path.startswith("/") for page in web_pages())
    assert "https://runpod.example/pricing" in PAGES
    assert "https://subnets.example/34-bitmind" in PAGES


def test_links_between_pages_of_one_host_lead_somewhere() -> None:
    for page in web_pages():
        links = [link for block in read_html(page.html).blocks for link in getattr(block, "links", ())]
        assert all(link in PAGES for link in links if link.startswith("https://subnets.example/"))


@pytest.mark.parametrize(
    ("url", "name", "a100", "strengths"),
    [
        ("https://runpod.example/pricing", "RunPod", 1.99, ["spot pricing", "templates"]),
        ("https://vast-ai.example/pricing", "Vast.ai", 1.45, ["lowest price", "marketplace"]),
        ("https://lambda.example/pricing", "Lambda", 1.89, ["reliability", "enterprise"]),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_the_first_demo_objective_can_be_answered(
    url: str, name: str, a100: float, strengths: list[str], as_text: bool
) -> None:
    document, media_type = (text_of(url), "text/plain") if as_text else (PAGES[url].html, "text/html")
    [record] = extract_records(document, CLOUD, media_type)
    assert record["name"] == name
    assert record["pricing"]["a100_80gb"] == a100
    assert record["strengths"] == strengths


@pytest.mark.parametrize("cloud", clouds(), ids=lambda cloud: cloud.name)
def test_every_pricing_page_gives_exactly_the_prices_on_demand(cloud) -> None:
    [record] = extract_records(PAGES[f"https://{cloud.host}/pricing"].html, CLOUD)
    assert sorted(record["pricing"].values()) == sorted(gpu.on_demand for gpu in cloud.gpus)
    assert record["strengths"] == list(cloud.strengths)
    assert record["name"] == cloud.name


@pytest.mark.parametrize(
    ("url", "record"),
    [
        (
            "https://subnets.example/34-bitmind",
            {
                "netuid": 34,
                "name": "BitMind",
                "detects": "AI-generated or manipulated images and video; text and document endpoints as well",
                "base_url": "https://api.bitmind.ai",
                "auth": "Bearer token in the Authorization header: Bearer <key>. Keys come from app.bitmind.ai.",
            },
        ),
        (
            "https://subnets.example/32-itsai",
            {
                "netuid": 32,
                "name": "ItsAI",
                "detects": "machine-written text; also plagiarism and grammar checks",
                "base_url": "https://api.its-ai.org",
                "auth": ITSAI_AUTH,
            },
        ),
    ],
)
@pytest.mark.parametrize("page", ["", "/api"])
def test_the_second_demo_objective_can_be_answered(url: str, record: dict[str, object], page: str) -> None:
    assert extract_records(PAGES[url + page].html, SUBNET) == [record]
    assert extract_records(text_of(url + page), SUBNET, "text/plain") == [record]


def test_every_layout_of_the_subnet_pages_states_the_same_facts() -> None:
    for facts in subnets():
        [record] = extract_records(PAGES[f"https://subnets.example/{facts.slug}"].html, SUBNET)
        assert record["netuid"] == facts.netuid
        assert record["name"] == facts.name
        assert record.get("base_url") == (facts.api.base_url if facts.api else None)
        assert record.get("auth") == (facts.api.auth if facts.api else None)
        assert ("detects" in record) is facts.description.startswith("Detects")


def test_noise_pages_answer_neither_objective() -> None:
    current = {"https://gpudigest.example/2026/price-index-november"}
    dated = {"https://gpudigest.example/2023/gpu-cloud-comparison"}
    for page in web_pages():
        if page.topic == "articles" and page.url not in current | dated:
            assert extract_records(page.html, CLOUD) == []
            assert extract_records(page.html, SUBNET) == []
    assert all("March 2023" in text_of(url) for url in dated)


def test_the_current_price_index_agrees_with_the_providers() -> None:
    records = extract_records(PAGES["https://gpudigest.example/2026/price-index-november"].html, CLOUD)
    stated = {record["name"]: record["pricing"]["a100_80gb"] for record in records}
    assert stated == {c.name: next(g.on_demand for g in c.gpus if "80" in g.memory) for c in clouds()}


def test_posts_are_plenty_dated_and_always_the_same() -> None:
    collected = posts()
    assert len(collected) > 250
    assert len({post.uri for post in collected}) == len(collected)
    assert {post.source for post in collected} == {"X", "Reddit"}
    assert all(COLLECTED_AT - timedelta(days=37) < post.at < COLLECTED_AT for post in collected)
    assert min(Counter(post.user for post in collected).values()) > 5
    told = "\n".join(f"{post.uri} {post.at.isoformat()} {post.text}" for post in collected)
    assert sha256(told.encode()) == "0x5f6cc0890239a98731f1d05b376b91d14a893961003044c0dac7da8bcaa3dee9"


def test_the_web_is_always_the_same() -> None:
    told = "\n".join(f"{page.url} {page.html}" for page in web_pages())
    assert sha256(told.encode()) == "0xdbad371aaa2b28295f3db6b8fca6664d75495aa9cc16486c075a1fdc6aad90c8"
