"""What capabilities are called, and the words by which one asks for their work to be done.

The controlled vocabulary names capabilities; `capabilities.json` beside this file says how people speak of them:
`called` are phrases for the capability as a subject ("GPU rental"), `do` are verbs with the things they are done to
("rent ... a machine"; no things means any), `asks` are questions that want it done ("will it rain"). Adding a synonym
is a change of data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from orchestra.planning.words import STOPWORDS, name_tokens, stem, stems, tokens


@dataclass(frozen=True, slots=True)
class Deed:
    """Verb stems, and the stems of what they are done to; no things: to anything."""

    verbs: frozenset[str]
    things: frozenset[str]


@dataclass(frozen=True, slots=True)
class Concept:
    """How one capability is spoken of. Phrases are tuples of stems."""

    name: str
    called: tuple[tuple[str, ...], ...]
    deeds: tuple[Deed, ...]
    asks: tuple[tuple[str, ...], ...]


@lru_cache(maxsize=1)
def concepts() -> Mapping[str, Concept]:
    """Every capability of the vocabulary by its name."""
    return {name: _concept(name, words) for name, words in _table().items()}


KEPT_CHARS = 4_096
"""What a longer text speaks of is worked out anew: thousands of them would fill the memory."""


@lru_cache(maxsize=1)
def deed_verbs() -> frozenset[str]:
    """Every verb, as written in the data, that asks for work to be done."""
    return frozenset(verb for words in _table().values() for deed in words["do"] for verb in deed[0].split())


def concepts_in(text: str) -> frozenset[str]:
    """The capabilities that a text speaks of, by any of the phrases they are called, small words aside."""
    return _concepts_in(text) if len(text) <= KEPT_CHARS else _concepts_in.__wrapped__(text)


@lru_cache(maxsize=4096)
def _concepts_in(text: str) -> frozenset[str]:
    return frozenset(_spoken(_telling(text), _called()))


def asked_in(text: str) -> frozenset[str]:
    """The capabilities that a text asks to be used, by any of their questions (`will it rain`)."""
    return frozenset(_spoken(stems(text), _asks()))


_Index = Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]
"""Phrases and what they stand for, by their first stem: a text is searched for all of them in one pass."""


def _spoken(words: list[str], index: _Index) -> Iterator[str]:
    """What phrases stand for, unless a longer phrase covers them: `agent memory` speaks of no agents."""
    found = [
        (at, at + len(phrase), name)
        for at, word in enumerate(words)
        for phrase, name in index.get(word, ())
        if tuple(words[at : at + len(phrase)]) == phrase
    ]
    reach: dict[int, int] = {}
    for start, end, _ in found:
        reach[start] = max(end, reach.get(start, 0))
    longest = max((end - start for start, end in reach.items()), default=0)
    for start, end, name in found:
        before = range(start - longest + 1, start)  # where a longer phrase over this one can begin
        if reach[start] == end and all(reach.get(at, 0) < end for at in before):
            yield name


@lru_cache(maxsize=1)
def _called() -> _Index:
    return _indexed((phrase, concept.name) for concept in concepts().values() for phrase in concept.called)


@lru_cache(maxsize=1)
def _asks() -> _Index:
    return _indexed((phrase, concept.name) for concept in concepts().values() for phrase in concept.asks)


def _indexed(phrases: Iterable[tuple[tuple[str, ...], str]]) -> _Index:
    found: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {}
    for phrase, name in phrases:
        if phrase:
            found[phrase[0]] = (*found.get(phrase[0], ()), (phrase, name))
    return found


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    return json.loads(files(__package__ or "orchestra.planning").joinpath("capabilities.json").read_text("utf-8"))


def _telling(text: str) -> list[str]:
    return [stem(word) for word in tokens(text) if word.lower() not in STOPWORDS]


def _concept(name: str, words: Mapping[str, Any]) -> Concept:
    own = tuple(stem(word) for word in name_tokens(name))
    called = dict.fromkeys([own, *(tuple(_telling(phrase)) for phrase in words["called"])])
    deeds = tuple(Deed(frozenset(stems(verbs)), frozenset(stems(things))) for verbs, things in words["do"])
    return Concept(name, tuple(called), deeds, tuple(tuple(stems(phrase)) for phrase in words.get("asks", ())))
