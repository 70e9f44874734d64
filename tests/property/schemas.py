"""Strategies: shorthand schemas, data that fits them, and places where it can be broken."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from orchestra.schema import AnyShape, DictOf, Enum, ListOf, Nullable, Record, Scalar, Shape

KEYS = st.one_of(
    st.sampled_from(
        ["name", "class", "summary", "type", "properties", "items", "json", "a/b", "m~n", "x y", "model_x"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="?"), min_size=1, max_size=6),
)
SIMPLE = st.sampled_from(
    ["int", "bool", "float", "str", "list", "dict", "datetime", "url", "enum(a, b)", "enum(one two)"]
)
WORDS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        inner.filter(lambda word: "| null" not in word).map("{} | null".format),
        inner.map("list[{}]".format),
        inner.map("dict[str, {}]".format),
    ),
    max_leaves=3,
)


def _record(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    entries = st.dictionaries(KEYS, st.tuples(children, st.booleans()), min_size=1, max_size=4)
    return entries.map(lambda found: {key + "?" * optional: child for key, (child, optional) in found.items()})


SHORTHAND = _record(st.recursive(WORDS, lambda inner: _record(inner) | inner.map(lambda one: [one]), max_leaves=6))

JSON_LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | st.text(max_size=8)
)
JSON_VALUES = st.recursive(
    JSON_LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
FILLED = st.integers(1, 9) | st.text("abc", min_size=1, max_size=3)

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(-1000, 1000).map(float),
    "bool": st.booleans(),
    "float": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1),
    "str": st.text(st.characters(codec="utf-8"), max_size=8).map("x{}".format),
    "datetime": st.datetimes(timezones=st.timezones()).map(
        lambda at: at.replace(microsecond=0).isoformat()[:19] + "Z",
    ),
    "url": st.sampled_from(["https://a.example", "http://b.example/c?d=e#f", "HTTPS://127.0.0.1:80/"]),
}


def data_for(shape: Shape) -> st.SearchStrategy[Any]:
    """Data that fits, is filled everywhere, and has every required key (optional ones sometimes)."""
    match shape:
        case Scalar(kind):
            return SCALARS[kind]
        case Enum(values):
            return st.sampled_from(values)
        case AnyShape():
            return FILLED
        case Nullable(inner):
            return st.none() | data_for(inner)
        case ListOf(item):
            return st.lists(data_for(item), min_size=max(1, shape.min_items), max_size=3)
        case DictOf(value):
            return st.dictionaries(st.text("ab/~", min_size=1, max_size=3), data_for(value), min_size=1, max_size=3)
        case Record(fields):
            return st.fixed_dictionaries(
                {field.name: data_for(field.shape) for field in fields if field.required},
                optional={field.name: data_for(field.shape) for field in fields if not field.required},
            )
