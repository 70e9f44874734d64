"""Honest answers over the local collections, planned, synthesised, sealed and audited: nothing is found wrong with any.

What the auditor knows is what it would know: the document, the revealed bytes, the Ledger, and its own calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ledger.canonical import canonical, sha256
from ledger.view import OperationRef
from orchestra.execution.run import Answer
from orchestra.planning import RetrievalPlanner
from orchestra.proofs import Audit, AuditPolicy, audit
from orchestra.schema import TargetSchema, completeness
from orchestra.synthesis import synthesise
from tests import proofkit as kit
from tests.fakes.answer_cases import CASES, Case
from tests.fakes.ledgers import ledger_with
from tests.fakes.local_web import World

LEDGER = ledger_with()


@dataclass
class OwnCalls:
    """`Replay` and `Confirm` over the same collections."""

    world: World

    def _body(self, ref: OperationRef, query: Mapping[str, Any]) -> bytes:
        return canonical(getattr(self.world, f"_{ref.operation.capability}")(dict(query)))

    async def call(self, ref: OperationRef, query: Mapping[str, Any], *, tag: str, timeout_s: float) -> Answer:
        body = self._body(ref, query)
        return Answer(200, body, kit.parse_strict(body), 0)

    async def confirm(self, ref: OperationRef, query: Mapping[str, Any], ledger_version: str, ours: str, /) -> bool:
        return sha256(self._body(ref, query)) == ours


async def answered(case: Case, world: World) -> tuple[kit.Story, Audit]:
    """Plan, run, synthesise, seal, and audit with everything drawn."""
    synapse = kit.make_synapse(LEDGER, objective=case.objective, target_schema=case.schema)
    schema = TargetSchema.parse(case.schema)
    plan = RetrievalPlanner().plan(case.objective, schema, LEDGER)
    run = world.run(plan)
    synthesis = synthesise(schema, plan, run, objective=case.objective)
    first = len(run.attempts) + 1
    composed = [kit.local_attempt(first + i, step.output, step.depends_on) for i, step in enumerate(synthesis.local)]
    attempts = [*run.attempts, *composed]
    story = kit.Story(
        LEDGER, synapse, attempts, synthesis.data, dict(synthesis.provenance), synthesis.final_synthesis, synthesis.gaps
    )
    issued = kit.make_issued(synapse)
    response, bundle = story.seal(issued)
    calls = OwnCalls(World())
    ports = kit.ports(LEDGER, replay=calls, confirm=calls.confirm)
    policy = AuditPolicy(seed=kit.SEED, beyond=256, replays=256, unpriced=0)
    return story, await audit(response.to_wire(), issued, kit.Revealer(bundle), ports, policy)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_honest_answer_is_verified_in_full(case: Case) -> None:
    story, found = await answered(case, World())
    assert not kit.codes(found), found.reasons()
    assert found.hash_credit() == (1 if story.provenance else 0)
    assert found.conclusive
    assert found.sourced_pointers == frozenset(story.provenance)
    schema = TargetSchema.parse(case.schema)
    claimed = completeness(schema, story.data, story.provenance)
    assert completeness(schema, story.data, found.sourced_pointers).score == claimed.score


@pytest.mark.parametrize("case", CASES[:6], ids=lambda case: case.name)
async def test_failures_of_subnets_are_held_against_nobody(case: Case) -> None:
    story, found = await answered(case, World(down=("structured_extraction",)))
    assert any(not attempt.ok for attempt in story.attempts)
    assert not kit.codes(found), found.reasons()
