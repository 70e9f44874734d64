"""From evidence to components: what one answer, one trap and one Ledger audit say about a miner.

Pure, so that two validators with the same evidence record the same events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.view import LedgerView
from orchestra.planning import Planner
from orchestra.proofs import Audit, Code, mean_attainable
from orchestra.protocol import EntryView, OrchestraResponse, TaskStep
from orchestra.routing import NO_REPUTATION, Limits, Route, regret, route, route_cost
from orchestra.schema import TargetSchema, completeness, leaf_pointers
from orchestra.validation.challenges import Challenge
from orchestra.validation.components import Component, ScoreEvent
from orchestra.validation.traps import TrapVerdict, judge_canary, judge_hint

REASONS_EACH = 3
"""How many reasons are kept for one component of one event."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as the validator saw it: audited, with the time on its own clock."""

    audit: Audit
    elapsed_ms: int

    @property
    def ahead(self) -> bool:
        """Was it made with a Ledger version that the auditor does not have?"""
        return any(each.code is Code.LEDGER_VERSION_AHEAD for each in self.audit.findings)


def no_answer(challenge: Challenge, *, miner: str, block: int, why: str) -> ScoreEvent:
    """Nothing usable came back: zero in all of orchestration."""
    return ScoreEvent(
        event_id=challenge.synapse.challenge_id,
        hotkey=miner,
        kind="challenge",
        block=block,
        values=dict.fromkeys(_ORCHESTRATION, 0.0),
        reasons=(f"orchestration: no answer: {why}"[:300],),
    )


def challenge_event(
    challenge: Challenge,
    answered: Answered,
    *,
    miner: str,
    block: int,
    ledger: LedgerView,
    planner: Planner,
    tao_usd: Decimal | None,
) -> ScoreEvent:
    """The five components of orchestration from one audited answer; `ledger` is the view it was drawn from.

    Where the auditor's own failures left nothing to judge the proofs by, the event says nothing about what rests on
    them: hash verification, schema compliance and completeness.
    """
    audit, response = answered.audit, answered.audit.response
    if answered.ahead:
        return no_answer(challenge, miner=miner, block=block, why="it names a Ledger version that does not exist")
    if response is None:
        refused = no_answer(challenge, miner=miner, block=block, why="; ".join(audit.reasons()[:3]) or "not readable")
        return refused if not audit.refuted else _refuted(refused, audit)
    schema = TargetSchema.parse(challenge.synapse.target_schema)
    in_time = answered.elapsed_ms <= challenge.synapse.deadline_ms
    filled = completeness(schema, response.standardized_data, audit.sourced_pointers)
    compliance, wrong = schema_compliance(schema, response, audit.sourced_pointers)
    reference = _reference(challenge, schema, ledger, planner, tao_usd)
    wasted = regret(counted_costs(response, ledger, tao_usd), route_cost(reference)) if not audit.over_budget else 1.0
    best = mean_attainable(way.candidates[0].ref.operation for way in reference.tasks)
    lacking = min(len(reference.tasks) * (1.0 - filled.score), len(filled.missing))  # a value takes at most one call
    values: dict[Component, float] = {
        "hash_verification": float(audit.hash_credit(best, tasks=lacking)),
        "schema_compliance": compliance,
        "completeness": filled.score,
        "routing": 1.0 - wasted,
        "latency": 1.0 if in_time else 0.0,
    }
    if not audit.conclusive:
        del values["hash_verification"], values["completeness"], values["schema_compliance"]
    doubts = [each for each in audit.faults if each.outcome != "refuted"]
    unproved = [] if audit.credits else ["no call to a subnet succeeded"]
    if 0 < len(audit.credits) < lacking:
        unproved += [f"it rests on {len(audit.credits)} calls, and what is missing takes {lacking:.0f} more"]
    unproved += [each.in_words() for each in doubts if each.check != "provenance"]
    unsourced = [each.in_words() for each in doubts if each.check == "provenance"]
    why: dict[Component, Sequence[str]] = {
        "hash_verification": unproved,
        "schema_compliance": wrong,
        "completeness": [*(f"{each.pointer or '/'}: {each.reason}" for each in filled.missing), *unsourced],
        "routing": (f"{wasted:.0%} of what it spent need not have been",),
        "latency": (f"{answered.elapsed_ms} of {challenge.synapse.deadline_ms} ms",),
    }
    low: list[Component] = [name for name in _ORCHESTRATION if values.get(name, 0.0) < 1.0]
    reasons = tuple(f"{name}: {reason}" for name in low for reason in why[name][:REASONS_EACH])
    return ScoreEvent(
        event_id=challenge.synapse.challenge_id,
        hotkey=miner,
        kind="challenge",
        block=block,
        values=values,
        refuted=audit.refuted,
        reasons=(*_refutations(audit), *reasons),
    )


def _refutations(audit: Audit) -> tuple[str, ...]:
    return tuple(each.in_words() for each in audit.faults if each.outcome == "refuted")[:REASONS_EACH]


def trap_event(
    challenge: Challenge,
    response: OrchestraResponse | None,
    *,
    miner: str,
    block: int,
    theirs: LedgerView | None,
    ours: LedgerView,
) -> ScoreEvent | None:
    """Freshness from the trap in a challenge; None without a trap, an answer or a sign either way."""
    if response is None:
        return None
    verdict = _verdict(challenge, response, theirs, ours)
    if verdict is None or verdict.passed is None:
        return None
    return ScoreEvent(
        event_id=f"{challenge.synapse.challenge_id}/trap",
        hotkey=miner,
        kind="trap",
        block=block,
        values={"freshness": 1.0 if verdict.passed else 0.0},
        reasons=() if verdict.passed else (f"freshness: {verdict.reason}",),
    )


def ledger_audit_event(
    nonce: str, views: tuple[EntryView, ...] | None, *, asked: tuple[str, ...], miner: str, block: int, ours: LedgerView
) -> ScoreEvent:
    """Freshness from the miner's own view: the share of asked entries that it holds as we do (`views` None: none)."""
    theirs = {view.entry: view.digest for view in views or ()}
    right = [name for name in asked if theirs.get(name) == _digest(ours, name)]
    wrong = sorted(set(asked) - set(right))
    reason = f"its Ledger differs on {', '.join(wrong)}" if views is not None else "gave no view of its Ledger"
    return ScoreEvent(
        event_id=f"{nonce}/ledger",
        hotkey=miner,
        kind="ledger_audit",
        block=block,
        values={"freshness": len(right) / len(asked) if views is not None else 0.0},
        reasons=(f"freshness: {reason}",) if wrong else (),
    )


def schema_compliance(
    schema: TargetSchema, response: OrchestraResponse, sourced: frozenset[str]
) -> tuple[float, tuple[str, ...]]:
    """(sourced values - violations) / values: what is there has the right type and place, and is more than words. What
    is absent is completeness's business, but an answer without any sourced value complies with nothing.
    """
    pointers = leaf_pointers(response.standardized_data) if response.standardized_data else {}
    values, backed = len(pointers), sum(_covered(pointer, sourced) for pointer in pointers)
    if not backed:
        return 0.0, ("no value with a source",)
    found = [each for each in schema.violations(response.standardized_data) if each.keyword not in _ABSENCE]
    unbacked = (f"{values - backed} of {values} values have no source",) if backed < values else ()
    reasons = tuple(f"{each.pointer or '/'}: {each.message}"[:200] for each in found[:3])
    return max(0.0, (backed - len(found)) / values), (*unbacked, *reasons)


def _covered(pointer: str, sourced: frozenset[str]) -> bool:
    """Does a source stand for this leaf, or for something that holds it?"""
    parts = pointer.split("/")
    return any("/".join(parts[:depth]) in sourced for depth in range(1, len(parts) + 1))


def _reference(
    challenge: Challenge, schema: TargetSchema, ledger: LedgerView, planner: Planner, tao_usd: Decimal | None
) -> Route:
    """What a planner and router like ours would have done with the Ledger alone: the yardstick for cost and proof."""
    synapse = challenge.synapse
    limits = Limits(deadline_ms=synapse.deadline_ms, max_cost=synapse.max_cost, tao_usd=tao_usd)
    return route(planner.plan(synapse.objective, schema, ledger), ledger, limits, NO_REPUTATION)


def counted_costs(response: OrchestraResponse, ledger: LedgerView, tao_usd: Decimal | None) -> tuple[TaskStep, ...]:
    """The steps with the costs that count: a success costs what the Ledger says, whatever is claimed; a failure what is
    claimed, at most the Ledger's price.
    """
    return tuple(step.model_copy(update={"cost": _counted(step, ledger, tao_usd)}) for step in response.task_pipeline)


def _counted(step: TaskStep, ledger: LedgerView, tao_usd: Decimal | None) -> int:
    ref = ledger.operation(step.entry, step.operation)
    price = ref.operation.price if ref else None
    if price is None or (price.currency == "USD" and tao_usd is None):
        return step.cost
    listed = price.worst_rao(tao_usd=tao_usd or Decimal(1))
    return listed if step.error is None else min(step.cost, listed)


def _verdict(
    challenge: Challenge, response: OrchestraResponse, theirs: LedgerView | None, ours: LedgerView
) -> TrapVerdict | None:
    if challenge.trap is not None:
        return judge_hint(challenge.trap, response)
    if challenge.kind == "canary":
        return judge_canary(response, theirs, ours)
    return None


def _refuted(event: ScoreEvent, audit: Audit) -> ScoreEvent:
    return ScoreEvent(event.event_id, event.hotkey, event.kind, event.block, event.values, True, _refutations(audit))


def _digest(view: LedgerView, name: str) -> str | None:
    entry = view.entry(name)
    return entry.digest if entry else None


_ORCHESTRATION: tuple[Component, ...] = (
    "hash_verification",
    "schema_compliance",
    "completeness",
    "routing",
    "latency",
)
_ABSENCE = frozenset({"required", "minItems", "minProperties", "minLength"})
