"""Ledgers with one free operation for each of the capabilities named."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.entry import Endpoint, Operation, SubnetEntry
from ledger.view import LedgerView

ALL = ("web_search", "web_scraping", "structured_extraction", "social_search", "chat_completion", "time_series")


def ledger_with(capabilities: Iterable[str] = ALL) -> LedgerView:
    """A Ledger of one entry, `local`, whose operations are named like their capabilities."""
    operations = tuple(
        Operation(
            name=name,
            capability=name,
            protocol="http-json",
            endpoint=Endpoint(base_url="https://local.example", method="POST", path=f"/{name}", arguments="json_body"),
            input_schema={"type": "object"},
            output_schema={"type": "object"},
            determinism="exact",
            safe_to_retry=True,
        )
        for name in capabilities
    )
    names = tuple(operation.capability for operation in operations)
    entry = SubnetEntry(id="local", netuid=1, name="Local", description="", capabilities=names, operations=operations)
    return LedgerView([entry])
