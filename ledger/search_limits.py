"""Does an operation keep the limits of a question? Yes, no, or the Ledger does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from ledger.entry import Operation
from ledger.search_query import Input, Limits

_NAMES: Mapping[Input, re.Pattern[str]] = {
    "url": re.compile(r"(^|_)(url|uri|link)s?$", re.IGNORECASE),
    "audio": re.compile(r"audio|voice", re.IGNORECASE),
    "image": re.compile(r"image|picture|photo", re.IGNORECASE),
    "video": re.compile(r"video", re.IGNORECASE),
    "text": re.compile(r"text|prompt|query|question|messages", re.IGNORECASE),
    "file": re.compile(r"file|audio|image|video|media|body_b64", re.IGNORECASE),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kept` None: for some limit nothing is known. `why`: what is known, and what is not."""

    kept: bool | None
    why: tuple[str, ...]


def verdict(operation: Operation, limits: Limits, tao_usd: Decimal | None) -> Verdict:
    """Whether one call of the operation keeps every limit."""
    found = list(_each(operation, limits, tao_usd))
    kept = False if any(k is False for k, _ in found) else None if any(k is None for k, _ in found) else True
    return Verdict(kept, tuple(why for _, why in found))


def _each(operation: Operation, limits: Limits, tao_usd: Decimal | None) -> Iterator[tuple[bool | None, str]]:
    if limits.cost is not None:
        yield _cost(operation, *limits.cost, tao_usd)
    if limits.latency_ms is not None:
        yield _latency(operation, limits.latency_ms)
    for kind in sorted(limits.takes):
        takes = any(_takes(kind, name, schema) for name, schema in _arguments(operation))
        yield takes, f"takes {kind}" if takes else f"takes no {kind}"
    if limits.keyless:
        free = operation.auth.kind == "none" or operation.auth.optional
        yield free, "needs no key" if free else "needs a key"


def _cost(operation: Operation, most: Decimal, currency: str, tao_usd: Decimal | None) -> tuple[bool | None, str]:
    price = operation.price
    if price is None:
        return None, "its price is not known"
    amount = Decimal(price.amount) * price.max_units / price.per
    if price.currency != currency and amount:
        if tao_usd is None:
            return None, f"priced in {price.currency}, and no rate was given"
        amount = amount / tao_usd if currency == "TAO" else amount * tao_usd
    shown = f"{amount:.9f}".rstrip("0").rstrip(".")
    return amount <= most, f"a call costs at most {shown} {currency}"


def _latency(operation: Operation, most_ms: int) -> tuple[bool | None, str]:
    if operation.metrics is not None:
        taken = operation.metrics.latency_ms
        return taken <= most_ms, f"takes {taken} ms, as measured"
    if operation.expected_ms:
        return operation.expected_ms <= most_ms, f"is said to take {operation.expected_ms} ms"
    return None, "how long it takes is not known"


def _arguments(operation: Operation) -> Iterator[tuple[str, Mapping[str, Any]]]:
    properties: Any = operation.input_schema.get("properties")
    if isinstance(properties, dict):
        for name, schema in cast("dict[str, Any]", properties).items():
            yield name, cast("Mapping[str, Any]", schema) if isinstance(schema, dict) else {}


def _takes(kind: Input, name: str, schema: Mapping[str, Any]) -> bool:
    remark = str(schema.get("description", ""))
    if kind == "url" and (schema.get("format") == "uri" or "URL" in remark):
        return True
    return _NAMES[kind].search(name) is not None
