"""API keys with a balance: who may call, and who has run out of money.

Balances are integers of 10^-9 USD, so that a thousand small charges add up exactly. Keys are compared in constant time
and never appear in a log: a key is named by the start of its hash.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from enum import Enum

from ledger.canonical import sha256

_NANO = 10**9
DEFAULT_BALANCE_USD = Decimal(1000)
DEFAULT_KEYS = {"desearch": "local-sn22", "data-universe": "local-sn13", "chutes": "local-sn64"}
"""What a service accepts when it is given no keys: published, and worth nothing outside this machine."""
DEFAULT_KEY_URI = "//Atlas"
"""What atlas signs with when it is given no key."""


class Standing(Enum):
    """What a key is worth right now."""

    UNKNOWN = "unknown"
    EMPTY = "empty"
    GOOD = "good"


class Keys:
    """Accepted keys and what is left on each. `balances` are USD."""

    def __init__(self, balances: Mapping[str, Decimal]) -> None:
        self._nano = {key: int(balance * _NANO) for key, balance in balances.items()}

    def standing(self, key: str) -> Standing:
        known = self._known(key)
        if known is None:
            return Standing.UNKNOWN
        return Standing.GOOD if self._nano[known] > 0 else Standing.EMPTY

    def charge(self, key: str, usd: Decimal) -> Decimal:
        """Take what a call cost, rounded up to 10^-9 USD; returns what is left, never below zero."""
        known = self._known(key)
        if known is None:
            raise KeyError("an unknown key cannot be charged")
        cost = int((usd * _NANO).to_integral_value(ROUND_CEILING))
        self._nano[known] = max(0, self._nano[known] - cost)
        return Decimal(self._nano[known]) / _NANO

    def _known(self, key: str) -> str | None:
        given = key.encode("utf-8", "surrogateescape")
        found = [known for known in self._nano if hmac.compare_digest(known.encode(), given)]
        return found[0] if found else None


def fingerprint(key: str) -> str:
    """How a log names a key."""
    return f"key:{sha256(key.encode('utf-8', 'surrogateescape'))[2:14]}"


def bearer(header: str) -> str:
    """The token of a `Bearer` header; empty for anything else."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
