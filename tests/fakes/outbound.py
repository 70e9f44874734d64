"""An `Outbound` that gives scripted answers in order, remembers what was sent, and refuses a call nobody scripted."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestra.transport import OutboundResponse


class Headers(dict[str, str]):
    """Case-insensitive, as HTTP's are."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in values.items()})

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def answer(body: Any, status: int = 200, **headers: str) -> OutboundResponse:
    """An answer with a JSON (or raw bytes) body; `Retry_After="1"` becomes `Retry-After: 1`."""
    raw = body if isinstance(body, bytes) else json_module.dumps(body).encode()
    return OutboundResponse(status, Headers({k.replace("_", "-"): v for k, v in headers.items()}), raw, 1)


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str]
    params: Mapping[str, Any]
    content: bytes | None
    timeout_s: float
    max_bytes: int


@dataclass(slots=True)
class ScriptedOutbound:
    answers: list[OutboundResponse | Exception] = field(default_factory=list[Any])
    sent: list[Request] = field(default_factory=list[Request])

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        timeout_s: float = 30.0,
        max_bytes: int = 1 << 20,
    ) -> OutboundResponse:
        self.sent.append(Request(method, url, dict(headers or {}), dict(params or {}), content, timeout_s, max_bytes))
        assert len(self.sent) <= len(self.answers), f"nobody scripted {method} {url}"
        scripted = self.answers[len(self.sent) - 1]
        if isinstance(scripted, Exception):
            raise scripted
        return scripted
