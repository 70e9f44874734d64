"""Upkeep against real local subnets: a change of schema is seen at its paths, an outage is a fault that passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from ledger.database import sqlite_url
from ledger.difference import diff
from ledger.probe import Observation
from ledger.probe_history import SqlProbeHistory
from ledger.schemas import compile_schema
from ledger.view import LedgerView, OperationRef
from orchestra.chain.keys import dev_signer, verify_signature
from orchestra.devnet.entries import devnet_entries, drifting_operation, entry_after_drift
from orchestra.devnet.subnets.keys import DEFAULT_KEYS
from orchestra.execution.clock import LoopClock
from orchestra.maintenance import Maintenance, SubnetCalls, Upkeep
from orchestra.subnets import Secret, Subnets
from orchestra.transport import OutboundClient
from tests.e2e.test_local_subnets import SECRETS, running
from tests.fakes.clock import VirtualClock

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

KNOWN: dict[str, list[dict[str, Any]]] = {
    "atlas/reading": [{"series": "RunPod utilisation"}],
    "data-universe/on_demand_data": [
        {"source": "X", "keywords": ["GPU"], "start_date": "2026-11-01T00:00:00Z", "limit": 50}
    ],
}
NAMES = ("atlas", "data-universe")


class Node:
    """A node that keeps up two local subnets. Its wall clock is the test's."""

    def __init__(self, ready: dict[str, dict[str, Any]], subnets: Subnets, http: httpx.AsyncClient) -> None:
        self.ready = ready
        self.subnets = subnets
        self.http = http
        self.utc = VirtualClock(1e9)
        origins = {name: ready[name]["url"] for name in NAMES}
        self.view = LedgerView(devnet_entries(origins, ready["atlas"]["hotkey"]))
        self.seen: list[Observation] = []

    async def look(self, history: SqlProbeHistory) -> dict[str, Observation]:
        """One round, an hour after the last."""
        self.utc.advance(3_600)
        calls = SubnetCalls(self.subnets, clock=LoopClock(), tag=lambda: "0x" + "7a" * 32, timeout_s=10)
        maintenance = Maintenance(
            self.subnets,
            calls,
            history,
            Upkeep(budget=10**8, most=20, least_s=60),
            view=lambda: self.view,
            observed=self._observed,
            utc=self.utc,
            sleep=lambda _: asyncio.sleep(0),
            known=lambda ref: KNOWN.get(ref.name, ()),
            tao_usd=Decimal(400),
        )
        return {each.operation: each for each in await maintenance.round()}

    async def _observed(self, observation: Observation) -> None:
        self.seen.append(observation)

    async def control(self, entry_id: str, **state: Any) -> None:
        answer = await self.http.post(f"{self.ready[entry_id]['control_url']}/control", json=state)
        assert answer.status_code == 200, answer.text

    async def calls(self, entry_id: str) -> int:
        return (await self.http.get(f"{self.ready[entry_id]['control_url']}/calls")).json()["total"]

    def ref(self, name: str) -> OperationRef:
        found = self.view.operation(*name.split("/"))
        assert found is not None
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        _, web = await stack.enter_async_context(running("web"))
        state = str(tmp_path_factory.mktemp("atlas"))
        more = {"atlas": ("--web", web["url"], "--state", state)}
        ready = {}
        for name in NAMES:
            _, ready[name] = await stack.enter_async_context(running(name, *more.get(name, ())))
        key = Secret(DEFAULT_KEYS["data-universe"], ready["data-universe"]["url"])
        outbound = await stack.enter_async_context(OutboundClient(allow_loopback=True))
        http = await stack.enter_async_context(httpx.AsyncClient())
        subnets = Subnets(
            outbound,
            secrets={SECRETS["data-universe"]: key},
            verify=verify_signature,
            signer=dev_signer("//Alice"),
            allow_loopback=True,
            tao_usd=Decimal(400),
        )
        yield Node(ready, subnets, http)


@pytest.mark.parametrize("entry_id", NAMES)
async def test_a_change_of_schema_is_seen_where_it_happened(node: Node, entry_id: str, tmp_path: Path) -> None:
    async with await SqlProbeHistory.open(sqlite_url(tmp_path / "probes.sqlite")) as history:
        name = f"{entry_id}/{drifting_operation(entry_id)}"
        before = (await node.look(history))[name]
        assert before.ok
        assert not before.drifted
        await node.control(entry_id, schema="drifted")
        after = (await node.look(history))[name]
        await node.control(entry_id, schema=None)
        assert after.ok
        assert after.difference is not None
        assert after.difference.kind == "breaking"
        assert after.schema is not None
        known = node.ref(name).operation.output_schema
        assert diff(known, after.schema) == after.difference
        drifted = entry_after_drift(node.ref(name).entry).operation(drifting_operation(entry_id))
        assert drifted is not None
        told = {each.path for each in diff(known, drifted.output_schema).changes if each.kind == "breaking"}
        assert {each.path for each in after.difference.changes if each.kind == "breaking"} & told
        record = await history.read(name)
        assert record is not None
        assert (record.looks, record.drifts) == (2, 1)
        assert not (await node.look(history))[name].drifted


async def test_the_schema_that_was_seen_takes_the_next_answer(node: Node, tmp_path: Path) -> None:
    async with await SqlProbeHistory.open(sqlite_url(tmp_path / "probes.sqlite")) as history:
        await node.control("atlas", schema="drifted")
        seen = (await node.look(history))["atlas/reading"]
        assert seen.schema is not None
        updated = node.ref("atlas/reading").operation.model_copy(update={"output_schema": seen.schema, "response": ""})
        entry = node.ref("atlas/reading").entry
        ref = OperationRef(entry, updated.model_copy(update={"capability": "agents"}))
        answer = await node.subnets.call(ref, {"series": "Lambda queue time"}, tag="0x" + "7a" * 32, timeout_s=10)
        await node.control("atlas", schema=None)
        assert compile_schema(seen.schema).is_valid(answer.output)


async def test_an_outage_is_a_fault_that_is_waited_out_and_nothing_is_asked_too_often(
    node: Node, tmp_path: Path
) -> None:
    async with await SqlProbeHistory.open(sqlite_url(tmp_path / "probes.sqlite")) as history:
        await node.control("atlas", outage="refuse")
        seen = await node.look(history)
        await node.control("atlas", outage=None)
        assert {each.fault for name, each in seen.items() if name.startswith("atlas/")} == {"unreachable"}
        assert seen["data-universe/on_demand_data"].ok
        total = await node.calls("data-universe")
        node.utc.advance(-3_600)
        assert await node.look(history) == {}
        assert await node.calls("data-universe") == total
        assert (await node.look(history))["atlas/reading"].ok
