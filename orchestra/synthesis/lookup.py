"""The field of a found record that means the field of the target_schema.

Keys are compared like page labels (`labels.match`); posts, hits and readings, whose keys a capability fixes, by a short
table. A price that is asked for as one number may stand in a table of prices by product: then the words of the key and
of the objective say which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from ledger.types import JSON
from orchestra.planning.computed import is_price
from orchestra.planning.demands import Demand, bare
from orchestra.planning.objective import PRODUCT, Objective, product_words
from orchestra.planning.words import name_tokens
from orchestra.schema import Enum, Field, ListOf, Record, Scalar, Shape
from orchestra.synthesis.evidence import Item
from orchestra.synthesis.fitting import Piece, Place, fit, joined
from orchestra.synthesis.labels import match

_FITS = 0.55
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


def find_field(item: Item, part: Field, demand: Demand, objective: Objective) -> Piece | None:
    """The field's value in an item, fitted, or None. The best matching key that gives a value wins."""
    place = Place(item.step, item.pointer, item.text)
    name = demand.sought(part.name)
    inner = bare(part.shape)
    if item.channel == "web" and (piece := _from_prices(item, name, inner, place, objective)):
        return piece
    for key in [*_product_keys(item, name, inner, objective), *_keys(item, name)]:
        if piece := fit(item.record[key], part.shape, place.below(key)):
            return piece
    if isinstance(inner, Record):
        return _from_parts(item, inner, demand, objective)
    if isinstance(inner, Enum):
        return _from_description(item, inner, place)
    measured = item.channel == "reading" and isinstance(inner, Scalar) and inner.kind in ("float", "int")
    return fit(item.record.get("value"), inner, place.below("value")) if measured else None


def _product_keys(item: Item, name: str, shape: Shape, objective: Objective) -> list[str]:
    """Keys that hold the field for the product asked about: `h100_spot` for `spot`."""
    if not isinstance(shape, Scalar) or shape.kind not in ("float", "int"):
        return []
    return [key for product in sorted(product_words(objective)) if (key := f"{product}_{name}") in item.record]


def _keys(item: Item, name: str) -> list[str]:
    """Keys of the item's record that mean `name`, best first."""
    if item.channel != "web":
        words = name_tokens(name)
        scored = [(sum(word in _FIXED.get(key, ()) for word in words), key) for key in item.record]
    else:
        scored = [(1.0 if key == name else _match(name, key), key) for key in item.record]
    good = [(score, key) for score, key in scored if score >= _FITS]
    return [key for _, key in sorted(good, key=lambda pair: -pair[0])]


@lru_cache(maxsize=8192)
def _match(name: str, key: str) -> float:
    return match(name, key)


def _from_description(item: Item, shape: Enum, place: Place) -> Piece | None:
    """The one option that a thing's description or capabilities speak of."""
    for key in ("capabilities", "description"):
        if key in item.record and (piece := fit(item.record[key], shape, place.below(key))):
            return piece
    return None


def _from_parts(item: Item, shape: Record, demand: Demand, objective: Objective) -> Piece | None:
    """A nested object whose parts stand side by side in the record."""
    pieces: dict[str, Piece] = {}
    for part in shape.fields:
        if not isinstance(bare(part.shape), Record | ListOf) and (piece := find_field(item, part, demand, objective)):
            pieces[part.name] = piece
    return joined(pieces)


def _from_prices(item: Item, name: str, shape: Shape, place: Place, objective: Objective) -> Piece | None:
    """One number from a table of prices by product: the first entry that has every product word."""
    if not isinstance(shape, Scalar) or shape.kind not in ("float", "int", "str"):
        return None
    own = {word for word in name_tokens(name) if PRODUCT.search(word)}
    if not (own or is_price(name)):
        return None
    wanted = own or product_words(objective)
    for table, entries in _tables(item):
        key = next((key for key in entries if wanted and wanted <= set(name_tokens(key))), None)
        if key is not None and (piece := fit(entries[key], shape, place.below(table).below(key))):
            return piece
    return None


def _tables(item: Item) -> Iterator[tuple[str, dict[str, JSON]]]:
    for key, value in item.record.items():
        if isinstance(value, dict) and is_price(key):
            yield key, value


def stated_words(item: Item) -> str:
    """Every string of an item's record, for judging what it is about."""
    return " . ".join(_strings(dict(item.record)))


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
