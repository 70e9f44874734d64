"""A few functions that write HTML. Text is escaped in one place, so a fact can hold any character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Pairs = Sequence[tuple[str, str]]


def text(value: str) -> str:
    """Escaped; an address that stands alone becomes a link."""
    if value.startswith(("http://", "https://")) and " " not in value:
        return f'<a href="{escape(value)}">{escape(value)}</a>'
    return escape(value)


def heading(level: int, value: str) -> str:
    return f"<h{level}>{escape(value)}</h{level}>\n"


def paragraph(value: str) -> str:
    return f"<p>{text(value)}</p>\n"


def definitions(pairs: Pairs) -> str:
    return "<dl>\n" + "".join(f"<dt>{escape(k)}</dt><dd>{text(v)}</dd>\n" for k, v in pairs) + "</dl>\n"


def key_values(pairs: Pairs) -> str:
    """A table of two columns whose first is a heading for each row."""
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{text(v)}</td></tr>\n' for k, v in pairs)
    return f"<table>\n{rows}</table>\n"


def cards(pairs: Pairs) -> str:
    rows = "".join(
        f'<div class="row"><span class="k">{escape(k)}</span><span class="v">{text(v)}</span></div>\n' for k, v in pairs
    )
    return f'<div class="cards">\n{rows}</div>\n'


def labelled(pairs: Pairs) -> str:
    return "".join(f"<p><strong>{escape(k)}:</strong> {text(v)}</p>\n" for k, v in pairs)


def sections(pairs: Pairs, level: int = 2) -> str:
    return "".join(heading(level, k) + paragraph(v) for k, v in pairs)


def bullets(items: Iterable[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{text(item)}</li>\n" for item in items) + "</ul>\n"


def links(items: Iterable[tuple[str, str]]) -> str:
    return (
        "<ul>\n"
        + "".join(f'<li><a href="{escape(url)}">{escape(label)}</a></li>\n' for label, url in items)
        + "</ul>\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    head = "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>\n"
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    title = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    return f"<table>\n{title}<thead>{head}</thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def document(title: str, site: str, body: str, navigation: Iterable[tuple[str, str]] = ()) -> str:
    """A whole page: head, navigation, the body, a footer."""
    menu = " ".join(f'<a href="{escape(url)}">{escape(label)}</a>' for label, url in navigation)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)} | {escape(site)}</title>\n"
        f'<meta property="og:site_name" content="{escape(site)}">\n</head>\n<body>\n'
        f"<nav>{menu}</nav>\n<main>\n{body}</main>\n<footer>{escape(site)}</footer>\n</body>\n</html>\n"
    )
