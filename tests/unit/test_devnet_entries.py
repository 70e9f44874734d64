"""The entries of the local subnets are what a Ledger accepts, and their mappings keep each capability's promise."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.capabilities import CONTRACTS
from ledger.catalogue import vocabulary
from ledger.entry import Operation, SubnetEntry
from ledger.schemas import compile_schema
from ledger.view import LedgerView
from orchestra.chain.keys import dev_signer
from orchestra.devnet.entries import ENTRY_IDS, devnet_entries, drifting_operation, entry_after_drift
from orchestra.subnets.mapping import map_query, map_wire

KEY = dev_signer("//Atlas").ss58_address
ENTRIES = devnet_entries({name: f"http://127.0.0.1:{9000 + n}/" for n, name in enumerate(ENTRY_IDS)}, KEY)
OPERATIONS = [(entry, operation) for entry in ENTRIES for operation in entry.operations]

ARGUMENTS: dict[str, dict[str, Any]] = {
    "web_search": {"query": "GPU prices", "limit": 5},
    "web_scraping": {"url": "https://runpod.example/pricing"},
    "structured_extraction": {"url": "https://runpod.example/pricing", "fields": {"name": "str", "pricing": "dict"}},
    "social_search": {"keywords": ["a", "b", "c", "d", "e", "f"], "limit": 500},
    "chat_completion": {"instructions": "Summarise.", "text": "A. B."},
    "time_series": {"series": "RunPod utilisation"},
}
POST: dict[str, Any] = {"uri": "u", "datetime": "d", "source": "X", "user": {"id": "1", "username": "me"}}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def completion(content: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {"id": "1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": USAGE}


WIRE: dict[str, tuple[Any, Any]] = {
    "desearch/web_search": (
        {"data": [{"title": "t", "snippet": "s", "link": "https://a.test"}]},
        {"results": [{"title": "t", "description": "s", "url": "https://a.test"}]},
    ),
    "data-universe/on_demand_data": (
        {"status": "success", "data": [{**POST, "content": "hi"}], "meta": {}},
        {
            "status": "success",
            "data": [{"uri": "u", "created_at": "d", "source": "X", "body": "hi", "author": "me"}],
        },
    ),
    "chutes/chat_completions": (completion("hi"), completion([{"type": "text", "text": "hi"}])),
    "atlas/reading": (
        {"series": "s", "value": 72.5, "unit": "%", "at": "2026-11-20T00:00:00Z"},
        {"series": "s", "reading": {"amount": "72.50", "unit": "%"}, "observed_at": "2026-11-20T00:00:00Z"},
    ),
}
"""What each drifting operation answers before and after."""


def operation_of(name: str, *, drifted: bool) -> Operation:
    entry_id, _, operation_name = name.partition("/")
    entry = next(entry for entry in ENTRIES if entry.id == entry_id)
    operation = (entry_after_drift(entry) if drifted else entry).operation(operation_name)
    assert operation is not None
    return operation


def test_the_four_entries_make_a_ledger() -> None:
    view = LedgerView(ENTRIES)
    assert ENTRY_IDS == ("desearch", "data-universe", "chutes", "atlas")
    assert [entry.netuid for entry in ENTRIES] == [22, 13, 64, 129]
    assert view.capabilities == ARGUMENTS.keys() <= CONTRACTS.keys()
    assert LedgerView(ENTRIES).version == view.version
    assert all(tag in vocabulary() for entry in ENTRIES for tag in entry.capabilities)
    assert {o.endpoint.base_url for _, o in OPERATIONS} == {
        *(f"http://127.0.0.1:{port}" for port in (9000, 9001, 9003)),
        "http://127.0.0.1:9002/v1",
    }


def test_only_named_subnets_get_entries_and_unknown_ones_are_refused() -> None:
    assert [entry.id for entry in devnet_entries({"atlas": "http://127.0.0.1:1"}, KEY)] == ["atlas"]
    with pytest.raises(KeyError):
        devnet_entries({"desearsh": "http://127.0.0.1:1"}, KEY)


def test_a_real_model_is_volatile_and_nothing_else_is() -> None:
    entries = devnet_entries(dict.fromkeys(ENTRY_IDS, "http://127.0.0.1:1"), KEY, real_model=True)
    kinds = {operation.name: operation.determinism for entry in entries for operation in entry.operations}
    assert kinds.pop("chat_completions") == "volatile"
    assert set(kinds.values()) == {"exact"}


@pytest.mark.parametrize(("entry", "operation"), OPERATIONS, ids=lambda value: getattr(value, "name", ""))
def test_an_operation_is_complete(entry: SubnetEntry, operation: Operation) -> None:
    compile_schema(operation.input_schema)
    compile_schema(operation.output_schema)
    assert operation.capability in entry.capabilities
    assert operation.capability in CONTRACTS
    assert operation.price is not None
    assert operation.metrics is not None
    assert operation.determinism == "exact"
    assert {429, 500} <= {rule.status for rule in operation.errors}
    assert bool(operation.receipt_key) is (operation.protocol == "signed-http")
    assert bool(operation.auth.secret) is (operation.auth.kind == "header")


@pytest.mark.parametrize(("entry", "operation"), OPERATIONS, ids=lambda value: getattr(value, "name", ""))
def test_arguments_of_the_capability_become_a_query_of_the_operation(entry: SubnetEntry, operation: Operation) -> None:
    arguments = ARGUMENTS[operation.capability]
    assert compile_schema(CONTRACTS[operation.capability].arguments).is_valid(arguments)
    query = map_query(operation, arguments)
    assert compile_schema(operation.input_schema).errors(query) == []
    least = {name: value for name, value in arguments.items() if name != "limit"}
    assert compile_schema(operation.input_schema).errors(map_query(operation, least)) == []


@pytest.mark.parametrize("name", WIRE)
def test_before_a_drift_only_the_old_entry_fits_and_after_it_only_the_new_one(name: str) -> None:
    old, new = operation_of(name, drifted=False), operation_of(name, drifted=True)
    before, after = WIRE[name]
    assert compile_schema(old.output_schema).is_valid(before)
    assert not compile_schema(old.output_schema).is_valid(after)
    assert compile_schema(new.output_schema).is_valid(after)
    assert not compile_schema(new.output_schema).is_valid(before)
    assert map_wire(old, before) == map_wire(new, after)
    assert compile_schema(CONTRACTS[old.capability].result).is_valid(map_wire(old, before))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_a_drift_changes_one_operation_and_the_digest(entry: SubnetEntry) -> None:
    drifted = entry_after_drift(entry)
    changed = [o.name for o, other in zip(entry.operations, drifted.operations, strict=True) if o != other]
    assert changed == [drifting_operation(entry.id)]
    assert drifted.digest != entry.digest
    assert SubnetEntry.model_validate(drifted.model_dump()) == drifted
