"""Small valid things to test with; every argument that matters to a test is given by the test."""

from __future__ import annotations

from typing import Any

from ledger.changes import Bond
from ledger.entry import Endpoint, Operation, Price, SubnetEntry


def operation(name: str = "web_search", *, capability: str = "web_search", **changes: Any) -> Operation:
    fields: dict[str, Any] = {
        "name": name,
        "capability": capability,
        "protocol": "http-json",
        "endpoint": Endpoint(base_url="http://127.0.0.1:1", method="GET", path="/web", arguments="query"),
        "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
        "output_schema": {"type": "object", "required": ["data"]},
        "request": "{query: query}",
        "response": "{results: data[].{title: title, url: link, snippet: snippet}}",
        "price": Price(amount="0.0001", currency="TAO"),
        "determinism": "exact",
        "safe_to_retry": True,
    }
    return Operation.model_validate(fields | changes)


def entry(
    entry_id: str, *, netuid: int, operations: tuple[Operation, ...] | None = None, **changes: Any
) -> SubnetEntry:
    mine = (operation(),) if operations is None else operations
    fields: dict[str, Any] = {
        "id": entry_id,
        "netuid": netuid,
        "name": entry_id.title(),
        "description": f"what {entry_id} does",
        "capabilities": tuple(sorted({each.capability for each in mine})),
        "operations": mine,
    }
    return SubnetEntry.model_validate(fields | changes)


def bond(entry_id: str, number: int, **changes: Any) -> Bond:
    fields: dict[str, Any] = {
        "proposal": f"0x{number:064x}",
        "substance": f"0x{number:064x}",
        "about": "schema_update",
        "entry": entry_id,
        "operation": "web_search",
        "proposer": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
        "outcome": "accepted",
        "anchor": number,
        "revealed": number + 1,
        "at_stake": "100000",
        "lost": "0",
    }
    return Bond.model_validate(fields | changes)
