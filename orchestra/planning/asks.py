"""What an objective sets beyond names and words: conditions, an order, products, series, what must come along.

Each is a small pattern over the objective's own text, read once for the planner, which asks pages for it, and once for
the synthesiser, which holds what was found against it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

from orchestra.planning.entities import OPENERS
from orchestra.planning.objective import Objective, selecting, topic
from orchestra.planning.words import STOPWORDS, content_words, lexicon, stem, tokens

_WITH = re.compile(
    r"\b(?:through|via|with|that (?:has|have|offers?|provides?)|offering|having|by)\s+(?:an?\s+|the\s+|its\s+)?"
    r"((?:[\w-]+\s*){1,3})",
    re.IGNORECASE,
)
_SERIES = re.compile(r"\bseries\s+(?:named\s+|called\s+)?([\w./:-]*\w)", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(?<![\w./:-])[A-Za-z0-9]{1,40}(?:[_/:.-][A-Za-z0-9]{1,40}){1,8}(?![\w])")
_READING = re.compile(
    r"\b(?:latest|current|last|newest|most recent)\s+(?:reading|value)\s+(?:of|for)\s+(?:the\s+)?([^?.,;]+)",
    re.IGNORECASE,
)
PRODUCT = re.compile(r"[a-z]+\d|\d+[a-z]|\d{3,}", re.IGNORECASE)
"""What a product's or a size's name looks like in one word: `A100`, `80GB`, `4090`."""
_TIME_SERIES = re.compile(r"\btime[ -]series\b", re.IGNORECASE)
_READING_TALK = lexicon("reading_talk")
_YEAR_OR_SN = re.compile(r"(?:19|20)\d\d|sn\d+", re.IGNORECASE)
_SIGNS: dict[str, tuple[str, ...]] = {
    "<": ("under", "below", "less than", "cheaper than", "before"),
    "<=": ("at most", "up to", "no more than", "a maximum of"),
    ">": ("over", "above", "more than", "greater than", "after"),
    ">=": ("at least", "no less than", "a minimum of"),
}
_BOUND = re.compile(
    r"(?<![\w-])(?P<before>(?:[\w-]{1,40}\s+){0,4})\b(?P<phrase>"
    + "|".join(phrase for phrases in _SIGNS.values() for phrase in phrases)
    + r")\s+(?P<currency>[$€£])?\s?(?P<number>\d+(?:,\d{3})*(?:\.\d+)?)(?:\s?(?P<unit>%|USD|EUR|dollars?|euros?))?",
    re.IGNORECASE,
)
_NUMERALS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LOW_ENDS = ("cheapest", "lowest", "least expensive", "smallest")
_TOP = re.compile(
    r"\b(?P<count>\d{1,2}|" + "|".join(_NUMERALS) + r")\s+(?:\w+\s+)?(?P<end>cheapest|lowest|least expensive|smallest|"
    r"most expensive|highest|largest|dearest|priciest)\b",
    re.IGNORECASE,
)
_SORTED = re.compile(r"\b(?:sort(?:ed)?|order(?:ed)?|ranked)\s+by\s+(?:\w+\s+){0,2}?(?P<metric>\w+)\b", re.IGNORECASE)


@lru_cache(maxsize=64)
def constraints(objective: Objective) -> tuple[str, ...]:
    """Keys for what a thing must come with: `with spot capacity` gives spot_capacity."""
    found: dict[str, None] = {}
    for clause in objective.clauses:
        for match in _WITH.finditer(clause.text):
            words = [word.lower() for word in content_words(match[1])]
            if 1 < len(words) <= 3:
                found.setdefault("_".join(words))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Condition:
    """`uptime of at least 99.9`: a metric, and what its number must be. `said` is the whole phrase."""

    metric: str
    sign: str
    bound: Decimal
    said: str

    def holds(self, value: Decimal) -> bool:
        match self.sign:
            case "<":
                return value < self.bound
            case "<=":
                return value <= self.bound
            case ">":
                return value > self.bound
            case _:
                return value >= self.bound


@lru_cache(maxsize=64)
def conditions(objective: Objective) -> tuple[Condition, ...]:
    """The numeric conditions that an objective sets on what it asks for."""
    found: list[Condition] = []
    for clause in selecting(objective):
        for match in _BOUND.finditer(clause.text):
            sign = next(sign for sign, phrases in _SIGNS.items() if match["phrase"].lower() in phrases)
            money = (match["unit"] or "%") != "%"
            priced = match["currency"] or money or match["phrase"].lower() == "cheaper than"
            before = [word for word in content_words(match["before"] or "") if not PRODUCT.search(word)]
            metric = "price" if priced else "_".join(word.lower() for word in before[-1:])
            if metric:
                bound = Decimal(match["number"].replace(",", ""))
                found.append(Condition(metric, sign, bound, match[0]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Ordering:
    """`the three cheapest` or `sorted by price`: by which figure, which end first, and how many (0: all)."""

    metric: str
    descending: bool
    count: int


def ordering(objective: Objective) -> Ordering | None:
    """The order that an objective asks for, if it asks for one."""
    if match := _TOP.search(objective.text):
        said = match["count"].lower()
        count = int(said) if said.isdigit() else 1 + _NUMERALS.index(said)
        return Ordering("price", match["end"].lower() not in _LOW_ENDS, min(count, 50))
    if match := _SORTED.search(objective.text):
        descending = bool(re.search(r"descending|highest first|most expensive first", objective.text, re.IGNORECASE))
        return Ordering(match["metric"].lower(), descending, 0)
    return None


@lru_cache(maxsize=64)
def product_words(objective: Objective) -> frozenset[str]:
    """Words of an objective that look like a product or a size: `a100`, `80gb`, `4090`."""
    joined = re.sub(r"\b(\d+)\s+(gb|tb|mb)\b", r"\1\2", objective.text, flags=re.IGNORECASE)
    for condition in conditions(objective):
        joined = joined.replace(condition.said, " ")
    numbered = {str(entity.number) for entity in objective.entities}
    found = {word.lower() for word in tokens(joined) if PRODUCT.search(word)}
    return frozenset(word for word in found if word not in numbered and not _YEAR_OR_SN.fullmatch(word))


def series_names(objective: Objective) -> tuple[str, ...]:
    """The series of which a reading is asked: quoted, after `series`, or written like an identifier (`tao_usd`)."""
    quoted = [text for text in objective.quoted if len(text) <= 64]
    if quoted:
        return tuple(dict.fromkeys(quoted))
    plain = [replace(clause, text=_TIME_SERIES.sub("series", clause.text)) for clause in objective.clauses]
    measured = [word for word in topic(objective, plain) if word.lower() not in _READING_TALK]
    if objective.entities and measured:
        return tuple(" ".join([entity.name, *measured]) for entity in objective.entities)
    named = [match[1] for match in _SERIES.finditer(objective.text) if match[1].lower() not in STOPWORDS]
    spoken = [match[1].strip() for match in _READING.finditer(objective.text)]
    return tuple(dict.fromkeys(named or _IDENTIFIER.findall(objective.text) or spoken or [" ".join(measured)]))


def aspects(objective: Objective) -> tuple[str, ...]:
    """What is asked of the named things, as keys: `base URL and authentication of X` gives base_url, authentication."""
    named = {stem(word) for entity in objective.entities for word in tokens(entity.name)}
    found: dict[str, None] = {}
    for clause in objective.clauses:
        run: list[str] = []
        for word in [*tokens(clause.text), ""]:
            wanted = word and word.lower() not in STOPWORDS | OPENERS and stem(word) not in named
            run = [*run, word.lower()] if wanted else run
            if not wanted and run:
                found.setdefault("_".join(run[-3:]))
                run = []
    return tuple(found)[:4]
