"""What a call cost, in rao: what the answer itself reports, else the Ledger's price for the units that it delivered.

The Ledger's price is the contract: a claim above its worst case counts as the worst case, because that is what was
reserved and what anybody will be paid back. An answer never counts as less than it admits.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from ledger.entry import Operation, Price, to_rao
from ledger.types import JSON
from orchestra.subnets.mapping import MappingFailed, select

_ANY_RATE = Decimal(1)
_MOST_REPORTED = Decimal(10**12)
"""What is reported above this is read as this: a few characters of exponent would be a number of a million digits."""


def success_cost(
    operation: Operation, headers: Mapping[str, str], wire: JSON, output: JSON, tao_usd: Decimal | None
) -> int:
    """Rao for a good answer. 0 where no price is known: the caller's ceiling then stands for it."""
    price = _known(operation, tao_usd)
    if price is None:
        return 0
    worst = worst_cost(operation, tao_usd)
    reported = _reported(price, headers, wire)
    if reported is not None:
        return min(to_rao(reported, price.currency, tao_usd=tao_usd or _ANY_RATE), worst)
    units = _units(price, wire, output)
    return min(price.rao(units, tao_usd=tao_usd or _ANY_RATE), worst)


def failure_cost(operation: Operation, headers: Mapping[str, str], tao_usd: Decimal | None, *, served: bool) -> int:
    """Rao for an answer that cannot be used: what its headers report, else the worst case when the provider takes it
    for a success (`served`) and nothing when it says itself that it failed.
    """
    price = _known(operation, tao_usd)
    if price is None:
        return 0
    worst = worst_cost(operation, tao_usd)
    reported = _reported(price, headers, None)
    if reported is not None:
        return min(to_rao(reported, price.currency, tao_usd=tao_usd or _ANY_RATE), worst)
    return worst if served else 0


def worst_cost(operation: Operation, tao_usd: Decimal | None) -> int:
    """The most that one call costs; 0 where no price is known."""
    price = _known(operation, tao_usd)
    return price.worst_rao(tao_usd=tao_usd or _ANY_RATE) if price else 0


def _known(operation: Operation, tao_usd: Decimal | None) -> Price | None:
    price = operation.price
    return price if price is not None and (price.currency == "TAO" or tao_usd is not None) else None


def _reported(price: Price, headers: Mapping[str, str], wire: JSON) -> Decimal | None:
    where, _, name = price.reported_in.partition(":")
    try:
        found: Any = headers.get(name) if where == "header" else select(name, wire) if where == "body" else None
    except MappingFailed:
        return None
    if found is None or isinstance(found, bool | list | dict):
        return None
    try:
        amount = Decimal(str(found)[:40])
    except InvalidOperation:
        return None
    return min(amount, _MOST_REPORTED) if amount.is_finite() and amount >= 0 else None


def _units(price: Price, wire: JSON, output: JSON) -> int:
    """Units delivered: calls, records in the mapped output's lists, or an OpenAI-shaped `usage.total_tokens`."""
    match price.unit:
        case "call":
            return 1
        case "hour":
            return price.max_units
        case "item":
            return _records(output)
        case "token":
            usage = wire.get("usage") if isinstance(wire, dict) else None
            total = usage.get("total_tokens") if isinstance(usage, dict) else None
            return total if isinstance(total, int) and total >= 0 else price.max_units


def _records(output: JSON) -> int:
    if isinstance(output, list):
        return len(output)
    if isinstance(output, dict):
        return sum(len(cast("list[Any]", value)) for value in output.values() if isinstance(value, list))
    return 0
