"""Whatever the page and whatever is asked: every value that extraction returns stands in the page."""

from __future__ import annotations

import html
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra.synthesis.extraction import extract_records
from orchestra.synthesis.labels import slug

LABELS = st.sampled_from(
    [
        "Netuid",
        "API endpoint",
        "Authentication",
        "Price",
        "A100 80 GB",
        "H100",
        "Strengths",
        "Provider",
        "Updated",
        "Public API",
    ]
)
VALUES = st.sampled_from(
    [
        "34",
        "$1.99/hr",
        "2.79 USD",
        "https://api.harbour.test/v1",
        "yes",
        "no",
        "3 March 2026",
        "2026-11-20",
        "a, b and c",
        "SN7",
    ]
) | st.text(alphabet="ab cXY.:|-7$,;()\n", max_size=30)
PROSE = (
    st.sampled_from(
        [
            "Harbour detects forged papers; also stamps.",
            "An H100 costs $2.79 an hour, an L4 is at $0.50.",
            "The base URL is https://api.harbour.test.",
            "Authentication uses a key in a header.",
            "It runs as subnet 12.",
            "Harbour is known for tugs and pilots.",
        ]
    )
    | VALUES
)
FIELDS = {
    "name": "str", "netuid": "int", "base_url": "url", "auth": "str", "pricing": "dict", "price": "float",
    "strengths": "list", "detects": "str", "public_api": "bool", "updated": "datetime", "x": "list[int]",
    "models": [{"gpu": "str", "price": "float"}], "rates": {"a100_80gb": "float", "h100": "str"}, "kind": "enum(a, b)",
    "costs": "dict[str, float]",
}  # fmt: skip


def rows(draw: st.DrawFn) -> list[tuple[str, str]]:
    return draw(st.lists(st.tuples(LABELS, VALUES), min_size=1, max_size=4))


@st.composite
def blocks(draw: st.DrawFn) -> str:
    """One block of HTML with its text escaped."""
    pairs = [(html.escape(a), html.escape(b)) for a, b in rows(draw)]
    prose = html.escape(draw(PROSE))
    heading = html.escape(draw(LABELS))
    width = draw(st.integers(2, 4))
    return draw(
        st.sampled_from(
            [
                f"<h2>{heading}</h2>",
                f"<h1>{heading} of Harbour</h1>",
                f"<p>{prose}</p>",
                "<dl>" + "".join(f"<dt>{a}<dd>{b}" for a, b in pairs) + "</dl>",
                "<ul>" + "".join(f"<li>{b}" for _, b in pairs) + f"<li><b>{heading}</b> — {prose}</ul>",
                "<table>" + "".join(f"<tr><th>{a}<td>{b}" for a, b in pairs) + "</table>",
                "<table><tr>" + "".join(f"<th>{a}" for a, _ in pairs * width) + "</tr>"
                + "".join("<tr>" + f"<td>{a}<td>{b}" * len(pairs) * width for a, b in pairs) + "</table>",
                "<div>" + "".join(f"<div><span>{a}</span><span>{b}</span></div>" for a, b in pairs) + "</div>",
                "".join(f"<p><strong>{a}:</strong> {b}</p>" for a, b in pairs),
            ]
        )
    )  # fmt: skip


PAGES = st.lists(blocks(), max_size=6).map("".join)


def flat(text: str) -> str:
    return " ".join(text.split())


def stands_in(value: Any, page: str) -> bool:
    """Does a leaf stand in the page's text, as it is or as a number, a word or a date of it?"""
    if isinstance(value, bool):
        words = {"yes", "true", "available"} if value else {"no", "not", "false", "none"}
        return bool(words & set(re.findall(r"\w+", page.lower())))
    if isinstance(value, int | float):
        found = re.findall(r"(?=([-]?\d[\d,]*(?:\.\d+)?))", page)
        return value in {float(number.replace(",", "")) for number in found}
    if re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", value):
        return value[:10] in page or (value[:4] in page and str(int(value[8:10])) in page)
    return flat(value) in page


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def mapped_keys(record: dict[str, Any]) -> list[str]:
    return [key for name in ("pricing", "costs") for key in record.get(name, {})]


@settings(max_examples=300)
@given(page=PAGES, wanted=st.sets(st.sampled_from(sorted(FIELDS)), min_size=1))
def test_every_value_stands_in_the_page(page: str, wanted: set[str]) -> None:
    text = flat(html.unescape(re.sub(r"</?(?:b|strong)>", "", page).replace("<", " <")))
    text = flat(re.sub(r"<[^>]{1,8}>", " ", text))
    for record in extract_records(page, {name: FIELDS[name] for name in wanted}):
        assert record.keys() <= wanted
        for leaf in leaves(record):
            assert stands_in(leaf, text), (leaf, text)
        for key in mapped_keys(record):
            assert key in slug(text), (key, text)


@given(text=st.text(max_size=300), wanted=st.sets(st.sampled_from(sorted(FIELDS)), min_size=1))
def test_any_text_is_read_without_an_error(text: str, wanted: set[str]) -> None:
    fields = {name: FIELDS[name] for name in wanted}
    for media_type in ("text/html", "text/plain"):
        assert isinstance(extract_records(text, fields, media_type), list)


@given(page=PAGES)
def test_the_same_page_gives_the_same_records(page: str) -> None:
    assert extract_records(page, FIELDS) == extract_records(page, FIELDS)
