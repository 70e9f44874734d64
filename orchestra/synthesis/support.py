"""One notion of "the source really contains the value", for the synthesiser that cites and the auditor that checks.

It is lenient about spelling (case, spacing, `$1.99` for 1.99, a sentence around the value) and strict about content: a
value never says more than what was found, digits inside a word are no number, and a part of a word is no match.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from orchestra.synthesis.instants import instant, instants_in
from orchestra.synthesis.numbers import MAX_TEXT, first_number, numbers_in

_SPACE = re.compile(r"\s+")
_JOINERS = re.compile(r"[-‐‑‒–—−_]")
_CLAUSE = re.compile(r"[,;:(]")
_MAX_COMPARED = 1 << 23
"""So many characters are compared for one value: a text that nearly contains it at every place is no source."""
_NUMERAL = re.compile(r"[-−]?[$€£]?\s?\d[\d,]*(?:\.\d+)?")
_YES = frozenset({"yes", "true", "y", "available", "supported", "enabled"})
_NO = frozenset({"no", "false", "n", "unavailable", "not available", "unsupported", "not supported", "disabled"})


def supports(found: Any, value: Any) -> bool:
    """True when `found`, a JSON value in a step's mapped output, contains the leaf `value`.

    Equal; or numerically equal across int, float and numbers written in a string; or the same instant; or a yes or no
    for a bool; or a string that contains the value as whole words, letter case, spacing and hyphens aside. Null, an
    empty string and a container that is not equal are never supported.
    """
    if value is None or value == "":
        return False
    if isinstance(value, bool):
        return found is value or (isinstance(found, str) and yes_or_no(found) is value)
    if isinstance(value, int | float):
        return _supports_number(found, value)
    if isinstance(value, str):
        return _supports_text(found, value)
    return type(found) is type(value) and bool(found == value)


def yes_or_no(text: str) -> bool | None:
    """The bool that a string states: as a whole, or before its first punctuation (`Yes, on request`)."""
    said = _CLAUSE.split(normalised(text), maxsplit=1)[0].strip(" .!")
    return True if said in _YES else False if said in _NO else None


def normalised(text: str) -> str:
    """Text for comparison: NFKC, case folded, white space and hyphens as single spaces. At most `MAX_TEXT` characters
    are read, and as many come out: one character may stand for eighteen.
    """
    return _normalised(text[:MAX_TEXT])


@lru_cache(maxsize=16)
def _normalised(text: str) -> str:
    """The last few are kept: a page is normalised once for all the values that are looked for in it."""
    folded = unicodedata.normalize("NFKC", text)[:MAX_TEXT].casefold()[:MAX_TEXT]
    return _SPACE.sub(" ", _JOINERS.sub(" ", folded)).strip()


def _supports_number(found: Any, value: float) -> bool:
    wanted = first_number(value)
    if isinstance(found, str):
        return any(number == wanted for number in numbers_in(found))
    return wanted is not None and first_number(found) == wanted


def _supports_text(found: Any, value: str) -> bool:
    if isinstance(found, bool):
        return yes_or_no(value) is found
    if isinstance(found, int | float):
        return bool(_NUMERAL.fullmatch(value.strip())) and first_number(value) == first_number(found)
    if not isinstance(found, str):
        return False
    return _contains(normalised(found), normalised(value).rstrip("/")) or _same_instant(found, value)


def _contains(text: str, part: str) -> bool:
    start = text.find(part) if part else -1
    tries = _MAX_COMPARED // max(1, len(part))
    while start >= 0 and (tries := tries - 1) >= 0:
        end = start + len(part)
        if not (_glued(text, start) or _glued(text, end)):
            return True
        start = text.find(part, start + 1)
    return False


def _glued(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def _same_instant(found: str, value: str) -> bool:
    wanted = instant(value)
    if wanted is None:
        return False
    dated = len(value.strip()) <= len("2026-08-07")
    return any(other == wanted or (dated and other.date() == wanted.date()) for other in instants_in(found))
