"""What each capability promises: the arguments a planner may give and the shape it gets back, whoever the provider.

An operation's `request` maps these arguments to its wire form and its `response` maps the wire form back, so two
providers of one capability are interchangeable and the planner never sees a provider's spelling. Capabilities of the
vocabulary without a contract here exist (an entry may name them) but cannot be planned for yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Contract:
    """One capability. `arguments` and `result` are JSON Schemas (draft 2020-12); `meaning` is one line for people."""

    name: str
    meaning: str
    arguments: dict[str, Any]
    result: dict[str, Any]


def _object(required: tuple[str, ...], /, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_TEXT: dict[str, Any] = {"type": "string"}
_TEXT_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}


CONTRACTS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        Contract(
            "web_search",
            "find web pages for a query",
            _object(("query",), query=_TEXT, limit=_COUNT),
            _object(
                ("results",),
                results={"type": "array", "items": _object(("url",), title=_TEXT, url=_TEXT, snippet=_TEXT)},
            ),
        ),
        Contract(
            "web_scraping",
            "fetch or crawl a given page",
            _object(("url",), url=_TEXT),
            _object(("text",), text=_TEXT),
        ),
        Contract(
            "structured_extraction",
            "turn a page into records with the requested fields",
            _object(("url", "fields"), url=_TEXT, fields={"type": "object"}),
            _object(("data",), data={"type": "array", "items": {"type": "object"}}),
        ),
        Contract(
            "social_search",
            "find posts on social platforms",
            _object(("keywords",), keywords={"type": "array", "items": _TEXT}, limit=_COUNT),
            _object(
                ("posts",),
                posts={
                    "type": "array",
                    "items": _object(
                        ("text",), text=_TEXT, author=_TEXT_OR_NULL, url=_TEXT_OR_NULL, datetime=_TEXT_OR_NULL
                    ),
                },
            ),
        ),
        Contract(
            "chat_completion",
            "LLM chat or text completion",
            _object(("instructions", "text"), instructions=_TEXT, text=_TEXT),
            _object(("text",), text=_TEXT),
        ),
        Contract(
            "time_series",
            "the latest reading of a named series",
            _object(("series",), series=_TEXT),
            _object(("reading",), reading=_object(("value",), value={"type": "number"}, unit=_TEXT, at=_TEXT)),
        ),
    )
}
