"""How objectives are read: clauses, names, alternatives, deeds. Sentences of every kind that people write."""

from __future__ import annotations

import pytest

from orchestra.planning.asks import aspects, constraints, series_names
from orchestra.planning.needs import needed
from orchestra.planning.objective import MAX_READ, read, selecting, topic
from orchestra.planning.vocabulary import concepts, concepts_in, deed_verbs
from orchestra.planning.words import content_stems, lexicon, name_tokens, stem, tokens


def names(text: str, *nouns: str) -> list[str]:
    return [entity.name for entity in read(text, nouns).entities]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Collect prices from CoreWeave, Crusoe, and Paperspace.", ["CoreWeave", "Crusoe", "Paperspace"]),
        ("Compare runpod and vast.ai on A100 price", ["runpod", "vast.ai"]),
        ("GPU prices: RunPod, vast and Lambda", ["RunPod", "vast", "Lambda"]),
        ("How much does an A100 cost at Vast.ai compared to RunPod?", ["Vast.ai", "RunPod"]),
        ("What are Chutes' API base URL and auth?", ["Chutes"]),
        ("Is BitMind's API public?", ["BitMind"]),
        ('Find the netuid of the subnet called "Data Universe"', ["Data Universe"]),
        (
            "For each of Data Universe, Compute Horde and 404—GEN give netuid",
            ["Data Universe", "Compute Horde", "404—GEN"],
        ),
        ("Which is cheaper for an A100, RunPod or Lambda?", ["RunPod", "Lambda"]),
        ("compare price and performance of RunPod", ["RunPod"]),
        ("What is the website of subnet 75?", ["subnet 75"]),
        ("List netuids 4, 51 and 64 with their names", ["subnet 4", "subnet 51", "subnet 64"]),
        ("What does SN64 do?", ["subnet 64"]),
        ("Compare Chutes and Targon on Bittensor", ["Chutes", "Targon"]),
        ("For each of the Bittensor subnets Synth and Numinous, find the netuid.", ["Synth", "Numinous"]),
        ("Which Bittensor subnets rent GPUs and what are their base URLs?", []),
        ("Which Bittensor subnet offers weather forecasts?", []),
        ("List all APIs for LLM inference", []),
    ],
)
def test_things_are_recognised_by_how_they_are_named(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_a_name_before_the_kind_of_thing_asked_for_is_context() -> None:
    asked = read("Which Acme gadgets can fly?", ["gadgets"])
    assert asked.entities == ()
    assert asked.context == ("Acme",)


def test_alternatives_share_what_stands_around_them() -> None:
    asked = read(
        "Which tools can detect forgery or machine translation through a public API, and how does one sign in?"
    )
    assert asked.alternatives == (
        ("tools", "detect", "forgery", "public", "API"),
        ("tools", "detect", "machine", "translation", "public", "API"),
    )
    assert constraints(asked) == ("public_api",)
    assert read("Which is better, RunPod or Lambda?").alternatives == ()


def test_clauses_part_at_verbs_and_question_words_only() -> None:
    asked = read("Find the price of RunPod and Lambda, and recommend one. What is their uptime?")
    assert [clause.verb for clause in asked.clauses] == ["find", "recommend", "what"]
    assert [clause.verb for clause in selecting(asked)] == ["find"]


def test_topic_leaves_out_names_and_the_asking() -> None:
    asked = read("Please research cloud GPU pricing from RunPod, Vast.ai, and Lambda.")
    assert topic(asked) == ("cloud", "GPU", "pricing")
    assert aspects(read("What is the base URL and authentication of Hippius?")) == ("base_url", "authentication")


@pytest.mark.parametrize(
    ("text", "capability"),
    [
        ("Transcribe this recording", "audio_transcription"),
        ("Could you please generate an image of a lighthouse?", "image_generation"),
        ("I need a picture of a dog", "image_generation"),
        ("Rent me a GPU", "compute_gpu"),
        ("rent me an H100 GPU machine for 3 hours", "compute_gpu"),
        ("Translate 'good morning' into German", "translation"),
        ("What will the weather be in Oslo tomorrow?", "weather_forecast"),
        ("Is this image a deepfake?", "deepfake_detection"),
        ("Detect whether this text was written by an AI", "ai_text_detection"),
        ("Fix the bug in this function", "code_generation"),
        ("Predict the price of BTC tomorrow", "price_forecast"),
        ("What is the probability that it rains?", "probability_forecast"),
        ("Book a flight to Lisbon", "web_agents"),
        ("Turn this text into speech", "speech_synthesis"),
        ("Convert this audio to text", "audio_transcription"),
        ("We need an A100 instance for two days", "compute_gpu"),
        ("Was this picture AI-generated?", "deepfake_detection"),
        ("Was this essay written by an AI?", "ai_text_detection"),
        ("Write Python code that sorts a list", "code_generation"),
        ("Solve this equation: x^2 = 4", "math_research"),
        ("Upload this file to decentralised storage", "storage"),
        ("Give me a VPN in Germany", "bandwidth_vpn"),
        ("Dock this molecule", "drug_discovery"),
        ("Train a model on my data", "training"),
        ("Find posts about RunPod on X", "social_search"),
        ("What do people say about Vast.ai?", "social_search"),
        ("What is the latest reading of the series 'x'?", "time_series"),
    ],
)
def test_deeds_need_the_capability_that_does_them(text: str, capability: str) -> None:
    assert [needed(clause) for clause in read(text).clauses] == [capability]


@pytest.mark.parametrize(
    "text",
    [
        "Which Bittensor subnets can transcribe recordings?",
        "Compare image generation prices of two vendors",
        "Give me the base URL of the image generation subnet",
        "Which subnet offers weather forecasts?",
        "List the subnets that translate speech",
        "Research GPU rental prices at Northgrid",
        "Find providers that rent GPUs",
        "How can I rent a GPU on Bittensor?",
        "Get the GPU prices of Lambda",
        "A100 prices at RunPod",
        "Generate a report on GPU prices at RunPod",
        "We want an overview of storage subnets",
        "Recommend a subnet for training models",
        "Check the uptime of Northgrid",
    ],
)
def test_questions_about_a_capability_need_a_search(text: str) -> None:
    assert {needed(clause) for clause in read(text).clauses} == {"web_search"}


def test_series_are_named_in_several_ways() -> None:
    assert series_names(read("What is the latest reading of the series tide-north?")) == ("tide-north",)
    assert series_names(read("What is the current value of 'tao usd'?")) == ("tao usd",)
    assert series_names(read("What is the latest reading of RunPod utilisation?")) == ("RunPod utilisation",)


def test_reading_never_fails_on_odd_text() -> None:
    for text in ("", "?", "...", "or", "A or", "\n\n", "“", "x" * 8192, "or " * 2000, "1, 2 and 3", "http://"):
        assert len(read(text).text) <= MAX_READ + 1


def test_of_a_long_objective_the_beginning_the_end_and_the_quotations_count() -> None:
    given = "A long text that is given to be worked on. " * 60
    asked = read(f"Please help me. {'And so on. ' * 400} Summarise this text: '{given}'")
    assert asked.quoted == (given,)
    assert asked.clauses[-1].verb == "summarise"


def test_words() -> None:
    assert tokens("AI-written Vast.ai's A100_80gb") == ["AI", "written", "Vast.ai's", "A100", "80gb"]
    assert stem("pricing") == stem("prices") == stem("price")
    assert stem("detection") == stem("detects")
    assert name_tokens("baseUrl") == name_tokens("base_url") == ["base", "url"]
    assert content_stems("the price of the pricing") == [stem("price")]
    assert "the" in lexicon("stopwords")


def test_vocabulary_covers_every_capability_of_the_ledger_but_the_unknown_one() -> None:
    from ledger.catalogue import vocabulary

    assert set(concepts()) == set(vocabulary()) - {"unknown"}
    assert concepts_in("a marketplace that rents GPU machines") >= {"compute_gpu"}
    assert "transcribe" in deed_verbs()
