"""The last looks at operations."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    op.create_table(
        "ledger_probes",
        sa.Column("name", sa.String(160), primary_key=True),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("drifts", sa.Integer, nullable=False),
        sa.Column("drifting", sa.Boolean, nullable=False),
        sa.Column("faults", sa.Integer, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_ledger_probes_last_at", "ledger_probes", ["last_at"], if_not_exists=True)
