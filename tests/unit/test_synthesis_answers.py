"""Plan and synthesis together over the local collections, without sockets: right values, each with its source."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.catalogue import vocabulary
from orchestra.devnet.content import subnets
from orchestra.execution.run import Run
from orchestra.planning import Plan, RetrievalPlanner
from orchestra.schema import TargetSchema, completeness, leaf_pointers
from orchestra.synthesis import Synthesis, synthesise
from tests.fakes.answer_cases import CASES, Case, mark, unsourced
from tests.fakes.ledgers import ledger_with
from tests.fakes.local_web import World

LEDGER = ledger_with()

PRICES = Case(
    "demo: prices and a recommendation",
    "Research cloud GPU pricing from RunPod, Vast.ai, and Lambda. Recommend a price point for our new inference API.",
    {
        "competitors": [{"name": "str", "pricing": "dict", "strengths": "list"}],
        "recommendation": {"price_point": "float", "rationale": "str"},
    },
    {
        "competitors": [
            {"name": "RunPod", "pricing": {"a100_80gb": 1.99}, "strengths": ["spot pricing", "templates"]},
            {"name": "Vast.ai", "pricing": {"a100_80gb": 1.45}, "strengths": ["lowest price", "marketplace"]},
            {"name": "Lambda", "pricing": {"a100_80gb": 1.89}, "strengths": ["reliability", "enterprise"]},
        ],
        "recommendation": {"price_point": 1.305},
    },
)
DETECTORS = Case(
    "demo: detectors and their keys",
    "Which Bittensor subnets can detect deepfakes or AI-written text through a public API, and how does one"
    " authenticate?",
    {
        "subnets": [{"netuid": "int", "name": "str", "detects": "str", "base_url": "url", "auth": "str"}],
        "summary": "str",
    },
    {
        "subnets": [
            {"netuid": 34, "name": "BitMind", "base_url": "https://api.bitmind.ai"},
            {"netuid": 32, "name": "ItsAI", "base_url": "https://api.its-ai.org"},
        ]
    },
)


def answer(case: Case, world: World | None = None) -> tuple[Plan, Run, Synthesis]:
    schema = TargetSchema.parse(case.schema)
    plan = RetrievalPlanner().plan(case.objective, schema, LEDGER)
    run = (world or World()).run(plan)
    return plan, run, synthesise(schema, plan, run, objective=case.objective)


@pytest.mark.parametrize("case", [*CASES, PRICES, DETECTORS], ids=lambda case: case.name)
def test_answers_are_right_and_sourced(case: Case) -> None:
    plan, run, synthesis = answer(case)
    marks = mark(case, synthesis.data)
    assert marks.wrong == ()
    assert marks.beyond == ()
    assert unsourced(synthesis, run) == []
    assert {gap.capability for gap in (*plan.gaps, *synthesis.gaps)} >= set(case.missing)
    assert TargetSchema.parse(case.schema).violations(synthesis.data) == [] or synthesis.gaps or plan.gaps


def test_an_average_of_things_of_which_one_is_unknown_is_left_open() -> None:
    case = Case(
        "average",
        "What is the average and the lowest A100 price of RunPod, Nowhere Cloud and Lambda?",
        {"average_price": "float", "lowest_price": "float"},
        {},
    )
    _, run, synthesis = answer(case)
    assert synthesis.data == {"lowest_price": 1.89}
    assert unsourced(synthesis, run) == []


def test_detectors_are_only_those_that_detect_through_an_api() -> None:
    _, _, synthesis = answer(DETECTORS)
    assert {subnet["netuid"] for subnet in synthesis.data["subnets"]} == {32, 34}
    assert "BitMind" in synthesis.data["summary"]


def test_a_recommendation_states_its_computation() -> None:
    _, run, synthesis = answer(PRICES)
    rationale = synthesis.data["recommendation"]["rationale"]
    assert all(figure in rationale for figure in ("1.45", "1.89", "1.99", "0.9", "1.305"))
    assert synthesis.local[0].output == {"text": rationale}
    grounds = synthesis.provenance["/recommendation/rationale"]
    assert not hasattr(grounds, "op")
    assert grounds[0].step == len(run.attempts) + 1  # type: ignore[index]
    assert "[step 2]" in synthesis.final_synthesis


@pytest.mark.parametrize("case", [PRICES, DETECTORS, *CASES[:3]], ids=lambda case: case.name)
def test_without_extraction_the_records_are_read_from_crawled_text(case: Case) -> None:
    _, run, synthesis = answer(case, World(down={"structured_extraction"}))
    assert synthesis.data
    assert unsourced(synthesis, run) == []
    cited = {
        source.pointer for grounds in synthesis.provenance.values() if isinstance(grounds, tuple) for source in grounds
    }
    assert "/text" in cited


@pytest.mark.parametrize("down", ["web_search", "chat_completion", "social_search", "time_series"])
def test_what_is_down_leaves_gaps_never_inventions(down: str) -> None:
    for case in (PRICES, DETECTORS, CASES[0]):
        _, run, synthesis = answer(case, World(down={down}))
        assert unsourced(synthesis, run) == []
        if down == "web_search":
            assert synthesis.data == {}
            assert "web_search" in {gap.capability for gap in synthesis.gaps}


def test_removing_a_page_empties_what_came_from_it_and_nothing_else() -> None:
    _, before_run, before = answer(CASES[0])
    _, after_run, after = answer(CASES[0], World(lost={"https://kestrel.example/about"}))
    lost = {
        pointer
        for pointer, grounds in before.provenance.items()
        if isinstance(grounds, tuple)
        for source in grounds
        if before_run.attempts[source.step - 1].query.get("url") == "https://kestrel.example/about"
    }
    emptied = set(before.provenance) - set(after.provenance)
    assert emptied == {
        "/providers/1/regions/0",
        "/providers/1/regions/1",
        "/providers/1/uptime",
        "/providers/1/headquarters",
    }
    assert lost == emptied | {"/providers/1/name"}
    kept, still = leaf_pointers(before.data), leaf_pointers(after.data)
    assert {pointer: still[pointer] for pointer in kept if pointer not in emptied} == {
        pointer: value for pointer, value in kept.items() if pointer not in emptied
    }
    assert unsourced(after, after_run) == []


def test_posts_are_found_and_cited() -> None:
    schema = {"posts": [{"author": "str", "text": "str", "url": "url", "posted_at": "datetime"}], "summary": "str"}
    _, run, synthesis = answer(Case("posts", "Find posts about RunPod on X", schema, {}))
    assert len(synthesis.data["posts"]) > 3
    assert all("RunPod" in post["text"] and post["posted_at"].endswith("Z") for post in synthesis.data["posts"])
    assert unsourced(synthesis, run) == []


@pytest.mark.parametrize(
    "objective",
    [
        "What is the latest reading of RunPod queue time?",
        "Give the latest reading of the series RunPod queue time.",
        "Report the current value of the time series RunPod queue time.",
        "Report the current queue time of RunPod.",
        "What is the latest reading of the series 'RunPod queue time'?",
    ],
)
def test_a_reading_fills_value_unit_and_time(objective: str) -> None:
    schema = {"value": "float", "unit": "str", "at": "datetime"}
    _, run, synthesis = answer(Case("reading", objective, schema, {}))
    assert set(synthesis.data) == {"value", "unit", "at"}
    assert synthesis.data["unit"] == "s"
    assert unsourced(synthesis, run) == []


def test_a_chat_that_says_what_nobody_found_is_not_used() -> None:
    def lie(_: dict[str, Any]) -> Any:
        return {"text": "RunPod, Vast.ai and Lambda all charge 77 USD."}

    def truth(_: dict[str, Any]) -> Any:
        return {"text": "Vast.ai at 1.45 undercuts Lambda at 1.89 and RunPod at 1.99."}

    case = Case(
        "summary",
        "Compare the A100 price of RunPod, Vast.ai and Lambda",
        {"offers": [{"name": "str", "a100_price": "float"}], "summary": "str"},
        {},
    )
    _, _, lied = answer(case, World(answers={"chat_completion": lie}))
    assert "77" not in json.dumps(lied.data)
    assert lied.local
    _, run, told = answer(case, World(answers={"chat_completion": truth}))
    assert told.data["summary"].startswith("Vast.ai at 1.45")
    assert told.local == ()
    assert unsourced(told, run) == []


def test_malformed_answers_are_survived() -> None:
    odd: list[Any] = [[], {}, {"data": None}, {"data": [1, None, "x"]}, {"data": [{"name": None, "pricing": [1, {}]}]}]
    for output in odd:
        _, run, synthesis = answer(PRICES, World(answers={"structured_extraction": lambda _, out=output: out}))
        assert unsourced(synthesis, run) == []


def test_completeness_of_the_demo_answers_is_full() -> None:
    for case in (PRICES, DETECTORS):
        schema = TargetSchema.parse(case.schema)
        _, _, synthesis = answer(case)
        assert completeness(schema, synthesis.data, synthesis.provenance).score == 1.0
        assert schema.violations(synthesis.data) == []


def test_questions_about_every_capability_find_its_subnets_and_next_to_no_others() -> None:
    schema = {"subnets": [{"netuid": "int", "name": "str"}]}
    right = missed = strange = 0
    for tag in sorted(set(vocabulary()) - {"unknown"}):
        members = {facts.netuid for facts in subnets() if tag in facts.capabilities}
        objective = f"Which Bittensor subnets offer {tag.replace('_', ' ')}? Give netuid and name."
        _, _, synthesis = answer(Case(tag, objective, schema, {}))
        found = {row["netuid"] for row in synthesis.data.get("subnets", [])}
        right, missed, strange = (
            right + len(found & members),
            missed + len(members - found),
            strange + len(found - members),
        )
    assert right / (right + missed) >= 0.98
    assert right / (right + strange) >= 0.97


def test_of_several_prices_the_gap_says_which_there_are() -> None:
    vague = Case(
        "which price?", "Compare RunPod and Lambda on price.", {"offers": [{"name": "str", "price": "float"}]}, {}
    )
    (gap,) = answer(vague)[2].gaps
    assert gap.fields == ("/offers",)
    assert gap.reason.startswith("several prices were read (")
    assert "a100_80gb" in gap.reason
    assert gap.reason.endswith("): say in the objective which one")
    named = Case("a product that nobody has", "Compare RunPod and Lambda on B300 price.", vague.schema, {})
    (gap,) = answer(named)[2].gaps
    assert gap.reason == "nothing that was read states it"
