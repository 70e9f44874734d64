"""What a miner does with a hint when its own Ledger is behind the challenge's: the hint is then the newest word it has.

A miner whose Ledger is the challenge's version never looks at hints. One that does not follow the Ledger has nothing
better, and so falls for a hint that is outdated: that is what following the Ledger is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from ledger.entry import Operation
from ledger.view import LedgerView
from orchestra.protocol import Hint

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class HintedView(LedgerView):
    """A view with some operations as hints describe them. It keeps the version it was made from: a hint commits
    nothing.
    """

    def __init__(self, base: LedgerView, hints: Iterable[Hint]) -> None:
        entries = dict(base.entries)
        for hint in hints:
            entry = entries.get(hint.entry)
            operation = entry.operation(hint.operation) if entry else None
            if entry is not None and operation is not None:
                hinted = tuple(_hinted(each, hint) if each is operation else each for each in entry.operations)
                entries[entry.id] = entry.model_copy(update={"operations": hinted})
        super().__init__(entries.values())
        self.version = base.version
        self.leaves = base.leaves


def _hinted(operation: Operation, hint: Hint) -> Operation:
    """The operation with the hint's input schema, its request mapping with properties renamed in order of the alphabet.

    The hint is a stranger's: a name that is not a plain one is left alone, because it would become part of an
    expression.
    """
    if hint.input_schema is None:
        return operation
    old, new = _properties(operation.input_schema), _properties(hint.input_schema)
    gone, come = sorted(old - new), sorted(new - old)
    request = operation.request
    for before, after in zip(gone, come, strict=False):
        if _PLAIN.fullmatch(after):
            request = re.sub(rf"\b{re.escape(before)}\s*:", f"{after}:", request, count=1)
    return operation.model_copy(update={"input_schema": hint.input_schema, "request": request})


def _properties(schema: dict[str, Any]) -> set[str]:
    named = schema.get("properties")
    return set(cast("dict[str, Any]", named)) if isinstance(named, dict) else set()
