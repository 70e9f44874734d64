"""API keys: made once, shown once, stored as a hash; found in memory on every request.

A key is 256 random bits, so a plain hash of it is safe to keep. Lookups are remembered for a few seconds, in bounded
memory, known keys and unknown ones alike: a revocation on another machine takes effect within that time.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from ledger.database import reading
from ledger.serving.tables import api_keys, api_usage
from ledger.serving.tiers import TIERS, Tier, TierName

KEY_PREFIX = "orchestra_"
REMEMBERED_S = 5.0
_CAPACITY = 10_000


def wall_ms() -> int:
    """Now, in UTC milliseconds."""
    return time.time_ns() // 10**6


@dataclass(frozen=True, slots=True)
class Account:
    """A key without its secret."""

    id: str
    owner: str
    tier: Tier
    created_ms: int
    revoked_ms: int | None = None


class Accounts:
    """The keys of one database. `clock` is monotonic seconds, `wall` UTC milliseconds."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_ms,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._wall = wall
        self._remembered: OrderedDict[str, tuple[float, Account | None]] = OrderedDict()

    async def issue(self, owner: str, tier: TierName) -> tuple[str, Account]:
        """A new key, which nobody can read again afterwards, and its account.

        Raises:
            ValueError: the owner is empty or over 128 characters.
        """
        if not 0 < len(owner) <= 128 or not owner.isprintable():
            raise ValueError("an owner is 1 to 128 printable characters")
        account = Account(secrets.token_hex(4), owner, TIERS[tier], self._wall())
        key = f"{KEY_PREFIX}{account.id}_{secrets.token_urlsafe(32)}"
        row = {"id": account.id, "hash": _hash(key), "owner": owner, "tier": tier, "created_ms": account.created_ms}
        async with self._engine.begin() as connection:
            await connection.execute(insert(api_keys), [row])
        return key, account

    async def find(self, key: str) -> Account | None:
        """Whose key this is; None for one that was never issued or is revoked."""
        hashed, now = _hash(key), self._clock()
        known = self._remembered.get(hashed)
        if known is not None and now - known[0] < REMEMBERED_S:
            return known[1]
        query = select(api_keys).where(api_keys.c.hash == hashed, api_keys.c.revoked_ms.is_(None))
        async with reading(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        account = None if row is None else _account(row)
        self._remembered[hashed] = (now, account)
        self._remembered.move_to_end(hashed)
        if len(self._remembered) > _CAPACITY:
            self._remembered.popitem(last=False)
        return account

    async def revoke(self, account_id: str) -> bool:
        """Take a key back for good. False when there is no such key, or it was revoked before."""
        alive = update(api_keys).where(api_keys.c.id == account_id, api_keys.c.revoked_ms.is_(None))
        async with self._engine.begin() as connection:
            changed = (await connection.execute(alive.values(revoked_ms=self._wall()))).rowcount
        self._remembered.clear()
        return changed == 1

    async def all(self) -> tuple[Account, ...]:
        """Every key that was ever issued, oldest first."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(select(api_keys).order_by(api_keys.c.created_ms, api_keys.c.id))
            return tuple(map(_account, rows))

    async def usage(self, account_id: str) -> dict[int, int]:
        """Counted lookups by month, as {202610: 17}."""
        query = select(api_usage.c.month, api_usage.c.lookups).where(api_usage.c.key_id == account_id)
        async with reading(self._engine) as connection:
            return {row.month: row.lookups for row in await connection.execute(query.order_by(api_usage.c.month))}


def _hash(key: str) -> str:
    return hashlib.sha256(b"orchestra-api-key/1\n" + key.encode()).hexdigest()


def _account(row: Any) -> Account:
    tier = TIERS[cast("TierName", row.tier)]
    return Account(row.id, row.owner, tier, row.created_ms, row.revoked_ms)
