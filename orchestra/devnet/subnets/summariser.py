"""A summary made of the text's own sentences: no model, no invention, the same answer every time.

Every sentence is scored by what it shares with the instructions and with the whole text (cosine over inverse document
frequency), and by its place; then sentences are taken greedily, each discounted by its likeness to those taken before
(maximal marginal relevance, Carbonell and Goldstein 1998). They are printed in the order of the text.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from orchestra.devnet.subnets.vectors import terms

MAX_SENTENCES = 400
DEFAULT_SENTENCES = 5
_QUERY, _CENTROID, _PLACE, _NOVELTY = 0.6, 0.3, 0.1, 0.45
_BOUNDARY = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"“#])|\n+")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_MARKS = re.compile(r"^(?:#{1,6}|[-*•])\s+")
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_ASKED = re.compile(r"\b(one|two|three|four|five|six|[1-9])(?:\s+\w+)?\s+sentences?\b", re.IGNORECASE)

Vector = Mapping[str, float]


def count_tokens(text: str) -> int:
    """Words and marks: the unit that this service bills."""
    return sum(1 for _ in _TOKEN.finditer(text))


def summarise(instructions: str, text: str, *, max_tokens: int) -> tuple[str, bool]:
    """The best sentences for the instructions within `max_tokens`, and whether the limit cut them short."""
    sentences = _sentences(text) or _sentences(instructions)
    chosen: list[str] = []
    used = 0
    ranked = _rank(instructions, sentences)
    for number in ranked[: _wanted(instructions)]:
        cost = count_tokens(sentences[number])
        if used + cost > max_tokens:
            return _joined(sentences, chosen) or _cut(sentences[ranked[0]], max_tokens), True
        chosen.append(sentences[number])
        used += cost
    return _joined(sentences, chosen), False


def _joined(sentences: Sequence[str], chosen: Sequence[str]) -> str:
    return " ".join(sorted(chosen, key=sentences.index))


def _cut(sentence: str, max_tokens: int) -> str:
    ends = [match.end() for match in _TOKEN.finditer(sentence)][:max_tokens]
    return sentence[: ends[-1]] if ends else ""


def _wanted(instructions: str) -> int:
    asked = _ASKED.search(instructions)
    return (_COUNTS.get(asked[1].lower()) or int(asked[1])) if asked else DEFAULT_SENTENCES


def _sentences(text: str) -> list[str]:
    """Distinct sentences and lines; an object in JSON becomes a line of its labels and values."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        for part in _spoken(line.strip()) or _BOUNDARY.split(line):
            sentence = " ".join(_MARKS.sub("", part.strip()).split())
            if sentence:
                found[sentence if sentence[-1] in ".!?" else sentence + "."] = None
    return list(found)[:MAX_SENTENCES]


def _spoken(line: str) -> list[str]:
    """A line for every object of a line of JSON; nothing for other text."""
    if not line.startswith(("{", "[")):
        return []
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return []
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [_say(item, "; ", ": ") for item in items]


def _say(value: Any, between: str = ", ", after: str = " ") -> str:
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value).items()
        return between.join(f"{key.replace('_', ' ')}{after}{_say(item)}" for key, item in parts)
    if isinstance(value, list):
        return ", ".join(_say(item) for item in cast("list[Any]", value))
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def _rank(instructions: str, sentences: Sequence[str]) -> list[int]:
    """Numbers of all sentences, the best first."""
    counts = [Counter(terms(sentence)) for sentence in sentences]
    spread = Counter(term for count in counts for term in count)
    idf = {term: math.log((1 + len(sentences)) / (0.5 + n)) for term, n in spread.items()}
    vectors = [_unit(count, idf) for count in counts]
    query = _unit(Counter(terms(instructions)), idf)
    centroid = _unit(sum(counts, Counter[str]()), idf)
    worth = [
        _QUERY * _cosine(query, vector) + _CENTROID * _cosine(centroid, vector) + _PLACE / (1 + number / 4)
        if sum(counts[number].values()) > 1
        else 0.0
        for number, vector in enumerate(vectors)
    ]
    return _diversified(worth, vectors)


def _diversified(worth: Sequence[float], vectors: Sequence[Vector]) -> list[int]:
    likeness = [0.0] * len(worth)
    left, ranked = list(range(len(worth))), list[int]()
    while left:
        best = max(left, key=lambda n: (round((1 - _NOVELTY) * worth[n] - _NOVELTY * likeness[n], 12), -n))
        left.remove(best)
        ranked.append(best)
        for number in left:
            likeness[number] = max(likeness[number], _cosine(vectors[best], vectors[number]))
    return ranked


def _unit(count: Counter[str], idf: Vector) -> dict[str, float]:
    raw = {term: n * idf.get(term, 0.0) for term, n in sorted(count.items())}
    length = math.sqrt(math.fsum(weight * weight for weight in raw.values())) or 1.0
    return {term: weight / length for term, weight in raw.items()}


def _cosine(a: Vector, b: Vector) -> float:
    small, large = (a, b) if len(a) <= len(b) else (b, a)
    return math.fsum(weight * large.get(term, 0.0) for term, weight in small.items())
