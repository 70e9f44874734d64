"""Find operations and entries of one committed version of the Ledger by plain words.

Two rankings are added up. One knows what people call each capability and scores the 66 of them; an entry gets the score
of its best, in full where an operation serves it and less where the entry only claims it. The other is BM25 over what
the entries themselves say, which tells apart those that serve the same capability. A word that nobody uses is read as
the nearest one that somebody does. Limits (cost, time, kind of input) take out what is known to break them and put back
what is silent about them. Everything is computed when the index is built: a search adds up ready numbers.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from weakref import WeakKeyDictionary

from rapidfuzz import fuzz, process

from ledger.catalogue import vocabulary
from ledger.entry import Operation, SubnetEntry
from ledger.search_limits import verdict
from ledger.search_query import Limits, Query, phrases, stems, stop_words, word_groups
from ledger.view import LedgerView, OperationRef

K1, B = 1.2, 0.6
SAME_MEANING, MISSPELT = 0.45, 0.8
NEAREST_SPELLING = 84
SHORTEST_MISSPELT = 5
CAPABILITY_SHARE = 1.3
NAMED = 100.0
CLAIMED_ONLY, NOT_PROMISED = 0.7, 0.9
DEPRECATED, SILENT, NOT_CALLABLE = 0.3, 0.6, 0.3
WORTH_SHOWING = 0.2
"""Of the best score: what is far below it shares a word with the question and nothing else."""
MAX_OPERATIONS = 5

_FIELDS = {"name": 3.0, "aliases": 2.0, "description": 2.0, "capabilities": 1.0, "operations": 0.5}
_ROLES = {"task": 0, "job": 1, "variant": 2, "step": 3, "support": 4}


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry, the operations of it that answer the question (best first), and why, in words for a person."""

    entry: SubnetEntry
    operations: tuple[OperationRef, ...]
    score: float
    why: tuple[str, ...]


def search(view: LedgerView, text: str, *, limit: int = 10, tao_usd: Decimal | None = None) -> list[Hit]:
    """At most `limit` entries for a question in plain words, best first.

    Limits in the question ("costs under 0.001 TAO", "answers within a second", "takes a URL", "without a key") are
    kept. `tao_usd`: dollars for one TAO; without it a price in the other currency counts as unknown.
    """
    index = _INDEXES.get(view)
    if index is None:
        index = _INDEXES[view] = SearchIndex(view)
    return index.find(Query.parse(text), limit=limit, tao_usd=tao_usd)


class HasEntries(Protocol):
    """One version of the Ledger, as far as searching it goes."""

    @property
    def entries(self) -> Mapping[str, SubnetEntry]: ...


class SearchIndex:
    """The index of one version. Immutable once built; `search` keeps one for each view that is alive."""

    def __init__(self, view: HasEntries) -> None:
        self._entries = tuple(view.entries.values())
        self._texts = Bm25([_document(entry) for entry in self._entries])
        self._names = tuple(vocabulary())
        self._spoken = Bm25([_spoken(name) for name in self._names])
        self._phrases = _by_first_word()
        self._known = sorted({*self._texts.words, *self._spoken.words, *word_groups()})
        self._known_set = frozenset(self._known)
        self._by_netuid = {entry.netuid: number for number, entry in enumerate(self._entries)}
        self._by_name = _by_name(self._entries)
        self._deprecated = [number for number, entry in enumerate(self._entries) if entry.status == "deprecated"]
        self._claims: dict[str, list[tuple[int, float]]] = {}
        for number, entry in enumerate(self._entries):
            for name in entry.capabilities:
                self._claims.setdefault(name, []).append((number, _served(entry, name)))

    def capabilities(self, text: str) -> dict[str, float]:
        """The capabilities that a text speaks of, best first, with their scores."""
        words = Query.parse(text).words
        scores = self._capabilities(words, self._weights(words))
        return dict(sorted(scores.items(), key=lambda one: (-one[1], one[0])))

    def find(self, query: Query, *, limit: int = 10, tao_usd: Decimal | None = None) -> list[Hit]:
        """As `search`, for a question that is already parsed."""
        words = self._weights(query.words)
        capabilities = self._capabilities(query.words, words)
        scores = self._texts.scores(words)
        for number, best in self._spoken_of(capabilities).items():
            scores[number] = scores.get(number, 0.0) + CAPABILITY_SHARE * best
        for number in self._deprecated:
            if number in scores:
                scores[number] *= DEPRECATED
        for number in self._named(query):
            scores[number] = NAMED + scores.get(number, 0.0)
        least = WORTH_SHOWING * max(scores.values(), default=0.0)
        ranked = [(-score, self._entries[number].id, number) for number, score in scores.items() if score >= least]
        if not query.limits.any:
            ranked = heapq.nsmallest(limit, ranked)
        hits = (self._hit(number, -score, capabilities, query.limits, tao_usd) for score, _, number in ranked)
        return heapq.nsmallest(limit, (hit for hit in hits if hit), key=lambda hit: (-hit.score, hit.entry.id))

    def _spoken_of(self, capabilities: Mapping[str, float]) -> dict[int, float]:
        """For every entry that claims one of the capabilities: the score of its best."""
        found: dict[int, float] = {}
        for name, score in capabilities.items():
            for number, served in self._claims.get(name, ()):
                found[number] = max(found.get(number, 0.0), score * served)
        return found

    def _weights(self, words: Iterable[str]) -> dict[str, float]:
        """Words to look for: as they stand, what means the same, and for unknown ones the nearest spelling."""
        weights: dict[str, float] = {}
        for given in words:
            word, weight = given, 1.0
            if given not in self._known_set:
                nearest = self._nearest(given)
                if nearest is None:
                    continue
                word, weight = nearest, MISSPELT
            weights[word] = max(weights.get(word, 0.0), weight)
            for other in word_groups().get(word, ()):
                weights[other] = max(weights.get(other, 0.0), weight * SAME_MEANING)
        return weights

    def _nearest(self, word: str) -> str | None:
        if len(word) < SHORTEST_MISSPELT:
            return None
        found = process.extractOne(word, self._known, scorer=fuzz.ratio, score_cutoff=NEAREST_SPELLING)
        return found[0] if found else None

    def _capabilities(self, words: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
        """How much the question speaks of each capability: its words, and whole phrases in it."""
        scores = {self._names[number]: score for number, score in self._spoken.scores(weights).items()}
        for start, word in enumerate(words):
            for name, phrase in self._phrases.get(word, ()):
                if tuple(words[start : start + len(phrase)]) == phrase:
                    scores[name] = scores.get(name, 0.0) + sum(map(self._spoken.rarity, phrase)) / 2
        return scores

    def _named(self, query: Query) -> set[int]:
        """Entries that the question names outright: by netuid, or by nothing but their name."""
        found = self._by_name.get(" ".join(query.words), frozenset())
        by_netuid = self._by_netuid.get(query.netuid) if query.netuid is not None else None
        return set(found) | ({by_netuid} if by_netuid is not None else set())

    def _hit(
        self, number: int, score: float, capabilities: Mapping[str, float], limits: Limits, tao_usd: Decimal | None
    ) -> Hit | None:
        entry = self._entries[number]
        best = _best(entry, capabilities)
        able = sorted(
            (each for each in entry.operations if best is None or each.capability == best),
            key=lambda each: (_ROLES[each.role], each.name),
        )
        why = [f"{best}: {vocabulary().get(best, '')}"] if best else [f"named {entry.name}"]
        if not limits.any:
            return Hit(entry, _refs(entry, able), score, (*why, *_doubts(entry)))
        verdicts = [(each, verdict(each, limits, tao_usd)) for each in able if _ROLES[each.role] < _ROLES["step"]]
        kept = [(each, said) for each, said in verdicts if said.kept is not False]
        if verdicts and not kept:
            return None
        if not kept:
            return Hit(entry, (), score * NOT_CALLABLE, (*why, "cannot be called, so nothing is known of the limits"))
        kept.sort(key=lambda each: each[1].kept is None)
        sure = kept[0][1].kept is True
        refs = _refs(entry, [each for each, _ in kept])
        return Hit(entry, refs, score if sure else score * SILENT, (*why, *kept[0][1].why, *_doubts(entry)))


_INDEXES: WeakKeyDictionary[LedgerView, SearchIndex] = WeakKeyDictionary()


class Bm25:
    """BM25 (Robertson and Zaragoza 2009, equation 3.15) over documents of weighted words, all impacts precomputed."""

    def __init__(self, documents: Sequence[Mapping[str, float]]) -> None:
        lengths = [sum(document.values()) for document in documents]
        mean = sum(lengths) / len(lengths) if lengths else 1.0
        holders: dict[str, int] = {}
        for document in documents:
            for word in document:
                holders[word] = holders.get(word, 0) + 1
        self._count = len(documents)
        self._rarity = {word: _rarity(self._count, held) for word, held in holders.items()}
        self._impacts: dict[str, list[tuple[int, float]]] = {}
        for number, document in enumerate(documents):
            scale = K1 * (1 - B + B * lengths[number] / (mean or 1.0))
            for word, weight in document.items():
                impact = self._rarity[word] * weight * (K1 + 1) / (weight + scale)
                self._impacts.setdefault(word, []).append((number, impact))

    @property
    def words(self) -> Iterable[str]:
        return self._rarity

    def rarity(self, word: str) -> float:
        """Inverse document frequency; that of a word in one document for a word in none."""
        return self._rarity.get(word, _rarity(self._count, 1))

    def scores(self, weights: Mapping[str, float]) -> dict[int, float]:
        """Score by document, for words with their weights. Documents with none of the words are left out."""
        scores: dict[int, float] = {}
        for word, weight in weights.items():
            for number, impact in self._impacts.get(word, ()):
                scores[number] = scores.get(number, 0.0) + weight * impact
        return scores


def _rarity(count: int, held: int) -> float:
    return math.log(1 + (count - held + 0.5) / (held + 0.5))


def _best(entry: SubnetEntry, capabilities: Mapping[str, float]) -> str | None:
    """The capability of an entry that the question speaks of most."""
    spoken = [name for name in entry.capabilities if capabilities.get(name)]
    return max(spoken, key=lambda name: capabilities[name] * _served(entry, name), default=None)


def _served(entry: SubnetEntry, capability: str) -> float:
    roles = {each.role for each in entry.operations if each.capability == capability}
    return 1.0 if roles & {"task", "job"} else NOT_PROMISED if "variant" in roles else CLAIMED_ONLY


def _document(entry: SubnetEntry) -> dict[str, float]:
    fields = {
        "name": f"{entry.name} {entry.id}",
        "aliases": " ".join(entry.aliases),
        "description": entry.description,
        "capabilities": " ".join(f"{name} {vocabulary().get(name, '')}" for name in entry.capabilities),
        "operations": " ".join(f"{each.name} {each.notes}" for each in entry.operations if each.role != "support"),
    }
    return _weighted((text, _FIELDS[name]) for name, text in fields.items())


def _spoken(capability: str) -> dict[str, float]:
    words = [" ".join(phrase) for phrase in phrases().get(capability, ())]
    return _weighted([(capability, 3.0), (vocabulary()[capability], 1.5), (" ".join(words), 1.0)])


def _weighted(fields: Iterable[tuple[str, float]]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text, weight in fields:
        for word in stems(text):
            if word not in stop_words():
                weights[word] = weights.get(word, 0.0) + weight
    return weights


def _by_first_word() -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for name, spoken in phrases().items():
        for phrase in dict.fromkeys(spoken):
            if len(phrase) > 1:
                found.setdefault(phrase[0], []).append((name, phrase))
    return found


def _by_name(entries: Sequence[SubnetEntry]) -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for number, entry in enumerate(entries):
        for name in {entry.id, entry.name, *entry.aliases}:
            key = " ".join(word for word in stems(name) if word not in stop_words())
            if key:
                found[key] = found.get(key, frozenset()) | {number}
    return found


def _refs(entry: SubnetEntry, operations: Sequence[Operation]) -> tuple[OperationRef, ...]:
    return tuple(OperationRef(entry, each) for each in operations[:MAX_OPERATIONS])


def _doubts(entry: SubnetEntry) -> tuple[str, ...]:
    if entry.status == "deprecated":
        return ("deprecated",)
    return () if entry.operations else ("no operation of it is known",)
