"""Pages around the facts: articles, an outdated comparison that says so, forum threads, one current price index."""

from __future__ import annotations

from datetime import date
from typing import Any

from orchestra.devnet.content import markup
from orchestra.devnet.content.facts import Cloud, clouds, load_json
from orchestra.devnet.content.web import WebPage


def pages() -> tuple[WebPage, ...]:
    return (*map(_article, load_json("articles.json")), _price_index())


def _article(record: dict[str, Any]) -> WebPage:
    published = date.fromisoformat(record["date"])
    body = markup.heading(1, record["title"]) + markup.paragraph(f"Published: {published.isoformat()}")
    body += "".join(map(markup.paragraph, record["paragraphs"]))
    if table := record.get("table"):
        body += markup.table(table["header"], table["rows"], table["caption"])
    html = markup.document(record["title"], record["site"], body, (("Home", f"https://{record['host']}/"),))
    return WebPage(record["host"], record["path"], record["title"], html, "articles")


def _price_index() -> WebPage:
    title = "GPU price index, November 2026"
    cards = ("A100 80 GB", "H100 80 GB", "L40S 48 GB")
    rows = [(cloud.name, *(_price(cloud, card) for card in cards), ", ".join(cloud.strengths)) for cloud in clouds()]
    body = (
        markup.heading(1, title)
        + markup.paragraph("Published: 2026-11-12")
        + markup.paragraph("List prices on demand, collected from the providers' own pages.")
        + markup.table(("Provider", *cards, "Strengths"), rows, "Price per GPU and hour")
    )
    html = markup.document(title, "GPU Digest", body, (("Home", "https://gpudigest.example/"),))
    return WebPage("gpudigest.example", "/2026/price-index-november", title, html, "articles")


def _price(cloud: Cloud, card: str) -> str:
    for gpu in cloud.gpus:
        if card in (gpu.name, f"{gpu.name} {gpu.memory}"):
            return f"${gpu.on_demand:.2f}"
    return "—"
