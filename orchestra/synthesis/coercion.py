"""A text of a page as a value of the type that was asked for, or nothing: extraction prefers a gap to a guess.

Types are the words of the target_schema shorthand. Every value returned can be found again in the text it came from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ledger.canonical import is_exact
from orchestra.synthesis.page import squeeze, urls_in

MAX_TEXT = 400
"""Longest text that counts as one value, in characters."""

_NUMBER = re.compile(r"(?<![\w.,])[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\d]|[.,]\d|\w*\d)")
_MONEY = re.compile(
    r"(?:(?:[$€£]|\b(?:USD|EUR|GBP|US\$))\s?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?))"
    r"|(?<![\w.])(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s?(?:USD|EUR|GBP|TAO|[$€£]|dollars?|euros?|cents?)",
    re.IGNORECASE,
)
_TRUE = frozenset({"yes", "true", "available", "supported", "included", "enabled", "on"})
_FALSE = frozenset({"no", "false", "none", "unavailable", "unsupported", "disabled", "off"})
_ISO = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2}))?)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DAY_FIRST = re.compile(rf"\b(\d{{1,2}})\s+{_MONTH}\.?\s+(\d{{4}})\b", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"\b{_MONTH}\.?\s+(\d{{1,2}}),?\s+(\d{{4}})\b", re.IGNORECASE)
_EMPTY = frozenset({"", "-", "–", "—", "n/a", "none", "unknown", "not known", "tbd", "?"})
_SCALARS = frozenset({"str", "int", "float", "bool", "url", "datetime"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A parsed type: `name` is str, int, float, bool, url, datetime, enum, list, dict or object."""

    name: str
    options: tuple[str, ...] = ()
    item: Kind | None = None
    fields: Mapping[str, Any] | None = None


def kind_of(spec: Any) -> Kind:
    """The type that a shorthand word, an object of fields or a one-element list asks for.

    Raises:
        ValueError: it is none of them; the message says which words are allowed.
    """
    if isinstance(spec, Mapping):
        return Kind("object", fields=spec)  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(spec, list) and len(spec) == 1:  # pyright: ignore[reportUnknownArgumentType]
        return Kind("list", item=kind_of(spec[0]))
    if isinstance(spec, str):
        return _word(spec)
    raise ValueError("a field's type is a word, an object of fields, or a list of one type")


def _word(spec: str) -> Kind:
    word = re.sub(r"\s*\|\s*null\s*$", "", spec.strip())
    if word in _SCALARS or word in ("list", "dict"):
        return Kind(word)
    if inner := re.fullmatch(r"list\[(.+)\]", word):
        return Kind("list", item=_word(inner[1]))
    if inner := re.fullmatch(r"dict\[\s*str\s*,(.+)\]", word):
        return Kind("dict", item=_word(inner[1]))
    if inner := re.fullmatch(r"enum\((.+)\)", word):
        return Kind("enum", options=tuple(option.strip() for option in inner[1].split(",")))
    raise ValueError(
        f"unknown type {spec[:40]!r}: use str, int, float, bool, url, datetime, list, list[T], dict, dict[str, T] or "
        "enum(a, b)"
    )


def scalar(text: str, kind: Kind, links: tuple[str, ...] = ()) -> Any:
    """The one value of this kind that the text states, or None: two candidates are none."""
    text = squeeze(text)
    if text.casefold() in _EMPTY and kind.name != "bool":
        return None
    match kind.name:
        case "str":
            return text.rstrip() if len(text) <= MAX_TEXT else None
        case "int":
            number = number_in(text)
            return int(number) if number is not None and number == int(number) else None
        case "float":
            return number_in(text)
        case "bool":
            return _boolean(text)
        case "url":
            return next(iter([*urls_in(text), *links]), None)
        case "datetime":
            return _instant(text)
        case "enum":
            return _option(text, kind.options)
        case _:
            return None


def money_in(text: str) -> list[float]:
    """Every amount with a currency, in order, that JSON can carry."""
    amounts = (float((match[1] or match[2]).replace(",", "")) for match in _MONEY.finditer(text))
    return [amount for amount in amounts if is_exact(amount)]


def number_in(text: str) -> float | None:
    """The amount where exactly one has a currency, else the number where there is exactly one."""
    amounts = set(money_in(text))
    if amounts:
        return amounts.pop() if len(amounts) == 1 else None
    plain = {float(match[0].replace(",", "").replace("−", "-")) for match in _NUMBER.finditer(text)}
    return number if len(plain) == 1 and is_exact(number := plain.pop()) else None


def cell_value(text: str) -> Any:
    """What a cell of a free-form table says: its number where it is mainly one, else its text; None when empty."""
    text = squeeze(text)
    if text.casefold() in _EMPTY:
        return None
    number = number_in(text)
    if number is not None and (money_in(text) or len(text.split()) <= 3):
        return number
    return text if len(text) <= MAX_TEXT else None


def _boolean(text: str) -> bool | None:
    first = re.split(r"[\s,.;:(]", text.casefold(), maxsplit=1)[0]
    if text.casefold().startswith("not "):
        return False
    return True if first in _TRUE else False if first in _FALSE else None


def _option(text: str, options: tuple[str, ...]) -> str | None:
    said = text.casefold()
    found = [option for option in options if re.search(rf"(?<!\w){re.escape(option.casefold())}(?!\w)", said)]
    return found[0] if len(found) == 1 else None


def _instant(text: str) -> str | None:
    """The one date of the text in RFC 3339, at midnight UTC where it names no time."""
    found = {moment for moment in (_iso(text), _written(text)) if moment}
    return found.pop().strftime("%Y-%m-%dT%H:%M:%SZ") if len(found) == 1 else None


def _iso(text: str) -> datetime | None:
    match = _ISO.search(text)
    return _moment(*(int(part or 0) for part in match.groups())) if match else None


def _written(text: str) -> datetime | None:
    if match := _DAY_FIRST.search(text):
        return _moment(int(match[3]), _MONTHS.index(match[2].lower()) + 1, int(match[1]))
    if match := _MONTH_FIRST.search(text):
        return _moment(int(match[3]), _MONTHS.index(match[1].lower()) + 1, int(match[2]))
    return None


def _moment(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime | None:
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def split_list(text: str) -> list[str]:
    """`a, b and c` or `a; b` as its parts."""
    separator = r";\s*" if ";" in text else r",\s*(?:and\s+|or\s+)?|\s+and\s+"
    return [part for part in (squeeze(part).rstrip(".") for part in re.split(separator, text)) if part]
