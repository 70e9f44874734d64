"""YAML as data and nothing more: what YAML 1.2 shares with JSON, within the bounds that strict JSON has.

PyYAML gives the events; what they mean is decided here, because its own loaders read YAML 1.1 (`no` is false, `1:30`
is 90), run recursively, and let nine lines of aliases become a billion values. So there is no recursion, an alias
counts as often as it is used, a key stands once, and tags, merge keys and second documents are refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import yaml

from ledger.canonical import MAX_SAFE_INTEGER, StrictJSONError
from ledger.types import JSON

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_WORDS: dict[str, JSON] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST_NUMBER = 64


def parse_yaml(raw: bytes, *, max_bytes: int, max_depth: int, max_values: int) -> JSON:
    """Parse one YAML document. Keys are read as text, so that `200:` and `"200":` are the same.

    Raises:
        StrictJSONError: as `ledger.canonical.parse_strict`, and `unsupported` for a tag, a merge key, a key that is no
            scalar, or more than one document.
    """
    if len(raw) > max_bytes:
        raise StrictJSONError("too_large", f"{len(raw)} bytes, at most {max_bytes}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise StrictJSONError("bad_text", "not UTF-8") from None
    builder = _Builder(max_depth, max_values)
    line = 0
    try:
        for event in cast("Any", yaml).parse(text, Loader=_LOADER):
            line = event.start_mark.line
            builder.take(event)
        return builder.result()
    except yaml.YAMLError as error:
        raise StrictJSONError("malformed", _where(error)) from None
    except StrictJSONError as refused:
        raise StrictJSONError(refused.code, f"line {line + 1}: {refused.detail}") from None


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error).splitlines()[0][:120]
    return f"line {mark.line + 1}: {problem}" if mark else problem


@dataclass(slots=True)
class _Open:
    """A collection that is being read; `size` counts values with aliases written out."""

    value: dict[str, JSON] | list[JSON]
    anchor: str | None
    key: str | None = None
    size: int = 1


class _Builder:
    def __init__(self, max_depth: int, max_values: int) -> None:
        self._max_depth = max_depth
        self._max_values = max_values
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[JSON, int]] = {}
        self._roots: list[JSON] = []
        self._values = 0

    def take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                value, size = self._anchors.get(event.anchor or "", (None, 0))
                if not size:
                    _refuse("unsupported", f"an alias to nothing before it: {event.anchor}"[:120])
                self._place(value, size)
            case yaml.MappingStartEvent():
                self._start({}, event)
            case yaml.SequenceStartEvent():
                self._start([], event)
            case yaml.CollectionEndEvent():
                closed = self._open.pop()
                self._keep(closed.anchor, closed.value, closed.size)
                self._place(closed.value, closed.size)
            case _:
                pass

    def result(self) -> JSON:
        if len(self._roots) != 1:
            _refuse("malformed", "no document" if not self._roots else "more than one document")
        return self._roots[0]

    def _scalar(self, event: Any) -> None:
        _refuse_tag(event)
        text = _sound(cast("str", event.value))
        plain = bool(event.implicit[0])
        if self._expects_key():
            if plain and text == "<<":
                _refuse("unsupported", "a merge key (<<): write the members out")
            self._key(text)
            self._keep(event.anchor, text, 1)
            return
        value = _resolved(text) if plain else text
        self._keep(event.anchor, value, 1)
        self._place(value, 1)

    def _start(self, value: dict[str, JSON] | list[JSON], event: Any) -> None:
        _refuse_tag(event)
        if self._expects_key():
            _refuse("unsupported", "a key that is not a text")
        if len(self._open) >= self._max_depth:
            _refuse("too_deep", f"nested deeper than {self._max_depth}")
        self._open.append(_Open(value, event.anchor))

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _key(self, text: str) -> None:
        top = self._open[-1]
        if text in top.value:
            _refuse("duplicate_key", f"a mapping names {text[:60]!r} twice")
        top.key = text

    def _place(self, value: JSON, size: int) -> None:
        self._values += 1
        if self._values > self._max_values:
            _refuse("too_many_values", f"more than {self._max_values} values")
        if not self._open:
            self._roots.append(value)
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            if not isinstance(value, str):
                _refuse("unsupported", "a key that is not a text")
            self._key(value)
            return
        else:
            top.value[top.key], top.key = value, None
        top.size += size
        if top.size > self._max_values:
            _refuse("too_many_values", f"more than {self._max_values} values with aliases written out")

    def _keep(self, anchor: str | None, value: JSON, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, size)


def _refuse(code: str, detail: str) -> NoReturn:
    raise StrictJSONError(code, detail)


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        _refuse("unsupported", f"a tag: {event.tag}"[:120])


def _sound(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse("bad_text", "a lone surrogate")
    return text


def _resolved(text: str) -> JSON:
    """A plain scalar by the core schema of YAML 1.2 (§10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if _NO_NUMBER.fullmatch(text):
        _refuse("bad_number", f"{text} is not JSON")
    if _FLOAT.fullmatch(text) is None and _INTEGER.fullmatch(text) is None:
        return text
    if len(text) > _LONGEST_NUMBER:
        _refuse("bad_number", "a number of more than 64 characters")
    if _INTEGER.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        number: int | float = int(text, base)
    else:
        number = float(text)
    if not math.isfinite(number) or (number == int(number) and abs(number) > MAX_SAFE_INTEGER):
        _refuse("bad_number", "a number beyond what strict JSON holds; write it as a text")
    return number
