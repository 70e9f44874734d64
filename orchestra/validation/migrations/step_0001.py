"""Score events, issued challenges, seeds, weight attempts."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    _events(op)
    _challenges(op)
    op.create_table(
        "challenge_seeds",
        sa.Column("tempo", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("committed_block", sa.BigInteger, nullable=True),
        if_not_exists=True,
    )
    op.create_table(
        "weight_attempts",
        sa.Column("tempo", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("mechid", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("vector", sa.Text, nullable=False),
        if_not_exists=True,
    )


def _events(op: Operations) -> None:
    op.create_table(
        "score_events",
        sa.Column("event_id", sa.String(80), primary_key=True),
        sa.Column("hotkey", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("refuted", sa.Boolean, nullable=False),
        sa.Column("components", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_score_events_block", "score_events", ["block"], if_not_exists=True)
    op.create_index("ix_score_events_hotkey", "score_events", ["hotkey", "block"], if_not_exists=True)


def _challenges(op: Operations) -> None:
    op.create_table(
        "issued_challenges",
        sa.Column("challenge_id", sa.String(66), primary_key=True),
        sa.Column("miner", sa.String(64), nullable=False),
        sa.Column("tempo", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.Integer, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_issued_slot", "issued_challenges", ["tempo", "slot"], unique=True, if_not_exists=True)
