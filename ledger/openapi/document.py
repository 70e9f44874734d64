"""An OpenAPI document as bounded data: read strictly, referenced inside only, every step counted.

It was written by a stranger. Whatever it says, nothing is fetched, no reference is followed in a circle, and what a
reference may cost is spent from one purse for the whole document.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import unquote

from ledger.canonical import StrictJSONError, parse_strict
from ledger.openapi.yaml_reader import parse_yaml

MAX_BYTES = 4 << 20
MAX_YAML_BYTES = 512 << 10
MAX_DEPTH = 96
MAX_VALUES = 80_000
MAX_YAML_VALUES = 25_000
"""What the bytes above hold of a document that people wrote, and what is read in 50 ms whoever wrote it."""
_MAX_HOPS = 16
_VERSION = re.compile(r"3\.([01])(\.[0-9]+)?")

Fields = Mapping[str, Any]


class DocumentRefused(ValueError):
    """The document as a whole cannot be used. `code` is that of `StrictJSONError`, or `not_openapi`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class NotExpressible(ValueError):
    """One operation that a Ledger entry cannot express, or that is refused, and why."""


@dataclass(frozen=True, slots=True)
class Document:
    """The document and which of the two versions it speaks."""

    root: Fields
    version: Literal["3.0", "3.1"]

    def at(self, reference: str) -> object:
        """What a reference names.

        Raises:
            NotExpressible: it leaves the document, or nothing is there.
        """
        if not reference.startswith("#"):
            raise NotExpressible(f"remote_ref: nothing is fetched: {reference[:100]}")
        node: object = self.root
        for part in unquote(reference[1:]).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            node = _child(node, name)
            if node is None:
                raise NotExpressible(f"bad_ref: nothing is at {reference[:100]}")
        return node

    def follow(self, node: object) -> Fields:
        """An object of the document; where it is a reference, what that leads to.

        Raises:
            NotExpressible: as `at`, a circle, or no object.
        """
        for _ in range(_MAX_HOPS):
            found = fields(node)
            reference = found.get("$ref")
            if not isinstance(reference, str):
                return found
            node = self.at(reference)
        raise NotExpressible("recursive_ref: references that lead to no end")


def read_document(raw: bytes) -> Document:
    """Read an OpenAPI 3.0 or 3.1 document: JSON when it begins with a brace, YAML otherwise.

    Raises:
        DocumentRefused: over 4 MiB or 80,000 values (YAML, which takes far longer to read: 512 KiB, 25,000 values), or
            96 levels; not what strict JSON or plain YAML is; not OpenAPI 3.
    """
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        if raw.lstrip()[:1] == b"{":
            root = parse_strict(raw, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH, max_values=MAX_VALUES)
        else:
            root = parse_yaml(raw, max_bytes=MAX_YAML_BYTES, max_depth=MAX_DEPTH, max_values=MAX_YAML_VALUES)
    except StrictJSONError as error:
        raise DocumentRefused(error.code, error.detail) from None
    version = root.get("openapi") if isinstance(root, dict) else None
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if not isinstance(root, dict) or match is None:
        raise DocumentRefused("not_openapi", 'expected an object with "openapi": "3.0.x" or "3.1.x"')
    return Document(root, "3.0" if match[1] == "0" else "3.1")


def fields(node: object) -> Fields:
    """The node as an object.

    Raises:
        NotExpressible: it is something else.
    """
    if not isinstance(node, dict):
        raise NotExpressible(f"malformed: an object was expected, not {str(node)[:40]!r}")
    return cast("dict[str, Any]", node)


def optional(node: Fields, name: str) -> Fields:
    """A member that is an object, an empty one where it is absent.

    Raises:
        NotExpressible: it is something else.
    """
    return fields(node[name]) if name in node else {}


def items(node: Fields, name: str) -> list[Any]:
    """A member that is a list, an empty one where it is absent.

    Raises:
        NotExpressible: it is something else.
    """
    found = node.get(name, [])
    if not isinstance(found, list):
        raise NotExpressible(f"malformed: {name} is no list")
    return cast("list[Any]", found)


def text(node: Fields, name: str) -> str:
    """A member that is a text, an empty one where it is absent or something else."""
    found = node.get(name)
    return found if isinstance(found, str) else ""


def _child(node: object, name: str) -> object:
    if isinstance(node, dict):
        return cast("dict[str, object]", node).get(name)
    if isinstance(node, list) and re.fullmatch(r"0|[1-9][0-9]{0,5}", name):
        found = cast("list[object]", node)
        return found[int(name)] if int(name) < len(found) else None
    return None
