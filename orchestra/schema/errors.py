"""The one error of a schema that cannot be used: it says where, what was found, and what may be written instead."""

from __future__ import annotations

import difflib

WORDS = ("int", "bool", "float", "str", "list", "dict", "datetime", "url")
FORMS = ("list[T]", "dict[str, T]", "T | null", "enum(a, b)")

ALLOWED = (*WORDS, *FORMS)

_COUSINS = {
    **dict.fromkeys(("string", "text", "char", "varchar", "unicode", "markdown"), "str"),
    **dict.fromkeys(("integer", "long", "int32", "int64", "uint"), "int"),
    **dict.fromkeys(("number", "double", "decimal", "real", "money", "price", "float64"), "float"),
    **dict.fromkeys(("boolean", "flag"), "bool"),
    **dict.fromkeys(("array", "set", "tuple", "sequence"), "list"),
    **dict.fromkeys(("object", "map", "mapping", "record", "json"), "dict"),
    **dict.fromkeys(("date", "time", "timestamp", "date-time", "instant"), "datetime"),
    **dict.fromkeys(("uri", "link", "href", "http", "https"), "url"),
    **dict.fromkeys(("none", "nil", "optional"), "T | null"),
}


class TargetSchemaError(ValueError):
    """A bad target_schema. `pointer` is the place in what the caller wrote, `suggestion` a word or empty; `allowed` the
    words that may stand there, none where the fault is not a word."""

    def __init__(
        self, pointer: str, found: str = "", detail: str = "", suggestion: str = "", allowed: tuple[str, ...] = ALLOWED
    ) -> None:
        self.pointer = pointer
        self.found = found[:60]
        self.detail = detail
        self.suggestion = suggestion
        self.allowed = allowed
        super().__init__(self._message())

    def _message(self) -> str:
        where = f"target_schema at {self.pointer[:200] or 'the root'}"
        hint = f" Did you mean {self.suggestion!r}?" if self.suggestion else ""
        words = f" Allowed: {', '.join(self.allowed)}, nested objects, lists of one element." if self.allowed else ""
        return f"{where}: {self.detail or 'found ' + repr(self.found)}.{hint}{words}"


def did_you_mean(word: str) -> str:
    """The allowed word nearest to a wrong one, or empty."""
    plain = word.strip().lower()[:40]
    if plain in WORDS:
        return plain
    if plain in _COUSINS:
        return _COUSINS[plain]
    near = difflib.get_close_matches(plain, [*WORDS, *_COUSINS], n=1, cutoff=0.7)
    return _COUSINS.get(near[0], near[0]) if near else ""
