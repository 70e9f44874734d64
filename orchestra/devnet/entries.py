"""Ledger entries of the four local subnets: what the services do, as precisely as a caller needs it, and after a drift.

The entries are data (`content/entries.json`), as every entry is; the wire schemas are those of the published facts
where a service stands for a real subnet. `entry_after_drift` is what a service answers once its control port was told
`{"schema": "drifted"}`: the truth that a validator's canary waits for miners to notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ledger.entry import SubnetEntry
from orchestra.devnet.content.facts import load_json

ATLAS_NETUID = 129


def devnet_entries(
    origins: Mapping[str, str], receipt_key: str, *, real_model: bool = False
) -> tuple[SubnetEntry, ...]:
    """The entries of the local subnets named in `origins`: entry id to `http://host:port`, in that order.

    `receipt_key` is the hotkey with which atlas signs, and to which requests to it are bound. With `real_model` the
    chat is handed to a real model (`ORCHESTRA_LLM_BASE_URL`), so its answers are volatile and no longer exact.

    Raises:
        KeyError: an id that is none of `ENTRY_IDS`.
    """
    entries = (
        SubnetEntry.model_validate(_filled(_data()[name]["entry"], origin.rstrip("/"), receipt_key))
        for name, origin in origins.items()
    )
    return tuple(_volatile(entry) if real_model and entry.id == "chutes" else entry for entry in entries)


def entry_after_drift(entry: SubnetEntry) -> SubnetEntry:
    """The entry as it should read after the service changed its schema: same arguments and promise, other wire answer.

    Raises:
        KeyError: not an entry of a local subnet.
    """
    drift = _data()[entry.id]["drift"]
    update = {"output_schema": drift["output_schema"], "response": drift["response"]}
    changed = tuple(
        operation.model_copy(update=update) if operation.name == drift["operation"] else operation
        for operation in entry.operations
    )
    return entry.model_copy(update={"operations": changed})


def drifting_operation(entry_id: str) -> str:
    """The one operation of a local subnet whose wire answer changes.

    Raises:
        KeyError: not an entry of a local subnet.
    """
    return _data()[entry_id]["drift"]["operation"]


def _volatile(entry: SubnetEntry) -> SubnetEntry:
    update = {"determinism": "volatile", "stability_s": 0, "cache_ttl_s": 0}
    return entry.model_copy(update={"operations": tuple(o.model_copy(update=update) for o in entry.operations)})


@cache
def _data() -> dict[str, Any]:
    return load_json("entries.json")


ENTRY_IDS: tuple[str, ...] = tuple(_data())
"""The local subnets that have entries."""


def _filled(value: Any, origin: str, receipt_key: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, origin, receipt_key) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [_filled(item, origin, receipt_key) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, str):
        return value.replace("{origin}", origin).replace("{receipt_key}", receipt_key)
    return value
