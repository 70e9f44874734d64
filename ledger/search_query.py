"""What a question in plain words asks for: words that can be compared, and limits that can be checked.

"transcribe audio, takes a URL, costs under 0.001 TAO, answers within a second" is one thing to find and three limits.
Limits are cut out of the text, so that "second" does not look for clocks; the rest becomes stems. How people speak of
what subnets do is data (`catalogue/synonyms.json`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal

MAX_QUERY_CHARS = 1_000
MAX_QUERY_WORDS = 64

Input = Literal["url", "audio", "image", "video", "text", "file"]

_WORD = re.compile(r"[a-z0-9]+")
_MOST = (
    r"(?:under|below|less than|at most|cheaper than|no more than|not more than|up to|max(?:imum)?(?: of)?|within|<=?)"
)
_COST = re.compile(
    rf"(?:(?:that |which |and )?(?:costs?|costing|priced?|for|is|are)\s+)?{_MOST}\s*"
    r"(?:(?P<sign>\$)\s*(?P<dollars>\d+(?:\.\d+)?|\.\d+)|(?P<amount>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>tao|rao|usd|dollars?|cents?)\b)"
    r"(?:\s*(?:per|a|each|an?)\s+(?:call|request|query|time))?",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(?:that |which |and )?\b(?:answer(?:s|ing|ed)?|respond(?:s|ing)?|repl(?:ies|y|ying)|returns?|finish(?:es)?|"
    r"takes?|latency|done|ready)\b"
    rf"[^,.;:?]{{0,16}}?\b(?:in |{_MOST})\s*(?:under |less than )?(?P<count>a|an|one|half a|\d+(?:\.\d+)?)\s*"
    r"(?P<unit>ms|milliseconds?|s|secs?|seconds?|mins?|minutes?|hours?)\b",
    re.IGNORECASE,
)
_TAKES = re.compile(
    r"(?:that |which |and )?\b(?:takes?|taking|accepts?|accepting)\s+(?:an?\s+|the\s+)?"
    r"(?P<input>urls?|links?|audio|images?|pictures?|photos?|videos?|texts?|files?)\b",
    re.IGNORECASE,
)
_KEYLESS = re.compile(
    r"(?:that |which |and )?\b(?:without|no|needs no|need no)\s+(?:an?\s+)?(?:api\s+)?(?:keys?|accounts?|sign-?up)\b",
    re.IGNORECASE,
)
_FREE = re.compile(r"\b(?:for free|free of charge|at no cost)\b", re.IGNORECASE)
_NETUID = re.compile(r"\b(?:sn|netuid|subnet)\s*#?(\d{1,5})\b", re.IGNORECASE)
_INPUTS: Mapping[str, Input] = {"link": "url", "picture": "image", "photo": "image"}
_WHOLE = {"filing": "filing", "filings": "filing", "news": "news", "letter": "letter", "letters": "letter"}
_MILLISECONDS = {"ms": 1, "milli": 1, "s": 1_000, "min": 60_000, "hour": 3_600_000}


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operation must keep: at most `cost` (TAO or USD) and `latency_ms` a call, and these kinds of input."""

    cost: tuple[Decimal, Literal["TAO", "USD"]] | None = None
    latency_ms: int | None = None
    takes: frozenset[Input] = frozenset()
    keyless: bool = False

    @property
    def any(self) -> bool:
        return self != NO_LIMITS


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Query:
    """A question: its words as stems in order (without the empty ones), its limits, and the netuid that it names."""

    words: tuple[str, ...]
    limits: Limits = NO_LIMITS
    netuid: int | None = None

    @classmethod
    def parse(cls, text: str) -> Query:
        """Read at most the first 1,000 characters and 64 words of a question."""
        rest = text[:MAX_QUERY_CHARS]
        named = _NETUID.search(rest)
        rest = _NETUID.sub(" ", rest)
        rest, limits = _cut_limits(rest)
        words = tuple(stem for stem in stems(rest) if stem not in stop_words())
        return cls(words[:MAX_QUERY_WORDS], limits, int(named[1]) if named else None)


def _cut_limits(text: str) -> tuple[str, Limits]:
    latency, text = _cut(_TIME, text)
    cost, text = _cut(_COST, text)
    free, text = _cut(_FREE, text)
    keyless, text = _cut(_KEYLESS, text)
    takes: set[Input] = set()
    for found in _TAKES.finditer(text):
        kind = found["input"].lower().removesuffix("s")
        takes.add(_INPUTS.get(kind, kind))  # pyright: ignore[reportArgumentType]
    limits = Limits(
        cost=_cost(cost) if cost else (Decimal(0), "USD") if free else None,
        latency_ms=_milliseconds(latency) if latency else None,
        takes=frozenset(takes),
        keyless=keyless is not None,
    )
    return _TAKES.sub(r" \g<input> ", text), limits


def _cut(pattern: re.Pattern[str], text: str) -> tuple[re.Match[str] | None, str]:
    found = pattern.search(text)
    return (found, text[: found.start()] + " " + text[found.end() :]) if found else (None, text)


def _cost(found: re.Match[str]) -> tuple[Decimal, Literal["TAO", "USD"]]:
    if found["sign"]:
        return Decimal(found["dollars"]), "USD"
    amount, unit = Decimal(found["amount"]), found["unit"].lower()
    match unit:
        case "tao":
            return amount, "TAO"
        case "rao":
            return amount / 10**9, "TAO"
        case "cent" | "cents":
            return amount / 100, "USD"
        case _:
            return amount, "USD"


def _milliseconds(found: re.Match[str]) -> int:
    count, unit = found["count"].lower(), found["unit"].lower()
    number = Decimal("0.5") if count == "half a" else Decimal(1) if count in ("a", "an", "one") else Decimal(count)
    return int(number * next(ms for start, ms in _MILLISECONDS.items() if unit.startswith(start)))


def fold(text: str) -> str:
    """Lower case without accents; Greek letters that stand for Latin ones in names become those."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("τ", "t"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def stems(text: str) -> list[str]:
    """The words of a text without their endings, in order."""
    return [stem(word) for word in _WORD.findall(fold(text).replace("'s", ""))]


@cache
def stem(word: str) -> str:
    """A light English stemmer: plural, -ing, -ed, -er, -ion and a final e."""
    if word in _WHOLE:
        return _WHOLE[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending, shortest in (("ing", 5), ("ed", 4), ("ion", 6), ("er", 5)):
        if len(word) > shortest and word.endswith(ending):
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


@cache
def stop_words() -> frozenset[str]:
    """Stems that say nothing about what is wanted."""
    return frozenset(stem(word) for word in _synonyms()["stop"].split())


@cache
def word_groups() -> Mapping[str, frozenset[str]]:
    """Stems that mean about the same, by each of them."""
    groups: dict[str, frozenset[str]] = {}
    for group in _synonyms()["words"]:
        same = frozenset(stem(word) for word in group)
        for word in same:
            groups[word] = groups.get(word, frozenset()) | same
    return groups


@cache
def phrases() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """How people speak of each capability: phrases as stems, without the empty words."""
    return {
        name: tuple(tuple(word for word in stems(phrase) if word not in stop_words()) for phrase in spoken)
        for name, spoken in _synonyms()["capabilities"].items()
    }


@cache
def _synonyms() -> dict[str, Any]:
    return json.loads(files("ledger.catalogue").joinpath("synonyms.json").read_text(encoding="utf-8"))
