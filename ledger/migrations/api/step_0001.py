"""Keys and their counts; webhooks with what was sent to them."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    _keys(op)
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("url", sa.String(512), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("entries", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
    )
    op.create_index("ix_webhooks_key", "webhooks", ["key_id"])
    _deliveries(op)


def _keys(op: Operations) -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("tier", sa.String(16), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "api_usage",
        sa.Column("key_id", sa.String(16), primary_key=True),
        sa.Column("month", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("lookups", sa.BigInteger, nullable=False),
        sa.CheckConstraint("lookups >= 0", name="ck_api_usage_lookups"),
    )
    op.create_table(
        "api_receipts",
        sa.Column("key_id", sa.String(16), primary_key=True),
        sa.Column("request", sa.String(64), primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_api_receipts_at", "api_receipts", ["at_ms"])


def _deliveries(op: Operations) -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("message", sa.String(40), primary_key=True),
        sa.Column("webhook", sa.String(32), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("next_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_webhook_deliveries_due", "webhook_deliveries", ["state", "next_ms"])
    op.create_index("ix_webhook_deliveries_of", "webhook_deliveries", ["webhook", "created_ms"])
    op.create_table(
        "webhook_attempts",
        sa.Column("message", sa.String(40), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.String(200), nullable=False),
    )
    op.create_table(
        "webhook_cursor",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("announced", sa.BigInteger, nullable=False),
    )
