"""A page's blocks as extraction looks at them: what stands under which heading, and every sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestra.synthesis.page import Block, Heading, Items, Page, Pair, Paragraph, Table

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"“])")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its `own` blocks up to the next heading, and all `blocks` up to one of its level or above."""

    level: int
    heading: str
    own: list[Block] = field(default_factory=list[Block])
    blocks: list[Block] = field(default_factory=list[Block])


class Layout:
    """The parts of a page (or of one section of it) by kind."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pairs = [block for block in page.blocks if isinstance(block, Pair)]
        self.tables = [block for block in page.blocks if isinstance(block, Table)]
        self.sections = _sections(page.blocks)

    def sentences(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every sentence of paragraphs, labelled values and lists, with the links of its block."""
        for block in self.page.blocks:
            if isinstance(block, Paragraph):
                yield from ((sentence, block.links) for sentence in split_sentences(block.text))
            elif isinstance(block, Pair):
                yield from ((sentence, block.links) for sentence in split_sentences(block.value))
            elif isinstance(block, Items):
                yield from ((item, ()) for item in block.items)


def split_sentences(text: str) -> list[str]:
    return _SENTENCE.split(text)


def _sections(blocks: tuple[Block, ...]) -> list[Section]:
    found: list[Section] = []
    above: list[Section] = []
    for block in blocks:
        if isinstance(block, Heading):
            above = [section for section in above if section.level < block.level]
            above.append(Section(block.level, block.text))
            found.append(above[-1])
        else:
            for section in above:
                section.blocks.append(block)
            if above:
                above[-1].own.append(block)
    return found
