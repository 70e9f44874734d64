"""Nonces that several machines share."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    op.create_table(
        "shared_nonces",
        sa.Column("nonce_ns", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hotkey", sa.String(64), primary_key=True),
    )
