"""The digests that one hotkey fixes on chain."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    op.create_table(
        "fixed",
        sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(66), nullable=False, unique=True),
        if_not_exists=True,
    )
