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
_NUMBER: dict[str, Any] = {"type": "number"}
_SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}


def _list(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


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
            _object(("reading",), reading=_object(("value",), value=_NUMBER, unit=_TEXT, at=_TEXT)),
        ),
        Contract(
            "deep_research",
            "a written answer from several sources",
            _object(("question",), question=_TEXT),
            _object(("text",), text=_TEXT, sources=_list(url=_TEXT, title=_TEXT, snippet=_TEXT)),
        ),
        Contract(
            "deepfake_detection",
            "is what is at this URL synthetic? `media` where it is known",
            _object(("url",), url=_TEXT, media={"enum": ["image", "video"]}),
            _object(("synthetic",), synthetic={"type": "boolean"}, confidence=_SHARE),
        ),
        Contract(
            "ai_text_detection",
            "how likely a machine wrote this text, 0 to 1",
            _object(("text",), text=_TEXT),
            _object(("score",), score=_SHARE),
        ),
        Contract(
            "plagiarism_check",
            "how much of a text is copied, 0 to 1, and from where",
            _object(("text",), text=_TEXT),
            _object(("score", "matches"), score=_SHARE, matches=_list(url=_TEXT, title=_TEXT, score=_NUMBER)),
        ),
        Contract(
            "grammar_check",
            "language errors in a text: `offset` and `length` in characters",
            _object(("text",), text=_TEXT),
            _object(
                ("problems",),
                problems=_list(
                    message=_TEXT,
                    offset={"type": "integer"},
                    length={"type": "integer"},
                    replacements={"type": "array", "items": _TEXT},
                ),
            ),
        ),
        Contract(
            "audio_transcription",
            "the words spoken in a recording (base64 of an audio file)",
            _object(("audio_b64",), audio_b64=_TEXT, language=_TEXT),
            _object(("text",), text=_TEXT),
        ),
        Contract(
            "speech_synthesis",
            "a recording of a text being spoken",
            _object(("text",), text=_TEXT, voice=_TEXT),
            _object(("audio_url",), audio_url=_TEXT),
        ),
        Contract(
            "weather_forecast",
            "weather at a point (degrees north, degrees east), one value an hour",
            _object(("latitude", "longitude"), latitude=_NUMBER, longitude=_NUMBER, hours=_COUNT),
            _object(("hourly",), hourly=_object(("time",), time={"type": "array", "items": _TEXT})),
        ),
        Contract(
            "price_forecast",
            "quantiles of an asset's price, step by step over a horizon",
            _object(("asset",), asset=_TEXT, horizon={"enum": ["1h", "24h"]}),
            _object(
                ("percentiles",),
                current_price=_NUMBER,
                percentiles={"type": "array", "items": {"type": "object", "additionalProperties": _NUMBER}},
            ),
        ),
        Contract(
            "probability_forecast",
            "the probability, 0 to 1, that something will happen",
            _object(("question",), question=_TEXT),
            _object(("probability",), probability=_SHARE, reasoning=_TEXT),
        ),
        Contract(
            "market_intelligence",
            "news that bears on a question about markets",
            _object(("question",), question=_TEXT),
            _object(("signals",), signals=_list(headline=_TEXT, source=_TEXT, at=_TEXT, url=_TEXT, impact=_TEXT)),
        ),
        Contract(
            "blockchain_rpc",
            "one JSON-RPC call to a node of a chain",
            _object(("method",), method=_TEXT, params={"type": ["array", "object"]}),
            _object(("result",), result={}),
        ),
    )
}
