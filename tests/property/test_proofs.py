"""Change any single value anywhere in a valid answer: refuted, or refused at parsing, with the right reason code.

Pipelines are generated: any number of steps with any dependencies, failures, receipts, costs, data, gaps, proposals.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.canonical import canonical, parse_strict
from orchestra.chain import verify_signature
from orchestra.execution.run import Attempt
from orchestra.planning import RetrievalPlanner
from orchestra.proofs import Audit, Code, Structure, verify_structure
from orchestra.proofs.binding import BOUND_TO_STEP
from orchestra.protocol import Derivation, Gap, LedgerProposal, Source, StepError
from orchestra.validation.challenges import Challenge
from orchestra.validation.components import ScoreEvent
from orchestra.validation.scoring import Answered, challenge_event
from tests import proofkit as kit
from tests.figures import count

LEDGER = kit.make_ledger()
PLANNER = RetrievalPlanner()
OPERATIONS = [
    ("desearch", "web_search", "SN22"),
    ("desearch", "web_crawl", "SN22"),
    ("chutes", "chat_completions", "SN64"),
]

HOSTILE = (
    *("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-10:00", "2026-02-30", "24:00", "1 January 0000"),
    *("NaN", "-Infinity", "1e999", "9" * 5_000, "$" + "9" * 400, "-0", "\u0663", "\u00b2", "1,,2", "0x10"),
    *("http://[", "https://[::1", "http://a:99999999/", "http://\u2100.test/", "https://"),
    *("/", "~", "/~2", "/-", "/0/-1", "/\u0000", "/offers/\u0660", "/offers/00/name", "/offers/1e0"),
    *("\ufdfa" * 60, "\u200b", "\u202e", "a\u0300" * 40, "(" * 500, "(a+)+$", "yes", "SN-1", "SN99999999999"),
)
"""What makes readers of dates, numbers, URLs, pointers and patterns stumble."""

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9, allow_nan=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(words, values, max_size=3)


@st.composite
def attempts(draw: st.DrawFn) -> list[Attempt]:
    made: list[Attempt] = []
    for step in range(1, draw(st.integers(0, 6)) + 1):
        entry, operation, subnet = draw(st.sampled_from(OPERATIONS))
        error = draw(st.none() | st.just(StepError(kind="fault", status=500, detail="broken")))
        earlier = [attempt.step for attempt in made if attempt.ok]
        query = draw(objects)
        body = draw(st.binary(max_size=8))
        made.append(
            Attempt(
                step=step,
                task_id=f"t{step}",
                task=draw(words),
                capability="",
                subnet=subnet,
                entry=entry,
                operation=operation,
                query=query,
                request=canonical(query),
                response=body if error is None else draw(st.none() | st.just(body)),
                output=None,
                error=error,
                started_ms=0,
                latency_ms=draw(st.integers(0, 100)),
                cost=draw(st.integers(0, 2**60)),
                attempt=draw(st.integers(1, 64)),
                depends_on=tuple(sorted(draw(st.sets(st.sampled_from(earlier))) if earlier else ())),
                receipt=draw(st.none() | st.just(kit.receipt(query, body, tag=kit.h("tag one")))),
            )
        )
    return made


sources = st.lists(st.builds(Source, step=st.integers(1, 256), pointer=st.just("/a/0")), max_size=2).map(tuple)


@st.composite
def stories(draw: st.DrawFn) -> kit.Story:
    made = draw(attempts())
    return kit.Story(
        ledger=LEDGER,
        synapse=kit.make_synapse(LEDGER),
        attempts=made,
        data=draw(objects),
        provenance=draw(st.dictionaries(words.map(lambda word: "/" + word.replace("\0", "")), sources, max_size=2))
        | {"/derived": Derivation(op="scale", by="0.9", of=(Source(step=1, pointer=""),))},
        final_synthesis=draw(words),
        gaps=(Gap(fields=("/a",), capability="web_search", reason=draw(words)),),
        proposals=(
            LedgerProposal(kind="schema_update", entry="desearch", change=draw(objects), evidence=(kit.h("leaf"),)),
        ),
        total_latency_ms=max(600, sum(attempt.latency_ms for attempt in made)),
    )


def check(raw: bytes, **issued: Any) -> Structure:
    return verify_structure(
        raw,
        kit.make_issued(kit.make_synapse(LEDGER), **issued),
        verify=verify_signature,
        ledgers=kit.KnownLedgers([LEDGER]),
    )


def places(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value in a document, containers included, the whole document not."""
    if way:
        yield way
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*way, key))


def at(document: Any, way: tuple[str | int, ...]) -> Any:
    for part in way:
        document = document[part]
    return document


def same(one: Any, other: Any) -> bool:
    """One JSON value? 1 and 1.0 are, 1 and true are not."""
    return canonical(one) == canonical(other)


def changed(data: st.DataObject, value: Any) -> Any:
    """A value near this one, or any other."""
    near: list[Any] = []
    if isinstance(value, bool):
        near = [not value]
    elif isinstance(value, int | float):
        near = [0 if value else 1, -value if value else -1]
    elif isinstance(value, str):
        near = [value[:-1] + ("0" if value[-1:] != "0" else "1"), value + "0", value.swapcase(), *HOSTILE]
    elif isinstance(value, list):
        near = [value[:-1], value[::-1], [*value, *value[:1]]]
    return data.draw(st.sampled_from(near) | values if near else values)


@settings(max_examples=60, deadline=None)
@given(stories())
def test_what_was_sealed_is_bound(story: kit.Story) -> None:
    response, bundle = story.seal()
    structure = check(response.to_wire())
    assert structure.sound, structure.findings
    assert structure.response == response
    assert structure.findings[0].code is Code.BOUND
    assert [step.request for step in bundle.steps] == [canonical(step.query) for step in response.task_pipeline]


@pytest.mark.soak
@settings(max_examples=count("mutations", short=300, long=15_000), deadline=None)
@given(stories(), st.data())
def test_any_single_change_is_refuted_or_refused(story: kit.Story, data: st.DataObject) -> None:
    response, _ = story.seal()
    document: Any = parse_strict(response.to_wire())
    way = data.draw(st.sampled_from(list(places(document))))
    value = changed(data, at(document, way))
    assume(not same(value, at(document, way)))
    mutated = copy.deepcopy(document)
    at(mutated, way[:-1])[way[-1]] = value
    refused(check(canonical(mutated)), way)


@settings(max_examples=100, deadline=None)
@given(stories(), st.data())
def test_any_single_removal_or_addition_is_refuted_or_refused(story: kit.Story, data: st.DataObject) -> None:
    response, _ = story.seal()
    document: Any = parse_strict(response.to_wire())
    ways = [way for way in places(document) if isinstance(at(document, way[:-1]), dict)]
    way = data.draw(st.sampled_from(ways))
    if data.draw(st.booleans()):
        del at(document, way[:-1])[way[-1]]
    else:
        name = data.draw(words | st.sampled_from(["beacon", "challenge_id", "hash2", "protocol"]))
        assume(name not in at(document, way[:-1]))
        way = (*way[:-1], name)
        at(document, way[:-1])[name] = data.draw(values)
    refused(check(canonical(document)), way)


SPECIFIC = {
    ("challenge_id",): Code.CHALLENGE_MISMATCH,
    ("proof", "validator"): Code.VALIDATOR_MISMATCH,
    ("proof", "miner"): Code.MINER_MISMATCH,
    ("proof", "request_digest"): Code.REQUEST_DIGEST_MISMATCH,
    ("proof", "root"): Code.ROOT_MISMATCH,
    ("proof", "signature"): Code.SIGNATURE_INVALID,
    ("total_cost",): Code.TOTAL_COST_MISMATCH,
}


def refused(structure: Structure, way: tuple[str | int, ...]) -> None:
    """Not read at all; or refuted with the code of what was changed, and by the signature over everything."""
    assert not structure.sound
    codes = {finding.code for finding in structure.findings}
    if structure.response is None:
        assert all(code.outcome == "unverifiable" for code in codes)
        assert len(codes) == 1
        return
    assert codes & {Code.SIGNATURE_INVALID, Code.UNSIGNED_FIELD}
    if way in SPECIFIC:
        assert SPECIFIC[way] in codes
    if way[0] == "task_pipeline" and len(way) > 2:
        step = int(way[1]) + 1
        leaf = Code.UNSIGNED_FIELD if way[2] in BOUND_TO_STEP else Code.LEAF_MISMATCH
        assert any(
            finding.code is leaf and (finding.step == step or way[2] == "step") for finding in structure.findings
        )
        assert way[2] != "hash" or Code.ROOT_MISMATCH in codes
    if way[0] == "ledger_version":
        assert codes & {Code.LEDGER_VERSION_FORKED, Code.LEDGER_VERSION_AHEAD}


@settings(max_examples=40, deadline=None)
@given(stories(), st.sampled_from(["challenge", "validator", "miner", "request", "beacon"]))
def test_an_answer_to_something_else_is_refuted(story: kit.Story, what: str) -> None:
    """The same sealed bytes, received for another challenge, by another validator, or under a newer beacon."""
    response, _ = story.seal()
    newer = kit.make_synapse(LEDGER, beacon=kit.h("block 8"), issued_block=8)
    other = kit.make_synapse(LEDGER, "two")
    issued, code = {
        "challenge": (kit.make_issued(other), Code.CHALLENGE_MISMATCH),
        "validator": (kit.make_issued(story.synapse, validator=kit.OTHER.ss58_address), Code.VALIDATOR_MISMATCH),
        "miner": (kit.make_issued(story.synapse, miner=kit.OTHER.ss58_address), Code.MINER_MISMATCH),
        "request": (kit.make_issued(story.synapse, request_digest=kit.h("x")), Code.REQUEST_DIGEST_MISMATCH),
        "beacon": (kit.make_issued(newer), Code.REQUEST_DIGEST_MISMATCH),
    }[what]
    found = verify_structure(
        response.to_wire(), issued, verify=verify_signature, ledgers=kit.KnownLedgers([LEDGER])
    ).findings
    assert code in {finding.code for finding in found}
    if what == "beacon":
        stale = [finding.step for finding in found if finding.code is Code.LEAF_MISMATCH]
        assert stale == [step.step for step in response.task_pipeline]


@settings(max_examples=100, deadline=None)
@given(stories(), st.data())
def test_any_changed_byte_of_the_document_is_refuted_refused_or_the_same_document(
    story: kit.Story, data: st.DataObject
) -> None:
    response, _ = story.seal()
    raw = response.to_wire()
    position = data.draw(st.integers(0, len(raw) - 1))
    mutated = raw[:position] + bytes([raw[position] ^ data.draw(st.integers(1, 255))]) + raw[position + 1 :]
    structure = check(mutated)
    if structure.sound:
        assert canonical(json.loads(mutated)) == raw


def scored(found: Audit) -> ScoreEvent:
    """What a validator records of an audit. It must be able to: an answer that cannot be judged costs nothing."""
    story = kit.make_story()
    return challenge_event(
        Challenge(story.synapse, "plain", "posed"),
        Answered(found, 1_000),
        miner=kit.MINER.ss58_address,
        block=7,
        ledger=story.ledger,
        planner=PLANNER,
        tao_usd=Decimal(300),
    )


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
async def test_a_miner_that_seals_such_a_text_anywhere_is_judged_all_the_same(text: str) -> None:
    """In every value and every key of the result, of its provenance and of the queries, and on the page they cite."""
    original = kit.honest_document()
    parts = ("standardized_data", "provenance", "task_pipeline")
    for way in [way for way in places(original) if way[0] in parts and isinstance(at(original, way), str)]:
        document: Any = copy.deepcopy(original)
        at(document, way[:-1])[way[-1]] = text
        kit.reseal(document, kit.make_story().synapse, kit.MINER)
        scored(await kit.of_raw(canonical(document)))
    for pointer in original["provenance"]:
        document = copy.deepcopy(original)
        document["provenance"][text] = document["provenance"].pop(pointer)
        document["standardized_data"][text] = text
        kit.reseal(document, kit.make_story().synapse, kit.MINER)
        scored(await kit.of_raw(canonical(document)))
    lenient = kit.TableSubnets(kit.make_ledger(), strict=False)
    scored(await kit.of_story(lambda story: said(story, text), replay=lenient))


def said(story: kit.Story, text: str) -> None:
    """The page of step 3 says this, and the result too."""
    offer = {"name": text, "price": text, "strengths": [text, text]}
    story.change(3, response=canonical({"data": [offer]}), query={"url": text})
    story.data["offers"][0] = {"name": text, "price": text, "strengths": [text, text]}


@pytest.mark.soak
@settings(max_examples=count("hostile_answers", short=150, long=4_000), deadline=None)
@given(st.data())
async def test_whatever_a_miner_seals_the_audit_ends_and_says_the_same_twice(data: st.DataObject) -> None:
    """Leaves, root and signature fit; what they cover is nonsense in up to three places."""
    document: Any = kit.honest_document()
    for _ in range(data.draw(st.integers(1, 3))):
        way = data.draw(st.sampled_from(list(places(document))))
        at(document, way[:-1])[way[-1]] = changed(data, at(document, way))
    try:
        kit.reseal(document, kit.make_story().synapse, kit.MINER)
    except (ValueError, TypeError, KeyError, AttributeError):
        assume(False)  # not even a dishonest miner can seal this
    raw = canonical(document)
    first, second = await kit.of_raw(raw), await kit.of_raw(raw)
    assert scored(first) == scored(second)
    assert first.canonical() == second.canonical()
    assert 0 <= first.hash_credit() <= 1
    assert first.sourced_pointers <= first.response.provenance.keys() if first.response else not first.sourced_pointers


@settings(max_examples=30, deadline=None)
@given(st.data())
async def test_any_changed_byte_of_the_evidence_is_refuted(data: st.DataObject) -> None:
    bundle = kit.make_story().seal()[1]
    step = data.draw(st.sampled_from(bundle.steps))
    field = data.draw(st.sampled_from(["request"] if step.response is None else ["request", "response"]))
    body: bytes = getattr(step, field)
    position = data.draw(st.integers(0, len(body) - 1))
    flipped = body[:position] + bytes([body[position] ^ data.draw(st.integers(1, 255))]) + body[position + 1 :]
    found = await kit.audit_story(kit.make_story(), evidence=kit.tampered(step.step, **{field: flipped}))
    assert (f"{field}_bytes_mismatch", step.step, None) in kit.codes(found)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_the_root_is_over_all_leaves_in_order(size: int) -> None:
    made = [kit.attempt(step, LEDGER, "desearch/web_search", {"query": "gpu pricing"}) for step in range(1, size + 1)]
    story = kit.Story(LEDGER, kit.make_synapse(LEDGER), made, {}, {})
    document = kit.as_object(parse_strict(story.seal()[0].to_wire()))
    steps: Any = document["task_pipeline"]
    document["task_pipeline"] = steps[::-1]
    assert size == 1 or not check(canonical(document)).sound
