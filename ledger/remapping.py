"""How an operation's answer maps to its capability once the answer has changed shape: a JMESPath expression, found.

A schema that was learned from life says what comes back, not what it means. What it means mostly stays near: of the
paths that the old mapping read some are gone, of the paths that the new answer has some are new, and a promised field
is read from where it was, or from the new path of a fitting type whose name is most like the old one's or its own. Pure
and deterministic, so that whoever judges a proposal finds the same one from the same answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from rapidfuzz.fuzz import ratio

from ledger.types import JSON

MAX_PATHS = 512
MAX_DEPTH = 8
LEAST_LIKENESS = 40.0
"""Of 100: below it two names say nothing about each other."""

_ALIKE = (
    {"snippet", "description", "summary", "excerpt", "abstract"},
    {"url", "link", "uri", "href", "source_url"},
    {"text", "content", "body", "message", "output", "answer", "completion"},
    {"author", "user", "username", "handle", "by", "creator"},
    {"datetime", "date", "created_at", "published_at", "timestamp", "at", "time", "observed_at"},
    {"title", "name", "headline"},
    {"value", "amount", "reading", "figure", "number"},
    {"score", "probability", "likelihood", "confidence"},
    {"results", "data", "items", "hits", "records", "rows", "posts"},
)
"""Names that subnets use for one thing."""

_NUMERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Kind: TypeAlias = Literal["string", "number", "boolean", "list", "object"]


class Step(NamedTuple):
    """A name, or an index: those are no names, whatever a stranger calls its fields."""

    text: str
    is_index: bool = False


EACH, FIRST = Step("*", is_index=True), Step("0", is_index=True)
"""The elements of a list of records; the first of any other list."""

Path: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class _Leaf:
    path: Path
    kind: Kind
    numeral: bool = False


def remap(promised: Mapping[str, Any], old: str, answer: JSON) -> str | None:
    """A mapping from `answer` to what the capability promises (`Contract.result`); None where none can be found.

    `old` is the mapping before the change: where it read from is where to look first. Only promises of objects, and of
    lists of objects, are mapped; lists of records are read from lists, and nothing is read from two levels of lists.
    """
    leaves = list(islice(_leaves(answer), MAX_PATHS))
    earlier = read_from(old)
    parts = [_part(name, schema, leaves, earlier) for name, schema in promised.get("properties", {}).items()]
    found = {name: expression for name, expression in parts if expression}
    if not found or any(name not in found for name in promised.get("required", ())):
        return None
    return "{" + ", ".join(f"{name}: {expression}" for name, expression in found.items()) + "}"


def _part(
    name: str, schema: Mapping[str, Any], leaves: list[_Leaf], earlier: Mapping[str, str]
) -> tuple[str, str | None]:
    """How one promised property is read."""
    if schema.get("type") == "array":
        return name, _records(name, schema.get("items", {}), leaves, earlier)
    fields = schema.get("properties")
    if fields:
        single = [leaf for leaf in leaves if EACH not in leaf.path]
        return name, _object(schema, _assigned(fields, single, earlier))
    single = [leaf for leaf in leaves if EACH not in leaf.path]
    return name, _assigned({name: schema}, single, earlier).get(name)


def _records(name: str, item: Mapping[str, Any], leaves: list[_Leaf], earlier: Mapping[str, str]) -> str | None:
    """The list whose elements give most of a record's fields; of equals the one whose name is most like."""
    fields = item.get("properties")
    if not fields:
        return None
    best: tuple[tuple[int, float, Path], str] | None = None
    for root in sorted({leaf.path[: leaf.path.index(EACH)] for leaf in leaves if EACH in leaf.path}):
        inner = [
            _Leaf(leaf.path[len(root) + 1 :], leaf.kind, leaf.numeral)
            for leaf in leaves
            if leaf.path[: len(root) + 1] == (*root, EACH) and EACH not in leaf.path[len(root) + 1 :]
        ]
        given = _assigned(fields, inner, earlier)
        expression = _object(item, given)
        rank = (len(given), _likeness(name, root[-1].text if root else ""), root)
        if expression and (best is None or rank > best[0]):
            best = rank, f"{_written(root)}[*].{expression}" if root else f"[*].{expression}"
    return best[1] if best else None


def _object(schema: Mapping[str, Any], given: Mapping[str, str]) -> str | None:
    if not given or any(name not in given for name in schema.get("required", ())):
        return None
    return "{" + ", ".join(f"{name}: {expression}" for name, expression in given.items()) + "}"


def _assigned(
    fields: Mapping[str, Mapping[str, Any]], leaves: list[_Leaf], earlier: Mapping[str, str]
) -> dict[str, str]:
    """Each field from a path of its own: the pairs most alike first."""
    pairs = [
        (_score(name, leaf, earlier.get(name)), name, leaf)
        for name, schema in fields.items()
        for leaf in leaves
        if _fits(schema, leaf)
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2].path))
    chosen: dict[str, str] = {}
    taken: set[Path] = set()
    for likeness, name, leaf in pairs:
        if likeness >= LEAST_LIKENESS and name not in chosen and leaf.path not in taken:
            chosen[name] = _read(fields[name], leaf)
            taken.add(leaf.path)
    return {name: chosen[name] for name in fields if name in chosen}


def _score(name: str, leaf: _Leaf, before: str | None) -> float:
    """How likely this path is the field: by its own name, its parent's, and the name that it was read from before."""
    written = _written(leaf.path)
    if before is not None and written == before:
        return 200.0
    own = [step.text for step in leaf.path if not step.is_index]
    likeness = max(_likeness(name, own[-1] if own else ""), 0.8 * _likeness(name, own[-2] if len(own) > 1 else ""))
    if before is not None and own:
        likeness = max(likeness, 0.9 * _likeness(before.rsplit(".", 1)[-1], own[-1]))
    return likeness - len(leaf.path)


def _likeness(one: str, other: str) -> float:
    """0 to 100."""
    one, other = one.lower(), other.lower()
    if one == other:
        return 100.0
    if any(one in group and other in group for group in _ALIKE):
        return 90.0
    return 0.8 * ratio(one, other)


def _fits(schema: Mapping[str, Any], leaf: _Leaf) -> bool:
    types = _types(schema)
    if not types:
        return True
    if leaf.kind == "number" or (leaf.kind == "string" and leaf.numeral and "string" not in types):
        return bool({"number", "integer"} & set(types))
    return {"list": "array"}.get(leaf.kind, leaf.kind) in types


def _types(schema: Mapping[str, Any]) -> list[str]:
    wanted = schema.get("type")
    return cast("list[str]", wanted) if isinstance(wanted, list) else [wanted] if wanted else []


def _read(schema: Mapping[str, Any], leaf: _Leaf) -> str:
    written, types = _written(leaf.path), _types(schema)
    is_parsed = leaf.kind == "string" and bool(types) and "string" not in types
    return f"to_number({written})" if is_parsed else written


def _written(path: Path) -> str:
    """A path as JMESPath."""
    text = ""
    for step in path:
        if step.is_index:
            text += f"[{step.text}]"
        else:
            name = step.text if _PLAIN.fullmatch(step.text) else json.dumps(step.text)
            text += f".{name}" if text else name
    return text


def read_from(mapping: str) -> dict[str, str]:
    """Which path a mapping reads each field from, as far as it says so plainly: `{url: link}` says `link`."""
    pairs = re.findall(r"([A-Za-z_]\w*):\s*(?:to_number\()?([A-Za-z_][\w.\[\]]*)", mapping)
    return dict(pairs)


def _leaves(value: JSON, path: Path = ()) -> Iterator[_Leaf]:
    """Every place of an answer where something stands, lists of records by what their elements have."""
    if len(path) > MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name, item in sorted(value.items()):
            yield from _leaves(item, (*path, Step(name)))
    elif isinstance(value, list):
        if path:
            yield _Leaf(path, "list")
        yield from _elements(value, path)
    elif value is not None:
        yield _scalar(value, path)


def _elements(value: list[JSON], path: Path) -> Iterator[_Leaf]:
    records = [each for each in value if isinstance(each, dict)]
    if records and EACH not in path:
        merged: dict[str, JSON] = {}
        for record in records[:64]:
            if len(merged) > MAX_PATHS:
                break
            merged |= {name: item for name, item in record.items() if item is not None}
        yield from _leaves(merged, (*path, EACH))
    if value and EACH not in path:
        yield from _leaves(value[0], (*path, FIRST))


def _scalar(value: bool | float | str, path: Path) -> _Leaf:
    if isinstance(value, bool):
        return _Leaf(path, "boolean")
    if isinstance(value, str):
        return _Leaf(path, "string", _NUMERAL.fullmatch(value) is not None)
    return _Leaf(path, "number")
