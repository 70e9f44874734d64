"""Numbers as people write them: `1.99`, `"$1,990.00"`, `"1.99 USD/h"`, `"SN34"`. One reading, for all of synthesis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

MAX_TEXT = 1 << 20
"""Longer texts are read up to here."""

_NUMBER = re.compile(
    r"(?:(?<![\w.])|(?<=\bsn)|(?<=\busd)|(?<=\beur)|(?<=\bgbp))(?P<sign>[-−])?[$€£]?\s?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\w]*\d)",
    re.IGNORECASE,
)


def first_number(value: Any) -> Decimal | None:
    """The number that a JSON value is, or the first one written in a string; None for anything else, and for bools."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        number = Decimal(str(value))
        return number if number.is_finite() else None
    return next(numbers_in(value), None) if isinstance(value, str) else None


def numbers_in(text: str) -> Iterator[Decimal]:
    """Every number written in a text. Digits inside a word are none: `A100` and `v2` hold no number, `SN34` does."""
    for match in _NUMBER.finditer(text[:MAX_TEXT]):
        digits = match["digits"].replace(",", "")
        if len(digits) <= 40:
            yield Decimal(("-" if match["sign"] else "") + digits)
