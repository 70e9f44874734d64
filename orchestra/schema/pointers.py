"""JSON Pointers (RFC 6901): the names by which provenance, evidence and errors speak of one value in a document."""

from __future__ import annotations

import re
from typing import cast

from ledger.schemas import json_pointer
from ledger.types import JSON

_BAD_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
MAX_POINTER_CHARS = 4096


class PointerError(LookupError):
    """A pointer that is malformed or names nothing in the document."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer[:200]!r}: {detail}")
        self.pointer = pointer
        self.detail = detail


def split_pointer(pointer: str) -> tuple[str, ...]:
    """The unescaped parts of a pointer; none for `""`, the whole document.

    Raises:
        PointerError: longer than 4096 characters, not starting with `/`, or with a `~` that escapes nothing.
    """
    if not pointer:
        return ()
    if len(pointer) > MAX_POINTER_CHARS or not pointer.startswith("/") or _BAD_ESCAPE.search(pointer):
        raise PointerError(pointer, 'not a JSON Pointer ("/key/0/other"; "~0" for "~", "~1" for "/")')
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def resolve_pointer(document: JSON, pointer: str) -> JSON:
    """The value that `pointer` names.

    Raises:
        PointerError: malformed, or nothing there.
    """
    value = document
    for part in split_pointer(pointer):
        value = _step(value, part, pointer)
    return value


def set_pointer(document: JSON, pointer: str, value: JSON) -> JSON:
    """Put `value` where `pointer` says, in place, and return the document (`value` itself for `""`).

    The parent must exist. In a list the index may be the length, or `-`, to append.

    Raises:
        PointerError: malformed, or no such parent.
    """
    parts = split_pointer(pointer)
    if not parts:
        return value
    parent = document
    for part in parts[:-1]:
        parent = _step(parent, part, pointer)
    if isinstance(parent, dict):
        parent[parts[-1]] = value
    elif isinstance(parent, list) and parts[-1] in ("-", str(len(parent))):
        parent.append(value)
    elif isinstance(parent, list):
        parent[_index(parent, parts[-1], pointer)] = value
    else:
        raise PointerError(pointer, "its parent is neither an object nor a list")
    return document


def leaf_pointers(data: JSON) -> dict[str, JSON]:
    """Every leaf value by its pointer, in document order. An empty list or object is itself a leaf."""
    found: dict[str, JSON] = {}
    waiting: list[tuple[str, JSON]] = [("", data)]
    while waiting:
        pointer, value = waiting.pop()
        below = children(value)
        if not below:
            found[pointer] = value
        waiting.extend((pointer + json_pointer((key,)), child) for key, child in reversed(below))
    return found


def children(value: JSON) -> list[tuple[str, JSON]]:
    """The parts of a list or object by pointer part, unescaped; none for any other value."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list):
        return [(str(index), child) for index, child in enumerate(value)]
    return []


def _step(value: JSON, part: str, pointer: str) -> JSON:
    if isinstance(value, dict):
        if part not in value:
            raise PointerError(pointer, f"no key {part[:60]!r}")
        return value[part]
    if isinstance(value, list):
        return value[_index(value, part, pointer)]
    raise PointerError(pointer, f"{part[:60]!r} is below a value that has no parts")


def _index(value: list[JSON], part: str, pointer: str) -> int:
    if _INDEX.fullmatch(part) and int(part) < len(value):
        return int(part)
    raise PointerError(pointer, f"no index {part[:60]!r} in a list of {len(cast('list[object]', value))}")
