"""An objective, read: its clauses, what it names, what it quotes, which alternatives it allows and what it asks for.

Reading is shallow on purpose (punctuation, question words, verbs at the start of a clause): it is pure, takes well
under a millisecond, and where it understands nothing the whole text is still a search query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from orchestra.planning.entities import OPENERS, Entity, find_entities
from orchestra.planning.vocabulary import deed_verbs
from orchestra.planning.words import STOPWORDS, content_words, lexicon, stem, tokens

MAX_READ = 2_000
"""Characters of an objective that are read, quoted texts aside."""
LONG_QUOTE = 60
"""A longer quotation is material, not a name."""
QUESTION_WORDS = frozenset({"which", "what", "who", "whom", "whose", "where", "when", "how", "why"})
LOOKUP_VERBS = lexicon("lookup_verbs")
"""Verbs that ask for information rather than for a deed."""

COMPUTED_VERBS = lexicon("computed_verbs")
_POLITE = re.compile(
    r"^(?:please|kindly|hi|hello|can you|could you|would you|will you|i need you to|i want you to|i would like you to|"
    r"i'd like you to|i need to|i want to|i would like to|we need to|we want to|we would like to|help me to|"
    r"help me|help us|"
    r"let us|let's|also|then|and|finally|first|i need|we need|i want|i would like|i'd like|now)\b[ ,]*",
    re.IGNORECASE,
)
_URL = re.compile(r"https?://[^\s<>\"'“”‘’`]+")
_QUOTED = re.compile(
    r"\"([^\"]{1,8000})\"|“([^”]{1,8000})”|‘([^’]{1,8000})’|(?<![\w])'([^']{1,8000})'(?!\w)|`([^`]{1,8000})`"
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_JOINT = re.compile(r",?\s+(?:and|then|and then|but)\s+(?=(\w+))|,\s+(?=(\w+)\s)", re.IGNORECASE)
_ARTICLES = frozenset({"a", "an", "the", "some", "two", "three"})
"""What follows `we need` when it is a thing that is needed."""
_MANY = frozenset({"which", "list", "all", "every", "compare", "each", "several", "find", "identify", "name", "many"})
_MODALS = frozenset({"can", "could", "to", "that", "will", "do", "does", "who"})
_BREAKS = lexicon("breaks")
_ASKING = lexicon("asking")

_BACKWARDS = frozenset({"their", "its", "they", "them", "it", "one", "each", "theirs"})


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing asked. `verb` is the first word that carries it, lower case (`which`, `compare`, `transcribe`)."""

    text: str
    verb: str

    @property
    def is_question(self) -> bool:
        return self.verb in QUESTION_WORDS or self.text.rstrip().endswith("?")


@dataclass(frozen=True, slots=True)
class Objective:
    """`text` is what was read, without long quotations. `alternatives` are the readings of an `or`, as word lists;
    `context` are names that only say where to look.
    """

    text: str
    clauses: tuple[Clause, ...]
    entities: tuple[Entity, ...]
    context: tuple[str, ...]
    quoted: tuple[str, ...]
    urls: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...]

    @property
    def stems(self) -> frozenset[str]:
        """The stems of all words that were read."""
        return _stems_of(self.text)

    @property
    def seeks_many(self) -> bool:
        """True when it asks for all things of a kind rather than about things it names."""
        words = {word.lower() for word in tokens(self.text)}
        return not self.entities and bool(words & _MANY)


@lru_cache(maxsize=64)
def _stems_of(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in tokens(text))


def read(text: str, nouns: Iterable[str] = ()) -> Objective:
    """Read an objective. `nouns` are the keys of the target_schema, which say what kind of thing is asked for."""
    return _read(text, tuple(nouns))


@lru_cache(maxsize=256)
def _read(text: str, nouns: tuple[str, ...]) -> Objective:
    quoted = tuple(next(group for group in match.groups() if group) for match in _QUOTED.finditer(text))
    said = _readable(_QUOTED.sub(lambda match: " " if len(match[0]) > LONG_QUOTE else match[0], text))
    urls = tuple(dict.fromkeys(match[0].rstrip(".,;:!?)") for match in _URL.finditer(said)))
    plain = _URL.sub(" ", said)
    entities, context = find_entities(plain, nouns)
    clauses = tuple(_clauses(plain))
    return Objective(said, clauses, entities, context, quoted, urls, _alternatives(clauses, entities))


def _readable(text: str) -> str:
    """A text of bounded length: of a long one its beginning and its end, where the asking is done."""
    if len(text) <= MAX_READ:
        return text
    return f"{text[: 3 * MAX_READ // 4]}\n{text[-MAX_READ // 4 :]}"


def _clauses(text: str) -> Iterable[Clause]:
    for sentence in _SENTENCE.split(text.strip()):
        for part in _split(sentence):
            said = _without_politeness(part)
            words = tokens(said)
            if words and said != part and words[0].lower() in _ARTICLES:
                said, words = f"get {said}", ["get", *words]
            if words:
                yield Clause(said, words[0].lower())


def _split(sentence: str) -> list[str]:
    """A sentence parted where `and` or a comma is followed by a question word or a verb that opens a demand."""
    parts: list[str] = []
    start = 0
    opening = QUESTION_WORDS | LOOKUP_VERBS | COMPUTED_VERBS | deed_verbs()
    for match in _JOINT.finditer(sentence):
        if (match[1] or match[2] or "") in opening:
            parts.append(sentence[start : match.start()])
            start = match.end()
    return [part for part in (*parts, sentence[start:]) if part.strip()]


def _without_politeness(text: str) -> str:
    before = None
    while before != text:
        before, text = text, _POLITE.sub("", text.strip())
    return text


def topic(
    objective: Objective, clauses: Iterable[Clause] | None = None, *, asking_for_posts: bool = False
) -> tuple[str, ...]:
    """The words that say what is asked, without the names of the things asked about and without the asking itself."""
    asking = _ASKING | QUESTION_WORDS
    if asking_for_posts:
        asking |= lexicon("post_words") | lexicon("post_talk")
    named = {stem(word) for entity in objective.entities for word in (*tokens(entity.name), f"sn{entity.number}")}
    words: dict[str, str] = {}
    for clause in objective.clauses if clauses is None else clauses:
        opening = clause.verb if clause.verb in OPENERS else ""
        for word in content_words(clause.text):
            if stem(word) not in named and word.lower() not in asking and word.lower() != opening:
                words.setdefault(stem(word), word)
    return tuple(words.values())


@lru_cache(maxsize=64)
def selecting(objective: Objective) -> tuple[Clause, ...]:
    """The clauses that say what is meant, without those that only ask more about it (`what are their base URLs`) or
    compute with it.
    """
    telling = tuple(
        clause
        for clause in objective.clauses
        if clause.verb not in COMPUTED_VERBS and not {word.lower() for word in tokens(clause.text)} & _BACKWARDS
    )
    return telling or objective.clauses


def _alternatives(clauses: Iterable[Clause], entities: tuple[Entity, ...]) -> tuple[tuple[str, ...], ...]:
    """`detect X or Y through Z` reads as (detect X through Z) and (detect Y through Z); without an `or`, as nothing."""
    named = {word for entity in entities for word in tokens(entity.name)}
    for clause in clauses:
        words = re.findall(r"[\w.'’-]+", clause.text)
        if "or" in words and 0 < words.index("or") < len(words) - 1:
            at = words.index("or")
            if words[at - 1] in named or words[at + 1] in named:
                continue
            return tuple(_content(option) for option in _readings(words, at))
    return ()


def _readings(words: list[str], at: int) -> tuple[list[str], list[str]]:
    start = at
    while start > 0 and words[start - 1].lower() not in _BREAKS | _MODALS | STOPWORDS:
        start -= 1
    end = at + 1
    while end < len(words) and words[end].lower() not in _BREAKS | STOPWORDS:
        end += 1
    prefix, left, right, suffix = words[:start], words[start:at], words[at + 1 : end], words[end:]
    verb = start > 0 and words[start - 1].lower() in _MODALS and len(left) > 1
    shared = left[:1] if verb and not (right and right[0].lower() in deed_verbs()) else []
    return [*prefix, *left, *suffix], [*prefix, *shared, *right, *suffix]


def _content(words: list[str]) -> tuple[str, ...]:
    opening = words[:1] if words[0].lower() in LOOKUP_VERBS else []
    return tuple(word for word in content_words(" ".join(words[len(opening) :])) if word.lower() not in QUESTION_WORDS)
