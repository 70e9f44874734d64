"""Seed data of the Ledger. So far the vocabulary: which capabilities an entry may claim, and what each means."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import cast


@cache
def vocabulary() -> MappingProxyType[str, str]:
    """Every capability tag with its meaning in one line, in the order of the published list."""
    raw = files("ledger.catalogue").joinpath("capabilities.json").read_text(encoding="utf-8")
    return MappingProxyType(cast("dict[str, str]", json.loads(raw)))
