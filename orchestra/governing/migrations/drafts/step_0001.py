"""A node's own proposals, and what its operator wants proposed."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    op.create_table(
        "drafts",
        sa.Column("digest", sa.String(66), primary_key=True),
        sa.Column("entry", sa.String(64), nullable=False),
        sa.Column("operation", sa.String(64), nullable=False),
        sa.Column("proposal", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("anchor", sa.Text, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_drafts_state", "drafts", ["state"], if_not_exists=True)
    op.create_table(
        "wanted",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("claim", sa.Text, nullable=False),
        if_not_exists=True,
    )
