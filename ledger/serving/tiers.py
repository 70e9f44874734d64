"""What each tier may do (DESIGN §9, Money). Limits, refusals, headers and the documentation all come from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

TierName = Literal["free", "developer", "production", "enterprise"]


@dataclass(frozen=True, slots=True)
class Tier:
    """`per_minute` requests at a steady pace and as many at once; `monthly` counted lookups, None for no end.

    `full`: whole entries with schemas, endpoints and prices; otherwise what a subnet is and which operations it has.
    `webhooks`: how many addresses are told of changes.
    """

    name: TierName
    per_minute: int
    monthly: int | None
    full: bool
    webhooks: int


TIERS: Mapping[TierName, Tier] = MappingProxyType(
    {
        tier.name: tier
        for tier in (
            Tier("free", per_minute=30, monthly=None, full=False, webhooks=0),
            Tier("developer", per_minute=120, monthly=1_000, full=True, webhooks=0),
            Tier("production", per_minute=600_000, monthly=None, full=True, webhooks=100),
            Tier("enterprise", per_minute=6_000_000, monthly=None, full=True, webhooks=1_000),
        )
    }
)
"""Free needs no key and is limited by address. The two largest are unlimited; their pace only protects the server."""
