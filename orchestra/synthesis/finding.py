"""Where on a page a field's value stands: labels, headings, tables, lists, sentences, in this order of trust."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestra.synthesis.coercion import Kind, scalar, split_list
from orchestra.synthesis.labels import FITS, canonical_words, is_known, is_name, match, meaning, words
from orchestra.synthesis.layout import Layout, split_sentences
from orchestra.synthesis.mappings import has_money, row_labels
from orchestra.synthesis.page import Block, Items, Page, Pair, Paragraph, Table

_TEXT = Kind("str")
_SEPARATOR = re.compile(r"\s+[|·–—:-]\s+|:\s+")
_IDENTIFIER = re.compile(
    r"\s*[(\[](?:sn|subnet|netuid|id|no\.?)[\s#]*\d+[)\]]|^(?:sn|subnet|netuid|#)[\s#]*\d+$", re.IGNORECASE
)
_NUMBERED = re.compile(r"\b([A-Za-z]{2,12})[ -]?#?(\d+)\b")
_GENERIC_TEXT = (
    "a about and api at cloud docs documentation fact facts faq features for gpu gpus guide home how in"
    " instances list of on on-demand our overview page plans price prices pricing profile rates rental"
    " review sheet the to welcome with works"
)
_GENERIC = frozenset(_GENERIC_TEXT.split())
_AUXILIARY = frozenset(
    ("is", "are", "was", "were", "can", "may", "must", "has", "have", "had", "will", "would", "should", "do", "does")
)
_CUES = {
    "strength": r"(?:known|valued|praised|chosen|liked) for|stands out (?:for|with)|strengths? (?:are|is|include)",
    "weakness": r"criticised for|drawbacks? (?:are|is|include)|falls short (?:on|in)",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may hold a field's value, and how sure its place makes it."""

    score: float
    text: str
    links: tuple[str, ...] = ()


class Finder:
    """Answers for one page (or one section of it). Every answer stands in the page, or is None."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.layout = Layout(page)

    # one value ---------------------------------------------------------------------------------------------------

    def scalar(self, field: str, kind: Kind) -> Any:
        """The value of the best place that states exactly one of this kind."""
        candidates = [*self._labelled(field), *self._headed(field, kind), *self._placed(field), *self._cells(field)]
        for score in sorted({candidate.score for candidate in candidates}, reverse=True):
            values = {
                value
                for candidate in candidates
                if candidate.score == score and (value := scalar(candidate.text, kind, candidate.links)) is not None
            }
            if values:
                return values.pop() if len(values) == 1 else None
        if kind.name == "str":
            return self._verb(field) if _is_verb(field) else self._opening_sentence(field)
        return self._numbered(field) if kind.name == "int" else self._in_sentence(field, kind)

    def _labelled(self, field: str) -> Iterator[Candidate]:
        for pair in self.layout.pairs:
            if (score := match(field, pair.label)) >= FITS:
                yield Candidate(score, pair.value, pair.links)

    def _headed(self, field: str, kind: Kind) -> Iterator[Candidate]:
        for section in self.layout.sections:
            heading, blocks = section.heading, section.blocks
            score = 0.95 * match(field, heading)
            if score < FITS:
                continue
            if kind.name == "str":
                first = blocks[0] if blocks else None
                if isinstance(first, Paragraph):
                    yield Candidate(score, _within(first.text), first.links)
                elif isinstance(first, Pair) and first.line and len(blocks) == 1:
                    yield Candidate(score, _within(first.line), first.links)
                continue
            for block in blocks:
                if isinstance(block, Paragraph):
                    yield Candidate(score, block.text, block.links)
                elif isinstance(block, Pair) and kind.name == "url":
                    yield Candidate(score, block.value, block.links)

    def _placed(self, field: str) -> Iterator[Candidate]:
        """Labelled values whose label says one part of the field and whose heading says the other."""
        asked = meaning(field)
        for section in self.layout.sections:
            heading, blocks = section.heading, section.blocks
            above = meaning(heading)
            for pair in (block for block in blocks if isinstance(block, Pair)):
                label = meaning(pair.label)
                if asked <= above | label and not asked <= above and not asked <= label:
                    yield Candidate(0.9 * len(asked) / len(above | label), pair.value, pair.links)

    def _cells(self, field: str) -> Iterator[Candidate]:
        """Cells whose row and column together say what the field says."""
        asked = meaning(field)
        for table in self.layout.tables:
            amounts = [index for index in range(1, len(table.header)) if has_money(table, index)]
            for index in range(1, len(table.header)):
                header = meaning(table.header[index])
                for label, row in zip(row_labels(table, index), table.rows, strict=True):
                    said = meaning(label) | header
                    if asked <= said and not asked <= header and not asked <= meaning(label):
                        yield Candidate(0.9 * len(asked) / len(said), row[index])
                    elif amounts == [index] and match(field, label) >= FITS:
                        yield Candidate(0.9 * match(field, label), row[index])

    def _in_sentence(self, field: str, kind: Kind) -> Any:
        """The one value of this kind in sentences that name the field."""
        asked = frozenset(canonical_words(field))
        values = [
            value
            for sentence, links in self.layout.sentences()
            if asked
            and asked <= frozenset(canonical_words(sentence))
            and (value := scalar(sentence, kind, links if len(links) == 1 else ())) is not None
        ]
        return values[0] if values and all(value == values[0] for value in values) else None

    def _numbered(self, field: str) -> int | None:
        """`SN34`, `subnet id 34`: a number that its label stands right before."""
        asked = canonical_words(field)
        prose = [sentence for sentence, _ in self.layout.sentences()]
        for texts in ([self.page.headline], prose):
            numbers = {number for text in texts for number in _numbers_after(asked, text)}
            if numbers:
                return numbers.pop() if len(numbers) == 1 else None
        return None

    def _verb(self, field: str) -> str | None:
        """`detects`: the rest of a sentence that opens with the verb, or with the page's subject and the verb."""
        verb = field.lower()
        if not _is_verb(verb):
            return None
        subject = re.escape(self.subject() or "it")
        opening = re.compile(
            rf"^(?:(?:{subject}|it|(?:the|this) (?:subnet|service|api|tool))\s+(?:also\s+)?)?{verb}\s+(.+)$", re.I
        )
        for sentence, _ in self.layout.sentences():
            if (found := opening.match(sentence)) and found[1].split()[0].lower() not in _AUXILIARY:
                return scalar(found[1].rstrip(". "), _TEXT)
        return None

    def _opening_sentence(self, field: str) -> str | None:
        """A whole sentence that is about the field from its first words."""
        asked = meaning(field)
        for sentence, _ in self.layout.sentences() if is_known(field) else ():
            if (
                asked
                and asked <= frozenset(canonical_words(" ".join(sentence.split()[:4])))
                and len(sentence.split()) > 4
            ):
                return scalar(sentence, _TEXT)
        return None

    # what the page is about --------------------------------------------------------------------------------------

    def name(self, field: str) -> str | None:
        """A label of exactly this name, else the subject of the page."""
        exact = [pair for pair in self.layout.pairs if words(pair.label) in (words(field), (*words(field), "name"))]
        return scalar(exact[0].value, _TEXT) if exact else self.subject()

    def subject(self) -> str | None:
        """The proper part of the first heading; where that is only generic words, what the site calls itself."""
        if self.page.site and self.page.site in self.page.headline:
            return self.page.site
        segments = [*_SEPARATOR.split(self.page.headline), self.page.site, *_SEPARATOR.split(self.page.title)]
        for segment in segments:
            if proper := _proper(segment):
                return proper
        return None

    # lists -------------------------------------------------------------------------------------------------------

    def listing(self, field: str, item: Kind | None) -> list[Any] | None:
        """The list under a heading of this name, else a labelled enumeration, a table's column, or a sentence's."""
        found: list[tuple[float, list[str]]] = []
        for section in self.layout.sections:
            heading, blocks = section.heading, section.blocks
            lists = [block for block in blocks if isinstance(block, Items)]
            score = match(field, heading)
            if score >= FITS and lists:
                found.append((score, list(lists[0].leads)))
            elif score >= FITS and len(blocks) == 1 and isinstance(blocks[0], Paragraph):
                found.append((score, split_list(blocks[0].text)))
            elif score >= FITS and isinstance(table := next(iter(blocks), None), Table):
                found.append((score, [row[0] for row in table.rows]))
        found += _enumerations(list(self._labelled(field)))
        found += [
            (0.9 * match(field, header), [row[index] for row in table.rows])
            for table in self.layout.tables
            for index, header in enumerate(table.header)
            if match(field, header) >= FITS and not is_name(header)
        ]
        for _, texts in sorted(found, key=lambda pair: -pair[0]):
            if values := coerced(texts, item):
                return values
        rest = self._verb(field) or self._cue(field)
        return coerced(split_list(rest), item) or None if rest else None

    def _cue(self, field: str) -> str | None:
        """`Acme is known for short queues and support.`: what follows a phrase that means the field."""
        pattern = _CUES.get(" ".join(canonical_words(field)))
        for sentence, _ in self.layout.sentences() if pattern else ():
            if found := re.search(rf"\b(?:{pattern})\s+(?:its\s+)?(.+)$", sentence, re.I):
                return found[1].rstrip(". ")
        return None

    def section(self, field: str) -> list[Block]:
        """The blocks under the heading that names the field best."""
        best = max(self.layout.sections, key=lambda section: match(field, section.heading), default=None)
        return best.blocks if best and match(field, best.heading) >= FITS else []


def _enumerations(labelled: list[Candidate]) -> Iterator[tuple[float, list[str]]]:
    """A label that stands once has its items in one text; one that is repeated has an item each time."""
    for score in {candidate.score: None for candidate in labelled}:
        texts = [candidate.text for candidate in labelled if candidate.score == score]
        yield score, split_list(texts[0]) if len(texts) == 1 else texts


def _within(text: str, limit: int = 300) -> str:
    """The text, or as many of its first sentences as fit."""
    kept = ""
    for sentence in split_sentences(text):
        if kept and len(kept) + len(sentence) >= limit:
            break
        kept = f"{kept} {sentence}".strip()
    return kept


def _numbers_after(label: tuple[str, ...], text: str) -> Iterator[int]:
    found = canonical_words(_NUMBERED.sub(r"\1 \2", text))
    for index in range(len(found) - len(label)):
        after = found[index + len(label)]
        if found[index : index + len(label)] == label and after.isdigit() and len(after) <= 15:
            yield int(after)


def _is_verb(field: str) -> bool:
    """`detects`, `offers`: one word in the third person, as far as the spelling tells."""
    return field.isalpha() and field.lower().endswith("s")


def _proper(segment: str) -> str:
    """A heading without identifiers and without generic words at either end; empty when nothing else is left."""
    kept = _IDENTIFIER.sub("", segment.strip()).split()
    while kept and kept[-1].lower().strip(",.&") in _GENERIC | {""}:
        kept.pop()
    while kept and kept[0].lower().strip(",.&") in _GENERIC | {""}:
        kept.pop(0)
    return " ".join(kept)


def coerced(texts: list[str], item: Kind | None) -> list[Any]:
    """Those of the texts that are values of the items' type."""
    values = [scalar(text, item or _TEXT) for text in texts]
    return [value for value in values if value is not None]
