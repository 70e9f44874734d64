"""Full-text search over the collection: BM25 in SQLite FTS5, stemmed, tolerant of how people write queries.

A query is an OR of its words without the small ones. A word with a dot or a hyphen (`Vast.ai`, `AI-written`) is a
phrase and its longer parts, because that is how the tokenizer cut it. Ties are broken by the document's place in the
collection, so one query always gets one answer.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from orchestra.devnet.subnets.documents import Document

_WORD = re.compile(r"\w+(?:[.'’&/-]\w+)*")
_PART = re.compile(r"\w+")
MAX_WORDS = 32
_STOP_WORDS_TEXT = (
    "a about an and any are as at be by can could do does for from has have how i in is it its me my new"
    " of on one or our recommend research should tell that the their there these this through to us was we"
    " what when where which who why will with would you your"
)
STOP_WORDS = frozenset(_STOP_WORDS_TEXT.split())
_SEARCH = """
SELECT url, title, snippet(pages, 2, '', '', ' … ', 40) FROM pages WHERE pages MATCH ?
ORDER BY bm25(pages, 0.0, 6.0, 1.0), rowid LIMIT ? OFFSET ?
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A page that was found, with the part of its text that fits the query best."""

    url: str
    title: str
    snippet: str


class Bm25Index:
    """An in-memory index, used as `with Bm25Index(documents) as index`."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._db = sqlite3.connect(":memory:")
        self._db.execute(
            "CREATE VIRTUAL TABLE pages USING fts5(url UNINDEXED, title, body, tokenize='porter unicode61')"
        )
        rows = ((document.url, document.title, document.text) for document in documents)
        with self._db:
            self._db.executemany("INSERT INTO pages VALUES (?, ?, ?)", rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def search(self, query: str, *, start: int = 0, limit: int = 10) -> list[Hit]:
        """Best pages first, from `start` on. A query without a word to look for finds nothing."""
        terms = query_terms(query)
        if not terms:
            return []
        rows = self._db.execute(_SEARCH, (" OR ".join(terms), limit, start)).fetchall()
        return [Hit(url, title, " ".join(snippet.split())) for url, title, snippet in rows]


def query_terms(query: str) -> list[str]:
    """The FTS5 terms of a query; every one is quoted, so no query can be a syntax error."""
    terms: dict[str, None] = {}
    for word in _WORD.findall(query)[:MAX_WORDS]:
        parts = [part.lower() for part in _PART.findall(word)]
        if len(parts) > 1:
            terms[" ".join(parts)] = None
        for part in parts:
            if part not in STOP_WORDS and (len(parts) == 1 or len(part) > 2):
                terms[part] = None
    return [f'"{term}"' for term in terms]
