"""The local subnets as processes: every operation through its Ledger entry, and every fault as a caller sees it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from ledger.canonical import canonical, sha256
from ledger.entry import SubnetEntry
from ledger.view import LedgerView, OperationRef
from orchestra.chain.keys import dev_signer, verify_signature
from orchestra.devnet.entries import ENTRY_IDS, devnet_entries, entry_after_drift
from orchestra.devnet.subnets.keys import DEFAULT_KEYS
from orchestra.execution.run import Answer, CallFailed
from orchestra.subnets import Secret, Subnets, receipt_holds
from orchestra.transport import OutboundClient
from tests.unit.test_devnet_entries import ARGUMENTS

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
TAG = "0x" + "7a" * 32
SECRETS = {"desearch": "ORCHESTRA_KEY_SN22", "data-universe": "ORCHESTRA_KEY_SN13", "chutes": "ORCHESTRA_KEY_SN64"}
RUNPOD = "https://runpod.example/pricing"
START_S = 60.0


@asynccontextmanager
async def running(name: str, *arguments: str) -> AsyncIterator[tuple[Process, dict[str, Any]]]:
    """A service and the line it prints when it is ready. Ended by SIGTERM, which must end it with 0."""
    command = (sys.executable, "-m", "orchestra.devnet.subnets", name, *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        yield process, json.loads(line)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), START_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@dataclass
class Network:
    """The four services, the Ledger that describes them, and a node that may call them."""

    ready: dict[str, dict[str, Any]]
    entries: tuple[SubnetEntry, ...]
    subnets: Subnets
    http: httpx.AsyncClient

    def ref(self, name: str, *, drifted: bool = False) -> OperationRef:
        entries = [entry_after_drift(entry) if drifted else entry for entry in self.entries]
        found = LedgerView(entries).operation(*name.split("/"))
        assert found is not None
        return found

    async def call(
        self, name: str, arguments: dict[str, Any] | None = None, *, drifted: bool = False, timeout_s: float = 10.0
    ) -> Answer:
        ref = self.ref(name, drifted=drifted)
        query = self.subnets.wire_query(ref.operation, arguments or ARGUMENTS[ref.operation.capability])
        return await self.subnets.call(ref, query, tag=TAG, timeout_s=timeout_s)

    async def control(self, entry_id: str, **state: Any) -> None:
        answer = await self.http.post(f"{self.ready[entry_id]['control_url']}/control", json=state)
        assert answer.status_code == 200, answer.text

    async def heal(self) -> None:
        for ready in self.ready.values():
            await self.http.delete(f"{ready['control_url']}/control")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with AsyncExitStack() as stack:
        _, web = await stack.enter_async_context(running("web"))
        state = str(tmp_path_factory.mktemp("atlas"))
        more = {"atlas": ("--web", web["url"], "--state", state), "desearch": ("--web", web["url"])}
        opened = await asyncio.gather(
            *(stack.enter_async_context(running(name, *more.get(name, ()))) for name in ENTRY_IDS)
        )
        ready = {line["name"]: line for _, line in opened}
        origins = {name: ready[name]["url"] for name in ENTRY_IDS}
        secrets = {SECRETS[name]: Secret(DEFAULT_KEYS[name], origins[name]) for name in SECRETS}
        outbound = await stack.enter_async_context(OutboundClient(allow_loopback=True))
        http = await stack.enter_async_context(httpx.AsyncClient())
        node = Subnets(
            outbound,
            secrets=secrets,
            verify=verify_signature,
            signer=dev_signer("//Alice"),
            allow_loopback=True,
            tao_usd=Decimal(400),
        )
        yield Network(ready, devnet_entries(origins, ready["atlas"]["hotkey"]), node, http)


@pytest_asyncio.fixture(loop_scope="module")
async def network(started: Network) -> AsyncIterator[Network]:
    yield started
    await started.heal()


# what works ----------------------------------------------------------------------------------------------------------

NAMES = [
    "desearch/web_search",
    "desearch/web_crawl",
    "desearch/web_extract",
    "data-universe/on_demand_data",
    "chutes/chat_completions",
    "atlas/search",
    "atlas/fetch",
    "atlas/extract",
    "atlas/reading",
]


@pytest.mark.parametrize("name", NAMES)
async def test_every_operation_keeps_its_entry_s_word_and_answers_the_same_bytes_again(
    network: Network, name: str
) -> None:
    first, again = await network.call(name), await network.call(name)
    assert first.body == again.body
    assert first.output
    assert first.cost > 0
    price = network.ref(name).operation.price
    assert price is not None
    assert first.cost <= price.worst_rao(tao_usd=Decimal(400))
    assert (first.receipt is not None) is name.startswith("atlas/")


@pytest.mark.parametrize("provider", ["desearch/web_search", "atlas/search"])
async def test_both_searches_find_the_page_that_both_extractions_read(network: Network, provider: str) -> None:
    for query, field, value in (
        ("RunPod cloud GPU pricing", "a100_80gb", 1.99),
        ("Vast.ai cloud GPU pricing", "a100_80gb", 1.45),
        ("Lambda cloud GPU pricing", "a100_80gb", 1.89),
    ):
        found: Any = (await network.call(provider, {"query": query})).output
        fields = {"name": "str", "pricing": "dict", "strengths": "list"}
        arguments = {"url": found["results"][0]["url"], "fields": fields}
        ours: Any = (await network.call("desearch/web_extract", arguments)).output
        theirs: Any = (await network.call("atlas/extract", arguments)).output
        assert ours == theirs
        assert ours["data"][0]["pricing"][field] == value


async def test_both_crawls_read_the_same_page(network: Network) -> None:
    ours: Any = (await network.call("desearch/web_crawl", {"url": RUNPOD})).output
    theirs: Any = (await network.call("atlas/fetch", {"url": RUNPOD})).output
    assert ours == theirs
    assert "$1.99/hr" in ours["text"]


async def test_a_receipt_binds_exactly_this_exchange(network: Network) -> None:
    ref = network.ref("atlas/search")
    query = network.subnets.wire_query(ref.operation, {"query": "BitMind"})
    answer = await network.subnets.call(ref, query, tag=TAG, timeout_s=10)
    assert answer.receipt is not None
    bound = {
        "caller": dev_signer("//Alice").ss58_address,
        "tag": TAG,
        "request_hash": sha256(canonical(query)),
        "response_hash": sha256(answer.body),
        "verify": verify_signature,
    }
    assert receipt_holds(answer.receipt, ref, **bound)  # type: ignore[arg-type]
    for name, other in (
        ("caller", dev_signer("//Bob").ss58_address),
        ("tag", "0x" + "00" * 32),
        ("request_hash", sha256(b"other")),
        ("response_hash", sha256(b"other")),
    ):
        assert not receipt_holds(answer.receipt, ref, **{**bound, name: other})  # type: ignore[arg-type]
    assert not receipt_holds(answer.receipt, network.ref("atlas/fetch"), **bound)  # type: ignore[arg-type]


async def test_the_call_log_names_caller_tag_and_both_bodies_but_no_key(network: Network) -> None:
    ref = network.ref("atlas/reading")
    query = network.subnets.wire_query(ref.operation, {"series": "RunPod utilisation"})
    answer = await network.subnets.call(ref, query, tag=TAG, timeout_s=10)
    await network.call("desearch/web_search")
    logs = {
        name: (await network.http.get(f"{network.ready[name]['control_url']}/calls")).json()
        for name in ("atlas", "desearch")
    }
    entry = logs["atlas"]["calls"][-1]
    assert entry["caller"] == dev_signer("//Alice").ss58_address
    assert entry["tag"] == TAG
    assert entry["request_hash"] == sha256(canonical(query))
    assert entry["response_hash"] == sha256(answer.body)
    assert DEFAULT_KEYS["desearch"] not in json.dumps(logs)


# what breaks ---------------------------------------------------------------------------------------------------------


async def failure(network: Network, name: str, *, timeout_s: float = 10.0) -> str:
    with pytest.raises(CallFailed) as failed:
        await network.call(name, timeout_s=timeout_s)
    return failed.value.error.kind


FAULTS = [
    ({"outage": "refuse"}, "unreachable", 10.0),
    ({"outage": "hang"}, "timeout", 0.3),
    ({"outage": "garbage"}, "malformed", 10.0),
    ({"latency_ms": 5_000}, "timeout", 0.3),
    ({"error_rate": 1.0, "error_status": 500}, "fault", 10.0),
    ({"error_rate": 1.0, "error_status": 429}, "throttled", 10.0),
]


@pytest.mark.parametrize(("state", "kind", "timeout_s"), FAULTS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize(
    "name", ["desearch/web_search", "data-universe/on_demand_data", "chutes/chat_completions", "atlas/search"]
)
async def test_a_fault_is_what_the_caller_calls_it_and_passes_when_healed(
    network: Network, name: str, state: dict[str, Any], kind: str, timeout_s: float
) -> None:
    await network.control(name.split("/")[0], **state)
    assert await failure(network, name, timeout_s=timeout_s) == kind
    await network.heal()
    assert (await network.call(name)).output


@pytest.mark.parametrize(
    "name", ["desearch/web_search", "data-universe/on_demand_data", "chutes/chat_completions", "atlas/reading"]
)
async def test_after_a_drift_the_stale_entry_fails_and_the_new_one_gives_the_same_result(
    network: Network, name: str
) -> None:
    before = (await network.call(name)).output
    await network.control(name.split("/")[0], schema="drifted")
    assert await failure(network, name) == "schema_mismatch"
    assert (await network.call(name, drifted=True)).output == before


async def test_other_operations_of_a_drifted_service_stay_as_they_are(network: Network) -> None:
    before = (await network.call("atlas/search")).body
    await network.control("atlas", schema="drifted")
    assert (await network.call("atlas/search")).body == before


async def test_pages_that_are_not_there_are_refused_and_cost_nothing(network: Network) -> None:
    for name in ("desearch/web_crawl", "atlas/fetch"):
        with pytest.raises(CallFailed) as failed:
            await network.call(name, {"url": "https://nowhere.example/"})
        assert (failed.value.error.kind, failed.value.cost) == ("refused", 0)


# how it is run -------------------------------------------------------------------------------------------------------


async def test_a_service_brings_its_own_web_and_keys_when_told_so(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"my-own-key-0123": "0.0011"}), encoding="utf-8")
    async with running("desearch", "--keys", str(keys)) as (_, ready), httpx.AsyncClient() as http:
        headers = {"Authorization": "my-own-key-0123"}
        url = f"{ready['url']}/web"
        assert (await http.get(f"{ready['web_url']}/pricing", headers={"Host": "runpod.example"})).status_code == 200
        assert (await http.get(url, params={"query": "GPU cloud"}, headers=headers)).status_code == 200
        assert (await http.get(url, params={"query": "GPU cloud"}, headers=headers)).status_code == 200
        assert (await http.get(url, params={"query": "GPU cloud"}, headers=headers)).status_code == 402


async def test_a_service_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("[]", encoding="utf-8")
    command = (sys.executable, "-m", "orchestra.devnet.subnets", "chutes", "--keys", str(keys))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)
    _, said = await asyncio.wait_for(process.communicate(), START_S)
    assert process.returncode == 1
    assert said.decode().count("\n") == 1
    assert "expected an object of API keys" in said.decode()


async def test_sigterm_ends_a_service_that_hangs(tmp_path: Path) -> None:
    async with running("data-universe") as (_, ready), httpx.AsyncClient() as http:
        await http.post(f"{ready['control_url']}/control", json={"outage": "hang"})
        call = asyncio.create_task(http.post(f"{ready['url']}/sn13.v1.Sn13Service/OnDemandData"))
        while (await http.get(f"{ready['control_url']}/calls")).json()["total"] < 1:
            await asyncio.sleep(0.01)
    await asyncio.wait([call])
