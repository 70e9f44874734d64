"""What the four local subnets answer before and after their schema changed: their own code, asked without a socket."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NamedTuple

import httpx

from ledger.entry import SubnetEntry
from ledger.view import OperationRef
from orchestra.devnet.content import posts
from orchestra.devnet.entries import devnet_entries, drifting_operation, entry_after_drift
from orchestra.devnet.subnets import chutes, data_universe, desearch
from orchestra.devnet.subnets.bm25 import Bm25Index
from orchestra.devnet.subnets.documents import documents
from orchestra.devnet.subnets.faults import Control, Faults
from orchestra.devnet.subnets.keys import Keys
from orchestra.devnet.subnets.readings import all_series, reading
from tests.fakes.crawler import MemoryCrawler

KEY = "rich-key-0123456789"
NOON = 1_795_176_000.0
DAYS = {"start_date": "2026-10-01T00:00:00Z", "end_date": "2026-11-20T00:00:00Z"}
ORIGINS = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(("desearch", "data-universe", "chutes"), 1)}
ENTRIES = devnet_entries(ORIGINS | {"atlas": "http://127.0.0.1:9"}, "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY")


class Drifting(NamedTuple):
    """One operation: as the Ledger has it and as the service's authors would write it; answers in both shapes."""

    ref: OperationRef
    truth: OperationRef
    before: tuple[bytes, ...]
    after: tuple[bytes, ...]


async def drifting(name: str) -> Drifting:
    """The operation of a local subnet that drifts, with three answers of each shape."""
    entry = next(each for each in ENTRIES if each.id == name)
    before, after = [await _ANSWERS[name](drifted) for drifted in (False, True)]
    return Drifting(_ref(entry), _ref(entry_after_drift(entry)), before, after)


def _ref(entry: SubnetEntry) -> OperationRef:
    operation = entry.operation(drifting_operation(entry.id))
    assert operation is not None
    return OperationRef(entry, operation)


async def _asked(app: Any, calls: list[tuple[str, str, Any]], authorization: str) -> tuple[bytes, ...]:
    transport, headers = httpx.ASGITransport(app), {"Authorization": authorization}
    async with httpx.AsyncClient(transport=transport, base_url="http://subnet.test", headers=headers) as http:
        answers = [
            await http.request(method, path, content=json.dumps(body) if body else None) for method, path, body in calls
        ]
    assert all(each.status_code == 200 for each in answers)
    return tuple(each.content for each in answers)


def _faults(service: Any, drifted: bool) -> tuple[Keys, Faults]:
    faults = Faults(service.error, service.caller)
    faults.set(Control.model_validate({"schema": "drifted" if drifted else None}))
    return Keys({KEY: Decimal(1)}), faults


async def _desearch(drifted: bool) -> tuple[bytes, ...]:
    with Bm25Index(documents()) as index:
        app = desearch.create_app(index, MemoryCrawler({}), *_faults(desearch, drifted))
        return await _asked(app, [("GET", f"/web?query={word}", None) for word in ("GPU", "RunPod", "API")], KEY)


async def _data_universe(drifted: bool) -> tuple[bytes, ...]:
    app = data_universe.create_app(posts(), *_faults(data_universe, drifted))
    path = "/sn13.v1.Sn13Service/OnDemandData"
    queries = [{"source": source, "limit": limit, **DAYS} for source, limit in (("X", 5), ("X", 1), ("REDDIT", 3))]
    return await _asked(app, [("POST", path, query) for query in queries], f"Bearer {KEY}")


async def _chutes(drifted: bool) -> tuple[bytes, ...]:
    app, path = chutes.create_app(*_faults(chutes, drifted)), "/v1/chat/completions"
    models = json.loads((await _asked(app, [("GET", "/v1/models", None)], f"Bearer {KEY}"))[0])
    words = ("Say which cloud is cheapest.", "What is a GPU?", "Summarise: prices fell. Prices rose.")
    talks = [{"model": models["data"][0]["id"], "messages": [{"role": "user", "content": each}]} for each in words]
    return await _asked(app, [("POST", path, talk) for talk in talks], f"Bearer {KEY}")


async def _atlas(drifted: bool) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for now in (reading(series, NOON) for series in all_series()[:3]):
        document: dict[str, Any] = {"series": now.series, "value": now.value, "unit": now.unit, "at": now.at}
        if drifted:
            amount = {"amount": f"{now.value:.2f}", "unit": now.unit}
            document = {"series": now.series, "reading": amount, "observed_at": now.at}
        found.append(json.dumps(document).encode())
    return tuple(found)


_ANSWERS = {"desearch": _desearch, "data-universe": _data_universe, "chutes": _chutes, "atlas": _atlas}
