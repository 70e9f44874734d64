"""The tables of the Ledger API: keys, counts, and who is told of changes. Times are UTC milliseconds.

A webhook's secret stands as it is, because it signs; of a key only the hash is kept. What grows with use (receipts,
deliveries and their attempts) is cut by age where it is written.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, MetaData, String, Table, Text

MIGRATIONS = "ledger.migrations.api"
DAY_MS = 24 * 60 * 60 * 1000

metadata = MetaData()

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("owner", String(128), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger, nullable=True),
)

api_usage = Table(
    "api_usage",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column("lookups", BigInteger, nullable=False),
    CheckConstraint("lookups >= 0", name="ck_api_usage_lookups"),
)

api_receipts = Table(
    "api_receipts",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("request", String(64), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Index("ix_api_receipts_at", "at_ms"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("url", String(512), nullable=False),
    Column("secret", String(64), nullable=False),
    Column("entries", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Index("ix_webhooks_key", "key_id"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("message", String(40), primary_key=True),
    Column("webhook", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Index("ix_webhook_deliveries_due", "state", "next_ms"),
    Index("ix_webhook_deliveries_of", "webhook", "created_ms"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("message", String(40), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", String(200), nullable=False),
)

webhook_cursor = Table(
    "webhook_cursor",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("announced", BigInteger, nullable=False),
)


def values(row: Any) -> dict[str, Any]:
    """A row by the names of its columns."""
    return dict(row._mapping)
