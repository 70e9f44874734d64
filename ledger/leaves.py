"""One committed change as the log carries it: its kind and its body, in the bytes that are hashed.

What a kind means is for `ledger.changes` to say. A copy of the log has to carry kinds that its reader never heard of,
or a newer validator's log could not be checked by anyone older; only an `entry`, which everything else is read from,
has to be one. One leaf is one line, so that a log is a file of lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import ValidationError

from ledger.canonical import MAX_DEPTH, StrictJSONError, canonical, leaf_hash, parse_strict
from ledger.changes import Change, change_body, kind_of, read_change
from ledger.entry import SubnetEntry
from ledger.types import JSON, Hash

ENTRY: Final = "entry"
MAX_LEAF_BYTES = 1 << 20
_KIND = re.compile(r"[a-z][a-z0-9_]{0,15}")
_OPEN, _MIDDLE, _CLOSE = b'{"body":', b',"kind":"', b'"}'


class LeafRefused(ValueError):
    """Bytes that are no leaf of the log, or an `entry` that is none."""


@dataclass(frozen=True, slots=True)
class LogLeaf:
    """A change of a `kind`. `body` is the canonical JSON (RFC 8785) of an object."""

    kind: str
    body: bytes

    @classmethod
    def of(cls, kind: str, body: Mapping[str, Any]) -> Self:
        """A leaf from a JSON object.

        Raises:
            LeafRefused: a kind that no leaf has, or a body that cannot be canonicalised.
        """
        if not _KIND.fullmatch(kind):
            raise LeafRefused(f"{kind[:32]!r} is no kind of change")
        return cls(kind, _canonical(body))

    @property
    def line(self) -> bytes:
        """JCS({"body": body, "kind": kind}): what is hashed, and what stands in a file."""
        return _OPEN + self.body + _MIDDLE + self.kind.encode() + _CLOSE

    @property
    def hash(self) -> Hash:
        """The leaf of the tree: SHA-256(0x00, line)."""
        return leaf_hash(self.line)

    @classmethod
    def from_change(cls, change: Change) -> Self:
        """The leaf of a committed change."""
        return cls(kind_of(change), change_body(change))

    def change(self) -> Change:
        """What this leaf says, as far as this version of ours knows its kind.

        Raises:
            LeafRefused: an unknown kind, not a body of its kind, or not spelled as we would write it.
        """
        try:
            change = read_change(self.kind, _parsed(self.body))
        except ValidationError as error:
            raise LeafRefused(f"no {self.kind}: {_first(error)}") from None
        except ValueError as error:
            raise LeafRefused(str(error)) from None
        if change_body(change) != self.body:
            raise LeafRefused(f"a {self.kind} that is not spelled as we would write it")
        return change


def read_leaf(line: bytes) -> LogLeaf:
    """A leaf from its line, without the newline. What comes back has exactly these bytes as its `line`.

    Raises:
        LeafRefused: too large, not strict JSON, not canonical, not a kind and a body, or an entry that is none.
    """
    value = _parsed(line)
    if not isinstance(value, dict) or value.keys() != {"body", "kind"} or not isinstance(value["body"], dict):
        raise LeafRefused("a leaf is a kind and a body")
    kind = value["kind"]
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise LeafRefused("not a kind of change")
    if _canonical(value) != line:
        raise LeafRefused("not in canonical spelling")
    if kind == ENTRY:
        _require_entry(value["body"])
    return LogLeaf(kind, line[len(_OPEN) : -len(_MIDDLE + kind.encode() + _CLOSE)])


def _parsed(raw: bytes) -> JSON:
    try:
        return parse_strict(raw, max_bytes=MAX_LEAF_BYTES, max_depth=MAX_DEPTH + 1)
    except StrictJSONError as error:
        raise LeafRefused(str(error)) from None


def _canonical(value: Any) -> bytes:
    try:
        return canonical(value)
    except ValueError as error:
        raise LeafRefused(str(error)) from None


def _require_entry(body: JSON) -> None:
    try:
        SubnetEntry.model_validate(body)
    except ValidationError as error:
        raise LeafRefused(f"no entry: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))[:80] or "the whole"
    return f"{where}: {first['msg'][:120]}"
