"""A second opinion on what fits a query: TF-IDF vectors with pivoted length, and the best passage as the snippet.

Deliberately another method than `bm25`: two providers of one capability should be able to disagree. Lengths are drawn
towards the collection's mean (Singhal, Buckley, Mitra 1996), because a short page that repeats one name would otherwise
come before the page that answers the question.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from orchestra.devnet.subnets.bm25 import STOP_WORDS, Hit
from orchestra.devnet.subnets.documents import Document

_WORD = re.compile(r"[a-z0-9]+")
_PASSAGE_WORDS = 45
_TITLE_WEIGHT = 3
_SLOPE = 0.7
_SUFFIXES = ("ations", "ation", "ings", "ing", "ions", "ion", "ers", "ies", "ed", "es", "s", "e")


def stem(word: str) -> str:
    """A word without its commonest endings, at least four letters long."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            return word[: -len(suffix)]
    return word


def terms(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order."""
    return [stem(word) for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


class VectorIndex:
    """Sublinear term frequency, inverse document frequency, pivoted length."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents
        counts = [Counter(terms(f"{d.title} " * _TITLE_WEIGHT + d.text)) for d in documents]
        spread = Counter(term for count in counts for term in count)
        self._idf = {term: math.log((1 + len(documents)) / (1 + n)) + 1 for term, n in spread.items()}
        vectors = [self._weighted(count) for count in counts]
        lengths = [_length(vector) for vector in vectors]
        pivot = math.fsum(lengths) / max(1, len(lengths))
        self._postings: dict[str, list[tuple[int, float]]] = {}
        for number, (vector, length) in enumerate(zip(vectors, lengths, strict=True)):
            for term, weight in vector.items():
                pivoted = _SLOPE * pivot + (1 - _SLOPE) * length
                self._postings.setdefault(term, []).append((number, weight / pivoted))

    def search(self, query: str, limit: int) -> list[Hit]:
        """The best documents first; equal ones in the order of the collection."""
        wanted = self._weighted(Counter(terms(query)))
        scores: dict[int, float] = {}
        for term, weight in wanted.items():
            for number, other in self._postings.get(term, ()):
                scores[number] = scores.get(number, 0.0) + weight * other
        best = sorted(scores, key=lambda number: (-round(scores[number], 12), number))[:limit]
        return [self._hit(self._documents[number], frozenset(wanted)) for number in best]

    def _weighted(self, count: Counter[str]) -> dict[str, float]:
        return {term: (1 + math.log(n)) * self._idf[term] for term, n in sorted(count.items()) if term in self._idf}

    def _hit(self, document: Document, wanted: frozenset[str]) -> Hit:
        words = document.text.split()
        starts = range(0, max(1, len(words) - _PASSAGE_WORDS // 2), _PASSAGE_WORDS // 3)
        passages = [" ".join(words[start : start + _PASSAGE_WORDS]) for start in starts]
        found = [math.fsum(self._idf[term] for term in sorted(wanted & set(terms(text)))) for text in passages]
        return Hit(document.url, document.title, passages[found.index(max(found))])


def _length(vector: dict[str, float]) -> float:
    return math.sqrt(math.fsum(weight * weight for weight in vector.values()))
