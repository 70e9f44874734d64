"""Words, stems and phrases: the one way in which planning and synthesis compare language.

A light suffix stemmer and a short stop list are enough for matching a question's words against names, labels and
sentences, cost microseconds, and can be read in a minute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

_TOKEN = re.compile(r"[^\W_]+(?:[.'’][^\W_]+)*")
_WHOLE = frozenset({"marketing"})
"""Words whose stem would be another word."""
_SUFFIXES = (
    "ations",
    "ation",
    "ators",
    "ator",
    "ating",
    "ated",
    "ate",
    "ising",
    "izing",
    "ised",
    "ized",
    "ise",
    "ize",
    "ings",
    "ing",
    "ions",
    "ion",
    "ors",
    "or",
    "ed",
    "er",
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, str]:
    return json.loads(files("orchestra.planning").joinpath("lexicon.json").read_text("utf-8"))


def lexicon(name: str) -> frozenset[str]:
    """One of the word lists in `lexicon.json`."""
    return frozenset(_lexicon()[name].split())


STOPWORDS = lexicon("stopwords")


LONGEST_WORD = 64
"""A longer one is its own stem."""


def stem(word: str) -> str:
    """A crude stem: `prices`, `pricing` and `priced` meet at `pric`."""
    return _stem(word) if len(word) <= LONGEST_WORD else word.casefold()


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    word = word.casefold().removesuffix("'s").removesuffix("’s").replace("'", "").replace("’", "")
    if len(word) <= 3 or word in _WHOLE or any(letter.isdigit() or letter == "." for letter in word):
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("sses") or (word.endswith("es") and word[-3] in "sxzh"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    word = word[:-1] if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiosl" else word
    return word[:-1] if len(word) > 3 and word.endswith(("e", "y")) else word


def tokens(text: str) -> list[str]:
    """Words in order, as written. Hyphens and underscores part words; dots inside a word do not (`node.js`)."""
    return _TOKEN.findall(text.replace("_", " "))


def name_tokens(name: str) -> list[str]:
    """The words of a key such as `base_url`, `baseUrl` or `price-point`, lower case."""
    return [word.lower() for word in tokens(_CAMEL.sub(" ", name))]


def stems(text: str) -> list[str]:
    """The stem of every word, stop words included."""
    return [stem(word) for word in tokens(text)]


def content_stems(text: str) -> list[str]:
    """The stems that carry meaning, in order, each once."""
    return list(dict.fromkeys(stem(word) for word in tokens(text) if word.lower() not in STOPWORDS))


def content_words(text: str) -> list[str]:
    """The words that carry meaning, in order, each once, as written."""
    seen: dict[str, str] = {}
    for word in tokens(text):
        if word.lower() not in STOPWORDS:
            seen.setdefault(stem(word), word)
    return list(seen.values())


def contains_phrase(words: list[str], phrase: Iterable[str]) -> bool:
    """True when the stems of `phrase` occur next to each other in the stems `words`."""
    wanted = list(phrase)
    size = len(wanted)
    return size > 0 and any(words[at : at + size] == wanted for at in range(len(words) - size + 1))
