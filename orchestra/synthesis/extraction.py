"""Records with the requested fields from a page, and nothing that the page does not say.

A field is found by its name: a label that means the same (`labels`), a heading, a table column, a sentence that opens
with the verb. The text found must then be exactly one value of the field's type (`coercion`); otherwise the field is
left out, because a gap can be filled from elsewhere and an invention cannot be taken back. A page that describes
several things (a table with one row each, or sections of one form) gives one record for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestra.synthesis.coercion import Kind, kind_of, scalar, split_list
from orchestra.synthesis.finding import Finder, coerced
from orchestra.synthesis.labels import FITS, is_name, match
from orchestra.synthesis.mappings import entries, mapping, priced_columns, row_mapping
from orchestra.synthesis.page import Heading, Page, Table, read_page

MAX_FIELDS = 64
MAX_RECORDS = 200

Record = dict[str, Any]
_NONE: list[Record] = []


def extract_records(document: str, fields: Mapping[str, Any], media_type: str = "text/html") -> list[Record]:
    """The records of a page, each with those of the `fields` that the page states.

    `fields` maps names to target_schema shorthand (`"str"`, `"float"`, `"list"`, `"dict"`, `"url"`, `"list[str]"`,
    `"enum(a, b)"`, an object or a list of one object for nested records, `"name?"` as an optional name). A `dict`
    becomes `{slug of the label: number or text}`: `{"a100_80gb": 1.99}`. A field that the page leaves open or answers
    twice is absent; a page that states none of them gives no record.

    Raises:
        ValueError: a field's type is not a word of the shorthand, or there are more than 64 fields.
    """
    return records_of(read_page(document, media_type), fields)


def records_of(page: Page, fields: Mapping[str, Any]) -> list[Record]:
    """The same from a page that was read before."""
    if len(fields) > MAX_FIELDS:
        raise ValueError(f"at most {MAX_FIELDS} fields, not {len(fields)}")
    asked = {name.removesuffix("?"): kind_of(spec) for name, spec in fields.items()}
    single = _record(page, asked)
    rows = max((_row_records(table, asked) for table in _tables(page)), key=_richness, default=_NONE)
    parts = _section_records(page, asked)
    if _richness(parts) >= max(2, len(single)) and len(parts) > 1 and _richness(parts) >= _richness(rows):
        return parts[:MAX_RECORDS]
    if _richness(rows) >= max(3, len(single)) or _richness(rows) > len(single):
        return rows[:MAX_RECORDS]
    return [single] if _says_something(single, asked) else []


def _record(page: Page, asked: Mapping[str, Kind]) -> Record:
    finder = Finder(page)
    found = {name: _value(finder, name, kind) for name, kind in asked.items()}
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def _value(finder: Finder, name: str, kind: Kind) -> Any:
    match kind.name:
        case "object":
            return _nested(finder, name, kind)
        case "dict":
            return mapping(finder.layout, name, kind.item)
        case "list":
            if kind.item and kind.item.name == "object":
                return _nested_rows(finder, name, kind.item)
            return finder.listing(name, kind.item)
        case "str" if is_name(name):
            return finder.name(name)
        case _:
            return finder.scalar(name, kind)


def _nested(finder: Finder, name: str, kind: Kind) -> Record:
    """An object's fields: from the section of its name, else from the free-form mapping of its name."""
    asked = {key.removesuffix("?"): kind_of(spec) for key, spec in (kind.fields or {}).items()}
    stated = entries(finder.layout, name)
    record = _record(Page(blocks=tuple(finder.section(name))), asked)
    for key, wanted in asked.items():
        best = max(stated, key=lambda entry: match(key, entry[0]), default=None)
        if key not in record and best and match(key, best[0]) >= FITS:
            value = scalar(best[1], wanted)
            record |= {} if value is None else {key: value}
    return record


def _nested_rows(finder: Finder, name: str, kind: Kind) -> list[Record]:
    asked = {key.removesuffix("?"): kind_of(spec) for key, spec in (kind.fields or {}).items()}
    tables = [block for block in finder.section(name) if isinstance(block, Table)] or finder.layout.tables
    return max((_row_records(table, asked) for table in tables), key=_richness, default=_NONE)[:MAX_RECORDS]


def _says_something(record: Record, asked: Mapping[str, Kind]) -> bool:
    """A record that holds only what the page is called answers nothing but the question for names."""
    return any(not is_name(name) for name in record) or (bool(record) and all(map(is_name, asked)))


def _richness(records: list[Record]) -> int:
    """How much the records have in common: the size of the second largest, so that one odd row does not count."""
    sizes = sorted((len(record) for record in records), reverse=True)
    return sizes[1] if len(sizes) > 1 else sizes[0] if sizes else 0


def _tables(page: Page) -> list[Table]:
    return [block for block in page.blocks if isinstance(block, Table) and block.header]


def _row_records(table: Table, asked: Mapping[str, Kind]) -> list[Record]:
    """One record a row, where at least two columns (or the one field asked for) are among the fields."""
    columns = _columns(table, asked)
    mapped = {
        name: priced_columns(table, name, set(columns.values())) for name, kind in asked.items() if kind.name == "dict"
    }
    if len(columns) + sum(map(bool, mapped.values())) < min(2, len(asked)):
        return []
    records: list[Record] = []
    for row in table.rows:
        record = {name: _cell(row[index], asked[name]) for name, index in columns.items()}
        record |= {name: row_mapping(table, row, name, indices) for name, indices in mapped.items()}
        record = {name: value for name, value in record.items() if value not in (None, [], {})}
        if record:
            records.append(record)
    return records


def _columns(table: Table, asked: Mapping[str, Kind]) -> dict[str, int]:
    """Which column holds which field: best match first, every column once. A name's column may be headed by a kind."""
    scores = [
        (max(match(name, header), 0.6 if is_name(name) and is_name(header) else 0.0), -index, name)
        for name, kind in asked.items()
        if kind.name not in ("dict", "object")
        for index, header in enumerate(table.header)
    ]
    columns: dict[str, int] = {}
    for score, negative, name in sorted(scores, reverse=True):
        if score >= FITS and name not in columns and -negative not in columns.values():
            columns[name] = -negative
    return columns


def _cell(text: str, kind: Kind) -> Any:
    if kind.name == "list":
        return coerced(split_list(text), kind.item) or None
    return scalar(text, kind)


def _section_records(page: Page, asked: Mapping[str, Kind]) -> list[Record]:
    """One record a section of the same level, where sections state at least two fields beyond their own name."""
    best: list[Record] = []
    for level in (2, 3):
        records = [_record(Page(blocks=section), asked) for section in _split(page, level)]
        full = [record for record in records if sum(not is_name(name) for name in record) >= 2]
        if len(full) > 1 and len({str(sorted(record.items(), key=str)) for record in full}) == len(full):
            best = max(best, full, key=_richness)
    return best


def _split(page: Page, level: int) -> list[tuple[Any, ...]]:
    starts = [i for i, block in enumerate(page.blocks) if isinstance(block, Heading) and block.level == level]
    ends = [
        next(
            (
                j
                for j in range(i + 1, len(page.blocks))
                if isinstance(b := page.blocks[j], Heading) and b.level <= level
            ),
            len(page.blocks),
        )
        for i in starts
    ]
    return [page.blocks[start:end] for start, end in zip(starts, ends, strict=True)]
