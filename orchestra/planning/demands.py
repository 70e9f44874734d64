"""What a target_schema asks for, sorted by how it can be had: records to find, numbers to compute, prose to write.

Planner and synthesiser read a schema through these demands, so what is planned for is what is filled. A list of
records is a `table`; a list of plain values is a `column` of one; a dict is a `map` from things named to values; an
object, or the root, is one `record`; `cheapest` is the `choice` of one record from the others. A table that only feeds
a computation or a text is `hidden`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestra.planning.asks import aspects
from orchestra.planning.computed import Rule, is_price, metric_words, rule_for, spoken_rule
from orchestra.planning.entities import Entity
from orchestra.planning.needs import needed
from orchestra.planning.objective import Objective
from orchestra.planning.words import lexicon, name_tokens, stem, tokens
from orchestra.schema import (
    AnyShape,
    DictOf,
    Field,
    ListOf,
    Nullable,
    Record,
    Scalar,
    Shape,
    TargetSchema,
    is_free_text,
    to_shorthand,
)

Path = tuple[str, ...]
Kind = Literal["table", "column", "map", "record", "choice", "hidden"]
Channel = Literal["web", "posts", "pages", "reading"]

_POSTS = frozenset(map(stem, lexicon("post_words")))
_PAGES = frozenset(map(stem, lexicon("page_words")))
_PAGE_FIELDS = frozenset(map(stem, lexicon("page_fields")))
_LINKS = frozenset(map(stem, ("url", "link", "href", "address", "snippet")))
_NAMES = lexicon("name_words")
_STATED_PROSE = frozenset({"description", "notes", "overview"})
"""Free text that pages state about a thing: looked for before it is written."""
_TEXT = Scalar("str")
_PRICES = Field("pricing", DictOf(AnyShape()))


@dataclass(frozen=True, slots=True)
class Demand:
    """Records that belong at `path`; `plain`: of each only its one value. `entity`: they are about this one thing.
    `spellings`: (key of the record, name under which to look for it) where the two differ.
    """

    path: Path
    kind: Kind
    record: Record
    channel: Channel = "web"
    entity: Entity | None = None
    rule: Rule | None = None
    spellings: tuple[tuple[str, str], ...] = ()
    plain: bool = False

    def sought(self, name: str) -> str:
        return dict(self.spellings).get(name, name)

    @property
    def posts(self) -> tuple[Field, ...]:
        """Lists of posts inside of its records: they come from another channel."""
        return tuple(part for part in self.record.fields if self.channel == "web" and _is_posts(part))

    @property
    def pointers(self) -> tuple[str, ...]:
        """Paths of the leaves it is for, as in `Task.serves`."""
        base = "".join(f"/{part}" for part in self.path)
        if self.kind in ("table", "map", "column"):
            base += "/*"
        if self.plain or self.kind == "hidden":
            return (base,)
        return tuple(f"{base}/{part.name}" for part in self.record.fields)


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric leaf that is computed from what the demands find."""

    path: Path
    shape: Scalar
    rule: Rule


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole target_schema, sorted. `prose` are the paths of free text outside of any record list."""

    demands: tuple[Demand, ...]
    numbers: tuple[Number, ...]
    prose: tuple[Path, ...]


@dataclass(slots=True)
class _Sorted:
    objective: Objective
    demands: list[Demand] = field(default_factory=list[Demand])
    numbers: list[Number] = field(default_factory=list[Number])
    prose: list[Path] = field(default_factory=list[Path])


def bare(shape: Shape) -> Shape:
    """A shape without its `or null`."""
    return bare(shape.inner) if isinstance(shape, Nullable) else shape


def nouns_of(schema: TargetSchema) -> tuple[str, ...]:
    """The keys of a schema's lists and objects: words for the kind of thing that is asked for."""
    fields = schema.shape.fields if isinstance(schema.shape, Record) else ()
    return tuple(part.name for part in fields if isinstance(bare(part.shape), ListOf | DictOf | Record))


def sort_schema(schema: TargetSchema, objective: Objective) -> Layout:
    """Sort a target_schema for an objective."""
    out = _Sorted(objective)
    if isinstance(schema.shape, Record):
        _object(out, (), schema.shape)
    else:
        out.demands.append(_map(out, (), schema.shape.value))
    out.demands += _hidden(out)
    return Layout(tuple(out.demands), tuple(out.numbers), tuple(out.prose))


def _object(out: _Sorted, path: Path, record: Record) -> None:
    """Sort the parts of an object; its plain fields become one record."""
    single = _describes_one(out.objective, path, record)
    own = [part for part in record.fields if not _placed(out, (*path, part.name), part, single=single)]
    if own:
        out.demands += _own_records(out.objective, path, own)


def _placed(out: _Sorted, path: Path, part: Field, *, single: bool) -> bool:
    """Sort one part of an object; False where it is a plain field of the object itself."""
    shape = bare(part.shape)
    match shape:
        case Scalar() if is_free_text(shape):
            out.prose.append(path)
            return not (single and path[-1] in _STATED_PROSE)
        case Scalar() if (rule := _computed(path, shape, out.objective)) is not None:
            if shape.kind == "str":
                choice = Demand(path[:-1], "choice", Record((part,)), rule=rule, spellings=((part.name, "name"),))
                out.demands.append(choice)
            else:
                out.numbers.append(Number(path, shape, rule))
        case ListOf(Record() as item) if not single or _is_list_of_many(path, out.objective):
            out.demands.append(Demand(path, "table", item, _channel(path, item, out.objective)))
        case ListOf(item) if not single and not isinstance(bare(item), Record):
            column = Record((Field(singular(path[-1]), item if not isinstance(item, AnyShape) else _TEXT),))
            out.demands.append(Demand(path, "column", column, plain=True))
        case DictOf() if len(out.objective.entities) > 1:
            out.demands.append(_map(out, path, shape.value))
        case Record():
            return _placed_object(out, path, shape, single=single)
        case _:
            return False
    return True


def _placed_object(out: _Sorted, path: Path, record: Record, *, single: bool) -> bool:
    entity = _entity_of(path[-1], out.objective)
    chosen = spoken_rule(" ".join(name_tokens(path[-1])), out.objective)
    plain = [part for part in record.fields if not is_free_text(bare(part.shape))]
    found = [part for part in plain if _computed((*path, part.name), bare(part.shape), out.objective) is None]
    if entity:
        out.demands.append(Demand(path, "record", record, entity=entity))
    elif chosen in ("min", "max") and any(_is_text(bare(part.shape)) for part in plain):
        out.demands.append(Demand(path, "choice", record, rule=chosen))
    elif chosen in ("undercut", "premium", "middle") and (own := identity(record)) is not None:
        said = spoken_rule(out.objective.text, out.objective)
        kept = Record(tuple(part for part in plain if part.name == own or _is_own_figure(part, out.objective)))
        out.demands.append(Demand(path, "choice", kept, rule=said if said in ("min", "max") else "min"))
        _object(out, path, Record(tuple(part for part in record.fields if part not in kept.fields)))
    elif single and found:
        return False
    else:
        _object(out, path, record)
    return True


def _is_own_figure(part: Field, objective: Objective) -> bool:
    """A figure of the thing that is chosen, as `price` is and `price_point` is not."""
    return holds_figures(part.shape) and spoken_rule(" ".join(name_tokens(part.name)), objective) is None


def _computed(path: Path, shape: Shape, objective: Objective) -> Rule | None:
    """The rule of a leaf that is computed, or chosen by a computation; None for one that is found as it stands."""
    rule = rule_for(path, objective) if isinstance(shape, Scalar) else None
    if rule is None or not isinstance(shape, Scalar):
        return None
    if rule == "sum" and shape.kind == "int" and not metric_words(path):
        return "count"
    if shape.kind in ("int", "float"):
        return rule if rule != "rank" else None
    own = spoken_rule(" ".join(name_tokens(path[-1])), objective)
    return own if shape.kind == "str" and own in ("min", "max") else None


def _describes_one(objective: Objective, path: Path, record: Record) -> bool:
    """True when an object's plain fields describe one thing, so that its lists and objects are parts of that thing."""
    plain = any(
        isinstance(shape := bare(part.shape), Scalar)
        and not shape.free_text
        and _computed((*path, part.name), shape, objective) is None
        for part in record.fields
    )
    parts = any(_lists_parts(bare(part.shape)) for part in record.fields)
    return plain or (parts and len(objective.entities) == 1)


def _lists_parts(shape: Shape) -> bool:
    """A list that can be of a thing's parts: of values, or of records that do not name a thing of their own."""
    if not isinstance(shape, ListOf):
        return False
    item = bare(shape.item)
    return not isinstance(item, Record) or identity(item) is None


def _is_list_of_many(path: Path, objective: Objective) -> bool:
    """Records of several things named, or asked for by the list's name (`which subnets`), or posts: no part of one."""
    last = stem(name_tokens(path[-1])[-1])
    return len(objective.entities) > 1 or last in _POSTS or (objective.seeks_many and last in objective.stems)


def _own_records(objective: Objective, path: Path, own: list[Field]) -> Iterator[Demand]:
    """One record of plain fields; where keys name things (`acme_price`), one for each of them."""
    groups: dict[Entity | None, list[tuple[Field, str]]] = {}
    for part in own:
        entity, rest = _split_key(part.name, objective)
        groups.setdefault(entity, []).append((part, rest or singular(path[-1] if path else "price")))
    for entity, parts in groups.items():
        record = Record(tuple(part for part, _ in parts))
        if entity:
            yield Demand(
                path, "record", record, entity=entity, spellings=tuple((part.name, rest) for part, rest in parts)
            )
            continue
        rule = _superlative(objective, record) if len(objective.entities) != 1 else None
        channel = _channel(path, record, objective)
        if rule in ("min", "max") and channel == "web":
            yield Demand(path, "choice", record, rule=rule)
        else:
            yield Demand(path, "record", record, channel)


def _superlative(objective: Objective, record: Record) -> Rule | None:
    """The rule by which one thing is chosen: `cheapest`, or `best` where the record holds a figure to be best in."""
    rule = spoken_rule(objective.text, objective)
    if rule is None and "best" in objective.stems:
        figures = [part.name for part in record.fields if holds_figures(part.shape)]
        return ("min" if is_price(figures[0]) else "max") if figures else None
    return rule


def _split_key(name: str, objective: Objective) -> tuple[Entity | None, str]:
    words = name_tokens(name)
    for entity in objective.entities if len(objective.entities) > 1 else ():
        named = [word.lower() for part in tokens(entity.name) for word in part.split(".")]
        if named[0] in words:
            return entity, "_".join(word for word in words if word not in named)
    return None, name


def _entity_of(name: str, objective: Objective) -> Entity | None:
    said = "".join(name_tokens(name))
    for entity in objective.entities:
        squeezed = "".join(tokens(entity.name)).replace(".", "").lower()
        if said == squeezed or (len(said) > 3 and squeezed.startswith(said)):
            return entity
    return None


def _map(out: _Sorted, path: Path, value: Shape) -> Demand:
    inner = bare(value)
    name = singular(path[-1]) if path else "value"
    if isinstance(inner, Record):
        return Demand(path, "map", inner)
    return Demand(path, "map", Record((Field(name, value),)), plain=True)


def _channel(path: Path, record: Record, objective: Objective) -> Channel:
    words = {stem(word) for name in path[-1:] for word in name_tokens(name)}
    asked = {needed(clause) for clause in objective.clauses}
    plain = [part.name for part in record.fields if not isinstance(bare(part.shape), ListOf | Record)]
    names = {stem(word) for name in plain for word in name_tokens(name)}
    if words & _POSTS or ("social_search" in asked and not words & _PAGES and names & {"text", "post", "author"}):
        return "posts"
    if words & _PAGES and names <= _PAGE_FIELDS and names & _LINKS:
        return "pages"
    return "reading" if "time_series" in asked else "web"


def _hidden(out: _Sorted) -> Iterator[Demand]:
    """What nothing visible asks for but a computation or a text needs."""
    chosen = [
        (*demand.path, part.name) for demand in out.demands if demand.kind == "choice" for part in demand.record.fields
    ]
    needy = [number.path for number in out.numbers if number.rule != "count"] + chosen
    tables = [demand for demand in out.demands if demand.kind in ("table", "map") and demand.channel == "web"]
    if needy and not any(holds_figures(part.shape) for demand in tables for part in demand.record.fields):
        yield Demand(needy[0], "hidden", Record((*_figure_fields(out, needy[0]), _PRICES)))
    elif out.numbers and not out.demands:
        yield Demand(out.numbers[0].path, "hidden", Record((Field("name", _TEXT),)))
    elif out.prose and not out.demands:
        named = (Field(name, _TEXT) for name in dict.fromkeys((*aspects(out.objective), "description")))
        yield Demand(out.prose[0], "hidden", Record(tuple(named)))


def _figure_fields(out: _Sorted, path: Path) -> tuple[Field, ...]:
    chosen = [
        Field(demand.sought(part.name), part.shape)
        for demand in out.demands
        if demand.kind == "choice"
        for part in demand.record.fields
        if not is_free_text(bare(part.shape))
    ]
    fields = {part.name: part for part in chosen}
    if not any(holds_figures(part.shape) or _is_whole(part.shape) for part in fields.values()):
        metric = next(iter(metric_words(path)), "")
        name = next((word for key in path for word in name_tokens(key) if stem(word) == metric), metric)
        fields |= {name: Field(name, Scalar("float"))} if name and name not in {"pricing", *fields} else {}
    return tuple(fields.values())


def _is_whole(shape: Shape) -> bool:
    inner = bare(shape)
    return isinstance(inner, Scalar) and inner.kind == "int"


def holds_figures(shape: Shape) -> bool:
    """Whether numbers that can be computed with may stand here."""
    inner = bare(shape)
    if isinstance(inner, Scalar):
        return inner.kind == "float"
    return isinstance(inner, DictOf) or (isinstance(inner, ListOf) and holds_figures(inner.item))


def singular(name: str) -> str:
    """`base_urls` is a list of `base_url`."""
    words = name_tokens(name)
    last = words[-1] if words else name
    if last.endswith("ies"):
        last = last[:-3] + "y"
    elif last.endswith("s") and len(last) > 3 and not last.endswith("ss"):
        last = last[:-1]
    return "_".join([*words[:-1], last])


# what to ask of a page -----------------------------------------------------------------------------------------------


def identity(record: Record) -> str | None:
    """The key that names a record: `name`, or `provider`, `company`, ..."""
    names = [part.name for part in record.fields if _is_text(bare(part.shape))]
    exact = [name for name in names if name_tokens(name)[-1:] == ["name"]]
    return next(iter([*exact, *(name for name in names if set(name_tokens(name)) <= _NAMES)]), None)


def _is_text(shape: Shape) -> bool:
    return isinstance(shape, Scalar) and shape.kind == "str" and not shape.free_text


def _is_posts(part: Field) -> bool:
    shape = bare(part.shape)
    listed = isinstance(shape, ListOf) and isinstance(bare(shape.item), Record)
    return listed and stem(name_tokens(part.name)[-1]) in _POSTS


def asked_fields(demand: Demand) -> dict[str, Any]:
    """The fields of a demand's records in shorthand, the parts of nested objects also side by side."""
    fields: dict[str, Any] = {}
    for part in demand.record.fields:
        if part in demand.posts:
            continue
        inner = bare(part.shape)
        fields[demand.sought(part.name)] = "str" if isinstance(inner, AnyShape) else to_shorthand(inner)
        for deeper in inner.fields if isinstance(inner, Record) else ():
            fields.setdefault(deeper.name, to_shorthand(bare(deeper.shape)))
    return fields
