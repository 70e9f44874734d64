"""SN64 on this machine: an OpenAI-compatible chat that summarises extractively, or hands over to a real model.

Without an upstream every answer is a pure function of the request, id and time included, so a replay is equal byte for
byte. With one (`Upstream`), the conversation goes there and the answer comes back in the same shape. Billed by token;
the cost stands in `usage.cost_usd`, an extension of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Scope

from ledger.canonical import StrictJSONError, as_object, canonical, parse_strict
from ledger.types import JSON
from orchestra.devnet.subnets.faults import Faults
from orchestra.devnet.subnets.keys import Keys, Standing, bearer, fingerprint
from orchestra.devnet.subnets.summariser import count_tokens, summarise
from orchestra.transport import OutboundClient, Refused, TransportError
from orchestra.transport.receive import read_bounded

MODEL = "Qwen/Qwen3-32B-TEE"
PROMPT_USD, COMPLETION_USD = Decimal("0.104"), Decimal("0.416")
"""USD per million tokens, as the service listed them on 2026-09-28."""
MAX_BODY = 1 << 20
DEFAULT_MAX_TOKENS = 512
_EPOCH = 1_795_132_800
_UPSTREAM_TIMEOUT_S = 60.0
_MESSAGES = {401: "Invalid authentication", 402: "Insufficient balance", 404: "model not found", 429: "rate limit"}


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: str = "text"
    text: str = ""


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[Part] | None = None

    @property
    def said(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class Chat(BaseModel):
    """The request as far as this service reads it; sampling parameters are accepted and mean nothing here."""

    model_config = ConfigDict(extra="ignore")
    model: str = Field(max_length=128)
    messages: list[ChatMessage] = Field(min_length=1, max_length=256)
    stream: bool = False
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, ge=1, le=40_960)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A real OpenAI-compatible endpoint: `base_url` up to and including `/v1`."""

    base_url: str
    model: str
    key: SecretStr


def error(status: int) -> Response:
    """An error in the service's own words."""
    return JSONResponse(
        {"detail": _MESSAGES.get(status, "Internal server error" if status >= 500 else "Bad request")}, status
    )


def caller(scope: Scope) -> str:
    """Who calls, for the log."""
    key = bearer(_authorization(scope))
    return fingerprint(key) if key else "anonymous"


def create_app(
    keys: Keys, faults: Faults, *, upstream: Upstream | None = None, client: OutboundClient | None = None
) -> Starlette:
    """The service for its customers; with an upstream, `client` is how it is reached."""
    service = _Chutes(keys, faults, upstream, client)
    return Starlette(
        routes=[
            Route("/v1/models", service.models, methods=["GET"]),
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
        ]
    )


class _Chutes:
    def __init__(self, keys: Keys, faults: Faults, upstream: Upstream | None, client: OutboundClient | None) -> None:
        self._keys = keys
        self._faults = faults
        self._upstream = upstream
        self._client = client

    async def models(self, _: Request) -> Response:
        """Open, as the service's own list is."""
        model = {
            "id": MODEL,
            "object": "model",
            "owned_by": "orchestra-devnet",
            "context_length": 40_960,
            "max_output_length": 40_960,
            "pricing": {"prompt": float(PROMPT_USD), "completion": float(COMPLETION_USD)},
            "input_modalities": ["text"],
            "supported_features": [],
            "confidential_compute": False,
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def chat(self, request: Request) -> Response:
        header = _authorization(request.scope)
        if not header:
            return error(429)  # anonymous callers are throttled, not refused
        key = bearer(header)
        standing = self._keys.standing(key)
        if standing is not Standing.GOOD:
            return error(401 if standing is Standing.UNKNOWN else 402)
        try:
            asked = Chat.model_validate(parse_strict(await read_bounded(request.receive, MAX_BODY)))
        except (StrictJSONError, ValidationError, Refused):
            return error(400)
        if asked.model != MODEL:
            return error(404)
        try:
            answer = await self._forwarded(asked) if self._upstream else completion(asked)
        except (TransportError, StrictJSONError, ValueError):
            return error(503)
        cost = _price(answer["usage"])
        self._keys.charge(key, cost)
        answer["usage"]["cost_usd"] = float(cost)
        if self._faults.control.drifted:
            answer = _drifted(answer)
        if asked.stream:
            return StreamingResponse(iter(tuple(_events(answer))), media_type="text/event-stream")
        return JSONResponse(answer)

    async def _forwarded(self, asked: Chat) -> dict[str, Any]:
        assert self._upstream is not None
        assert self._client is not None
        messages: list[JSON] = [{"role": message.role, "content": message.said} for message in asked.messages]
        body: dict[str, JSON] = {"model": self._upstream.model, "messages": messages, "max_tokens": asked.max_tokens}
        reply = await self._client.request(
            "POST",
            f"{self._upstream.base_url.rstrip('/')}/chat/completions",
            headers={"Authorization": f"Bearer {self._upstream.key.get_secret_value()}"},
            json=body,
            timeout_s=_UPSTREAM_TIMEOUT_S,
        )
        if reply.status != 200:
            raise ValueError(f"the upstream answered {reply.status}")
        return _as_completion(as_object(parse_strict(reply.body)), asked)


def completion(asked: Chat) -> dict[str, Any]:
    """An answer made here: the system messages are the instructions, the last user message is the text."""
    instructions = "\n".join(message.said for message in asked.messages if message.role == "system")
    said = [message.said for message in asked.messages if message.role == "user"]
    text, cut = summarise(
        instructions or (said[0] if said else ""), said[-1] if said else "", max_tokens=asked.max_tokens
    )
    basis = hashlib.sha256(canonical(asked.model_dump(mode="json", exclude={"stream"}))).digest()
    prompt = sum(count_tokens(message.said) + 4 for message in asked.messages)
    return _document(
        basis.hex()[:24],
        _EPOCH + int.from_bytes(basis[-3:], "big"),
        text,
        "length" if cut else "stop",
        prompt,
        count_tokens(text),
    )


def _document(ident: str, created: int, text: str, reason: str, prompt: int, completed: int) -> dict[str, Any]:
    return {
        "id": ident,
        "object": "chat.completion",
        "created": created,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completed, "total_tokens": prompt + completed},
    }


class _Reply(BaseModel):
    """What is read of an upstream's answer."""

    class Choice(BaseModel):
        message: ChatMessage
        finish_reason: str | None = None

    class Usage(BaseModel):
        prompt_tokens: int = Field(ge=0)
        completion_tokens: int = Field(ge=0)

    id: str = Field(default="", max_length=128)
    created: int = 0
    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None


def _as_completion(document: dict[str, Any], asked: Chat) -> dict[str, Any]:
    reply = _Reply.model_validate(document)
    text = reply.choices[0].message.said
    prompt = (
        reply.usage.prompt_tokens if reply.usage else sum(count_tokens(message.said) + 4 for message in asked.messages)
    )
    completed = reply.usage.completion_tokens if reply.usage else count_tokens(text)
    return _document(reply.id, reply.created, text, reply.choices[0].finish_reason or "stop", prompt, completed)


def _price(usage: dict[str, Any]) -> Decimal:
    return (PROMPT_USD * usage["prompt_tokens"] + COMPLETION_USD * usage["completion_tokens"]) / 1_000_000


def _drifted(answer: dict[str, Any]) -> dict[str, Any]:
    """The next schema: content in parts."""
    first = answer["choices"][0]
    parts = [{"type": "text", "text": first["message"]["content"]}]
    return {**answer, "choices": [{**first, "message": {"role": "assistant", "content": parts}}]}


def _events(answer: dict[str, Any]) -> Iterator[str]:
    head = {name: answer[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    choice = answer["choices"][0]
    content = choice["message"]["content"]
    pieces: list[Any] = content.split(" ") if isinstance(content, str) else [content]
    for number, piece in enumerate(pieces):
        text = piece if number == 0 or not isinstance(piece, str) else f" {piece}"
        delta = {"role": "assistant", "content": text} if number == 0 else {"content": text}
        yield _event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    last: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    yield _event(head | {"choices": [last], "usage": answer["usage"]})
    yield "data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _authorization(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")
