"""What a validator signed about the log, and the newest checkpoint."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    op.create_table(
        "ledger_signed",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("hotkey", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.String(66), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "ledger_checkpoint",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        if_not_exists=True,
    )
