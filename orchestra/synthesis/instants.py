"""Dates and times as people write them, read into UTC: ISO 8601, `7 August 2026`, `August 7, 2026`.

A date without a time is midnight UTC. A date without a day is no date: it would be an invention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from orchestra.synthesis.numbers import MAX_TEXT

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_ISO = re.compile(
    r"(?<![\w-])\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?(?![\w-])",
    re.IGNORECASE,
)
_DAY_FIRST = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)? ([a-z]{3})[a-z]*\.?,? (\d{4})\b", re.IGNORECASE)
_MONTH_FIRST = re.compile(r"\b([a-z]{3})[a-z]*\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})\b", re.IGNORECASE)


def instant(text: str) -> datetime | None:
    """The instant a whole string states, or None."""
    stated = text.strip()
    found = next(instants_in(stated), None)
    whole = any(pattern.fullmatch(stated) for pattern in (_ISO, _DAY_FIRST, _MONTH_FIRST))
    return found if whole else None


def instants_in(text: str) -> Iterator[datetime]:
    """Every date or instant written in a text."""
    text = text[:MAX_TEXT]
    for match in _ISO.finditer(text):
        yield from _iso(match[0])
    for match in _DAY_FIRST.finditer(text):
        yield from _named(match[1], match[2], match[3])
    for match in _MONTH_FIRST.finditer(text):
        yield from _named(match[2], match[1], match[3])


def _iso(text: str) -> Iterator[datetime]:
    try:
        found = datetime.fromisoformat(text.upper().replace(" ", "T"))
        utc = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter where an offset leads out of the calendar
        return
    yield utc


def _named(day: str, month: str, year: str) -> Iterator[datetime]:
    if month.lower() in _MONTHS:
        try:
            yield datetime(int(year), _MONTHS.index(month.lower()) + 1, int(day), tzinfo=UTC)
        except ValueError:
            return
