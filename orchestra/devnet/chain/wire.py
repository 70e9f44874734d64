"""How chain values travel and rest: JSON, with tuples kept apart from lists.

The SDK decodes SCALE tuples to Python tuples, and callers may tell them from lists; JSON cannot, so a tuple is written
as `{"()": [...]}`. Canonical form (sorted keys, no blanks, ASCII) is what gets hashed and signed. Integers are exact
at any size, which RFC 8785 does not allow: an IPv6 address is a u128.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

_TUPLE = "()"


def pack(value: Any) -> Any:
    """A JSON-ready copy: bytes become `0x` hex, tuples are tagged."""
    if isinstance(value, tuple):
        return {_TUPLE: [pack(part) for part in cast(tuple[Any, ...], value)]}
    if isinstance(value, list):
        return [pack(part) for part in cast(list[Any], value)]
    if isinstance(value, Mapping):
        return {str(key): pack(part) for key, part in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, bytes | bytearray):
        return "0x" + bytes(value).hex()
    return value


def unpack(value: Any) -> Any:
    """The inverse of `pack` (bytes stay hex text, as the SDK decodes them)."""
    if isinstance(value, list):
        return [unpack(part) for part in cast(list[Any], value)]
    if isinstance(value, dict):
        fields = cast(dict[str, Any], value)
        if fields.keys() == {_TUPLE}:
            return tuple(unpack(part) for part in fields[_TUPLE])
        return {key: unpack(part) for key, part in fields.items()}
    return value


def dumps(value: Any) -> str:
    """Canonical text of a packed value."""
    return json.dumps(pack(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def loads(text: str | bytes) -> Any:
    return unpack(json.loads(text))


def digest(value: Any) -> str:
    """blake2b-256 of the canonical text, as `0x` hex."""
    return "0x" + blake2b(dumps(value).encode(), digest_size=32).hexdigest()


def text_or_hex(raw: bytes) -> str:
    """Bytes as the SDK decodes them: text where they are UTF-8, else `0x` hex."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "0x" + raw.hex()
