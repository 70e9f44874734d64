"""The records that answer a demand, each filled field by field from everything found about one thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ledger.types import JSON
from orchestra.planning.asks import conditions
from orchestra.planning.demands import Demand, bare, identity
from orchestra.planning.entities import Entity, names_of
from orchestra.planning.objective import Objective, selecting, topic
from orchestra.planning.words import lexicon, stem, stems
from orchestra.protocol import Source
from orchestra.schema import Field, ListOf, Record, Scalar, is_free_text
from orchestra.synthesis.evidence import Item
from orchestra.synthesis.fitting import Piece, joined, listed, part_of
from orchestra.synthesis.linkage import ID_KEYS, Thing, found_things, name_of, named_things, same_name
from orchestra.synthesis.lookup import Fields, stated_words
from orchestra.synthesis.numbers import first_number
from orchestra.synthesis.support import normalised, supports

MAX_ROWS = 50
MAX_POSTS = 10
_PAGE_WORDS = frozenset(map(stem, lexicon("page_words"))) | {"web"}


@dataclass(frozen=True, slots=True)
class Row:
    """One filled record: its `piece`, what it is about, and the number that identifies that."""

    name: str
    piece: Piece
    entity: Entity | None = None
    number: Piece | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(sorted({source.step for source in self.piece.sources.values()}))


def rows_of(demand: Demand, objective: Objective, items: Sequence[Item], fields: Fields) -> tuple[Row, ...]:
    """The rows of a demand: for things asked by name in that order, else best first."""
    make = _linked if demand.channel == "web" else _listed
    rows = tuple(make(demand, objective, items, fields))[:MAX_ROWS]
    return tuple(_with_posts(row, demand, objective, items, fields) for row in rows) if demand.posts else rows


def _with_posts(row: Row, demand: Demand, objective: Objective, items: Sequence[Item], fields: Fields) -> Row:
    """A row with the posts about it."""
    pieces = {name: part_of(row.piece, name) for name in _values(row)}
    for part in demand.posts:
        inner = bare(part.shape)
        record = bare(inner.item) if isinstance(inner, ListOf) else None
        entity = row.entity or Entity(row.name)
        if isinstance(record, Record):
            about = Demand((*demand.path, part.name), "table", record, "posts", entity)
            if piece := listed([post.piece for post in _listed(about, objective, items, fields)][:MAX_POSTS]):
                pieces[part.name] = piece
    return replace(row, piece=joined(pieces) or row.piece)


def _linked(demand: Demand, objective: Objective, items: Sequence[Item], fields: Fields) -> Iterator[Row]:
    own = [item for item in items if item.channel == "web"]
    if demand.entity or objective.entities:
        things, holds = named_things(objective, own, demand), _says_more
    else:
        hits = [item for item in items if item.channel == "pages"]
        things, holds = found_things(objective, own, demand, hits), _answers
    known: list[JSON] = []
    for thing in things:
        row = _row(thing, demand, fields)
        if row and holds(row, demand) and row.piece.value not in known and _meets(thing, demand, objective, fields):
            known.append(row.piece.value)
            yield row


def _meets(thing: Thing, demand: Demand, objective: Objective, fields: Fields) -> bool:
    """Every numeric condition of the objective is shown to hold."""
    for condition in conditions(objective):
        part = Field(condition.metric, Scalar("float"))
        found = (fields.find(item, part, demand) for item in thing.items)
        value = next((first_number(piece.value) for piece in found if piece), None)
        if value is None or not condition.holds(value):
            return False
    return True


def _row(thing: Thing, demand: Demand, fields: Fields) -> Row | None:
    pieces: dict[str, Piece] = {}
    for part in demand.record.fields:
        own = part.name == identity(demand.record) and thing.entity is not None and demand.channel == "web"
        items = [item for item in thing.items if not own or _bears_name(item, thing, demand)]
        found = (fields.find(item, part, demand) for item in items)
        if piece := next((piece for piece in found if piece), None) or _own_name(part, thing, demand):
            pieces[part.name] = piece
    piece = joined(pieces)
    return Row(thing.name, piece, thing.entity, _number(thing, fields)) if piece else None


def _number(thing: Thing, fields: Fields) -> Piece | None:
    """The number that identifies a thing, if a record of it has one."""
    part, record = Field("netuid", Scalar("int")), Demand((), "hidden", Record(()))
    return next((piece for item in thing.items if (piece := fields.find(item, part, record))), None)


def _bears_name(item: Item, thing: Thing, demand: Demand) -> bool:
    entity = thing.entity
    return entity is None or entity.number is not None or same_name(name_of(item, demand), entity.name)


def _own_name(part: Field, thing: Thing, demand: Demand) -> Piece | None:
    """The name of a thing from the title of its page, where the record itself does not say it."""
    if part.name != identity(demand.record) or thing.entity is None or thing.entity.number is not None:
        return None
    for item in thing.items:
        if item.hit and supports(item.title, thing.entity.name):
            source = Source(step=item.hit.step, pointer=f"{item.hit.pointer}/title")
            return Piece(thing.entity.name, {"": source})
    return None


def _values(row: Row) -> Mapping[str, JSON]:
    return row.piece.value if isinstance(row.piece.value, dict) else {}


def _says_more(row: Row, demand: Demand) -> bool:
    """A row that holds only the name of what was asked about says nothing."""
    own = identity(demand.record)
    return any(name != own for name in _values(row)) or len(demand.record.fields) == 1


def _answers(row: Row, demand: Demand) -> bool:
    """Most of what was asked of every record is there, and above all the number that identifies it."""
    required = [part.name for part in demand.record.fields if part.required and not is_free_text(bare(part.shape))]
    unnumbered = any(name in ID_KEYS and name not in _values(row) for name in required)
    return not unnumbered and 2 * sum(name in _values(row) for name in required) >= len(required)


def _listed(demand: Demand, objective: Objective, items: Sequence[Item], fields: Fields) -> Iterator[Row]:
    """Posts, search hits and readings: each is a row of its own, said once."""
    seen: set[str] = set()
    for item in items:
        if item.channel != demand.channel or not _is_about(item, demand, objective):
            continue
        thing = Thing(str(item.record.get("title") or item.record.get("author") or ""), (item,), item.asked)
        row = _row(thing, demand, fields)
        key = normalised(stated_words(item))
        if row and key not in seen:
            seen.add(key)
            yield row


def _is_about(item: Item, demand: Demand, objective: Objective) -> bool:
    if demand.channel == "reading":
        return True
    said = set(stems(stated_words(item)))
    if demand.entity or objective.entities:
        entities = [demand.entity] if demand.entity else objective.entities
        written = [name for entity in entities if entity for name in names_of(entity)]
        return any(set(stems(name)) <= said for name in written)
    asked = {stem(word) for word in topic(objective, selecting(objective), asking_for_posts=True)} - _PAGE_WORDS
    return not asked or len(asked & said) * 2 >= len(asked)


def label_of(name: str) -> str:
    """A key as people read it."""
    return name.replace("_", " ")
