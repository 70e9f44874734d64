"""Extraction finds what a page says under the names that people use, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.synthesis.coercion import kind_of, money_in, number_in, scalar, split_list
from orchestra.synthesis.extraction import MAX_FIELDS, extract_records
from orchestra.synthesis.labels import match, slug, words
from orchestra.synthesis.page import Heading, Items, Pair, Paragraph, Table, read_html, read_text, render_text

HEAD = '<html><head><title>{title}</title><meta property="og:site_name" content="{site}"></head><body>'


def page(body: str, title: str = "Harbour", site: str = "") -> str:
    return HEAD.format(title=title, site=site) + body + "</body></html>"


DEFINITIONS = (
    "<h1>Harbour (SN7)</h1><dl><dt>Netuid</dt><dd>7</dd><dt>API endpoint</dt><dd>https://api.harbour.test</dd></dl>"
)
KEY_VALUES = (
    "<h1>Harbour</h1><table><tr><th>Subnet ID</th><td>7</td></tr><tr><th>Base URL</th><td>https://api.harbour.test</td></tr>"
    "</table>"
)
CARDS = (
    "<h1>Harbour</h1><div><div><span>Netuid</span><span>7</span></div>"
    '<div><span>Endpoint</span><span><a href="https://api.harbour.test">here</a></span></div></div>'
)
BOLD = "<h1>Harbour</h1><p><strong>Netuid:</strong> 7</p><p><strong>API URL:</strong> https://api.harbour.test</p>"
SECTIONS = "<h1>Harbour (SN7)</h1><h2>API base</h2><p>https://api.harbour.test</p>"
PROSE = "<h1>Harbour</h1><p>Harbour holds netuid 7. The API endpoint is https://api.harbour.test, open to all.</p>"


@pytest.mark.parametrize("body", [DEFINITIONS, KEY_VALUES, CARDS, BOLD, SECTIONS, PROSE])
def test_one_fact_in_six_layouts(body: str) -> None:
    fields = {"netuid": "int", "name": "str", "base_url": "url"}
    assert extract_records(page(body), fields) == [
        {"netuid": 7, "name": "Harbour", "base_url": "https://api.harbour.test"}
    ]


@pytest.mark.parametrize(
    ("field", "label", "fits"),
    [
        ("auth", "Authentication", True),
        ("auth", "Authorization", True),
        ("base_url", "API endpoint", True),
        ("baseUrl", "Base URL", True),
        ("pricing", "Rates per GPU and hour", True),
        ("rate_limits", "Rate limiting", True),
        ("pricing", "Rate limits", False),
        ("spot_pricing", "Price", False),
        ("storage_price", "Storage", True),
        ("strengths", "Why choose us", True),
        ("netuid", "Name", False),
        ("", "Name", False),
    ],
)
def test_labels_mean_fields(field: str, label: str, fits: bool) -> None:
    assert (match(field, label) >= 0.55) is fits


def test_words_and_slugs() -> None:
    assert words("Prices of the A100 80 GB") == ("price", "a100", "80gb")
    assert slug("RTX 4090, 24 GB") == "rtx_4090_24gb"


# values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("$1.99/hr", 1.99),
        ("1.45 USD per hour", 1.45),
        ("EUR 1,299.50", 1299.5),
        ("99.5 %", 99.5),
        ("A100 at $2", 2.0),
        ("from $1 to $2", None),
        ("3 or 4", None),
        ("A100", None),
        ("none", None),
        ("9" * 400, None),
        ("$" + "9" * 400, None),
        ("12345678901234567890", None),
    ],
)
def test_numbers(text: str, number: float | None) -> None:
    assert number_in(text) == number


def test_every_amount_with_a_currency() -> None:
    assert money_in("$1.99, €0.10 and 3 dollars, not 80 GB") == [1.99, 0.1, 3.0]


@pytest.mark.parametrize(
    ("text", "spec", "value"),
    [
        ("Yes, since May", "bool", True),
        ("not available", "bool", False),
        ("no", "bool", False),
        ("perhaps", "bool", None),
        ("3.5", "int", None),
        ("2026-11-20", "datetime", "2026-11-20T00:00:00Z"),
        ("seen on 3 March 2026", "datetime", "2026-03-03T00:00:00Z"),
        ("March 3, 2026 at noon", "datetime", "2026-03-03T00:00:00Z"),
        ("2026-13-41", "datetime", None),
        ("the active one", "enum(active, parked)", "active"),
        ("active or parked", "enum(active, parked)", None),
        ("see (https://a.test/x).", "url", "https://a.test/x"),
        ("n/a", "str", None),
        ("7", "int | null", 7),
        ("12345678901234567890", "int", None),
        ("9" * 400, "int", None),
    ],
)
def test_scalars(text: str, spec: str, value: Any) -> None:
    assert scalar(text, kind_of(spec)) == value


def test_lists() -> None:
    assert split_list("spot pricing, templates and support.") == ["spot pricing", "templates", "support"]
    assert split_list("a, b; c") == ["a, b", "c"]


@pytest.mark.parametrize("spec", ["string", "list[thing]", 5, [], ["str", "int"], "dict[int, str]"])
def test_unknown_types_are_refused_with_the_words_that_are_known(spec: Any) -> None:
    with pytest.raises(ValueError, match=r"use str, int|a word, an object"):
        extract_records(page(BOLD), {"x": spec})


def test_too_many_fields_are_refused() -> None:
    with pytest.raises(ValueError, match=str(MAX_FIELDS)):
        extract_records(page(BOLD), {f"f{n}": "str" for n in range(MAX_FIELDS + 1)})


# mappings, lists, records --------------------------------------------------------------------------------------------

PRICES = """<h1>Harbour pricing</h1><h2>GPU pricing</h2><table>
<tr><th>GPU</th><th>Memory</th><th>Spot price</th><th>On-demand price</th></tr>
<tr><td>A100</td><td>80 GB</td><td>$1.19/hr</td><td>$1.99/hr</td></tr>
<tr><td>A100</td><td>40 GB</td><td>$0.80/hr</td><td>$1.20/hr</td></tr>
<tr><td>H100</td><td>80 GB</td><td>n/a</td><td>$2.79/hr</td></tr></table>
<h2>Strengths</h2><ul><li><strong>spot pricing</strong> — pay less</li><li>templates.</li></ul>"""


def test_a_price_is_the_one_on_demand_and_a_repeated_label_takes_the_next_column_along() -> None:
    [record] = extract_records(page(PRICES), {"name": "str", "pricing": "dict", "strengths": "list"})
    assert record == {
        "name": "Harbour",
        "pricing": {"a100_80gb": 1.99, "a100_40gb": 1.2, "h100_80gb": 2.79},
        "strengths": ["spot pricing", "templates"],
    }


def test_the_column_that_is_asked_for_and_its_empty_cells() -> None:
    [record] = extract_records(page(PRICES), {"spot_price": "dict[str, float]"})
    assert record == {"spot_price": {"a100_80gb": 1.19, "a100_40gb": 0.8}}


def test_nested_objects_and_rows() -> None:
    fields = {"pricing": {"h100_80gb": "float", "t4": "float"}, "gpus": [{"gpu": "str", "spot_price": "float"}]}
    [record] = extract_records(page(PRICES), fields)
    assert record["pricing"] == {"h100_80gb": 2.79}
    assert record["gpus"][0] == {"gpu": "A100", "spot_price": 1.19}
    assert record["gpus"][2] == {"gpu": "H100"}


def test_rows_are_records_when_the_fields_are_columns() -> None:
    records = extract_records(page(PRICES), {"gpu": "str", "on_demand_price": "float"})
    assert records[0] == {"gpu": "A100", "on_demand_price": 1.99}
    assert len(records) == 3


def test_a_comparison_gives_one_record_for_each_provider() -> None:
    table = """<h1>Clouds compared</h1><table><caption>Price per hour</caption>
    <tr><th>Provider</th><th>A100 80GB</th><th>L40S 48 GB</th><th>Strengths</th></tr>
    <tr><td>North</td><td>$1.99</td><td>0.86 USD</td><td>cheap, green</td></tr>
    <tr><td>South</td><td>$1.45</td><td>—</td><td>near</td></tr></table>"""
    assert extract_records(page(table), {"name": "str", "pricing": "dict", "strengths": "list"}) == [
        {"name": "North", "pricing": {"a100_80gb": 1.99, "l40s_48gb": 0.86}, "strengths": ["cheap", "green"]},
        {"name": "South", "pricing": {"a100_80gb": 1.45}, "strengths": ["near"]},
    ]


def test_sections_of_one_form_are_records() -> None:
    body = "<h1>Clouds</h1>" + "".join(
        f"<h2>{name}</h2><dl><dt>Founded</dt><dd>{year}</dd><dt>Support</dt><dd>{support}</dd></dl>"
        for name, year, support in (("North", 2019, "chat"), ("South", 2021, "mail"))
    )
    assert extract_records(page(body), {"name": "str", "founded": "int", "support": "str"}) == [
        {"name": "North", "founded": 2019, "support": "chat"},
        {"name": "South", "founded": 2021, "support": "mail"},
    ]


def test_prices_in_sentences() -> None:
    body = (
        "<h1>Harbour</h1><p>An A100 80 GB costs $1.89 per hour and an L4 at $0.50, while storage is $0.10 per GB.</p>"
        "<p>Harbour is known for reliability and enterprise contracts.</p>"
    )
    [record] = extract_records(page(body), {"pricing": "dict", "strengths": "list"})
    assert record == {"pricing": {"a100_80gb": 1.89, "l4": 0.5}, "strengths": ["reliability", "enterprise contracts"]}


def test_a_verb_finds_its_sentence_and_no_other_word_does() -> None:
    body = "<h1>Harbour</h1><p>Tugs come and go. Harbour detects forged bills of lading. Detects are not counted.</p>"
    assert extract_records(page(body), {"detects": "str"}) == [{"detects": "forged bills of lading"}]
    assert extract_records(page(body), {"sells": "str"}) == []


# restraint -----------------------------------------------------------------------------------------------------------


def test_a_field_that_is_answered_twice_is_left_out() -> None:
    body = "<h1>Harbour</h1><dl><dt>Price</dt><dd>$1</dd><dt>Price</dt><dd>$2</dd><dt>Founded</dt><dd>1999</dd></dl>"
    assert extract_records(page(body), {"price": "float", "founded": "int"}) == [{"founded": 1999}]


def test_a_page_that_only_has_a_name_answers_only_the_question_for_names() -> None:
    body = "<h1>Harbour</h1><p>Tugs come and go.</p>"
    assert extract_records(page(body), {"name": "str", "pricing": "dict", "strengths": "list"}) == []
    assert extract_records(page(body), {"name": "str"}) == [{"name": "Harbour"}]


def test_names_come_without_what_pages_add_to_them() -> None:
    def name(heading: str, site: str = "") -> str:
        return extract_records(page(f"<h1>{heading}</h1>", title="", site=site), {"name": "str"})[0]["name"]

    assert name("Harbour GPU cloud pricing") == "Harbour"
    assert name("About Harbour") == "Harbour"
    assert name("Subnet 7: Harbour") == "Harbour"
    assert name("Harbour Cloud pricing", site="Harbour Cloud") == "Harbour Cloud"
    assert name("Pricing", site="Harbour") == "Harbour"


@pytest.mark.parametrize("document", ["", "<", "\x00", "<table><tr>", "|" * 50, "# \n- \n: \n", "a" * 10_000])
@pytest.mark.parametrize("media_type", ["text/html", "text/plain"])
def test_documents_that_say_nothing_give_nothing(document: str, media_type: str) -> None:
    assert extract_records(document, {"netuid": "int", "pricing": "dict", "auth": "str"}, media_type) == []


def test_deep_and_large_documents_are_read_to_a_bound() -> None:
    deep = "<div>" * 5_000 + "<p>Netuid: 7</p>"
    assert extract_records(deep, {"netuid": "int"}) in ([{"netuid": 7}], [])
    late = "x " * (1 << 20) + "\n\nNetuid: 7"
    assert extract_records(late, {"netuid": "int"}, "text/plain") == []


def test_scripts_forms_and_navigation_are_not_content() -> None:
    body = (
        "<nav>Price: $9</nav><script>Price: $8</script><form>Price: $7</form><h1>Harbour</h1><footer>Price: $6</footer>"
    )
    assert extract_records(page(body), {"price": "float"}) == []


# blocks --------------------------------------------------------------------------------------------------------------


def test_text_is_read_back_into_the_blocks_it_was_written_from() -> None:
    read = read_html(page(PRICES + DEFINITIONS + "<p>Tugs come and go.</p>"))
    again = read_text(render_text(read))
    kinds = (Heading, Table, Items, Pair, Paragraph)
    assert [type(block) for block in again.blocks] == [type(block) for block in read.blocks if isinstance(block, kinds)]
    assert [b for b in again.blocks if isinstance(b, Heading | Table | Items)] == [
        b for b in read.blocks if isinstance(b, Heading | Table | Items)
    ]


def test_text_without_marks_is_read_by_its_layout() -> None:
    lines = ("Harbour", "", "Strengths", "", "- cheap", "- near", "", "Netuid: 7")
    text = "\n".join((*lines, "API endpoint: https://api.harbour.test", "", "Tugs come and go."))
    record = {"name": "Harbour", "strengths": ["cheap", "near"], "netuid": 7, "base_url": "https://api.harbour.test"}
    fields = {"name": "str", "strengths": "list", "netuid": "int", "base_url": "url"}
    assert extract_records(text, fields, "text/plain") == [record]
