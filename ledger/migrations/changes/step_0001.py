"""The table of committed changes."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    op.create_table(
        "ledger_changes",
        sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("entry", sa.String(64), nullable=False),
        sa.Column("leaf", sa.String(66), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_ledger_changes_entry", "ledger_changes", ["entry", "idx"], if_not_exists=True)
