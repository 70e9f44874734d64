"""The shorthand of target_schema: the JSON a caller would like to get back, with words in place of the values.

`{"competitors": [{"name": "str", "pricing": "dict"}], "recommendation": {"price_point": "float"}}`. Everything is
bounded while it is read, because the writer may be anybody; every refusal names the place and what may stand there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn, cast, get_args

from ledger.schemas import json_pointer
from orchestra.schema.errors import TargetSchemaError, did_you_mean
from orchestra.schema.shapes import (
    PROSE_NAMES,
    AnyShape,
    DictOf,
    Enum,
    Field,
    ListOf,
    Nullable,
    Record,
    Scalar,
    ScalarKind,
    Shape,
)

MAX_DEPTH = 16
MAX_NODES = 500
MAX_WORD_CHARS = 2000

_KINDS: dict[str, ScalarKind] = {kind: kind for kind in get_args(ScalarKind)}
_NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.-]*)")
_ENUM = re.compile(r"\s*\(([^()]*)\)")
_STR_KEY = re.compile(r"\s*str\s*,")


class Budget:
    """Counts the nodes of one schema, and refuses what is too large or too deep."""

    def __init__(self) -> None:
        self._nodes = 0

    def spend(self, pointer: str, depth: int) -> None:
        """One more node, `depth` levels below the root.

        Raises:
            TargetSchemaError: more than 500 nodes or 16 levels.
        """
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise TargetSchemaError(pointer, detail=f"more than {MAX_NODES} fields and types", allowed=())
        if depth > MAX_DEPTH:
            raise TargetSchemaError(pointer, detail=f"nested deeper than {MAX_DEPTH}", allowed=())


def read_shorthand(raw: Mapping[str, object]) -> Record:
    """The shape that a shorthand object says.

    Raises:
        TargetSchemaError: with the place, what was found there and the allowed words.
    """
    return _record(raw, (), Budget(), 0)


def _shape(raw: object, path: tuple[str, ...], key: str, budget: Budget, depth: int) -> Shape:
    if isinstance(raw, str):
        return with_prose(_Word(raw, json_pointer(path), budget, depth).read(), key)
    if isinstance(raw, Mapping):
        return _record(cast("Mapping[str, object]", raw), path, budget, depth)
    if isinstance(raw, list):
        return _list(cast("list[object]", raw), path, budget, depth)
    detail = f"found {str(raw)[:60]}, which is a value; write the word for its type"
    raise TargetSchemaError(json_pointer(path), str(raw), detail)


def with_prose(shape: Shape, key: str) -> Shape:
    """`shape` as free text if it is a `str` (or null) under a name that means prose. See `PROSE_NAMES`."""
    match shape:
        case Scalar("str") if key in PROSE_NAMES:
            return Scalar("str", free_text=True)
        case Nullable(Scalar() as inner):
            return Nullable(with_prose(inner, key))
        case _:
            return shape


def _record(raw: Mapping[str, object], path: tuple[str, ...], budget: Budget, depth: int) -> Record:
    budget.spend(json_pointer(path), depth)
    if not raw:
        _fail(path, "{}", 'found an empty object; name its keys, or write "dict" for an object of any keys')
    fields: dict[str, Field] = {}
    for key, value in raw.items():
        name = key.removesuffix("?")
        if not name:
            _fail((*path, key), key, "a key needs a name")
        if name in fields:
            _fail((*path, key), key, f"the key {name[:60]!r} is there twice, with and without '?'")
        shape = _shape(value, (*path, key), name, budget, depth + 1)
        fields[name] = Field(name, shape, required=not key.endswith("?"))
    return Record(tuple(fields.values()))


def _list(raw: list[object], path: tuple[str, ...], budget: Budget, depth: int) -> ListOf:
    budget.spend(json_pointer(path), depth)
    if len(raw) != 1:
        _fail(path, f"[{len(raw)}]", f"found a list of {len(raw)}; write exactly one element, the shape of every item")
    return ListOf(_shape(raw[0], (*path, "0"), "", budget, depth + 1))


def _fail(path: tuple[str, ...], found: str, detail: str) -> NoReturn:
    raise TargetSchemaError(json_pointer(path), found, detail)


class _Word:
    """Reads one word: `T | null` over `name`, `list[T]`, `dict[str, T]`, `enum(a, b)`."""

    def __init__(self, text: str, pointer: str, budget: Budget, depth: int) -> None:
        self._text = text
        self._pointer = pointer
        self._budget = budget
        self._depth = depth
        self._at = 0

    def read(self) -> Shape:
        if len(self._text) > MAX_WORD_CHARS:
            raise TargetSchemaError(self._pointer, self._text, f"a word of more than {MAX_WORD_CHARS} characters")
        shape = self._union(self._depth)
        if self._text[self._at :].strip():
            raise self._wrong()
        return shape

    def _union(self, depth: int) -> Shape:
        parts = [self._term(depth)]
        while self._take("|"):
            parts.append(self._term(depth))
        kept = [part for part in parts if part is not None]
        if len(kept) == 1 and len(parts) <= 2:
            return kept[0] if len(parts) == 1 else Nullable(kept[0])
        detail = f"found {self._text[:60]!r}; beside a type only null may stand ('T | null')"
        raise TargetSchemaError(self._pointer, self._text, detail)

    def _term(self, depth: int) -> Shape | None:
        self._budget.spend(self._pointer, depth)
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._wrong()
        name, self._at = found[1], found.end()
        if name == "null":
            return None
        if name == "list":
            return self._list(depth)
        if name == "dict":
            return self._dict(depth)
        if name == "enum":
            return self._enum()
        if name in _KINDS:
            return Scalar(_KINDS[name])
        raise self._wrong(name)

    def _list(self, depth: int) -> Shape:
        if not self._take("["):
            return ListOf(AnyShape())
        item = self._union(depth + 1)
        self._need("]")
        return ListOf(item)

    def _dict(self, depth: int) -> Shape:
        if not self._take("["):
            return DictOf(AnyShape())
        key = _STR_KEY.match(self._text, self._at)
        if key is None:
            raise TargetSchemaError(self._pointer, self._text, "the keys of a dict are str: write dict[str, T]")
        self._at = key.end()
        value = self._union(depth + 1)
        self._need("]")
        return DictOf(value)

    def _enum(self) -> Shape:
        listed = _ENUM.match(self._text, self._at)
        values = tuple(part.strip() for part in listed[1].split(",")) if listed else ()
        if listed is None or not all(values) or len(set(values)) != len(values):
            raise TargetSchemaError(self._pointer, self._text, "write enum(a, b): distinct values in parentheses")
        self._at = listed.end()
        return Enum(values)

    def _take(self, mark: str) -> bool:
        rest = self._text[self._at :].lstrip()
        if not rest.startswith(mark):
            return False
        self._at = len(self._text) - len(rest) + 1
        return True

    def _need(self, mark: str) -> None:
        if not self._take(mark):
            raise TargetSchemaError(self._pointer, self._text, f"found {self._text[:60]!r}; {mark!r} is missing")

    def _wrong(self, word: str = "") -> TargetSchemaError:
        found = self._text.strip()
        if not found:
            return TargetSchemaError(self._pointer, "", "found an empty word")
        return TargetSchemaError(self._pointer, found, suggestion=did_you_mean(word or found))
