"""The field of a found record that means the field of the target_schema.

Keys are compared like page labels (`labels.match`); posts, hits and readings, whose keys a capability fixes, by a short
table. A price that is asked for as one number may stand in a table of prices by product: then the words of the key and
of the objective say which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from ledger.types import JSON
from orchestra.planning.asks import PRODUCT, product_words
from orchestra.planning.computed import is_price
from orchestra.planning.demands import Demand, bare, identity
from orchestra.planning.objective import Objective
from orchestra.planning.words import lexicon, name_tokens, stem
from orchestra.schema import Enum, Field, ListOf, Record, Scalar, Shape
from orchestra.synthesis.evidence import Item
from orchestra.synthesis.fitting import Piece, Place, fit, joined
from orchestra.synthesis.labels import match

_FITS = 0.55
_PRICE_WORDS = frozenset(map(stem, lexicon("price_words")))
"""Words of a key that add nothing to `price`: a table of prices holds it. `spot` is not among them."""
_FIXED: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "content", "post", "body", "message", "tweet", "quote", "comment", "opinion", "mention"),
    "author": ("author", "user", "username", "handle", "by", "account", "poster", "name"),
    "url": ("url", "link", "uri", "permalink", "address", "href", "source"),
    "datetime": ("datetime", "date", "time", "at", "posted", "created", "timestamp", "published"),
    "title": ("title", "name", "headline", "page"),
    "snippet": ("snippet", "excerpt", "summary", "description", "text"),
    "value": ("value", "reading", "price", "latest", "current", "level", "rate"),
    "unit": ("unit", "units", "currency"),
    "at": ("at", "timestamp", "time", "datetime", "date", "of", "observed", "measured"),
}


class Fields:
    """Finds fields in the items of one run."""

    def __init__(self, objective: Objective, items: Iterable[Item]) -> None:
        self.products = product_words(objective)
        self._common = Counter(key for item in items for _, entries in _tables(item) for key in entries)

    def find(self, item: Item, part: Field, demand: Demand) -> Piece | None:
        """The field's value in an item, fitted, or None. The best matching key that gives a value wins."""
        place, name, inner = Place(item.step, item.pointer, item.text), demand.sought(part.name), bare(part.shape)
        if item.channel == "web" and (piece := self._from_prices(item, name, inner, place)):
            return piece
        for key in self._keys(item, name, inner, named=part.name == identity(demand.record)):
            if piece := fit(item.record[key], part.shape, place.below(key)):
                return piece
        if isinstance(inner, Record):
            return self._from_parts(item, inner, demand)
        return _from_description(item, inner, place) if isinstance(inner, Enum) else None

    def _keys(self, item: Item, name: str, shape: Shape, *, named: bool) -> list[str]:
        """Keys of the item's record that mean `name`, best first."""
        numeric = isinstance(shape, Scalar) and shape.kind in ("float", "int")
        if item.channel != "web":
            words = name_tokens(name)
            scored = [(sum(word in _FIXED.get(key, ()) for word in words), key) for key in item.record]
            measured = ["value"] if numeric and item.channel == "reading" and "value" in item.record else []
            return [*_good(scored), *measured]
        own = [key for product in sorted(self.products) if (key := f"{product}_{name}") in item.record and numeric]
        scored = [(1.0 if key == name else _match(name, key), key) for key in item.record]
        return [*own, *_good(scored), *(["name"] if named and "name" in item.record else [])]

    def _from_parts(self, item: Item, shape: Record, demand: Demand) -> Piece | None:
        """A nested object whose parts stand side by side in the record."""
        pieces: dict[str, Piece] = {}
        for part in shape.fields:
            plain = not isinstance(bare(part.shape), Record | ListOf)
            if plain and (piece := self.find(item, part, replace(demand, record=shape, spellings=()))):
                pieces[part.name] = piece
        return joined(pieces)

    def _from_prices(self, item: Item, name: str, shape: Shape, place: Place) -> Piece | None:
        """One number from a table of prices by product: the entry with every product word that most tables share."""
        if not isinstance(shape, Scalar) or shape.kind not in ("float", "int", "str"):
            return None
        own = frozenset(word for word in name_tokens(name) if PRODUCT.search(word))
        besides = {stem(word) for word in name_tokens(name)} - {stem(word) for word in own} - _PRICE_WORDS
        wanted = own or self.products
        if besides or not wanted or not (own or is_price(name)):
            return None
        for table, entries in _tables(item):
            fitting = [key for key in entries if wanted <= set(name_tokens(key))]
            key = max(fitting, key=lambda key: self._common[key], default=None)
            if key is not None and (piece := fit(entries[key], shape, place.below(table).below(key))):
                return piece
        return None


def _good(scored: Iterable[tuple[float, str]]) -> list[str]:
    kept = [(score, key) for score, key in scored if score >= _FITS]
    return [key for _, key in sorted(kept, key=lambda pair: -pair[0])]


@lru_cache(maxsize=8192)
def _match(name: str, key: str) -> float:
    return match(name, key)


def _from_description(item: Item, shape: Enum, place: Place) -> Piece | None:
    """The one option that a thing's description or capabilities speak of."""
    for key in ("capabilities", "description"):
        if key in item.record and (piece := fit(item.record[key], shape, place.below(key))):
            return piece
    return None


def _tables(item: Item) -> Iterator[tuple[str, dict[str, JSON]]]:
    for key, value in item.record.items():
        if isinstance(value, dict) and is_price(key):
            yield key, value


MAX_STATED = 1 << 15
"""So many characters of a record say what it is about."""


def stated_words(item: Item) -> str:
    """The strings of an item's record, for judging what it is about: as many as `MAX_STATED` holds."""
    said: list[str] = []
    left = MAX_STATED
    for text in _strings(dict(item.record)):
        said.append(text[:left])
        left -= len(text)
        if left <= 0:
            break
    return " . ".join(said)


def _strings(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key.replace("_", " ")
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
