"""Which found records are the same thing, and which of them the objective asked for.

The same subnet from a directory, its own page and a list is one thing. Things asked for by name are matched by name
(word for word, generic words such as `Labs` aside, or nearly), by number where they were named by one, and by the
page's title and address; their own page counts most, a newer page before an older. Things asked for by what they do
must show in their own words that they do it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from rapidfuzz import fuzz

from ledger.catalogue import vocabulary
from orchestra.planning.asks import conditions, constraints, product_words
from orchestra.planning.computed import is_result_word
from orchestra.planning.demands import Demand, identity
from orchestra.planning.entities import Entity
from orchestra.planning.objective import Objective, selecting, topic
from orchestra.planning.vocabulary import concepts, concepts_in
from orchestra.planning.words import contains_phrase, lexicon, name_tokens, stem, stems, tokens
from orchestra.synthesis.evidence import Item
from orchestra.synthesis.lookup import MAX_STATED, stated_words
from orchestra.synthesis.numbers import first_number
from orchestra.synthesis.support import normalised, yes_or_no

_GENERIC = lexicon("generic_names")
_UNASKED = frozenset(map(stem, lexicon("unasked")))
_KINDS = frozenset(map(stem, lexicon("kinds")))
_BRACKETS = re.compile(r"\([^()]*\)")
_LISTING = re.compile(r"[;,|\n]")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
ID_KEYS = ("netuid", "id", "number", "subnet_id", "subnet_number", "uid")
_NEARLY = 92
_ALONE, _BESIDES, _UNNAMED = 0.6, 0.34, 0.75
"""Shares of the asked words that must be shown: without a concept, beside one, and where the concept is not named."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing with every item about it, the most trusted first; `hits` are searches' words on pages of its name."""

    name: str
    items: tuple[Item, ...]
    entity: Entity | None = None
    hits: tuple[str, ...] = ()


def name_of(item: Item, demand: Demand | None = None) -> str:
    """What a record calls itself, or an empty string."""
    own = identity(demand.record) if demand else None
    for key in dict.fromkeys((own, "name", "title", "provider")):
        if key and isinstance(found := item.record.get(key), str):
            return found
    return ""


def number_of(item: Item) -> int | None:
    """The number by which a record is identified, if it has one."""
    for key in ID_KEYS:
        if (number := first_number(item.record.get(key))) is not None and number == number.to_integral_value():
            return int(number)
    return None


# asked for by name ---------------------------------------------------------------------------------------------------


def named_things(objective: Objective, items: Sequence[Item], demand: Demand) -> tuple[Thing, ...]:
    """The things an objective names, in its order, with what was found about each."""
    entities = [demand.entity] if demand.entity else list(objective.entities)
    products = product_words(objective)
    return tuple(_thing(entity, items, demand, products) for entity in entities)


def _thing(entity: Entity, items: Sequence[Item], demand: Demand, products: frozenset[str]) -> Thing:
    ranked = [(trust, item) for item in items if (trust := _trust(entity, item, demand, products)) > 0]
    ranked.sort(key=lambda pair: (-pair[0], -_year(pair[1]), pair[1].order))
    return Thing(entity.name, tuple(item for _, item in ranked), entity)


def _trust(entity: Entity, item: Item, demand: Demand, products: frozenset[str]) -> int:
    """How much an item is about an entity: 0 not at all, 1 by name in a list, 2 by its page's title, 3 its own site.

    On its own page a row that names the product asked for is about the entity as well.
    """
    if item.channel == "posts":
        return int(_mentions(stated_words(item), entity))
    if entity.number is not None:
        return _numbered_trust(entity, item)
    name = name_of(item, demand)
    if name and not same_name(name, entity.name):
        own = _mentions(item.title, entity) and _in_address(entity.name, item.url)
        return int(own and bool(products & set(name_tokens(stated_words(item)))))
    titled = _mentions(item.title, entity) and item.alone
    hosted = _in_address(entity.name, item.url) and item.alone
    if not name and not titled and not hosted:
        return 0
    return 1 + titled + 2 * hosted


def _numbered_trust(entity: Entity, item: Item) -> int:
    number = number_of(item)
    if number is not None:
        return 0 if number != entity.number else 2 + item.alone
    return int(
        item.alone and bool(re.search(rf"\b(?:sn|subnet|netuid)[\s#-]*{entity.number}\b", item.title, re.IGNORECASE))
    )


def _mentions(text: str, entity: Entity) -> bool:
    if entity.number is not None:
        return bool(re.search(rf"\b(?:sn|subnet|netuid)[\s#-]*{entity.number}\b", text, re.IGNORECASE))
    return contains_phrase(stems(text), stems(entity.name))


def _in_address(name: str, url: str) -> bool:
    squeezed = {"".join(_core(name)), "".join(word for token in tokens(name.lower()) for word in token.split("."))} - {
        ""
    }
    parts = urlsplit(url)
    host = "".join(re.findall(r"[a-z0-9]+", parts.netloc.lower()))
    slugs = ["".join(re.findall(r"[a-z]+[a-z0-9]*", segment.lower())) for segment in parts.path.split("/")]
    return any(host.startswith(word) for word in squeezed) or bool(squeezed & set(slugs))


def _year(item: Item) -> int:
    return max((int(year) for year in _YEAR.findall(f"{item.title} {item.url}")), default=9999)


@lru_cache(maxsize=8192)
def same_name(left: str, right: str) -> bool:
    """Whether two names are of one thing: the same words apart from generic ones and numbers in brackets, or nearly."""
    one, other = _core(left), _core(right)
    if not one or not other:
        return left.casefold().strip() == right.casefold().strip()
    if one == other or "".join(one) == "".join(other):
        return True
    return min(len("".join(one)), len("".join(other))) > 4 and fuzz.ratio("".join(one), "".join(other)) >= _NEARLY


@lru_cache(maxsize=8192)
def _core(name: str) -> tuple[str, ...]:
    plain = re.sub(r"[(\[][^)\]]*[)\]]", " ", name)
    words = [word.lower() for token in tokens(plain) for word in token.split(".")]
    kept = tuple(word for word in words if word not in _GENERIC)
    return kept or tuple(words)


# asked for by what they do -------------------------------------------------------------------------------------------


def found_things(
    objective: Objective, items: Sequence[Item], demand: Demand, hits: Sequence[Item] = ()
) -> tuple[Thing, ...]:
    """The things that show what the objective asks for, best first."""
    given = [item for item in items if item.given]
    if given:
        return tuple(_arranged(group, demand) for group in _groups(given, demand) or [given])
    things = [_arranged(group, demand, hits) for group in _groups(items, demand)]
    tests = _tests(objective)
    scored = [(score, thing) for thing in things if (score := _score(thing, tests)) > 0]
    scored.sort(key=lambda pair: (-pair[0], pair[1].items[0].order))
    return tuple(thing for _, thing in scored)


def _groups(items: Sequence[Item], demand: Demand) -> list[list[Item]]:
    """Items about the same thing: equal number, or the same name where numbers do not differ."""
    groups: list[list[Item]] = []
    for item in items:
        name, number = name_of(item, demand), number_of(item)
        if (not name and number is None) or _is_a_kind(name):
            continue
        home = next(
            (group for group in groups if any(_same(item, name, number, other, demand) for other in group)), None
        )
        if home is None:
            groups.append([item])
        else:
            home.append(item)
    return groups


def _is_a_kind(name: str) -> bool:
    """A name such as `Capabilities` or `All subnets` is of an index, not of a thing."""
    return bool(name) and {stem(word) for word in tokens(name)} <= _KINDS


def _same(item: Item, name: str, number: int | None, other: Item, demand: Demand) -> bool:
    theirs = number_of(other)
    if number is not None and theirs is not None:
        return number == theirs
    return bool(name) and same_name(name, name_of(other, demand))


def _arranged(group: list[Item], demand: Demand, hits: Sequence[Item] = ()) -> Thing:
    ordered = sorted(group, key=lambda item: (not item.alone, -_year(item), item.order))
    name = next((name for item in ordered if (name := name_of(item, demand))), "")
    entity = Entity(name)
    titles = ((str(hit.record.get("title", "")), str(hit.record.get("snippet", ""))) for hit in hits)
    told = tuple(dict.fromkeys(f"{title} . {snippet}" for title, snippet in titles if _mentions(title, entity)))
    return Thing(name, tuple(ordered), hits=told)


@dataclass(frozen=True, slots=True)
class _Test:
    """One reading of the objective: a thing passes that shows one of the `concepts` and enough of the `words` beyond
    them, or nearly all of the words `spoken`; `strict`: it is about subnets, whose pages name their capabilities.
    """

    concepts: frozenset[str]
    words: frozenset[str]
    spoken: frozenset[str]
    strict: bool
    constraints: tuple[str, ...]


def _tests(objective: Objective) -> tuple[_Test, ...]:
    readings = objective.alternatives or (topic(objective, selecting(objective)),)
    keys = constraints(objective)
    demanded = {stem(word) for key in keys for word in name_tokens(key)}
    demanded |= {stem(word) for condition in conditions(objective) for word in tokens(condition.said)}
    context = {stem(word) for name in objective.context for word in tokens(name)}
    strict = "subnet" in objective.stems
    return tuple(_test(" ".join(reading), keys, demanded | context, strict=strict) for reading in readings)


def _test(reading: str, keys: tuple[str, ...], aside: set[str], *, strict: bool) -> _Test:
    words = stems(reading)
    named = concepts_in(reading)
    phrases = {
        word
        for name in named
        for phrase in concepts()[name].called
        if contains_phrase(words, phrase)
        for word in phrase
    }
    spoken = frozenset(stem(word) for word in tokens(reading) if not is_result_word(word)) - aside - _UNASKED
    return _Test(named, spoken - phrases, spoken, strict, keys)


def _score(thing: Thing, tests: Iterable[_Test]) -> float:
    return max((_passes(thing, test) for test in tests), default=0.0)


def _passes(thing: Thing, test: _Test) -> float:
    """0 for a thing that does not show what is asked, more the better it does."""
    if any(yes_or_no(str(item.record.get(key, ""))) is False for item in thing.items for key in test.constraints):
        return 0.0
    said = " . ".join([*(stated_words(item) for item in thing.items), *_described(thing)])[:MAX_STATED]
    words, tags = frozenset(stems(said)), _tags_stated(thing) or (_listed_under(thing) if test.strict else frozenset())
    if tags & test.concepts:
        return 1.5 + _share(test.words, words)
    if test.concepts and (tags or not concepts_in(said) & test.concepts):
        described = not tags and not test.strict and _share(test.spoken, words) >= _UNNAMED
        return _share(test.words, words) if described else 0.0
    share = _share(test.words, words)
    return 1.0 + share if share >= (_BESIDES if test.concepts else _ALONE) else 0.0


def _listed_under(thing: Thing) -> frozenset[str]:
    """The capabilities that the titles of the lists speak of in which a thing stands."""
    return concepts_in(" . ".join(item.title for item in thing.items if not item.alone))


def _share(wanted: frozenset[str], said: frozenset[str]) -> float:
    return len(wanted & said) / len(wanted) if wanted else 1.0


def _described(thing: Thing) -> Iterable[str]:
    yield from thing.hits
    for item in thing.items:
        yield item.title
        if item.alone:
            yield item.snippet


def _tags_stated(thing: Thing) -> frozenset[str]:
    """The capabilities that a thing's records list in the vocabulary's own words; explanations in brackets aside."""
    listed = " ; ".join(str(item.record.get("capabilities", "")) for item in thing.items)
    names = (normalised(part) for part in _LISTING.split(_BRACKETS.sub(" ", listed)))
    return frozenset(name for part in names if (name := part.replace(" ", "_")) in vocabulary())
