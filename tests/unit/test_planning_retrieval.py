"""What is planned for an objective: searches, pages, other ways, and gaps for what no subnet offers."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.planning import Plan, Ref, RetrievalPlanner
from orchestra.planning.asks import conditions, product_words
from orchestra.planning.demands import Layout, asked_fields, sort_schema
from orchestra.planning.objective import read
from orchestra.planning.retrieval import MAX_TASKS
from orchestra.protocol import Hint
from orchestra.schema import TargetSchema
from tests.fakes.ledgers import ALL, ledger_with

PROVIDERS = {"providers": [{"name": "str", "price": "float"}]}


def plan(objective: str, schema: dict[str, Any], capabilities: tuple[str, ...] = ALL, **more: Any) -> Plan:
    return RetrievalPlanner().plan(objective, TargetSchema.parse(schema), ledger_with(capabilities), **more)


def layout(objective: str, schema: dict[str, Any]) -> Layout:
    return sort_schema(TargetSchema.parse(schema), read(objective))


def kinds(objective: str, schema: dict[str, Any]) -> list[tuple[str, str]]:
    return [("/".join(demand.path), demand.kind) for demand in layout(objective, schema).demands]


def test_each_name_is_searched_and_its_best_pages_read() -> None:
    made = plan("Compare the prices of Acme, Borealis and Crux.", PROVIDERS)
    searches = [task for task in made.tasks if task.capability == "web_search"]
    assert [task.arguments["query"] for task in searches] == ["Acme prices", "Borealis prices", "Crux prices"]
    reads = [task for task in made.tasks if task.capability == "structured_extraction"]
    assert [task.arguments["url"] for task in reads[:3]] == [Ref("search-1", f"results[{i}].url") for i in range(3)]
    assert reads[0].arguments["fields"]["price"] == "float"
    assert reads[0].otherwise is not None
    assert reads[0].otherwise.capability == "web_scraping"
    assert reads[0].serves == ("/providers/*/name", "/providers/*/price")
    assert made.gaps == ()


def test_an_open_question_reads_more_pages_and_asks_for_what_shows_that_they_fit() -> None:
    made = plan("Which gadgets can fly through a public API?", {"gadgets": [{"name": "str", "site": "url"}]})
    fields = next(task for task in made.tasks if task.id == "read-1").arguments["fields"]
    assert {"description", "capabilities", "public_api"} <= set(fields)
    assert sum(task.capability == "structured_extraction" for task in made.tasks) > 8
    assert len(made.tasks) <= MAX_TASKS


def test_alternatives_are_searched_apart_with_the_vocabulary_s_words() -> None:
    made = plan("List subnets for storage or VPN", {"subnets": [{"name": "str"}]})
    queries = [task.arguments["query"] for task in made.tasks if task.capability == "web_search"]
    assert len(queries) == 2
    assert "object" in queries[0]
    assert "proxy" in queries[1]


def test_a_given_address_is_read_without_a_search() -> None:
    made = plan("Extract the prices from https://acme.example/prices", {"prices": "dict[str, float]"})
    assert [task.capability for task in made.tasks] == ["structured_extraction"]
    assert made.tasks[0].arguments["url"] == "https://acme.example/prices"
    assert made.notes


def test_posts_readings_and_summaries_have_their_own_capabilities() -> None:
    posts = plan("What do people say about Acme?", {"posts": [{"text": "str", "author": "str"}], "summary": "str"})
    assert posts.tasks[0].capability == "social_search"
    assert posts.tasks[0].arguments["keywords"] == ["Acme"]
    reading = plan("What is the latest reading of the series tide-north?", {"value": "float", "unit": "str"})
    assert [(task.capability, task.arguments) for task in reading.tasks] == [("time_series", {"series": "tide-north"})]
    summary = plan("Summarise what Acme does", {"summary": "str"})
    assert summary.tasks[-1].capability == "chat_completion"
    assert summary.tasks[-1].optional


def test_a_text_that_is_given_is_summarised_without_a_search() -> None:
    text = "One two three four five six seven eight nine ten. And so on, for a while longer."
    made = plan(f"Summarise the following text: '{text}'", {"summary": "str"})
    assert [task.capability for task in made.tasks] == ["chat_completion"]
    assert made.tasks[0].arguments["text"] == text


@pytest.mark.parametrize(
    ("objective", "capability"),
    [
        ("Transcribe this recording", "audio_transcription"),
        ("generate an image of a cat", "image_generation"),
        ("Rent me a GPU", "compute_gpu"),
        ("Translate 'hello' into French", "translation"),
    ],
)
def test_what_no_subnet_offers_is_a_gap_with_all_its_fields_and_no_task(objective: str, capability: str) -> None:
    made = plan(objective, {"result": {"output": "str", "score": "float"}})
    assert made.tasks == ()
    assert [(gap.capability, gap.fields) for gap in made.gaps] == [(capability, ("/result/output", "/result/score"))]
    assert capability in made.gaps[0].reason


def test_what_can_be_done_is_planned_beside_what_cannot() -> None:
    made = plan("Find the price of Acme and transcribe this recording.", {"price": "float", "transcript": "str"})
    assert made.tasks[0].arguments["query"] == "Acme price"
    assert [(gap.capability, gap.fields) for gap in made.gaps] == [("audio_transcription", ("/transcript",))]
    assert all("transcript" not in task.arguments.get("fields", {}) for task in made.tasks)


@pytest.mark.parametrize(
    ("without", "objective", "schema"),
    [
        ("web_search", "Compare Acme and Borealis", PROVIDERS),
        ("social_search", "Find posts about Acme", {"posts": [{"text": "str"}]}),
        ("time_series", "What is the latest reading of the series x-y?", {"value": "float"}),
    ],
)
def test_a_missing_retrieval_capability_is_named(without: str, objective: str, schema: dict[str, Any]) -> None:
    made = plan(objective, schema, tuple(name for name in ALL if name != without))
    assert without in {gap.capability for gap in made.gaps}
    assert all(task.capability != without for task in made.tasks)


def test_without_extraction_pages_are_fetched_and_without_both_it_is_said() -> None:
    fetched = plan("Compare Acme and Borealis", PROVIDERS, ("web_search", "web_scraping"))
    assert {task.capability for task in fetched.tasks} == {"web_search", "web_scraping"}
    assert all(task.otherwise is None for task in fetched.tasks)
    bare = plan("Compare Acme and Borealis", PROVIDERS, ("web_search",))
    assert {gap.capability for gap in bare.gaps} == {"structured_extraction"}


def test_hints_are_noted_and_change_nothing() -> None:
    hint = Hint(entry="nowhere", operation="search", output_schema={"type": "array"})
    made = plan("Compare Acme and Borealis", PROVIDERS, hints=(hint,))
    assert made.tasks == plan("Compare Acme and Borealis", PROVIDERS).tasks
    assert "the Ledger has no such entry" in made.notes[0]


def test_two_lists_in_clauses_of_their_own_are_searched_apart() -> None:
    made = plan(
        "Compare the clouds Acme and Borealis. Which gadgets can fly?",
        {"clouds": [{"name": "str", "price": "float"}], "gadgets": [{"name": "str", "weight": "float"}]},
    )
    by_field = {
        name: {task.arguments["url"].task for task in made.tasks if name in task.arguments.get("fields", {})}
        for name in ("price", "weight")
    }
    assert by_field["price"]
    assert by_field["weight"]
    assert not by_field["price"] & by_field["weight"]


def test_the_same_question_has_the_same_plan() -> None:
    objective = "Which Bittensor subnets rent GPUs or store files through a public API, and what do they cost? " * 20
    schema = {"subnets": [{f"field_{i}": "str" for i in range(40)}], "summary": "str"}
    assert plan(objective, schema).digest == plan(objective, schema).digest


# the shape of the target_schema --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "schema", "expected"),
    [
        ("Compare Acme and Borealis", PROVIDERS, [("providers", "table")]),
        ("What is Acme?", {"name": "str", "api": {"url": "url"}}, [("", "record")]),
        ("What is Acme?", {"company": {"name": "str"}}, [("company", "record")]),
        ("Which gadgets fly?", {"gadgets": "list[str]"}, [("gadgets", "column")]),
        ("What are the strengths of Acme?", {"strengths": "list"}, [("", "record")]),
        ("Prices at Acme and Borealis", {"prices": "dict[str, float]"}, [("prices", "map")]),
        ("Prices at Acme", {"prices": "dict[str, float]"}, [("", "record")]),
        ("Acme vs Borealis", {"acme": {"price": "float"}}, [("acme", "record")]),
        ("Acme vs Borealis", {"acme_price": "float", "borealis_price": "float"}, [("", "record"), ("", "record")]),
        ("Which gadget is the cheapest?", {"gadget": "str", "price": "float"}, [("", "choice"), ("price", "hidden")]),
        ("Summarise what Acme does", {"summary": "str"}, [("summary", "hidden")]),
    ],
)  # fmt: skip
def test_schemas_are_sorted_by_how_their_parts_can_be_had(
    objective: str, schema: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert kinds(objective, schema) == expected


@pytest.mark.parametrize(
    ("key", "objective", "rule"),
    [
        ("average_price", "Compare", "mean"),
        ("median_cost", "Compare", "median"),
        ("lowest_price", "Compare", "min"),
        ("most_expensive_rate", "Compare", "max"),
        ("total_cost", "Compare", "sum"),
        ("price_difference", "Compare", "difference"),
        ("recommended_price", "Compare", "middle"),
        ("price_point", "Price our new API", "undercut"),
        ("recommended_price", "Set a premium price", "premium"),
        ("answer", "What is the average price at Acme and Borealis?", "mean"),
        ("count", "How many gadgets are there?", "count"),
    ],
)
def test_words_say_how_a_number_is_computed(key: str, objective: str, rule: str) -> None:
    assert [number.rule for number in layout(objective, {"items": [{"name": "str"}], key: "int"}).numbers] == [rule]


def test_nested_objects_are_also_asked_for_side_by_side() -> None:
    demand = layout("What is Acme?", {"name": "str", "api": {"base_url": "url", "auth": "str"}}).demands[0]
    assert asked_fields(demand) == {
        "name": "str",
        "api": {"base_url": "url", "auth": "str"},
        "base_url": "url",
        "auth": "str",
    }


def test_products_and_numeric_conditions() -> None:
    asked = read("List clouds where an A100 80 GB costs under $1.80 and uptime is at least 99.9 %")
    assert product_words(asked) == {"a100", "80gb"}
    assert [(found.metric, found.sign, str(found.bound)) for found in conditions(asked)] == [
        ("price", "<", "1.80"),
        ("uptime", ">=", "99.9"),
    ]
    assert product_words(read("A100 80 GB at Acme since 2019")) == {"a100", "80gb"}
