"""Does a page's label mean the field that was asked for? `auth` is *Authentication*, `base_url` is *API endpoint*.

Both sides become sets of canonical words: lower case, singular, numbers joined to their unit, common synonyms folded.
The synonyms are words of the trade at large; nothing here knows an objective.
"""

from __future__ import annotations

import re
from functools import lru_cache

FITS = 0.55
"""From this score on, a label is taken to mean the field."""

_WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_UNIT = re.compile(r"\b(\d+(?:\.\d+)?)\s+(gib|gb|tib|tb|mb|mhz|ghz|kw|w|px|x)\b")
_STOP = frozenset(
    {"a", "an", "the", "of", "for", "per", "and", "or", "in", "to", "is", "are", "its", "our", "your", "with", "on"}
)

_NEUTRAL = frozenset({"gpu", "cloud", "hour", "hourly", "hr", "current", "instance", "list", "demand"})
"""Words that narrow nothing on the pages they stand on; they count only where nothing else is said."""

_IMPLIED = frozenset({"price", "url", "name", "date", "year", "number", "count", "percent", "percentage", "type", "id"})
"""Words of a field that a label need not repeat, because the value's type says them."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "auth": (
        "authentication",
        "authorization",
        "authorisation",
        "authenticate",
        "authenticated",
        "credential",
        "api key",
    ),
    "baseurl": (
        "base url",
        "api endpoint",
        "endpoint",
        "api base",
        "base address",
        "api root",
        "api url",
        "api address",
    ),
    "ratelimit": ("rate limit", "rate limiting", "throttling", "limit"),
    "price": ("pricing", "cost", "rate", "fee", "tariff", "price list"),
    "strength": ("advantage", "benefit", "pro", "highlight", "strong point", "why choose", "known for"),
    "weakness": ("drawback", "con", "limitation", "caveat", "disadvantage", "watch out"),
    "netuid": ("subnet id", "subnet number", "subnet uid", "sn"),
    "description": ("summary", "overview", "about", "purpose", "what it does", "what it is"),
    "website": ("homepage", "home page", "site", "web site"),
    "repository": ("repo", "source code", "source", "code repository"),
    "capability": ("can do", "feature", "skill"),
    "operation": ("method", "call", "route"),
    "documentation": ("doc", "docs", "reference"),
    "region": ("location", "data centre", "data center", "datacenter"),
    "date": ("updated", "last updated", "as of", "published", "checked"),
    "memory": ("vram", "gpu memory"),
    "publicapi": ("public api", "api available", "callable"),
}
NAME_WORDS = frozenset(
    {
        "name",
        "title",
        "provider",
        "vendor",
        "company",
        "product",
        "platform",
        "service",
        "subnet",
        "project",
        "competitor",
    }
)


def words(text: str) -> tuple[str, ...]:
    """Lower-case words in order, camelCase and snake_case split, `80 GB` joined, plural s dropped, stop words out."""
    spaced = _UNIT.sub(r"\1\2", _CAMEL.sub(" ", text).replace("_", " ").lower())
    return tuple(_singular(word) for word in _WORD.findall(spaced) if word not in _STOP)


def _singular(word: str) -> str:
    if not word.isalpha():
        return word
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")) else word


_PHRASES: dict[tuple[str, ...], str] = {
    phrase: canonical
    for canonical, spellings in _SYNONYMS.items()
    for phrase in ((canonical,), *(words(spelling) for spelling in spellings))
}
_LONGEST = max(len(phrase) for phrase in _PHRASES)


@lru_cache(maxsize=8192)
def canonical_words(text: str) -> tuple[str, ...]:
    """Words with every known phrase, longest first, replaced by its canonical word."""
    found, index, plain = list[str](), 0, words(text)
    while index < len(plain):
        for length in range(min(_LONGEST, len(plain) - index), 0, -1):
            canonical = _PHRASES.get(plain[index : index + length])
            if canonical or length == 1:
                found.append(canonical or plain[index])
                index += length
                break
    return tuple(found)


def meaning(text: str) -> frozenset[str]:
    """The canonical words that count."""
    said = frozenset(canonical_words(text))
    return said - _NEUTRAL or said


def is_known(field: str) -> bool:
    """Does the field ask for something that has synonyms here, so that prose about it can be told?"""
    return any(word in _SYNONYMS for word in meaning(field))


@lru_cache(maxsize=8192)
def match(field: str, label: str) -> float:
    """How well a label fits a field, 0 to 1: 1 for the same words, less where one says more than the other.

    Less by the share that one side does not cover. A label may leave out only words that its value implies: *Storage*
    is a storage price where the value is an amount; a *Price* is no spot price.
    """
    asked, said = meaning(field), meaning(label)
    if not asked or not said:
        return 0.0
    if asked == said:
        return 1.0 if words(field) == words(label) else 0.98
    if asked < said:
        return 0.4 + 0.5 * len(asked) / len(said)
    if said < asked and asked - said <= _IMPLIED:
        return 0.3 + 0.5 * len(said) / len(asked)
    return 0.0


def is_name(field: str) -> bool:
    """Does the field ask for what the page is about?"""
    asked = words(field)
    return bool(asked) and all(word in NAME_WORDS for word in asked)


def without(label: str, field: str) -> str:
    """What a label says beyond the field: `A100 80GB price` without `pricing` is `a100 80gb`."""
    dropped = set(canonical_words(field))
    return " ".join(word for word in canonical_words(label) if word not in dropped)


def slug(label: str) -> str:
    """A key made of a label: `A100 80 GB` is `a100_80gb`."""
    spaced = _UNIT.sub(r"\1\2", label.lower())
    return re.sub(r"[^a-z0-9]+", "_", spaced).strip("_")
