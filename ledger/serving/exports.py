"""The whole Ledger of one edition as a file: JSON that `--ledger.seed` takes, or CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ledger.entry import Operation, SubnetEntry
from ledger.serving.pages import Pages

BASIC_COLUMNS = ("netuid", "subnet", "name", "status", "description", "capabilities", "operation", "capability", "role")
FULL_COLUMNS = (*BASIC_COLUMNS, "protocol", "method", "url", "price", "currency", "unit", "per", "expected_ms")


def export_json(pages: Pages, full: bool) -> bytes:
    """A JSON list of all entries, by id."""
    entries = sorted(pages.edition.entries)
    return b"[\n" + b",\n".join(pages.entry(each, full) for each in entries) + b"\n]\n"


def export_csv(pages: Pages, full: bool) -> bytes:
    """One row for each operation, and one for each entry without any (RFC 4180)."""
    columns = FULL_COLUMNS if full else BASIC_COLUMNS
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for entry_id in sorted(pages.edition.entries):
        for row in _rows(pages.edition.entries[entry_id]):
            writer.writerow([harmless(row.get(name, "")) for name in columns])
    return text.getvalue().encode()


def harmless(value: str) -> str:
    """A cell that no spreadsheet takes for a formula: entries are written by strangers."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _rows(entry: SubnetEntry) -> Iterator[dict[str, str]]:
    about = {
        "netuid": str(entry.netuid),
        "subnet": entry.id,
        "name": entry.name,
        "status": entry.status,
        "description": entry.description,
        "capabilities": " ".join(entry.capabilities),
    }
    if not entry.operations:
        yield about
    for operation in entry.operations:
        yield about | _operation(operation)


def _operation(operation: Operation) -> dict[str, str]:
    price, endpoint = operation.price, operation.endpoint
    priced = (
        {"price": price.amount, "currency": price.currency, "unit": price.unit, "per": str(price.per)} if price else {}
    )
    return {
        "operation": operation.name,
        "capability": operation.capability,
        "role": operation.role,
        "protocol": operation.protocol,
        "method": endpoint.method,
        "url": endpoint.base_url + endpoint.path,
        "expected_ms": str(operation.expected_ms or ""),
        **priced,
    }
