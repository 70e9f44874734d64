"""Objectives answered through the real local subnets over sockets: plan, route, execute, synthesise.

At least 95 % of the expected values are right and none is without a source that contains it, with every service up, and
with only the half of them that a node without a Desearch key can use.
"""

from __future__ import annotations

from collections.abc import Collection

import pytest

from ledger.view import LedgerView
from orchestra.execution import LoopClock, Run, execute
from orchestra.planning import RetrievalPlanner
from orchestra.routing import NO_REPUTATION, Limits, route
from orchestra.schema import TargetSchema
from orchestra.synthesis import Synthesis, synthesise
from tests.e2e.test_local_subnets import TAG, Network, started
from tests.fakes.answer_cases import CASES, Case, mark, unsourced
from tests.unit.test_synthesis_answers import DETECTORS, PRICES

__all__ = ["started"]

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

LIMITS = Limits(deadline_ms=30_000, max_cost=10**9, unpriced_ceiling=10**6)
EVERYTHING = ("desearch", "data-universe", "chutes", "atlas")
WITHOUT_DESEARCH = ("data-universe", "chutes", "atlas")


async def answer(network: Network, case: Case, entries: Collection[str]) -> tuple[Run, Synthesis]:
    ledger = LedgerView(entry for entry in network.entries if entry.id in entries)
    schema = TargetSchema.parse(case.schema)
    plan = RetrievalPlanner().plan(case.objective, schema, ledger)
    routed = route(plan, ledger, LIMITS, NO_REPUTATION, usable=network.subnets.usable)
    run = await execute(routed, network.subnets, limits=LIMITS, tag=TAG, clock=LoopClock())
    return run, synthesise(schema, plan, run, objective=case.objective)


@pytest.mark.parametrize("entries", [EVERYTHING, WITHOUT_DESEARCH], ids=["all services", "without Desearch"])
async def test_nearly_all_values_are_right_and_none_is_invented(started: Network, entries: Collection[str]) -> None:
    total, wrong, unfounded = 0, list[str](), list[str]()
    for case in (*CASES, PRICES, DETECTORS):
        run, synthesis = await answer(started, case, entries)
        marks = mark(case, synthesis.data)
        total += marks.total
        wrong += [f"{case.name}: {path}" for path in marks.wrong]
        unfounded += [f"{case.name}: {path}" for path in (*unsourced(synthesis, run), *marks.beyond)]
    assert unfounded == []
    assert len(wrong) <= 0.05 * total, f"{len(wrong)} of {total}: {wrong}"


@pytest.mark.parametrize("case", [PRICES, DETECTORS], ids=lambda case: case.name)
async def test_the_demo_objectives_are_answered_fully(started: Network, case: Case) -> None:
    run, synthesis = await answer(started, case, EVERYTHING)
    assert mark(case, synthesis.data).wrong == ()
    assert unsourced(synthesis, run) == []
    assert synthesis.gaps == ()


async def test_an_outage_of_extraction_is_bridged_by_reading_texts(started: Network) -> None:
    await started.control("atlas", outage="refuse")
    await started.control("desearch", latency_ms=1)
    try:
        run, synthesis = await answer(started, PRICES, EVERYTHING)
    finally:
        await started.heal()
    assert mark(PRICES, synthesis.data).wrong == ()
    assert unsourced(synthesis, run) == []
