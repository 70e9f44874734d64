"""A page as blocks: headings, label-value pairs, tables, lists and paragraphs, from HTML or from its plain text.

Extraction works on blocks and never on markup, so one set of rules serves a page as published and the text a crawler
made of it. `render_text` writes blocks so that `read_text` finds them again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

MAX_CHARS = 1 << 18
"""Longer documents are read up to here."""
MAX_DEPTH = 64

_SKIPPED = frozenset({"script", "style", "template", "noscript", "nav", "footer", "form", "head", "svg", "iframe"})
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6, "summary": 3}
_INLINE = frozenset(
    {
        "a",
        "abbr",
        "b",
        "br",
        "cite",
        "code",
        "data",
        "em",
        "i",
        "kbd",
        "label",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
    }
    | {"strong", "sub", "sup", "time", "u", "var", "wbr", "img"}
)
_CELL_PARTS = _INLINE | {"div", "p"}
_SPACE = re.compile(r"\s+")
_PAIR = re.compile(r"^([^\W\d_][^:.;!?|]{0,47}?)\s*:\s+(\S.*)$", re.DOTALL)
_PRICED = re.compile(r"^(\S[^:;!?|]{0,47}?)\s+[–—-]\s+((?:USD|EUR|GBP|[$€£])\s?\d.*)$")
_URL = re.compile(r"https?://[^\s<>\"'`|]*[^\s<>\"'`|.,;:!?)\]}]")


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A label with its value; `links` are the addresses that the value links to.

    `line` is the whole text where the pair was a line of running text, which then may be a sentence as well.
    """

    label: str
    value: str
    links: tuple[str, ...] = ()
    line: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of equally many cells below a header, which may be empty."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """A list. `leads` holds, for each item, the term it opens with (in bold, or before a dash), or the whole item."""

    items: tuple[str, ...]
    leads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    links: tuple[str, ...] = ()


Block = Heading | Pair | Table | Items | Paragraph


@dataclass(frozen=True, slots=True)
class Page:
    """`title` as in the head of the document, `site` as its own metadata name it, `blocks` in reading order."""

    title: str = ""
    site: str = ""
    blocks: tuple[Block, ...] = field(default=())

    @property
    def headline(self) -> str:
        """The first heading, or the title."""
        return next((block.text for block in self.blocks if isinstance(block, Heading)), self.title)


def squeeze(text: str) -> str:
    """Runs of white space as one space, none at the ends."""
    return _SPACE.sub(" ", text).strip()


def urls_in(text: str) -> list[str]:
    """Every http(s) address written in a text, without the punctuation that follows it."""
    return _URL.findall(text)


def read_page(document: str, media_type: str) -> Page:
    """Read a document of `text/html` (and XHTML) as HTML, anything else as plain text."""
    document = document[:MAX_CHARS]
    return read_html(document) if "html" in media_type else read_text(document)


# HTML ----------------------------------------------------------------------------------------------------------------


def read_html(document: str) -> Page:
    """Blocks of the body, without navigation, forms, scripts and styles."""
    tree = LexborHTMLParser(document)
    title, site = tree.css_first("head title"), tree.css_first('meta[property="og:site_name"]')
    blocks = tuple(_blocks(tree.body, 0)) if tree.body else ()
    return Page(
        title=squeeze(title.text()) if title else "",
        site=squeeze(site.attributes.get("content") or "") if site else "",
        blocks=blocks,
    )


def _blocks(node: LexborNode, depth: int) -> Iterator[Block]:
    run: list[LexborNode] = []
    for child in node.iter(include_text=True):
        tag = child.tag or ""
        if tag in _INLINE or tag == "-text":
            run.append(child)
            continue
        yield from _flush(run)
        run = []
        if tag not in _SKIPPED and not tag.startswith(("-", "!")):
            yield from _element(child, tag, depth)
    yield from _flush(run)


def _flush(run: Sequence[LexborNode]) -> Iterator[Block]:
    text = squeeze("".join(_raw_text(node) for node in run))
    if text:
        yield from _prose(text, tuple(link for node in run for link in _links(node)))


def _element(node: LexborNode, tag: str, depth: int) -> Iterator[Block]:
    if tag in _HEADINGS:
        if text := _text(node):
            yield Heading(_HEADINGS[tag], text)
    elif tag == "table":
        yield from _table(node)
    elif tag == "dl":
        yield from _definitions(node)
    elif tag in ("ul", "ol"):
        yield from _list(node)
    elif pair := _pair_of_parts(node, tag):
        yield pair
    elif tag == "p" or depth >= MAX_DEPTH:
        if text := _text(node):
            yield from _prose(text, _links(node))
    else:
        yield from _blocks(node, depth + 1)


def _pair_of_parts(node: LexborNode, tag: str) -> Pair | None:
    """`<div><span>Netuid</span><span>34</span></div>`, `<p><b>Netuid:</b> 34</p>`: a short first part is a label."""
    if tag not in ("div", "p", "li"):
        return None
    parts = [part for part in node.iter(include_text=True) if part.tag != "-text" or _text(part)]
    if len(parts) < 2 or any((part.tag or "") not in _CELL_PARTS and part.tag != "-text" for part in parts):
        return None
    first = _text(parts[0])
    labelled = parts[0].tag in ("b", "strong", "span", "label", "em") and first.endswith(":")
    pair = tag == "div" and len(parts) == 2 and all(_is_leaf(part) for part in parts) and _parts(parts[0]) < 2
    if not labelled and not pair:
        return None
    value = squeeze("".join(_raw_text(part) for part in parts[1:])).lstrip(": ")
    label = first.rstrip(": ")
    return Pair(label, value, _links(node)) if value and label and len(label) <= 48 and "." not in label else None


def _is_leaf(node: LexborNode) -> bool:
    return node.tag != "-text" and all((part.tag or "") in _INLINE for part in node.iter())


def _parts(node: LexborNode) -> int:
    return sum(1 for _ in node.iter())


def _definitions(node: LexborNode) -> Iterator[Block]:
    label = ""
    for part in node.css("dt, dd"):
        if part.tag == "dt":
            label = _text(part).rstrip(":").strip()
        elif label and (text := _text(part)):
            yield Pair(label, text, _links(part))


def _list(node: LexborNode) -> Iterator[Block]:
    items, leads, pairs = list[str](), list[str](), list[Pair]()
    for part in node.iter():
        if part.tag != "li" or not (text := _text(part)):
            continue
        bold = next((_text(child) for child in part.iter() if child.tag in ("b", "strong")), "").rstrip(":.").strip()
        items.append(text)
        leads.append(bold if bold and text.startswith(bold) else _lead(text))
        if pair := _pair_of_parts(part, "li") or _pair_in(text, _links(part)):
            pairs.append(pair)
    if items:
        yield Items(tuple(items), tuple(leads))
        yield from pairs


def _lead(text: str) -> str:
    head = re.split(r"\s+[–—-]\s+|:\s+", text, maxsplit=1)[0]
    return (head if len(head) <= 48 else text).rstrip(".;, ")


def _table(node: LexborNode) -> Iterator[Block]:
    caption = node.css_first("caption")
    rows = [
        [cell for cell in row.iter() if cell.tag in ("th", "td")]
        for row in node.css("tr")
        if any(cell.tag in ("th", "td") for cell in row.iter())
    ]
    if not rows:
        return
    texts = [tuple(_text(cell) for cell in row) for row in rows]
    has_header = len(rows) > 1 and all(cell.tag == "th" for cell in rows[0])
    if not has_header and all(len(row) == 2 for row in texts):
        for cells, (label, value) in zip(rows, texts, strict=True):
            if label and value:
                yield Pair(label.rstrip(":"), value, _links(cells[1]))
        return
    header = texts[0] if has_header else ()
    width = len(header) or max(len(row) for row in texts)
    body = tuple(row for row in texts[1 if has_header else 0 :] if len(row) == width)
    yield Table(header, body, _text(caption) if caption else "")


def _prose(text: str, links: tuple[str, ...]) -> Iterator[Block]:
    yield _pair_in(text, links) or Paragraph(text, links)


def _pair_in(text: str, links: tuple[str, ...] = ()) -> Pair | None:
    """`Label: value` with a label of a few words, or `Label - $1.99/hr`."""
    match = _PAIR.match(text) or _PRICED.match(text)
    if not match or len(match[1].split()) > 5:
        return None
    return Pair(match[1].strip(), match[2].strip(), links, text)


def _text(node: LexborNode) -> str:
    return squeeze(_raw_text(node))


def _raw_text(node: LexborNode, depth: int = 0) -> str:
    if node.tag == "-text":
        return node.text(deep=False) or ""
    if node.tag == "br":
        return " "
    if node.tag in _SKIPPED:
        return ""
    if depth >= MAX_DEPTH:
        return node.text(separator=" ")
    inner = "".join(_raw_text(child, depth + 1) for child in node.iter(include_text=True))
    return inner if node.tag in _INLINE else f" {inner} "


def _links(node: LexborNode) -> tuple[str, ...]:
    nodes = [node] if node.tag == "a" else node.css("a") if node.tag != "-text" else []
    return tuple(
        href for part in nodes if (href := part.attributes.get("href") or "").startswith(("http://", "https://"))
    )


# plain text ----------------------------------------------------------------------------------------------------------


def read_text(document: str) -> Page:
    """Blocks by layout: blank lines separate, `a | b` is a table row, `- x` an item, `Label: value` a pair, `## x` a
    heading. Where nothing is marked so, a short line without a full stop is a heading, and the first line the title.
    """
    marked = re.search(r"^#{1,6} \S", document, re.MULTILINE) is not None
    groups = [[line.strip() for line in group.splitlines()] for group in re.split(r"\n\s*\n", document.strip())]
    groups = [[line for line in group if line] for group in groups]
    blocks: list[Block] = []
    for index, group in enumerate(filter(None, groups)):
        blocks.extend(_text_group(group, first=index == 0, marked=marked))
    title = blocks[0].text if blocks and isinstance(blocks[0], Heading) else ""
    return Page(title=title, blocks=tuple(blocks))


def _text_group(lines: list[str], *, first: bool, marked: bool) -> Iterator[Block]:
    if first and not marked and not _is_item(lines[0]) and len(lines[0]) <= 120:
        yield Heading(1, lines.pop(0))
    while lines:
        if mark := re.match(r"(#{1,6}) (?=\S)", lines[0]):
            yield Heading(len(mark[1]), lines.pop(0)[mark.end() :].strip())
        elif "|" in lines[0]:
            yield from _text_table(_take(lines, lambda line: "|" in line))
        elif _is_item(lines[0]):
            items = [line[2:].strip() for line in _take(lines, _is_item)]
            yield Items(tuple(items), tuple(_lead(item) for item in items))
            yield from filter(None, map(_pair_in, items))
        elif pair := _pair_in(lines[0]):
            lines.pop(0)
            yield Pair(pair.label, pair.value, tuple(urls_in(pair.value)), pair.line)
        elif not marked and len(lines) == 1 and _is_heading(lines[0]):
            yield Heading(2, lines.pop(0).rstrip(":"))
        else:
            text = squeeze(" ".join(_take(lines, lambda line: "|" not in line and not _is_item(line))))
            yield Paragraph(text, tuple(urls_in(text)))


def _take(lines: list[str], wanted: Callable[[str], bool]) -> list[str]:
    taken: list[str] = []
    while lines and wanted(lines[0]):
        taken.append(lines.pop(0))
    return taken


def _is_item(line: str) -> bool:
    return line.startswith(("- ", "* ", "• "))


def _is_heading(line: str) -> bool:
    short = len(line) <= 80 and len(line.split()) <= 10 and not line.endswith((".", "!", "?", ",", ";"))
    return short and line[0].isupper() and "://" not in line


def _text_table(lines: list[str]) -> Iterator[Block]:
    rows = [tuple(cell.strip() for cell in line.strip("| ").split("|")) for line in lines]
    rows = [row for row in rows if not all(set(cell) <= set("-: ") for cell in row)]
    width = max((len(row) for row in rows), default=0)
    rows = [row for row in rows if len(row) == width]
    if len(rows) > 1 and width > 1:
        yield Table(rows[0], tuple(rows[1:]))
    elif rows:
        yield Paragraph(" | ".join(rows[0]))


def render_text(page: Page) -> str:
    """The page as plain text that `read_text` reads back into the same facts."""
    return "\n\n".join(_rendered(page)) + "\n"


def _rendered(page: Page) -> Iterator[str]:
    if page.title and not any(isinstance(block, Heading) for block in page.blocks):
        yield f"# {page.title}"
    pairs: list[str] = []
    for block in page.blocks:
        if isinstance(block, Pair):
            pairs.append(f"{block.label}: {_with_links(block.value, block.links)}")
            continue
        if pairs:
            yield "\n".join(pairs)
            pairs = []
        yield _rendered_block(block)
    if pairs:
        yield "\n".join(pairs)


def _rendered_block(block: Heading | Table | Items | Paragraph) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {block.text}"
        case Table():
            rows = [*([block.header] if block.header else []), *block.rows]
            lines = ([block.caption, ""] if block.caption else []) + [" | ".join(row) for row in rows]
            return "\n".join(lines)
        case Items():
            return "\n".join(f"- {item}" for item in block.items)
        case Paragraph():
            return _with_links(block.text, block.links)


def _with_links(text: str, links: Sequence[str]) -> str:
    missing = [link for link in links if link not in text]
    return f"{text} ({', '.join(missing)})" if missing else text
