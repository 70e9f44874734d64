"""An objective, read: its clauses, what it names, what it quotes, which alternatives it allows and what it asks for.

Reading is shallow on purpose (punctuation, question words, verbs at the start of a clause): it is pure, takes well
under a millisecond, and where it understands nothing the whole text is still a search query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from orchestra.planning.entities import OPENERS, Entity, find_entities
from orchestra.planning.vocabulary import deed_verbs
from orchestra.planning.words import STOPWORDS, content_words, lexicon, stem, tokens

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
    r"\"([^\"]{1,2000})\"|“([^”]{1,2000})”|‘([^’]{1,2000})’|(?<![\w])'([^']{1,2000})'(?!\w)|`([^`]{1,2000})`"
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_JOINT = re.compile(r",?\s+(?:and|then|and then|but)\s+(?=(\w+))|,\s+(?=(\w+)\s)", re.IGNORECASE)
_ARTICLES = frozenset({"a", "an", "the", "some", "two", "three"})
"""What follows `we need` when it is a thing that is needed."""
_MANY = frozenset({"which", "list", "all", "every", "compare", "each", "several", "find", "identify", "name", "many"})
_MODALS = frozenset({"can", "could", "to", "that", "will", "do", "does", "who"})
_BREAKS = lexicon("breaks")
_WITH = re.compile(
    r"\b(?:through|via|with|that (?:has|have|offers?|provides?)|offering|having|by)\s+(?:an?\s+|the\s+|its\s+)?"
    r"((?:[\w-]+\s*){1,3})",
    re.IGNORECASE,
)
PRODUCT = re.compile(r"[a-z]+\d|\d+[a-z]|\d{3,}", re.IGNORECASE)
"""What a product's or a size's name looks like in one word: `A100`, `80GB`, `4090`."""
_YEAR_OR_SN = re.compile(r"(?:19|20)\d\d|sn\d+", re.IGNORECASE)
_SIGNS: dict[str, tuple[str, ...]] = {
    "<": ("under", "below", "less than", "cheaper than", "before"),
    "<=": ("at most", "up to", "no more than", "a maximum of"),
    ">": ("over", "above", "more than", "greater than", "after"),
    ">=": ("at least", "no less than", "a minimum of"),
}
_BOUND = re.compile(
    r"(?P<before>(?:[\w-]+\s+){0,4})(?P<phrase>"
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
_ASKING = lexicon("asking")
_READING_TALK = lexicon("reading_talk")
_SERIES = re.compile(r"\bseries\s+(?:named\s+|called\s+)?([\w./:-]*\w)", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(?<![\w.])[A-Za-z0-9]+(?:[_/:.-][A-Za-z0-9]+)+(?![\w])")
_READING = re.compile(
    r"\b(?:latest|current|last|newest|most recent)\s+(?:reading|value)\s+(?:of|for)\s+(?:the\s+)?([^?.,;]+)",
    re.IGNORECASE,
)

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
    """`alternatives` are the readings of an `or`, as word lists; `context` are names that only say where to look."""

    text: str
    clauses: tuple[Clause, ...]
    entities: tuple[Entity, ...]
    context: tuple[str, ...]
    quoted: tuple[str, ...]
    urls: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...]

    @property
    def stems(self) -> frozenset[str]:
        return frozenset(stem(word) for word in tokens(self.text))

    @property
    def seeks_many(self) -> bool:
        """True when it asks for all things of a kind rather than about things it names."""
        words = {word.lower() for word in tokens(self.text)}
        return not self.entities and bool(words & _MANY)


def read(text: str, nouns: Iterable[str] = ()) -> Objective:
    """Read an objective. `nouns` are the keys of the target_schema, which say what kind of thing is asked for."""
    return _read(text, tuple(nouns))


@lru_cache(maxsize=256)
def _read(text: str, nouns: tuple[str, ...]) -> Objective:
    urls = tuple(dict.fromkeys(match[0].rstrip(".,;:!?)") for match in _URL.finditer(text)))
    quoted = tuple(next(group for group in match.groups() if group) for match in _QUOTED.finditer(text))
    plain = _URL.sub(" ", text)
    said = _QUOTED.sub(lambda match: " " if len(match[0]) > 60 else match[0], plain)
    entities, context = find_entities(said, nouns)
    clauses = tuple(_clauses(said))
    return Objective(text, clauses, entities, context, quoted, urls, _alternatives(clauses, entities))


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
    for match in _JOINT.finditer(sentence):
        following = match[1] or match[2] or ""
        if following in QUESTION_WORDS or following in LOOKUP_VERBS | COMPUTED_VERBS | deed_verbs():
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
        for word in content_words(clause.text):
            if stem(word) not in named and word.lower() not in asking:
                words.setdefault(stem(word), word)
    return tuple(words.values())


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


def constraints(objective: Objective) -> tuple[str, ...]:
    """Keys for what a thing must come with: `through a public API` gives public_api."""
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
    measured = [word for word in topic(objective) if word.lower() not in _READING_TALK]
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
    asking = QUESTION_WORDS | LOOKUP_VERBS
    return tuple(word for word in content_words(" ".join(words)) if word.lower() not in asking)
