"""The upkeep loop: whom it asks, what it spends, and that nothing a subnet does stops it. In virtual time."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from ledger.entry import Operation, Price
from ledger.probe import Observation
from ledger.probe_history import MemoryProbeHistory
from ledger.view import LedgerView, OperationRef
from orchestra.execution.run import Answer, CallFailed
from orchestra.maintenance import Maintenance, SubnetCalls, Upkeep
from orchestra.protocol import StepError
from tests.builders import entry, operation
from tests.fakes.caller import Reply, ScriptedCaller
from tests.fakes.clock import VirtualClock, run_virtual

GOOD = Reply({"data": []}, cost=100)


class Subnets(ScriptedCaller):
    """Scripted subnets; those named in `closed` are not usable from here."""

    closed: tuple[str, ...] = ()

    def usable(self, ref: OperationRef) -> bool:
        return ref.name not in self.closed


class Bench:
    """A node's upkeep over one view of the Ledger, `operations` by entry."""

    def __init__(self, operations: dict[str, Operation], *, script: Any = None, **changes: Any) -> None:
        entries = [entry(name, netuid=n, operations=(one,)) for n, (name, one) in enumerate(operations.items())]
        self.view = LedgerView(changes.pop("entries", entries))
        self.clock = VirtualClock()
        self.subnets = Subnets(script or {f"{name}/web_search": [GOOD] for name in operations})
        self.seen: list[Observation] = []
        ports: dict[str, Any] = {"demand": lambda _: 1.0, "tao_usd": Decimal(400)}
        ports |= {name: changes.pop(name) for name in ("demand", "known", "tao_usd") if name in changes}
        calls = SubnetCalls(self.subnets, clock=self.clock, tag=lambda: "0x" + "7a" * 32, timeout_s=5)
        upkeep = Upkeep(**{"budget": 10**6, "least_s": 900.0, **changes})
        self.maintenance = Maintenance(
            self.subnets,
            calls,
            MemoryProbeHistory(),
            upkeep,
            view=lambda: self.view,
            observed=self._observed,
            utc=self.clock,
            sleep=self.clock.sleep,
            **ports,
        )

    async def _observed(self, observation: Observation) -> None:
        self.seen.append(observation)

    def round(self) -> list[str]:
        return [each.operation for each in run_virtual(self.maintenance.round())]

    @property
    def asked(self) -> list[str]:
        return [each.name for each in self.subnets.sent]


def priced(rao: int, **changes: Any) -> Operation:
    return operation(price=Price(amount=f"0.{rao:09d}", currency="TAO"), **changes)


def test_a_round_looks_once_and_the_next_one_not_before_the_interval() -> None:
    bench = Bench({"a": priced(100), "b": priced(100)})
    assert bench.round() == ["a/web_search", "b/web_search"]
    assert bench.round() == []
    bench.clock.advance(900)
    assert bench.round() == ["a/web_search", "b/web_search"]
    assert [each.ok for each in bench.seen] == [True] * 4
    assert {each.tag for each in bench.subnets.sent} == {"0x" + "7a" * 32}


def test_demand_decides_within_the_budget() -> None:
    wanted = {"a/web_search": 1.0, "b/web_search": 100.0, "c/web_search": 10.0}
    bench = Bench({name: priced(400) for name in "abc"}, demand=lambda ref: wanted[ref.name], budget=900)
    assert bench.round() == ["b/web_search", "c/web_search"]
    assert bench.round() == ["a/web_search"]
    few = Bench({name: priced(400) for name in "abc"}, demand=lambda ref: wanted[ref.name], most=1)
    assert few.round() == ["b/web_search"]


def test_an_unknown_price_is_asked_only_under_the_operator_s_ceiling() -> None:
    dollars = operation(price=Price(amount="0.1", currency="USD"))
    operations = {"a": operation(price=None), "b": dollars}
    assert Bench(operations, tao_usd=None).round() == []
    assert Bench(operations, budget=249_999).round() == []  # 0.00025 TAO are 250,000 rao, and a has no price
    assert Bench(operations, budget=250_000).round() == ["b/web_search"]
    assert Bench(operations, budget=100, unpriced=50, tao_usd=None).round() == ["a/web_search", "b/web_search"]


def test_what_is_not_usable_deprecated_or_not_repeatable_is_never_asked() -> None:
    bench = Bench({"a": priced(1), "b": priced(1, safe_to_retry=False)})
    bench.subnets.closed = ("a/web_search",)
    assert bench.round() == []
    gone = entry("a", netuid=1, operations=(priced(1),), status="deprecated")
    assert Bench({}, script={"a/web_search": [GOOD]}, entries=[gone]).round() == []


def test_one_that_cannot_be_asked_does_not_take_another_s_place_for_ever() -> None:
    no_query = priced(1, input_schema={"type": "object", "required": ["q"], "properties": {"q": {"pattern": "^zz9$"}}})
    known: list[dict[str, Any]] = []
    bench = Bench({"a": no_query, "b": priced(1)}, most=1, known=lambda ref: known if ref.entry.id == "a" else ())
    assert bench.round() == []
    assert bench.round() == ["b/web_search"]
    known.append({"q": "zz9"})
    assert bench.round() == ["a/web_search"]
    assert bench.subnets.sent[-1].query == {"q": "zz9"}


@pytest.mark.parametrize("kind", ["timeout", "unreachable", "throttled", "auth", "fault", "malformed"])
def test_a_failed_call_is_an_observation_and_the_round_goes_on(kind: Any) -> None:
    script = {"a/web_search": [Reply(error=kind, cost=3)], "b/web_search": [GOOD]}
    bench = Bench({"a": priced(1), "b": priced(1)}, script=script)
    assert bench.round() == ["a/web_search", "b/web_search"]
    assert [(each.fault, each.cost) for each in bench.seen] == [(kind, 3), (None, 100)]


class Mismatching(Subnets):
    async def call(self, ref: OperationRef, query: Any, *, tag: str, timeout_s: float) -> Answer:
        error = StepError(kind="schema_mismatch", detail="the answer does not fit", status=200)
        raise CallFailed(error, body=b'{"items": []}', cost=9)


def test_an_answer_that_the_caller_refused_for_its_shape_is_what_a_probe_looks_for() -> None:
    bench = Bench({"a": priced(1)})
    bench.maintenance = Maintenance(
        subnets := Mismatching({}),
        SubnetCalls(subnets, clock=bench.clock, tag=str, timeout_s=5),
        MemoryProbeHistory(),
        Upkeep(budget=10**6),
        view=lambda: bench.view,
        observed=bench._observed,
        utc=bench.clock,
        sleep=bench.clock.sleep,
    )
    bench.round()
    [seen] = bench.seen
    assert (seen.ok, seen.drifted, seen.cost, seen.status) == (True, True, 9, 200)
    assert seen.difference is not None
    assert [str(each) for each in seen.difference.changes] == ["output_schema.data: any -> absent"]


def test_it_runs_round_after_round_until_cancelled() -> None:
    bench = Bench({"a": priced(1)}, period_s=1_000)

    async def main() -> None:
        task = asyncio.create_task(bench.maintenance.run())
        while len(bench.seen) < 3:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())
    assert [each.at for each in bench.seen] == [1_000, 2_000, 3_000]
