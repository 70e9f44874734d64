"""Each check of an audit at its edges: what an honest miner may do, and what a clever one may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.canonical import canonical
from orchestra.execution.run import Answer
from orchestra.proofs import Audit, Code, audit
from orchestra.proofs.provenance import check_provenance
from orchestra.protocol import Evidence, EvidenceRequest, Source
from orchestra.schema import TargetSchema
from tests import proofkit as kit


def found_codes(found: Audit) -> set[Code]:
    return {finding.code for finding in found.findings}


# structure -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["challenge_id", "beacon"])
async def test_a_step_may_not_carry_the_names_that_its_leaf_adds(name: str) -> None:
    found = await kit.of_resealed(kit.put(f"task_pipeline/0/{name}", "x"))
    assert ("unsigned_field", 1, None) in kit.codes(found)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (kit.put("task_pipeline/3/depends_on", [4]), Code.DEPENDS_ON_INVALID),
        (kit.put("task_pipeline/3/depends_on", [5]), Code.DEPENDS_ON_INVALID),
        (kit.put("task_pipeline/3/depends_on", [1, 1]), Code.DEPENDS_ON_INVALID),
        (kit.put("task_pipeline/3/subnet", "local"), Code.SUBNET_MISMATCH),
        (kit.put("total_latency_ms", 1_251), Code.LATENCY_IMPOSSIBLE),
        (kit.put("total_latency_ms", 197), Code.LATENCY_IMPOSSIBLE),
        (kit.put("ledger_version", "4:" + kit.h("new")), Code.LEDGER_VERSION_AHEAD),
        (kit.put("ledger_version", "3:" + kit.h("new")), Code.LEDGER_VERSION_FORKED),
    ],
)
async def test_what_a_miner_may_not_seal(change: kit.DocumentChange, code: Code) -> None:
    assert code in found_codes(await kit.of_resealed(change))


@pytest.mark.parametrize(
    "change",
    [
        kit.put("task_pipeline/6/operation", "anything"),
        kit.put("total_latency_ms", 1_250),
        kit.put("total_latency_ms", 198),
        kit.put("from_a_newer_version", {"a": [1]}),
        kit.put("task_pipeline/3/from_a_newer_version", True),
    ],
)
async def test_what_a_miner_may_seal(change: kit.DocumentChange) -> None:
    assert not kit.codes(await kit.of_resealed(change))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("task_pipeline/0/step", "1"),
        ("task_pipeline/0/step", True),
        ("total_cost", "0800000"),
        ("protocol_version", True),
    ],
)
async def test_another_spelling_of_the_same_reading_is_not_read(path: str, value: Any) -> None:
    found = await kit.of_resealed(kit.put(path, value))
    assert found.response is None
    assert found.hash_credit() == 0


async def test_the_same_number_in_another_spelling_is_the_same_document() -> None:
    raw = canonical(kit.honest_document()).replace(b'"latency_ms":100,', b'"latency_ms":1e2,')
    assert not kit.codes(await kit.of_raw(raw))


async def test_signed_by_another_hotkey_than_it_names() -> None:
    found = await kit.of_resealed(lambda document: None, signer=kit.OTHER)
    assert kit.codes(found) == {("signature_invalid", None, None)}


async def test_an_answer_from_an_older_ledger_is_audited_with_that_ledger() -> None:
    story = kit.make_story()
    newer = kit.make_ledger(web_extract={"response": "{data: renamed}"})
    found = await kit.audit_story(story, ledgers=kit.KnownLedgers([story.ledger, newer]))
    assert not kit.codes(found)


# evidence ------------------------------------------------------------------------------------------------------------


async def test_evidence_comes_in_as_many_messages_as_it_needs() -> None:
    story = kit.make_story()
    revealer = kit.Revealer(story.seal()[1], per_message=3)
    assert not kit.codes(await kit.audit_story(story, evidence=revealer))
    assert revealer.asked == [(1, 2, 3, 4, 5, 6, 7), (4, 5, 6, 7), (7,)]


async def test_asked_for_are_the_cited_steps_what_they_rest_on_and_as_many_others_as_the_policy_says() -> None:
    story = kit.make_story()
    story.provenance = {"/offers/1/price": (Source(step=4, pointer="/text"),)}
    revealer = kit.Revealer(story.seal()[1])
    await kit.audit_story(story, evidence=revealer, policy=replace(kit.POLICY, beyond=0))
    assert revealer.asked == [(1, 4)]
    revealer.asked.clear()
    await kit.audit_story(story, evidence=revealer, policy=replace(kit.POLICY, beyond=2))
    assert len(revealer.asked[0]) == 4


async def test_another_seed_draws_other_steps() -> None:
    drawn: set[tuple[int, ...]] = set()
    for seed in range(8):
        story = kit.make_story()
        story.provenance = {}
        revealer = kit.Revealer(story.seal()[1])
        await kit.audit_story(story, evidence=revealer, policy=replace(kit.POLICY, seed=bytes([seed]) * 32))
        drawn.update(revealer.asked)
    assert len(drawn) > 2


@pytest.mark.parametrize("text", ["not base64!", "é", "QQ="])
async def test_evidence_that_is_not_base64(text: str) -> None:
    story = kit.make_story()
    reveal = kit.Revealer(story.seal()[1])

    async def garbled(request: EvidenceRequest, /) -> Evidence:
        evidence = await reveal(request)
        first = evidence.steps[0].model_copy(update={"request": text})
        return evidence.model_copy(update={"steps": (first, *evidence.steps[1:])})

    found = await kit.audit_story(story, evidence=garbled)
    assert ("evidence_malformed", None, None) in kit.codes(found)
    assert found.hash_credit() == 0


async def test_a_source_that_takes_too_long_is_unavailable() -> None:
    async def stuck(request: EvidenceRequest, /) -> Evidence:
        raise TimeoutError

    found = await kit.audit_story(kit.make_story(), evidence=stuck)
    assert ("evidence_unavailable", None, None) in kit.codes(found)


async def test_an_output_that_fits_the_wire_schema_but_not_the_capability() -> None:
    found = await kit.of_story(lambda story: story.change(1, response=b'{"data":[{"title":"no link"}]}'))
    assert ("output_schema_mismatch", 1, None) in kit.codes(found)


# dataflow ------------------------------------------------------------------------------------------------------------


async def test_a_url_may_come_from_the_challenge() -> None:
    story = kit.make_story()
    story.synapse = kit.make_synapse(story.ledger, objective=f"What does {kit.VAST} ask?")
    story.change(4, depends_on=())
    story.change(5, receipt=None)
    assert ("dataflow_undeclared", 4, None) not in kit.codes(await kit.audit_story(story))


async def test_a_query_without_urls_must_hold_something_of_what_it_depends_on() -> None:
    found = await kit.of_story(lambda story: story.change(6, query={"text": "something else"}))
    assert ("dataflow_unfounded", 6, None) in kit.codes(found)


async def test_what_a_local_step_says_is_no_origin() -> None:
    invented = "https://laundered.example/page"

    def launder(story: kit.Story) -> None:
        story.attempts[3] = kit.local_attempt(4, {"link": invented}, (3,))
        story.attempts.append(replace(kit.make_story().attempts[3], step=8))
        story.change(8, query={"url": invented}, depends_on=(4,))
        for pointer in ("/offers/1/name", "/offers/1/price"):
            kit.cite(pointer, (8, "/text"))(story)
        kit.derive("/cheapest", "min", (3, "/data/0/price"), (8, "/text"))(story)

    found = await kit.of_story(launder, replay=kit.down())
    assert ("dataflow_unfounded", 8, None) in kit.codes(found)


async def test_more_urls_than_are_looked_for_have_no_origin() -> None:
    urls = " ".join(f"{kit.VAST}?{number}" for number in range(100))
    body = kit.body_of("desearch/web_search", {"query": "gpu pricing"}).replace(b"lowest price", urls.encode())
    found = await kit.of_story(
        lambda story: (story.change(1, response=body), story.change(4, query={"url": urls})), replay=kit.down()
    )
    assert ("dataflow_unfounded", 4, None) in kit.codes(found)


# provenance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (kit.cite("/offers/0/name", (256, "")), ("source_invalid", 256, "/offers/0/name")),
        (kit.cite("/offers/0/name"), ("value_unsourced", None, "/offers/0/name")),
        (
            kit.cite("/offers/1/name", (5, "/results/0/title"), (1, "/results/0/title")),
            ("value_unsupported", 1, "/offers/1/name"),
        ),
        (kit.cite("/summary", (6, "/text")), ("value_unsupported", 6, "/summary")),
        (kit.cite("/summary", (7, "/~1summary"), (6, "/nothing")), ("source_unresolved", 6, "/summary")),
        (
            lambda story: story.data["offers"][0]["strengths"].append("invented"),
            ("value_unsupported", 3, "/offers/0/strengths"),
        ),
        (lambda story: story.data.update(extra={"deep": [1]}), ("value_unsourced", None, "/extra/deep/0")),
        (kit.derive("/cheapest", "min", (7, "")), ("source_not_allowed", 7, "/cheapest")),
        (kit.derive("/summary", "min", (7, "")), ("source_not_allowed", 7, "/summary")),
        (kit.derive("/cheapest", "rank", (5, "")), ("derivation_mismatch", None, "/cheapest")),
        (kit.derive("/cheapest", "min"), ("value_unsourced", None, "/cheapest")),
    ],
)
async def test_citations(change: kit.StoryChange, expected: tuple[str, int | None, str]) -> None:
    assert kit.codes(await kit.of_story(change)) == {expected}


async def test_what_is_empty_needs_no_source() -> None:
    assert not kit.codes(await kit.of_story(lambda story: story.data.update(extra=None, more="", empty=[], none={})))


async def test_only_values_with_a_revealed_source_are_sourced() -> None:
    found = await kit.audit_story(kit.make_story(), evidence=kit.withheld(3))
    assert found.sourced_pointers == {"/offers/1/name", "/offers/1/price", "/summary"}


class Compared(list[Any]):
    """A list that counts how often it was compared."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


def test_a_source_that_is_cited_again_and_again_is_looked_at_once() -> None:
    response, _ = kit.make_story().seal()
    again = (Source(step=3, pointer="/data"),) * 1_000
    response = response.model_copy(
        update={"standardized_data": {"offers": Compared([1])}, "provenance": {"/offers": again}}
    )
    findings, sourced = check_provenance(TargetSchema.parse({"offers": "list"}), response, {3: {"data": Compared([1])}})
    assert ([each.code for each in findings], sourced) == ([Code.SUPPORTED], {"/offers"})
    assert Compared.times < 20


# receipts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"caller": kit.OTHER.ss58_address}, {"name": ("atlas", "fetch")}, {"name": ("other", "search")}]
)
async def test_a_receipt_of_another_call_does_not_hold(changes: dict[str, Any]) -> None:
    assert ("receipt_invalid", 5, None) in kit.codes(await kit.of_story(kit.with_receipt(**changes)))


async def test_a_receipt_for_another_answer_does_not_hold() -> None:
    other = canonical({"hits": [{"title": "Vast.ai", "url": kit.VAST, "text": "the marketplace, improved"}]})
    found = await kit.of_story(lambda story: story.change(5, response=other))
    assert ("receipt_invalid", 5, None) in kit.codes(found)


@pytest.mark.parametrize("time_ms", [kit.SENT_MS - 5_000, kit.SENT_MS + 6_000])
async def test_a_providers_clock_may_differ_a_little(time_ms: int) -> None:
    assert not kit.codes(await kit.of_story(kit.with_receipt(time_ms=time_ms)))


async def test_when_the_chain_cannot_be_read_the_step_is_left_to_replay() -> None:
    found = await kit.audit_story(kit.make_story(), is_registered=kit.Registry(readable=False))
    assert kit.codes(found) == {("registry_unreadable", 5, None)}
    assert found.hash_credit() == 1


async def test_the_chain_is_asked_once_however_many_steps_carry_a_receipt() -> None:
    story, registry = kit.make_story(), kit.Registry(readable=False)
    receipted = story.attempts[4]
    story.attempts += [replace(receipted, step=step) for step in range(8, 108)]
    story.total_latency_ms = 900
    found = await kit.audit_story(story, is_registered=registry)
    assert len([each for each in found.findings if each.code is Code.REGISTRY_UNREADABLE]) == 101
    assert registry.asked == [(129, kit.PROVIDER.ss58_address)]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-10:00"])
async def test_a_value_that_no_calendar_holds_does_not_end_the_audit_that_refutes_it(moment: str) -> None:
    """An audit that ends in an exception says nothing about anybody: no value may buy that."""

    def change(story: kit.Story) -> None:
        kit.invent(story)
        story.data["offers"][0]["name"] = moment

    found = await kit.of_story(change)
    assert ("value_unsupported", 3, "/offers/0/name") in kit.codes(found)
    assert found.refuted


# replay --------------------------------------------------------------------------------------------------------------


async def test_a_second_validator_with_a_third_answer_confirms_nothing() -> None:
    third = kit.TableSubnets(kit.make_ledger(), kit.content_with(3, b'{"data":[{"price":5}]}'))
    found = await kit.of_story(kit.invent, confirm=third.confirm)
    assert kit.codes(found) == {("replay_mismatch_unconfirmed", 3, None)}
    assert not found.sourced_pointers & {"/cheapest", "/offers/0/price", "/offers/0/name"}
    assert found.hash_credit() < 1


async def test_another_envelope_around_the_same_output_matches() -> None:
    body = kit.body_of("desearch/web_extract", {"url": kit.RUNPOD})
    envelope = kit.TableSubnets(kit.make_ledger(), kit.content_with(3, body[:-1] + b',"id":"z"}'))
    found = await kit.audit_story(kit.make_story(), replay=envelope)
    assert not kit.codes(found)
    assert found.hash_credit() == 1


class Stuck:
    async def call(self, *args: Any, **kwargs: Any) -> Answer:
        raise TimeoutError


async def test_a_replay_that_takes_too_long_is_the_auditors_own_failure() -> None:
    found = await kit.audit_story(kit.make_story(), replay=Stuck())
    assert {finding.code for finding in found.findings if finding.check == "replay"} == {
        Code.REPLAY_FAILED,
        Code.NOT_REPLAYABLE,
    }
    assert not found.refuted
    assert found.hash_credit() == 1  # the receipt still stands, and nothing else counts


async def test_an_audit_that_could_check_nothing_is_not_conclusive() -> None:
    story = kit.make_story()
    story.provenance = {"/offers/1/price": (Source(step=4, pointer="/text"),)}
    failed = await kit.audit_story(story, replay=kit.down())
    assert not failed.conclusive
    assert failed.hash_credit() == 0
    assert (await kit.audit_story(story)).conclusive


@pytest.mark.parametrize(
    "change",
    [
        {"determinism": "stable"},
        {"safe_to_retry": False},
        {"sensitive": True},
        {"price": {"amount": "2", "currency": "TAO"}},
        {"price": {"amount": "0.000001", "currency": "USD"}},
        {"price": None},
    ],
)
async def test_what_must_not_be_repeated_is_not(change: dict[str, Any]) -> None:
    story = kit.make_story(web_extract=change)
    subnets = kit.TableSubnets(story.ledger)
    found = await kit.audit_story(story, replay=subnets)
    assert ("not_replayable", 3, None) in kit.codes(found)
    assert "desearch/web_extract" not in subnets.calls


async def test_nothing_is_bought_about_an_answer_that_is_already_refuted() -> None:
    subnets = kit.TableSubnets(kit.make_ledger())
    found = await kit.of_story(lambda story: story.data.update(cheapest=1.44), replay=subnets)
    assert found.refuted
    assert subnets.calls == []


async def test_replays_stay_within_number_and_budget_and_leave_receipted_steps_alone() -> None:
    story = kit.make_story()
    few = kit.TableSubnets(story.ledger)
    found = await kit.audit_story(story, replay=few, policy=replace(kit.POLICY, replays=2))
    assert len(few.calls) == 2
    assert "atlas/search" not in few.calls
    assert found.hash_credit() == 1
    cheap = kit.TableSubnets(story.ledger)
    await kit.audit_story(story, replay=cheap, policy=replace(kit.POLICY, replay_budget=250_000))
    assert len(cheap.calls) == 2


# contracts -----------------------------------------------------------------------------------------------------------


async def test_nothing_rests_on_a_query_that_the_operation_does_not_take() -> None:
    """The auditor could not repeat such a call; its failure to is no shelter for invented prices."""
    strict = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
    story = kit.make_story(web_extract={"input_schema": strict})
    kit.invent(story)
    story.change(3, query={"uri": "RunPod pricing"})
    subnets = kit.TableSubnets(story.ledger)
    found = await kit.audit_story(story, replay=subnets)
    assert ("query_schema_mismatch", 3, None) in kit.codes(found)
    assert "desearch/web_extract" not in subnets.calls
    assert next(credit for credit in found.credits if credit.step == 3).earned == 0
    assert not found.sourced_pointers & {"/offers/0/name", "/offers/0/price", "/cheapest"}
    assert found.conclusive


async def test_an_older_ledger_is_no_way_around_what_the_challenges_ledger_demands() -> None:
    found = await kit.of_older_ledger(web_extract={"determinism": "volatile"})
    assert kit.codes(found) == {("operation_superseded", 3, None)}
    assert next(credit for credit in found.credits if credit.step == 3).earned == 0
    assert "/offers/0/price" not in found.sourced_pointers
    assert not found.refuted


async def test_an_older_ledger_with_the_same_contract_costs_nothing() -> None:
    found = await kit.of_older_ledger(web_extract={"notes": "other words", "cache_ttl_s": 9})
    assert not kit.codes(found)
    assert found.hash_credit() == 1


async def test_a_claim_over_the_challenges_max_cost_is_told() -> None:
    found = await kit.of_story(lambda story: story.change(1, cost=10**9 - 599_999))
    assert found.over_budget
    assert kit.codes(found) == {("over_max_cost", None, None)}
    assert not (await kit.of_story(lambda story: story.change(1, cost=10**9 - 600_000))).over_budget


# drawing -------------------------------------------------------------------------------------------------------------


async def test_copies_of_a_call_are_one_call() -> None:
    found = await kit.audit_many(2, copies=20)
    assert [(each.grade, each.attainable) for each in found.credits] == [("replay", 1000)] * 2
    seeds = [bytes([seed]) * 32 for seed in range(12)]
    forged = [await kit.audit_many(2, copies=50, forged=1, seed=seed, replays=2) for seed in seeds]
    assert all(each.refuted for each in forged)


async def test_an_invented_copy_among_true_copies_of_the_same_call_is_found() -> None:
    story, subnets = kit.many(1, copies=9)
    story.change(7, response=b'{"data":[{"name":"invented"}]}')
    found = await kit.audit_story(story, replay=subnets, confirm=subnets.confirm, policy=replace(kit.POLICY, beyond=9))
    assert ("replay_mismatch_confirmed", 7, None) in kit.codes(found)
    assert subnets.calls == ["desearch/web_extract"]


@pytest.mark.parametrize("number", [1, 4, 5, 13, 16])
async def test_an_honest_miner_loses_nothing_by_what_was_not_drawn(number: int) -> None:
    found = await kit.audit_many(number)
    assert not kit.codes(found)
    assert (found.hash_credit(1000), found.conclusive) == (1, True)
    assert len(found.sourced_pointers) == number


async def test_more_calls_than_are_taken_on_trust_earn_nothing_and_source_nothing() -> None:
    found = await kit.audit_many(40)
    assert found.hash_credit() == pytest.approx(4 / 28)
    assert len(found.sourced_pointers) == 16
    assert found.conclusive


async def test_the_calls_that_values_cite_are_drawn_first_and_those_with_more_values_sooner() -> None:
    story, subnets = kit.many(8)
    for row in range(8, 12):
        story.data["offers"].append({"name": "offer 0"})
        kit.cite(f"/offers/{row}/name", (1, "/data/0/name"))(story)
    drawn = 0
    for seed in range(60):
        policy = replace(kit.POLICY, seed=bytes([seed]) * 32, replays=1)
        found = await kit.audit_story(story, replay=subnets, policy=policy)
        drawn += ("replay", 1) in {(each.grade, each.step) for each in found.credits}
    assert 12 <= drawn <= 36  # 4 tickets of 11; one of 8 without weights, all with the heaviest always


async def test_content_that_changed_with_the_window_between_call_and_replay_refutes_nobody() -> None:
    """A daily figure, asked for a moment before midnight and audited a moment after it."""
    story = kit.make_story(web_extract={"stability_s": 86_400})
    midnight = -(-kit.SENT_MS // 86_400_000) * 86_400_000
    issued = kit.make_issued(story.synapse, sent_ms=midnight - 100)
    story.change(
        5,
        receipt=kit.receipt(
            story.attempts[4].query,
            kit.body_of("atlas/search", story.attempts[4].query),
            tag=story.synapse.tag,
            time_ms=midnight,
        ),
    )
    tomorrow = kit.TableSubnets(story.ledger, kit.content_with(3, b'{"data":[{"name":"RunPod","price":2.05}]}'))
    world = {"issued": issued, "replay": tomorrow, "confirm": tomorrow.confirm}
    after = await kit.audit_story(story, **world, now_ms=lambda: midnight + 200)
    assert kit.codes(after) == {("replay_too_late", 3, None)}
    assert not after.conclusive
    before = await kit.audit_story(
        story,
        **(world | {"issued": kit.make_issued(story.synapse, sent_ms=midnight - 8_000)}),
        now_ms=lambda: midnight - 6_000,
    )
    assert before.refuted


# credit --------------------------------------------------------------------------------------------------------------


async def test_a_result_that_needs_subnets_and_asked_none_earns_nothing() -> None:
    def alone(story: kit.Story) -> None:
        story.attempts = [kit.local_attempt(1, {"/summary": kit.SUMMARY}, ())]
        story.data, story.provenance = {"summary": kit.SUMMARY}, {}
        kit.cite("/summary", (1, "/~1summary"))(story)

    found = await kit.of_story(alone)
    assert not kit.codes(found)
    assert (found.hash_credit(), found.conclusive) == (0, True)


async def test_a_result_that_cites_nothing_it_has_rests_on_nothing() -> None:
    for provenance in ({}, {"/nowhere": (Source(step=1, pointer="/results/0/title"),)}):
        story = kit.make_story()
        story.provenance = dict(provenance)
        found = await kit.audit_story(story)
        assert (found.credits, found.hash_credit(), found.conclusive) == ((), 0, True)


async def test_fewer_calls_than_the_plan_needs_for_what_is_missing_earn_that_much_less() -> None:
    found = await kit.audit_many(2)
    assert found.hash_credit(1000, tasks=1.5) == 1
    assert found.hash_credit(1000, tasks=8) == pytest.approx(2 / 8)
    assert (await kit.audit_many(13)).hash_credit(1000, tasks=13) == 1  # what was not drawn is there all the same


async def test_what_the_auditor_could_not_repeat_leaves_the_audit_open() -> None:
    """An invented price in the one step whose call fails for the auditor must not ride on the true ones beside it."""
    found = await kit.of_story(kit.invent, replay=kit.FailingFor("desearch/web_extract"))
    assert [each.grade for each in found.credits if each.step == 3] == ["failed"]
    assert not found.conclusive


async def test_without_any_replay_nothing_is_taken_on_trust_for_a_score() -> None:
    found = await kit.audit_story(kit.make_story(), policy=replace(kit.POLICY, replays=0))
    assert not found.conclusive
    assert "/offers/0/price" in found.sourced_pointers


async def test_an_invented_volatile_answer_earns_three_tenths() -> None:
    told = b'{"choices":[{"message":{"content":"A planet of GPUs."}}]}'
    story = kit.make_story()
    story.change(6, response=told)
    story.data, story.provenance = {"summary": "A planet of GPUs."}, {"/summary": (Source(step=6, pointer="/text"),)}
    story.attempts = [replace(story.attempts[5], step=1, depends_on=())]
    kit.cite("/summary", (1, "/text"))(story)
    found = await kit.audit_story(story)
    assert (float(found.hash_credit(1000)), found.sourced_pointers) == (0.3, {"/summary"})


async def test_unrevealed_steps_earn_nothing_of_what_they_could() -> None:
    found = await kit.audit_story(kit.make_story(), evidence=kit.withheld(4))
    earned = {credit.step: (credit.grade, credit.earned, credit.attainable) for credit in found.credits}
    assert earned == {
        1: ("replay", 1000, 1000),
        3: ("replay", 1000, 1000),
        4: ("none", 0, 1000),
        5: ("receipt", 1000, 1000),
        6: ("shape", 300, 300),
    }
    assert found.hash_credit() == pytest.approx(3300 / 4300)


async def test_weaker_evidence_than_the_reference_plan_offers_earns_less() -> None:
    found = await kit.audit_story(kit.make_story())
    assert found.hash_credit() == 1
    assert found.hash_credit(reference=1000) == pytest.approx(4300 / 5000)
    assert found.hash_credit(reference=100) == 1


async def test_a_missing_receipt_is_not_made_up_for_by_replay() -> None:
    found = await kit.of_story(lambda story: story.change(5, receipt=None))
    assert ("replay_matches", 5) in {(finding.code.value, finding.step) for finding in found.findings}
    assert next(credit for credit in found.credits if credit.step == 5).earned == 0


# two auditors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [lambda story: None, kit.invent, lambda story: story.provenance.pop("/cheapest")])
async def test_two_auditors_with_the_same_evidence_write_the_same_bytes(change: kit.StoryChange) -> None:
    story = kit.make_story()
    change(story)
    issued = kit.make_issued(story.synapse)
    response, bundle = story.seal(issued)
    audits = [
        await audit(
            response.to_wire(),
            issued,
            kit.Revealer(bundle, per_message=per_message),
            kit.ports(story.ledger, now_ms=lambda: kit.SENT_MS + 9_000),
            kit.POLICY,
        )
        for per_message in (2, 256)
    ]
    assert audits[0].canonical() == audits[1].canonical()
    assert audits[0].digest == audits[1].digest
    assert audits[0].hash_credit() == audits[1].hash_credit()


async def test_the_forger_whose_pieces_all_fit_together_is_caught_by_replay_and_by_receipts() -> None:
    """Leaves, root, signature, evidence, dataflow and provenance are flawless; only the content is invented."""
    forged = await kit.of_story(kit.invent)
    assert kit.codes(forged) == {("replay_mismatch_confirmed", 3, None)}
    assert (forged.refuted, forged.hash_credit()) == (True, 0)

    hits = canonical({"hits": [{"title": "Vast.ai", "url": kit.VAST, "text": "the marketplace, they say"}]})
    own_key = kit.with_receipt(body=hits, signer=kit.MINER)
    signed_by_himself = await kit.of_story(lambda story: (own_key(story), story.change(5, response=hits)))
    assert ("receipt_wrong_key", 5, None) in kit.codes(signed_by_himself)
    reused = await kit.of_story(lambda story: story.change(5, response=hits))
    assert ("receipt_invalid", 5, None) in kit.codes(reused)
    without = await kit.of_story(lambda story: story.change(5, response=hits, receipt=None))
    assert {("receipt_missing", 5, None), ("replay_mismatch_confirmed", 5, None)} <= kit.codes(without)
