"""What a proposal may make of an entry: nothing that a node could not write down and read back."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.applying import CannotApply, apply, base_of
from ledger.canonical import sha256
from ledger.changes import MAX_ENTRY_BYTES
from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from ledger.proposals import NewSubnet, SchemaUpdate
from ledger.store import LedgerStore
from tests.builders import entry, operation

ME = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
COMMON: dict[str, Any] = {"proposer": ME, "entry": "alpha", "salt": sha256(b"salt")}


def update(found: SubnetEntry, schema: dict[str, Any], name: str = "web_search") -> SubnetEntry:
    made = SchemaUpdate(**COMMON, base=sha256(b""), operation=name, output_schema=schema)
    return apply(found, made.model_copy(update={"base": base_of(found, made)}), block=1)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"allOf": [schema]}
    return schema


def wide(size: int) -> dict[str, Any]:
    return {"type": "object", "description": "x" * size}


async def test_what_is_applied_can_be_stored_and_read(tmp_path: Any) -> None:
    found = entry("alpha", netuid=1)
    changed = [update(found, schema) for schema in (wide(60_000), nested(28))]
    async with await LedgerStore.open(sqlite_url(tmp_path / "log")) as store:
        await store.append(changed, onto=0, block=1)
        assert await store.changes(0) == tuple(changed)


@pytest.mark.parametrize("schema", [nested(31), wide(MAX_ENTRY_BYTES)], ids=["too deep", "too large"])
def test_what_no_log_holds_is_not_applied(schema: dict[str, Any]) -> None:
    with pytest.raises(CannotApply, match="would be no change that a log holds"):
        update(entry("alpha", netuid=1), schema)
    body = entry("alpha", netuid=1, operations=(operation(output_schema=schema),))
    with pytest.raises(CannotApply, match="would be no change that a log holds"):
        apply(None, NewSubnet(**COMMON, body=body), block=1)


def test_an_entry_grows_by_small_steps_to_a_bound_and_no_further() -> None:
    names = [f"o{number}" for number in range(8)]
    found = entry("alpha", netuid=1, operations=tuple(operation(name) for name in names))
    for name in names[:4]:
        found = update(found, wide(60_000), name)
    assert len(found.canonical()) <= MAX_ENTRY_BYTES
    with pytest.raises(CannotApply, match="would be no change that a log holds"):
        update(found, wide(60_000), names[4])
