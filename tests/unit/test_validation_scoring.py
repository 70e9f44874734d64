"""From one audited answer to one event: every component moves for its own reason only, and says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from ledger.entry import Price
from ledger.view import LedgerView
from orchestra.planning import Plan, Task
from orchestra.proofs import Audit
from orchestra.protocol import EntryView, Source, StepError
from orchestra.schema import TargetSchema
from orchestra.validation.challenges import Challenge
from orchestra.validation.components import ORCHESTRATION, ScoreEvent, score
from orchestra.validation.scoring import (
    Answered,
    challenge_event,
    counted_costs,
    ledger_audit_event,
    no_answer,
    schema_compliance,
    trap_event,
)
from orchestra.validation.traps import Trap
from tests import proofkit as kit
from tests.builders import entry, operation
from tests.fakes.planner import OnePlan

MINER = kit.MINER.ss58_address
TAO_USD = Decimal(300)
ALL = dict.fromkeys(ORCHESTRATION, 1.0)


def challenge(story: kit.Story, **changes: Any) -> Challenge:
    return replace(Challenge(story.synapse, "plain", "posed"), **changes)


def searches(count: int) -> OnePlan:
    return OnePlan(
        Plan("o", tuple(Task(f"s{n}", "web_search", "search", {"query": "x"}, ("/x",)) for n in range(count)))
    )


DEAR = searches(50)
"""A reference plan that costs more than any answer here, all of whose steps can be proved in full."""


def event(story: kit.Story, audit: Audit, *, elapsed_ms: int = 1_000, planner: OnePlan = DEAR) -> ScoreEvent:
    return challenge_event(
        challenge(story),
        Answered(audit, elapsed_ms),
        miner=MINER,
        block=7,
        ledger=story.ledger,
        planner=planner,
        tao_usd=TAO_USD,
    )


def make_story() -> kit.Story:
    """The honest story, its summary written without the chat, which nobody could repeat."""
    story = kit.make_story()
    story.change(7, depends_on=(3, 4))
    story.provenance["/summary"] = (Source(step=7, pointer="/~1summary"),)
    return story


async def changed(change: Callable[[kit.Story], Any] | None = None, **world: Any) -> tuple[kit.Story, Audit]:
    """The honest story with a change, and what an audit in some world says of it."""
    story = make_story()
    if change:
        change(story)
    return story, await kit.audit_story(story, **world)


def only_moved(event: ScoreEvent, name: str) -> None:
    """Everything is full but this, and every reason is about it."""
    assert event.values[name] < 1.0  # type: ignore[index]
    assert {each: value for each, value in event.values.items() if each != name} == {
        each: value for each, value in ALL.items() if each != name
    }
    assert event.reasons
    assert all(reason.startswith(f"{name}: ") for reason in event.reasons)
    assert not event.refuted


async def test_a_perfect_answer_has_nothing_to_explain() -> None:
    full = event(*await changed())
    assert (full.values, full.reasons, full.refuted) == (ALL, (), False)
    assert (full.event_id, full.hotkey, full.kind, full.block) == (kit.h("challenge one"), MINER, "challenge", 7)
    assert score(MINER, [full]).orchestration == pytest.approx(0.6)


async def test_hash_verification_moves_alone() -> None:
    only_moved(event(*await changed(lambda story: story.change(5, receipt=None))), "hash_verification")


async def test_an_answer_that_hardly_tried_has_hardly_any_proof() -> None:
    """What it has is proved, but the reference plan would have made many more calls for what is missing."""

    def one_value(story: kit.Story) -> None:
        story.provenance = {"/offers/1/price": (Source(step=4, pointer="/text"),)}

    moved = event(*await changed(one_value))
    assert 0.0 < moved.values["hash_verification"] < 0.5
    assert any(reason.startswith("hash_verification: it rests on ") for reason in moved.reasons)


async def test_schema_compliance_moves_alone() -> None:
    def one_more(story: kit.Story) -> None:
        story.data["offers"][0]["rating"] = 1.99
        story.provenance["/offers/0/rating"] = (Source(step=3, pointer="/data/0/price"),)

    moved = event(*await changed(one_more))
    only_moved(moved, "schema_compliance")
    assert "/offers/0" in moved.reasons[0]


async def test_completeness_moves_alone_where_something_is_missing() -> None:
    def one_less(story: kit.Story) -> None:
        del story.data["offers"][0]["price"], story.provenance["/offers/0/price"]

    moved = event(*await changed(one_less))
    only_moved(moved, "completeness")
    assert moved.reasons[0].startswith("completeness: /offers/0/price: ")


async def test_a_value_without_a_source_is_neither_complete_nor_compliant() -> None:
    moved = event(*await changed(lambda story: story.provenance.pop("/offers/0/price")))
    low = {name for name, value in moved.values.items() if value < 1.0}
    assert low == {"completeness", "schema_compliance"}
    assert {reason.partition(": ")[0] for reason in moved.reasons} == low
    assert "schema_compliance: 1 of 8 values have no source" in moved.reasons


async def test_routing_moves_alone_and_by_the_share_that_was_wasted() -> None:
    story, audit = await changed()
    none, some = (event(story, audit, planner=searches(count)) for count in (0, 1))
    only_moved(none, "routing")
    only_moved(some, "routing")
    assert none.values["routing"] == 0.0
    assert 0.0 < some.values["routing"] < 1.0
    wasted = 1 - some.values["routing"]
    assert some.reasons == (f"routing: {wasted:.0%} of what it spent need not have been",)


async def test_latency_moves_alone_at_the_deadline() -> None:
    story, audit = await changed()
    assert event(story, audit, elapsed_ms=30_000).values == ALL
    late = event(story, audit, elapsed_ms=30_001)
    only_moved(late, "latency")
    assert late.reasons == ("latency: 30001 of 30000 ms",)


async def test_a_refuted_answer_is_worth_nothing_and_says_so_first() -> None:
    found = event(*await changed(kit.invent))
    assert found.refuted
    assert (found.values["hash_verification"], found.values["completeness"]) == (0.0, 0.0)
    assert found.reasons[0].startswith("refuted: replay_mismatch_confirmed at step ")
    assert score(MINER, [found]).total == 0.0


async def test_what_cannot_be_read_is_no_answer() -> None:
    for raw in (b"", b"{", b'{"a":1,"a":2}', b"[" * 100):
        found = event(kit.make_story(), await kit.of_raw(raw))
        assert found.values == dict.fromkeys(ORCHESTRATION, 0.0)
        assert not found.refuted
        assert found.reasons[0].startswith("orchestration: no answer: unverifiable: ")


async def test_an_answer_to_something_else_is_refuted() -> None:
    story = kit.make_story()
    other = await kit.of_document(kit.put("challenge_id", kit.h("another")))
    assert event(story, other).refuted
    assert score(MINER, [event(story, other)]).total == 0.0


async def test_a_ledger_that_does_not_exist_yet_earns_nothing() -> None:
    ahead = "99:" + kit.h("some root")
    story, audit = await changed(lambda story: setattr(story, "ledger_version", ahead))
    answered = Answered(audit, 1_000)
    assert answered.ahead
    found = event(story, audit)
    assert found.values == dict.fromkeys(ORCHESTRATION, 0.0)
    assert found.reasons == ("orchestration: no answer: it names a Ledger version that does not exist",)


async def test_where_only_the_auditor_failed_nothing_is_said_of_what_rests_on_the_proofs() -> None:
    story = kit.make_story()
    story.provenance = {"/offers/1/price": (Source(step=4, pointer="/text"),)}
    found = event(story, await kit.audit_story(story, replay=kit.down()))
    assert set(found.values) == {"routing", "latency"}
    assert not found.refuted


async def test_calls_that_can_only_fail_at_replay_are_worth_nothing() -> None:
    """A forger that cites pages which do not exist."""
    story = kit.make_story()
    story.provenance = {"/offers/1/price": (Source(step=4, pointer="/text"),)}
    refusing = kit.TableSubnets(kit.make_ledger(), {}, strict=False)
    found = event(story, await kit.audit_story(story, replay=refusing))
    assert (found.values["hash_verification"], found.values["completeness"]) == (0.0, 0.0)
    assert any("replay_refused" in reason for reason in found.reasons)


async def test_two_validators_write_the_same_event() -> None:
    first, second = [event(*await changed(kit.invent)) for _ in range(2)]
    assert first == second


def test_no_answer_is_zero_in_all_of_orchestration_and_bounded() -> None:
    silent = no_answer(challenge(kit.make_story()), miner=MINER, block=9, why="x" * 1_000)
    assert (silent.values, silent.block) == (dict.fromkeys(ORCHESTRATION, 0.0), 9)
    assert len(silent.reasons[0]) == 300


def test_an_answer_without_a_value_complies_with_nothing() -> None:
    schema = TargetSchema.parse(kit.SCHEMA)
    empty, _ = replace(kit.make_story(), data={}, provenance={}).seal()
    assert schema_compliance(schema, empty, frozenset()) == (0.0, ("no value with a source",))
    honest, _ = kit.make_story().seal()
    assert schema_compliance(schema, honest, frozenset()) == (0.0, ("no value with a source",))
    assert schema_compliance(schema, honest, frozenset(kit.PROVENANCE)) == (1.0, ())


def priced(amount: str, currency: Any = "TAO") -> LedgerView:
    return LedgerView(
        (entry("desearch", netuid=22, operations=(operation(price=Price(amount=amount, currency=currency)),)),)
    )


@pytest.mark.parametrize(
    ("claimed", "failed", "counted"),
    [(0, False, 100_000), (9, False, 100_000), (10**9, False, 100_000), (7, True, 7), (10**9, True, 100_000)],
)
def test_what_counts_is_the_ledgers_price_and_for_a_failure_at_most_that(
    claimed: int, failed: bool, counted: int
) -> None:
    honest, _ = kit.make_story().seal()
    error = StepError(kind="fault") if failed else None
    step = honest.task_pipeline[0].model_copy(update={"cost": claimed, "error": error})
    answer = honest.model_copy(update={"task_pipeline": (step,)})
    assert [each.cost for each in counted_costs(answer, priced("0.0001"), TAO_USD)] == [counted]
    assert [each.cost for each in counted_costs(answer, priced("0.03", "USD"), TAO_USD)] == [counted]
    assert [each.cost for each in counted_costs(answer, priced("0.03", "USD"), None)] == [claimed]
    assert [each.cost for each in counted_costs(answer, LedgerView(()), TAO_USD)] == [claimed]


# the Ledger

OURS = LedgerView((entry("a", netuid=1), entry("b", netuid=2), entry("c", netuid=3)))


def view(name: str, ledger: LedgerView = OURS) -> EntryView:
    found = ledger.entry(name)
    return EntryView(entry=name, digest=found.digest if found else None)


def audited(*views: EntryView, asked: tuple[str, ...] = ("a", "b", "c")) -> ScoreEvent:
    return ledger_audit_event(kit.h("nonce"), views, asked=asked, miner=MINER, block=5, ours=OURS)


def test_freshness_is_the_share_of_entries_held_as_we_hold_them() -> None:
    full = audited(view("a"), view("b"), view("c"))
    assert (dict(full.values), full.reasons, full.kind) == ({"freshness": 1.0}, (), "ledger_audit")
    old = EntryView(entry="b", digest=kit.h("an older b"))
    behind = audited(view("a"), old, view("c"))
    assert behind.values["freshness"] == pytest.approx(2 / 3)
    assert behind.reasons == ("freshness: its Ledger differs on b",)
    assert audited(view("a")).reasons == ("freshness: its Ledger differs on b, c",)
    assert audited(view("a"), view("nobody"), asked=("a", "nobody")).values["freshness"] == 1.0


def test_no_view_of_the_ledger_is_no_freshness() -> None:
    silent = ledger_audit_event(kit.h("nonce"), None, asked=("a",), miner=MINER, block=5, ours=OURS)
    assert (silent.values["freshness"], silent.reasons) == (0.0, ("freshness: gave no view of its Ledger",))


def test_a_trap_leaves_an_event_of_its_own() -> None:
    story = kit.make_story()
    answer, _ = story.seal()
    asked = challenge(story, kind="hint", trap=Trap("desearch", "web_search", "query"))
    fell = trap_event(asked, answer, miner=MINER, block=7, theirs=story.ledger, ours=story.ledger)
    assert fell is not None
    assert (fell.event_id, fell.kind) == (f"{story.synapse.challenge_id}/trap", "trap")
    assert (fell.values["freshness"], len(fell.values)) == (0.0, 1)
    assert fell.reasons[0].startswith("freshness: believed an outdated hint: sent 'query' to desearch/web_search")
    wary = challenge(story, kind="hint", trap=Trap("desearch", "web_search", "query_text"))
    kept = trap_event(wary, answer, miner=MINER, block=7, theirs=story.ledger, ours=story.ledger)
    assert kept is not None
    assert (kept.values["freshness"], kept.reasons) == (1.0, ())


def test_without_a_trap_an_answer_or_a_sign_there_is_no_trap_event() -> None:
    story = kit.make_story()
    answer, _ = story.seal()
    unused = challenge(story, kind="hint", trap=Trap("nobody", "nothing", "x"))
    for asked, given in ((challenge(story), answer), (unused, answer), (unused, None)):
        assert trap_event(asked, given, miner=MINER, block=7, theirs=story.ledger, ours=story.ledger) is None


async def test_a_claimed_cost_over_what_was_allowed_earns_nothing_in_routing() -> None:
    story, audit = await changed(lambda story: story.change(1, cost=10**15))
    assert audit.over_budget
    assert event(story, audit).values["routing"] == 0.0
