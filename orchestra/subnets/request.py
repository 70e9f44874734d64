"""An operation and its wire query as one HTTP request: where the arguments go, how the key is spelled.

Everything here comes from the Ledger and thus from strangers, so an argument cannot leave its place (percent-encoded,
no dot segments) and a header cannot be split. JSON bodies are canonical, so equal queries are equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

from ledger.canonical import canonical
from ledger.entry import Auth, Operation

_SLOT = re.compile(r"\{([A-Za-z0-9_]{1,64})\}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")

CONNECT_VERSION = "1"


class NotCallable(ValueError):
    """The operation as the Ledger has it, or this query, cannot be made into a request. Our words only."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """What is sent. `params` values are strings or lists of them; `path` is the target below the origin."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    params: dict[str, str | list[str]] = field(repr=False)
    content: bytes | None


def build(operation: Operation, query: Mapping[str, Any], secret: str = "") -> WireRequest:
    """The request for a wire query; `secret` is what the operation's auth asks for, already checked for this origin.

    Raises:
        NotCallable: arguments that have no place, or a header or path that is none.
    """
    endpoint = operation.endpoint
    path, rest = _path(endpoint.path, query)
    headers = {"Accept": endpoint.media_type}
    params: dict[str, str | list[str]] = {}
    content: bytes | None = None
    if operation.protocol == "connect-json":
        headers["Connect-Protocol-Version"] = CONNECT_VERSION
    if endpoint.arguments == "json_body":
        content = canonical(rest)
        headers["Content-Type"] = "application/json"
    elif endpoint.arguments == "query":
        params = {name: _parameter(value) for name, value in rest.items()}
    elif rest:
        raise NotCallable(f"{operation.name} has no place for arguments")
    _authenticate(operation.auth, secret, headers, params)
    return WireRequest(endpoint.method, endpoint.base_url.rstrip("/") + path, headers, params, content)


def _path(template: str, query: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path with its slots filled, and the arguments that are left."""
    rest = dict(query)
    taken: set[str] = set()

    def fill(slot: re.Match[str]) -> str:
        name = slot[1]
        value = _text(rest.get(name))
        if value in ("", ".", ".."):
            raise NotCallable(f"the path needs a value for {name}")
        taken.add(name)
        return quote(value, safe="")

    path = _SLOT.sub(fill, template)
    if _PATH.fullmatch(path) is None or any(part in (".", "..") for part in path.split("/")):
        raise NotCallable("the path of the operation is not one")
    return path, {name: value for name, value in rest.items() if name not in taken}


def _parameter(value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [_text(item) for item in cast("list[Any]", value)]
    return _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical(value).decode()


def _authenticate(auth: Auth, secret: str, headers: dict[str, str], params: dict[str, str | list[str]]) -> None:
    if auth.kind not in ("header", "query"):
        return
    spelled = auth.format.replace("{key}", secret)
    if _TOKEN.fullmatch(auth.name) is None or not (spelled.isascii() and spelled.isprintable()):
        raise NotCallable("the auth of the operation is not a header or parameter")
    if auth.kind == "header":
        headers[auth.name] = spelled
    else:
        params[auth.name] = spelled
