"""Whatever subnets answer and whatever is asked for: every value present has a source that contains it, what is absent
is said, and taking a step away takes away only what it gave.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from ledger.canonical import canonical, parse_strict
from orchestra.execution.run import Run, TaskOutcome
from orchestra.planning import Plan, RetrievalPlanner
from orchestra.protocol import Derivation
from orchestra.schema import TargetSchema, completeness
from orchestra.synthesis import DerivationError, evaluate, supports, synthesise
from orchestra.synthesis.derivation import sources_of
from tests.fakes.answer_cases import unsourced
from tests.fakes.ledgers import ALL, ledger_with
from tests.fakes.local_web import World

NAMES = ("Acme", "Borealis", "Vast.ai", "Data Universe")
KEYS = (
    "name",
    "price",
    "pricing",
    "netuid",
    "base_url",
    "strengths",
    "public_api",
    "updated",
    "rank",
    "summary",
    "average_price",
)
TYPES = (
    "str",
    "int",
    "float",
    "bool",
    "url",
    "datetime",
    "list",
    "dict",
    "list[str]",
    "dict[str, float]",
    "enum(low, high)",
    "str | null",
)
OBJECTIVES = (
    "Compare {a} and {b} on price and recommend a price point.",
    "What is the average price at {a}, {b} and RunPod?",
    "Which subnets detect fakes or sell storage through a public API?",
    "What is the base URL of {a}?",
    "Find posts about {a}",
    "What is the latest reading of the series '{a}'?",
    "Transcribe this recording and find the price of {b}",
    "Summarise what {a} does",
    "List providers under $2 per hour",
)

EXTREME = ("12345678901234567890", "9" * 400, "$" + "9" * 320, "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-10:00")
"""What a page may say and JSON or the calendar cannot."""

texts = st.sampled_from(
    (
        "Acme",
        "Borealis GPU",
        "1.99",
        "$1.45 per hour",
        "yes",
        "no",
        "low",
        "https://a.example/x",
        "2026-08-07",
        "SN34",
        "",
        *EXTREME,
    )
) | st.text(max_size=20)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 10**6), st.floats(-10, 1e6), texts)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
likely: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from((*NAMES, "Acme Labs", "Other")),
    "price": st.floats(0.1, 5) | st.sampled_from(("$1.45 per hour", "1.99", *EXTREME[:3])),
    "pricing": st.dictionaries(st.sampled_from(("a100_80gb", "h100")), st.floats(0.1, 5), max_size=2),
    "netuid": st.integers(1, 128) | st.sampled_from(("SN34", *EXTREME[:2])),
    "base_url": st.just("https://a.example/x"),
    "strengths": st.lists(texts, max_size=3),
    "public_api": st.booleans() | st.sampled_from(("yes", "no")),
    "updated": st.sampled_from(("2026-08-07", "7 August 2026", "2026-08-07T10:00:00Z", "soon", *EXTREME[3:])),
    "description": st.sampled_from(("Detects fakes.", "Object storage, S3-compatible", "nothing")),
    "text": texts,
    "author": texts,
    "value": st.floats(-5, 5),
    "unit": texts,
}
NATURAL = {
    "name": "str",
    "price": "float",
    "pricing": "dict",
    "netuid": "int",
    "base_url": "url",
    "strengths": "list",
    "public_api": "bool",
    "updated": "datetime",
    "description": "str",
    "text": "str",
    "author": "str",
    "value": "float",
}
details = {key: st.one_of(part, part, part, values) for key, part in likely.items() if key != "name"}
records = st.fixed_dictionaries({"name": likely["name"]}, optional=details)
natural = st.sets(st.sampled_from(sorted(NATURAL)), min_size=1, max_size=5).map(
    lambda keys: {"name": "str", **{key: NATURAL[key] for key in sorted(keys)}}
)
wild = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(TYPES), min_size=1, max_size=4)
schemas = st.one_of(
    natural,
    st.fixed_dictionaries(
        {"providers": natural.map(lambda record: [record])},
        optional={
            "summary": st.just("str"),
            "average_price": st.just("float"),
            "cheapest": st.sampled_from(("str", {"provider": "str", "price": "float"})),
            "recommendation": st.just({"price_point": "float", "rationale": "str"}),
            "posts": st.just([{"text": "str", "author": "str"}]),
        },
    ),
    st.dictionaries(
        st.sampled_from(("providers", "posts", "cheapest", "answer", "average_price", "value", "prices", "subnets")),
        st.one_of(st.sampled_from(TYPES), wild, wild.map(lambda record: [record])),
        min_size=1,
        max_size=4,
    ),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    titles = st.sampled_from(NAMES).map(lambda name: f"{name} pricing") | texts
    page = st.fixed_dictionaries({"title": titles, "url": st.just("https://a.example/x"), "snippet": texts})
    hits = draw(st.lists(page, min_size=3, max_size=3))
    pool = [{**draw(records), "name": name} for name in draw(st.permutations((*NAMES, "Acme Labs", "Other")))]
    text = draw(st.text(max_size=80))
    turn = iter(range(10**6))
    return World(
        down=draw(st.sets(st.sampled_from(ALL), max_size=1)),
        answers={
            "web_search": lambda _: {"results": list(hits)},
            "structured_extraction": lambda _: {"data": [dict(record) for record in pool[next(turn) % 3 :][:4]]},
            "web_scraping": lambda _: {"text": f"Acme\nPrice: $1.45\nName: Acme\n{text}"},
            "social_search": lambda _: {"posts": [dict(record) for record in pool[:3]]},
            "chat_completion": lambda _: {"text": text},
            "time_series": lambda _: {"reading": dict(pool[0])},
        },
    )


@st.composite
def objectives(draw: st.DrawFn) -> str:
    return draw(st.sampled_from(OBJECTIVES)).format(a=draw(st.sampled_from(NAMES)), b=draw(st.sampled_from(NAMES)))


def planned(objective: str, schema: TargetSchema) -> Plan:
    return RetrievalPlanner().plan(objective, schema, ledger_with())


relaxed = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@relaxed
@given(objective=objectives(), raw=schemas, world=worlds())
def test_every_value_has_a_source_and_every_gap_is_said(objective: str, raw: dict[str, Any], world: World) -> None:
    schema = TargetSchema.parse(raw)
    plan = planned(objective, schema)
    run = world.run(plan)
    synthesis = synthesise(schema, plan, run, objective=objective)
    assert unsourced(synthesis, run) == []
    assert parse_strict(canonical(synthesis.data)) == synthesis.data  # it can be sealed
    missing = completeness(schema, synthesis.data, synthesis.provenance).missing
    assert all(fault.reason in ("absent", "empty") for fault in missing)
    absences = {"required", "minItems", "minProperties"}
    assert [fault for fault in schema.violations(synthesis.data) if fault.keyword not in absences] == []
    if missing:
        assert synthesis.gaps or plan.gaps
    event(f"values: {min(len(synthesis.provenance), 10)}")
    assert synthesise(schema, plan, run, objective=objective) == synthesis


@relaxed
@given(objective=objectives(), raw=schemas, world=worlds(), data=st.data())
def test_a_step_taken_away_takes_its_values_with_it(
    objective: str, raw: dict[str, Any], world: World, data: st.DataObject
) -> None:
    schema = TargetSchema.parse(raw)
    plan = planned(objective, schema)
    run = world.run(plan)
    cited = sorted(
        {
            source.step
            for grounds in synthesise(schema, plan, run, objective=objective).provenance.values()
            for source in (sources_of(grounds) if isinstance(grounds, Derivation) else grounds)
            if source.step <= len(run.attempts)
        }
    )
    assume(bool(cited))
    gone = data.draw(st.sampled_from(cited))
    less = without(run, gone)
    after = synthesise(schema, plan, less, objective=objective)
    assert unsourced(after, less) == []
    for grounds in after.provenance.values():
        assert all(
            source.step != gone for source in (sources_of(grounds) if isinstance(grounds, Derivation) else grounds)
        )


def without(run: Run, step: int) -> Run:
    """The run as if that attempt had given nothing."""
    attempts = tuple(replace(attempt, output=None) if attempt.step == step else attempt for attempt in run.attempts)
    outcomes = {
        task: TaskOutcome("failed", cause="taken away") if outcome.step == step else outcome
        for task, outcome in run.outcomes.items()
    }
    return replace(run, attempts=attempts, outcomes=outcomes)


@given(found=values, value=values)
def test_support_is_total_and_reflexive_on_leaves(found: Any, value: Any) -> None:
    assert isinstance(supports(found, value), bool)
    if isinstance(found, bool | int | str) and found != "":
        assert supports(found, found) or (isinstance(found, str) and not found.strip())


@given(st.lists(st.decimals(-1000, 1000, places=3), min_size=2, max_size=6))
def test_derivations_keep_their_order_relations(numbers: list[Any]) -> None:
    from orchestra.protocol import Source

    sources = tuple(Source(step=1, pointer=f"/{index}") for index in range(len(numbers)))

    def lookup(source: Source) -> str:
        return str(numbers[int(source.pointer[1:])])

    worth = {
        op: evaluate(Derivation(op=op, of=sources), lookup) for op in ("min", "max", "mean", "median", "sum", "rank")
    }
    assert worth["min"] <= worth["median"] <= worth["max"]
    assert worth["min"] - 1e-6 <= worth["mean"] <= worth["max"] + 1e-6
    assert 1 <= worth["rank"] <= len(numbers)
    assert worth["sum"] == float(sum(numbers))


@given(st.text(max_size=12))
def test_a_text_without_a_number_is_refused(text: str) -> None:
    from orchestra.protocol import Source
    from orchestra.synthesis.numbers import first_number

    if first_number(text) is None:
        try:
            evaluate(Derivation(op="min", of=(Source(step=1, pointer=""),)), lambda _: text)
        except DerivationError:
            return
        raise AssertionError(text)
