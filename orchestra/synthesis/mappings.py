"""Mappings on a page, `{"a100_80gb": 1.99}`: from a table's column, labelled values or sentences with prices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from orchestra.synthesis.coercion import Kind, cell_value, money_in, number_in, scalar
from orchestra.synthesis.labels import FITS, canonical_words, match, meaning, slug, without
from orchestra.synthesis.layout import Layout
from orchestra.synthesis.page import Block, Pair, Paragraph, Table

Entries = list[tuple[str, str]]

_BARE = re.compile(r"\d[\d.,]*")
_PROSE_PRICE = re.compile(
    r"^(?P<label>.{2,80}?)\s+(?:costs?|is|at|for|from|starts at|rents? (?:for|at)|goes for|=|[–—-])\s+"
    r"(?P<rest>\D{0,24}\d.*)$"
)


def mapping(layout: Layout, field: str, item: Kind | None) -> dict[str, Any] | None:
    """`{slug: value}` of the table, the labelled values or the priced sentences that the field names."""
    stated = reversed(entries(layout, field))
    values = {slug(label): cell_value(text) if item is None else scalar(text, item) for label, text in stated}
    return {key: value for key, value in reversed(values.items()) if key and value is not None} or None


def entries(layout: Layout, field: str) -> Entries:
    """The same as (label, text)."""
    found = [(score, entries) for score, entries in _candidates(layout, field) if entries]
    if found:
        return max(found, key=lambda pair: pair[0])[1]
    if meaning(field) != frozenset({"price"}):
        return []
    return [entry for sentence, _ in layout.sentences() for entry in _priced_clauses(sentence)]


def _candidates(layout: Layout, field: str) -> Iterator[tuple[float, Entries]]:
    for section in layout.sections:
        score = match(field, section.heading)
        if score >= FITS:
            yield score, _stated(field, section.own)
        for table in (block for block in section.blocks if isinstance(block, Table)):
            yield from _table_entries(table, field, max(score, match(field, table.caption)))
    labelled = [(_beyond(pair.label, field), pair.value) for pair in layout.pairs if _mentions(pair.label, field)]
    if len(labelled) > 1:
        yield FITS, labelled
    for pair in layout.pairs:
        if match(field, pair.label) >= FITS:
            yield match(field, pair.label) - 0.1, list(_priced_clauses(pair.value))


def _stated(field: str, blocks: list[Block]) -> list[tuple[str, str]]:
    """The labelled values as entries; of prices only amounts and bare numbers, and those in sentences too."""
    pairs = [(block.label, block.value) for block in blocks if isinstance(block, Pair)]
    if "price" not in meaning(field):
        return pairs
    priced = [(label, value) for label, value in pairs if money_in(value) or _BARE.fullmatch(value)]
    texts = [block.text for block in blocks if isinstance(block, Paragraph)]
    return priced or [entry for text in texts for entry in _priced_clauses(text)]


def _priced_clauses(sentence: str) -> Iterator[tuple[str, str]]:
    """`An A100 80 GB costs $1.99 an hour`: the proper words before an amount, and the rest of the clause."""
    for clause in re.split(r";\s+|,\s+(?:and\s+)?|\s+and\s+|\s+while\s+", sentence.rstrip(".")):
        if len(money_in(clause)) == 1 and (found := _PROSE_PRICE.match(clause)):
            tokens = found["label"].split()
            run: list[str] = []
            while tokens and (
                any(c.isupper() or c.isdigit() for c in tokens[-1]) and tokens[-1] not in ("A", "An", "The")
            ):
                run.insert(0, tokens.pop())
            if run and (tokens or any(c.isdigit() for c in "".join(run))):
                yield " ".join(run), clause[found.start("rest") :]


def _mentions(label: str, field: str) -> bool:
    """Does the label say the field and something else?"""
    return set(canonical_words(field)) < set(canonical_words(label))


def _beyond(label: str, field: str) -> str:
    """The label without the words of the field, where it has others."""
    return without(label, field) if _mentions(label, field) else label


def _table_entries(table: Table, field: str, context: float) -> Iterator[tuple[float, list[tuple[str, str]]]]:
    """Row labels with the column that the field names best; by the context alone, the first column of amounts."""
    scored = [
        (max(match(field, header), 0.9 * context if money_in(header) or has_money(table, index) else 0.0), -index)
        for index, header in enumerate(table.header)
        if index and _numeric(table, index)
    ]
    score, negative = max(scored, default=(0.0, 0))
    if score >= FITS:
        labels = row_labels(table, -negative)
        yield score + 0.2 * context, [(label, row[-negative]) for label, row in zip(labels, table.rows, strict=True)]


# tables --------------------------------------------------------------------------------------------------------------


def priced_columns(table: Table, field: str, taken: set[int]) -> list[int]:
    """Columns of numbers that together are a mapping, because their headers or the caption say so."""
    captioned = match(field, table.caption) >= FITS
    asked = set(canonical_words(field))
    return [
        index
        for index, header in enumerate(table.header)
        if index
        and index not in taken
        and _numeric(table, index)
        and (captioned or asked & set(canonical_words(header)) or money_in(table.rows[0][index]))
    ]


def row_mapping(table: Table, row: tuple[str, ...], field: str, indices: list[int]) -> dict[str, Any]:
    """A row's cells in those columns, by the slugs of the headers."""
    labels = {index: slug(_beyond(table.header[index], field)) for index in indices}
    values = {labels[index]: cell_value(row[index]) for index in indices}
    return {key: value for key, value in values.items() if value is not None}


def row_labels(table: Table, value_index: int) -> list[str]:
    """The first column; where it repeats itself, with the next columns until every row is told apart."""
    labels = [row[0] for row in table.rows]
    for index in range(1, value_index):
        if len(set(labels)) == len(labels):
            break
        labels = [f"{label} {row[index]}" for label, row in zip(labels, table.rows, strict=True)]
    return labels


def has_money(table: Table, index: int) -> bool:
    return any(money_in(row[index]) for row in table.rows)


def _numeric(table: Table, index: int) -> bool:
    said = [row[index] for row in table.rows if cell_value(row[index]) is not None]
    return bool(said) and 2 * sum(number_in(text) is not None for text in said) >= len(said)
