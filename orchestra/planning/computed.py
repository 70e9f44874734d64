"""Which numbers of a target_schema are computed rather than found, and by which rule.

The words of a key decide, then those of the keys above it, and for a key that says nothing (`answer`, `value`) those
of the objective. `computations.json` holds the words. The rules:

| rule | what the number is |
| --- | --- |
| min, max, mean, median, sum | that of the comparable figures found (same key, same unit), one for each thing |
| difference | the larger of two figures minus the smaller; of several, the largest minus the smallest |
| rank | the position of a record's own figure among all, lowest first |
| count | how many things were found, as the rank of the largest of the distinct numbers that identify them |
| undercut | 0.9 times the lowest figure: a newcomer's price, where the objective speaks of something new |
| premium | 1.1 times the highest figure, where the objective asks for a premium position |
| middle | the median of the figures: any other recommendation |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from orchestra.planning.objective import Objective
from orchestra.planning.words import contains_phrase, name_tokens, stem, stems

Rule = Literal["min", "max", "mean", "median", "sum", "difference", "rank", "count", "undercut", "premium", "middle"]
Phrase = tuple[str, ...]


_MEASURES = frozenset(stems("price cost rate fee"))


@dataclass(frozen=True, slots=True)
class _Words:
    rules: tuple[tuple[Rule | Literal["recommend"], tuple[Phrase, ...]], ...]
    newcomer: tuple[Phrase, ...]
    premium: tuple[Phrase, ...]
    silent: frozenset[str]
    unmeasured: frozenset[str]


@lru_cache(maxsize=1)
def _words() -> _Words:
    table = json.loads(files("orchestra.planning").joinpath("computations.json").read_text("utf-8"))
    phrases = {name: tuple(tuple(stems(phrase)) for phrase in spoken) for name, spoken in table.items()}
    silent = frozenset(word for phrase in phrases["silent"] for word in phrase)
    rules = ("recommend", "count", "difference", "median", "mean", "rank", "sum", "min", "max")
    return _Words(
        tuple((rule, phrases[rule]) for rule in rules),
        phrases["newcomer"],
        phrases["premium"],
        silent,
        (silent | {word for rule in rules for phrase in phrases[rule] for word in phrase}) - _MEASURES,
    )


def rule_for(path: tuple[str, ...], objective: Objective) -> Rule | None:
    """The rule for a numeric leaf at these keys, or None when it is to be found as it stands."""
    for name in reversed(path):
        if rule := _spoken([stem(word) for word in name_tokens(name)], objective):
            return rule
    return _spoken(stems(objective.text), objective) if path and is_silent(path[-1]) else None


def spoken_rule(text: str, objective: Objective) -> Rule | None:
    """The rule that a text speaks of."""
    return _spoken(stems(text), objective)


def is_silent(name: str) -> bool:
    """True for a key that says nothing of what it holds: `answer`, `value`, `result`."""
    return all(stem(word) in _words().silent for word in name_tokens(name))


def is_price(name: str) -> bool:
    """True for a key that holds a price or prices."""
    return bool({stem(word) for word in name_tokens(name)} & _MEASURES)


def is_result_word(word: str) -> bool:
    """True for a word that names a computation's result and nothing that a page would say: `average`, `cheapest`."""
    return stem(word) in _words().unmeasured or stem(word) == "across"


def metric_words(path: tuple[str, ...]) -> tuple[str, ...]:
    """What is measured: the stems of the keys without those that name a rule, the last key's first."""
    words = [stem(word) for name in reversed(path) for word in name_tokens(name)]
    return tuple(dict.fromkeys(word for word in words if word not in _words().unmeasured))


def _spoken(words: list[str], objective: Objective) -> Rule | None:
    for rule, phrases in _words().rules:
        if any(contains_phrase(words, phrase) for phrase in phrases):
            return _recommendation(objective) if rule == "recommend" else rule
    return None


def _recommendation(objective: Objective) -> Rule:
    words = stems(objective.text)
    if any(contains_phrase(words, phrase) for phrase in _words().premium):
        return "premium"
    return "undercut" if any(contains_phrase(words, phrase) for phrase in _words().newcomer) else "middle"
