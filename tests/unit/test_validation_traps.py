"""Schema traps: what an outdated hint looks like, and how the pipeline shows who believed it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ledger.entry import SubnetEntry
from ledger.view import LedgerView
from orchestra.protocol import OrchestraResponse, StepError
from orchestra.validation.traps import Trap, hint_for, judge_canary, judge_hint
from tests import proofkit as kit
from tests.builders import entry, operation

SEARCH = entry("desearch", netuid=22)
SERIES = {"type": "object", "properties": {"series": {"type": "string"}}, "required": ["series"]}
READING = operation("reading", capability="time_series", input_schema=SERIES, request="", response="")
DRIFTED = operation(
    "reading", capability="time_series", input_schema=SERIES, request="", response="", output_schema={"type": "array"}
)


def atlas(*, drifted: bool = False) -> SubnetEntry:
    return entry("atlas", netuid=129, operations=(DRIFTED if drifted else READING,))


FIRST = LedgerView((SEARCH, atlas()))
TURNED = LedgerView((SEARCH, atlas(), atlas(drifted=True)))
BACK = LedgerView((SEARCH, atlas(), atlas(drifted=True), atlas()))
UNRELATED = LedgerView((SEARCH, atlas(), entry("other", netuid=5)))


def response(*steps: tuple[str, str, dict[str, Any]], failed: bool = False) -> OrchestraResponse:
    """An answer whose pipeline made these calls: entry, operation, query."""
    honest, _ = kit.make_story().seal()
    like = honest.task_pipeline[0]
    error = StepError(kind="refused") if failed else None
    pipeline = tuple(
        like.model_copy(update={"step": number, "entry": name, "operation": called, "query": query, "error": error})
        for number, (name, called, query) in enumerate(steps, start=1)
    )
    return honest.model_copy(update={"task_pipeline": pipeline})


TRAP = Trap("desearch", "web_search", "query_text")


def test_an_outdated_hint_gives_one_argument_a_name_that_no_version_in_force_has() -> None:
    hint, trap = hint_for(random.Random(1), FIRST, outdated=True)
    assert hint is not None
    assert trap is not None
    ref = FIRST.operation(trap.entry, trap.operation)
    assert ref is not None
    assert hint.input_schema is not None
    true, told = ref.operation.input_schema["properties"], hint.input_schema["properties"]
    assert trap.stale_argument not in true
    assert set(told) - set(true) == {trap.stale_argument}
    assert hint.input_schema["required"] == [trap.stale_argument]
    assert list(told.values()) == list(true.values())


def test_a_stale_name_is_never_one_that_the_operation_has() -> None:
    schema = {
        "type": "object",
        "properties": {"query": {}, "query_text": {}, "query_text_": {}},
        "required": ["query"],
    }
    ledger = LedgerView((entry("desearch", netuid=22, operations=(operation(input_schema=schema),)),))
    _, trap = hint_for(random.Random(1), ledger, outdated=True)
    assert trap == Trap("desearch", "web_search", "query_text__")


def test_a_true_hint_repeats_the_ledger_and_is_no_trap() -> None:
    hint, trap = hint_for(random.Random(1), FIRST, outdated=False)
    assert trap is None
    assert hint is not None
    ref = FIRST.operation(hint.entry, hint.operation)
    assert ref is not None
    assert hint.input_schema == ref.operation.input_schema


def test_there_is_nothing_to_hint_at_without_an_operation_that_takes_arguments() -> None:
    free = LedgerView((entry("desearch", netuid=22, operations=(operation(input_schema={}),)),))
    for ledger in (LedgerView(()), free):
        assert hint_for(random.Random(1), ledger, outdated=True) == (None, None)


@pytest.mark.parametrize("failed", [False, True])
def test_whoever_sent_the_stale_argument_believed_the_hint(failed: bool) -> None:
    steps = (("desearch", "web_search", {"query": "x"}), ("desearch", "web_search", {"query_text": "x"}))
    verdict = judge_hint(TRAP, response(*steps, failed=failed))
    assert (verdict.passed, "'query_text'" in verdict.reason) == (False, True)


def test_whoever_used_the_operation_without_it_did_not() -> None:
    assert judge_hint(TRAP, response(("desearch", "web_search", {"query": "query_text"}))).passed is True


@pytest.mark.parametrize(
    "step", [("atlas", "web_search", {"query_text": "x"}), ("desearch", "crawl", {"query_text": 1})]
)
def test_other_operations_say_nothing_about_the_hint(step: tuple[str, str, dict[str, Any]]) -> None:
    assert judge_hint(TRAP, response(step)).passed is None
    assert judge_hint(TRAP, response()).passed is None


USED = ("atlas", "reading", {"series": "RunPod utilisation"})


@pytest.mark.parametrize(
    ("theirs", "ours", "passed"),
    [
        (FIRST, FIRST, True),
        (TURNED, TURNED, True),
        (FIRST, TURNED, False),
        (TURNED, BACK, False),
        (FIRST, BACK, True),  # as it is again
        (TURNED, FIRST, True),  # newer than the challenge: the canary turned meanwhile
        (FIRST, UNRELATED, True),  # behind, but not on the canary
        (None, FIRST, False),
    ],
)
def test_the_canary_tells_who_answered_from_an_entry_that_is_no_more(
    theirs: LedgerView | None, ours: LedgerView, passed: bool
) -> None:
    assert judge_canary(response(USED), theirs, ours).passed is passed


def test_a_stale_ledger_shows_even_where_the_canary_was_not_called() -> None:
    assert judge_canary(response(), FIRST, TURNED).passed is False
    assert judge_canary(response(), TURNED, TURNED).passed is None
