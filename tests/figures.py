"""What a soak test measured, for docs/soak.md: one JSON line per figure in `$ORCHESTRA_FIGURES`, nothing elsewhere.

A test marked `soak` runs short in ./scripts/test and long under ./scripts/soak; `count` gives it the length.
"""

from __future__ import annotations

import json
import os
from pathlib import Path


def count(name: str, *, short: int, long: int) -> int:
    """How often to repeat: `$ORCHESTRA_SOAK_<NAME>` when set, otherwise `long` in a soak and `short` elsewhere."""
    given = os.environ.get(f"ORCHESTRA_SOAK_{name.upper()}")
    if given:
        return int(given)
    return long if os.environ.get("ORCHESTRA_SOAK") == "1" else short


def record(test: str, **figures: float | str) -> None:
    """Keep what was measured: each keyword is one row, blanks for underscores."""
    path = os.environ.get("ORCHESTRA_FIGURES")
    if path:
        lines = [{"test": test, "figure": name.replace("_", " "), "value": value} for name, value in figures.items()]
        with Path(path).open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
