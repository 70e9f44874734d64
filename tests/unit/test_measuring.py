"""What a miner's own calls make it claim of speed and reliability: what honest validators confirm, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, get_args

import pytest

from ledger.entry import Metrics, Operation, Price
from ledger.governance.effects import Probe
from ledger.governance.judging import Observation, deviation, verdict_on
from ledger.governance.rules import Rules
from ledger.probe import Reply
from ledger.proposals import Anchor, MetricsUpdate, SignedProposal
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Attempt
from orchestra.governing.judge import DEAD, LiveJudge
from orchestra.governing.measuring import (
    CALLS_FOR_A_CLAIM,
    CALLS_KEPT,
    OPERATIONS_KEPT,
    Measured,
    Measurement,
    quantised,
)
from orchestra.protocol import ErrorKind
from tests.builders import entry, operation
from tests.fakes.attempts import calls
from tests.fakes.clock import VirtualClock

ME = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
HASH = "0x" + "11" * 32
KNOWN = Metrics(latency_ms=400, latency_p95_ms=400, reliability_permille=1000)
OURS: list[ErrorKind] = [each for each in get_args(ErrorKind) if each not in DEAD]


def view(known: Metrics | None = KNOWN, *, status: str = "active", **changes: Any) -> LedgerView:
    made = operation(metrics=known, **changes)
    return LedgerView([entry("alpha", netuid=1, operations=(made,), status=status)])


def claims(attempts: list[Attempt], ledger: LedgerView) -> list[Measurement]:
    taken = Measured()
    taken.take(attempts)
    return taken.claims(ledger)


def metrics(attempts: list[Attempt], known: Metrics | None = None) -> tuple[int, int, int] | None:
    found = claims(attempts, view(known))
    if not found:
        return None
    said = found[0].metrics
    return said.latency_ms, said.latency_p95_ms, said.reliability_permille


def mixed(failed_in_ten: int, latency_ms: int = 400, tens: int = 4) -> list[Attempt]:
    ten = calls("alpha", latency_ms, 10 - failed_in_ten) + calls("alpha", latency_ms, failed_in_ten, "fault")
    return ten * tens


# when


def test_it_takes_thirty_calls_and_says_how_many_there_were() -> None:
    assert claims(calls("alpha", 40, CALLS_FOR_A_CLAIM - 1), view()) == []
    (found,) = claims(calls("alpha", 40, CALLS_FOR_A_CLAIM), view())
    assert found.claim == {
        "kind": "metrics_update",
        "entry": "alpha",
        "operation": "web_search",
        "metrics": {"latency_ms": 40, "latency_p95_ms": 40, "reliability_permille": 1000},
        "sample": 30,
    }
    MetricsUpdate(proposer=ME, salt=HASH, base=HASH, **found.claim)


@pytest.mark.parametrize(
    ("latency", "is_claimed"),
    [(400, False), (230, False), (220, True), (60, True), (1600, False), (1700, True)],
)
def test_a_latency_must_be_off_by_more_than_three_tolerances(latency: int, is_claimed: bool) -> None:
    assert (metrics(calls("alpha", latency, 40), KNOWN) is not None) is is_claimed


@pytest.mark.parametrize(("known", "is_claimed"), [(110, False), (100, False), (90, True)])
def test_what_became_slower_did_so_by_what_it_takes_now(known: int, is_claimed: bool) -> None:
    before = Metrics(latency_ms=known, latency_p95_ms=400, reliability_permille=1000)
    assert (metrics(calls("alpha", 400, 40), before) is not None) is is_claimed


@pytest.mark.parametrize(("failed_in_ten", "known", "is_claimed"), [(1, 1000, False), (2, 950, False), (2, 1000, True)])
def test_and_so_must_reliability(failed_in_ten: int, known: int, is_claimed: bool) -> None:
    before = KNOWN.model_copy(update={"reliability_permille": known})
    found = metrics(mixed(failed_in_ten), before)
    assert found == ((400, 400, 1000 - 100 * failed_in_ten) if is_claimed else None)


def test_what_the_ledger_does_not_say_is_worth_saying() -> None:
    assert metrics(calls("alpha", 404, 40)) == (400, 400, 1000)


@pytest.mark.parametrize(
    ("exact", "said"), [(0, 0), (4, 0), (5, 10), (994, 990), (999, 1000), (1049, 1000), (1050, 1100), (9_960, 10_000)]
)
def test_latencies_are_rounded(exact: int, said: int) -> None:
    assert quantised(exact) == said


# what counts


@pytest.mark.parametrize("kind", OURS)
def test_our_own_failures_are_no_claim_and_change_none(kind: ErrorKind) -> None:
    assert {"auth", "throttled", "out_of_credit", "refused", "deadline", "schema_mismatch"} <= set(OURS)
    assert claims(calls("alpha", 9_000, 64, kind), view()) == []
    assert metrics(calls("alpha", 40, 30) + calls("alpha", 9_000, 64, kind)) == (40, 40, 1000)
    assert metrics(calls("alpha", 40, 29) + calls("alpha", 40, 64, kind)) is None


@pytest.mark.parametrize("kind", sorted(DEAD))
def test_the_providers_count_but_not_where_nothing_is_answered(kind: ErrorKind) -> None:
    ten = calls("alpha", 40, 8) + calls("alpha", 10_000, 2, kind)
    assert metrics(ten * 4) == (40, 40, 800)
    assert metrics(calls("alpha", 10_000, 64, kind)) is None


def test_a_call_that_we_gave_up_sooner_than_a_validator_says_that_nobody_knows() -> None:
    assert metrics(calls("alpha", 40, 40) + calls("alpha", 9_999, 1, "timeout")) is None
    assert metrics((calls("alpha", 40, 9) + calls("alpha", 10_000, 1, "timeout")) * 4) == (40, 40, 900)


def test_an_answer_that_no_validator_waits_for_is_none() -> None:
    assert metrics((calls("alpha", 40, 8) + calls("alpha", 12_000, 2)) * 4) == (40, 40, 800)


def test_calls_of_two_times_or_two_kinds_are_no_claim_until_they_are_of_one() -> None:
    assert metrics(calls("alpha", 400, 24) + calls("alpha", 40, 40)) is None
    assert metrics(calls("alpha", 400, 24) + calls("alpha", 40, 64)) == (40, 40, 1000)
    rarely_slow = (calls("alpha", 100, 14) + calls("alpha", 4_000)) * 4
    assert metrics(rarely_slow) is None, "ten of these calls are mostly without a slow one"


def test_what_validators_cannot_compare_is_not_claimed() -> None:
    slow = calls("alpha", 4_000, 64)
    assert len(claims(slow, view())) == 1
    assert len(claims(slow, view(price=Price(amount="0.001", currency="TAO")))) == 1
    assert claims(slow, view(price=Price(amount="0.001", currency="TAO", unit="token"))) == []
    assert claims(slow, view(sensitive=True)) == []
    assert claims(slow, view(status="deprecated")) == []
    assert claims(slow, LedgerView([])) == []
    assert claims(calls("local", 4_000, 64), LedgerView([entry("local", netuid=1)])) == []


# memory


def test_memory_is_bounded_and_the_last_calls_are_what_is_kept() -> None:
    taken = Measured()
    taken.take(calls("alpha", 4_000, 64) + calls("alpha", 40, CALLS_KEPT))
    assert [(each.metrics.latency_ms, each.sample) for each in taken.claims(view())] == [(40, CALLS_KEPT)]
    taken.take([each for number in range(OPERATIONS_KEPT - 1) for each in calls(f"e{number}", 1)])
    assert len(taken.claims(view())) == 1
    taken.take(calls("one-more", 1))
    assert taken.claims(view()) == []


def test_what_was_said_takes_new_calls() -> None:
    taken = Measured()
    taken.take(calls("alpha", 40, 64))
    taken.forget("alpha", "web_search")
    taken.take(calls("alpha", 40, CALLS_FOR_A_CLAIM - 1))
    assert taken.claims(view()) == []


# what validators make of it


class Calls:
    """A subnet as one node sees it: so far away, so busy."""

    def __init__(self, seed: int, base_ms: int) -> None:
        self.dice, self.base_ms = random.Random(seed), base_ms

    def latency_ms(self) -> int:
        return round(self.base_ms * self.dice.uniform(0.9, 1.1))

    async def __call__(self, ref: OperationRef, query: Mapping[str, Any], /) -> Reply:
        return Reply(self.latency_ms(), 200, b"{}")


def judge(made: Operation, provider: Calls) -> LiveJudge:
    ledger = [entry("alpha", netuid=1, operations=(made,))]
    return LiveJudge(provider, lambda _: True, lambda _: ledger, VirtualClock().sleep, lambda _: True)


async def test_honest_validators_elsewhere_confirm_it() -> None:
    near = Calls(0, 640)
    worked = [each for _ in range(64) for each in calls("alpha", near.latency_ms())]
    assert claims(worked, view()) == [], "the Ledger is not off by enough"
    fast = Metrics(latency_ms=50, latency_p95_ms=80, reliability_permille=1000)
    (found,) = claims(worked, view(fast))
    proposal = MetricsUpdate(proposer=ME, salt=HASH, base=HASH, **found.claim)
    sent = SignedProposal(
        proposal=proposal, signature="0x" + "00" * 64, anchor=Anchor(hotkey=ME, size=1, root=HASH, index=0)
    )
    answers = []
    for seed, base_ms in enumerate((560, 600, 640, 680, 720, 60, 3_000), 1):
        seen, measured = await judge(operation(metrics=fast), Calls(seed, base_ms))(Probe(sent, 0))
        answers.append(verdict_on(proposal, [Observation(1, seen, measured)], Rules()))
    assert answers == ["confirm"] * 5 + ["deny"] * 2


def test_deviation_is_that_of_the_worst_figure_by_what_was_measured() -> None:
    seen = Metrics(latency_ms=400, latency_p95_ms=100, reliability_permille=900)
    assert deviation(seen, seen) == 0
    assert deviation(seen.model_copy(update={"latency_ms": 600}), seen) == 2
    assert deviation(seen.model_copy(update={"latency_p95_ms": 200}), seen) == 2
    assert deviation(seen.model_copy(update={"reliability_permille": 1000}), seen) == 2
