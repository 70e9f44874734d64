"""Seed data of the Ledger: the vocabulary of capabilities, and an entry for every real subnet we know of.

The entries were made from published text and code (`scripts/catalogue`); none of their services was called. What is
doubtful says so, in the notes and in the claims. They are proposals to begin with: the network's log decides.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import cast

from ledger.entry import SubnetEntry


@cache
def vocabulary() -> MappingProxyType[str, str]:
    """Every capability tag with its meaning in one line, in the order of the published list."""
    raw = files("ledger.catalogue").joinpath("capabilities.json").read_text(encoding="utf-8")
    return MappingProxyType(cast("dict[str, str]", json.loads(raw)))


@cache
def load() -> tuple[SubnetEntry, ...]:
    """The entries of the catalogue, by netuid. Read once per process.

    Raises:
        pydantic.ValidationError: a file of the catalogue was damaged.
    """
    folder = files("ledger.catalogue").joinpath("entries")
    entries = (
        SubnetEntry.model_validate_json(each.read_bytes()) for each in folder.iterdir() if each.name.endswith(".json")
    )
    return tuple(sorted(entries, key=lambda entry: entry.netuid))
