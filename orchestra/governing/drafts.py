"""A node's own proposals, from the idea to what became of them: written down before the chain or anybody hears of them.

A proposal is fixed by its digest, so one whose bytes were lost after that can never be shown; and one that is shown
twice costs two bonds. Both are prevented by the row that is here first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, delete, insert, select, update

from ledger.canonical import sha256
from ledger.changes import Outcome
from ledger.database import SqlStore, reading
from ledger.proposals import Anchor, Proposal, proposal_payload

MIGRATIONS = "orchestra.governing.migrations.drafts"

metadata = MetaData()
drafts = Table(
    "drafts",
    metadata,
    Column("digest", String(66), primary_key=True),
    Column("entry", String(64), nullable=False),
    Column("operation", String(64), nullable=False),
    Column("proposal", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("anchor", Text, nullable=False),
    Column("block", BigInteger, nullable=False),
    Index("ix_drafts_state", "state"),
)
wanted = Table(
    "wanted",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("claim", Text, nullable=False),
)

KEPT = 1_000
"""Settled proposals that are remembered."""

State: TypeAlias = Literal["fixed", "anchored", "expired"] | Outcome
OPEN: tuple[State, ...] = ("fixed", "anchored")

_PROPOSAL: TypeAdapter[Proposal] = TypeAdapter(Proposal)


@dataclass(frozen=True, slots=True)
class Draft:
    """One proposal of ours. `fixed`: its digest is in our log; `anchored`: the chain vouches for it, at `anchor`, since
    `block`, and validators are shown it; then what became of it.
    """

    proposal: Proposal
    state: State
    block: int
    anchor: Anchor | None = None

    @property
    def digest(self) -> str:
        return sha256(proposal_payload(self.proposal))

    @property
    def operation(self) -> str:
        return getattr(self.proposal, "operation", "")


class DraftStore(SqlStore):
    """Our proposals, and what our operator wants proposed."""

    METADATA = metadata
    MIGRATIONS = MIGRATIONS

    async def add(self, draft: Draft, *, instead_of: int | None = None) -> bool:
        """Write a new one down; False when it is known. `instead_of` is the wish that it fulfils."""
        row = {
            "digest": draft.digest,
            "entry": draft.proposal.entry,
            "operation": draft.operation,
            "proposal": draft.proposal.model_dump_json(),
            "state": draft.state,
            "anchor": "",
            "block": draft.block,
        }
        async with self._engine.begin() as connection:
            if instead_of is not None:
                await connection.execute(delete(wanted).where(wanted.c.id == instead_of))
            known = select(drafts.c.digest).where(drafts.c.digest == draft.digest)
            if (await connection.execute(known)).first():
                return False
            await connection.execute(insert(drafts), [row])
        return True

    async def move(self, digest: str, state: State, *, block: int, anchor: Anchor | None = None) -> None:
        """Record that a proposal has come further."""
        values: dict[str, object] = {"state": state, "block": block}
        if anchor is not None:
            values["anchor"] = anchor.model_dump_json()
        old = select(drafts.c.digest).where(drafts.c.state.not_in(OPEN)).order_by(drafts.c.block.desc()).offset(KEPT)
        async with self._engine.begin() as connection:
            await connection.execute(update(drafts).where(drafts.c.digest == digest).values(**values))
            gone = (await connection.execute(old)).scalars().all()
            await connection.execute(delete(drafts).where(drafts.c.digest.in_(gone)))

    async def all(self, *states: State) -> tuple[Draft, ...]:
        """Those in any of these states (default: every one), oldest first."""
        query = select(drafts).order_by(drafts.c.block, drafts.c.digest)
        if states:
            query = query.where(drafts.c.state.in_(states))
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return tuple(
            Draft(
                _PROPOSAL.validate_json(row.proposal),
                row.state,
                row.block,
                Anchor.model_validate_json(row.anchor) if row.anchor else None,
            )
            for row in rows
        )

    # what an operator wants the Ledger to say

    async def want(self, claims: Sequence[Mapping[str, Any]]) -> None:
        """Ask the node that runs on this folder to propose this: a proposal's fields but for proposer, base and salt,
        which are that node's to fill in.
        """
        rows = [{"claim": json.dumps(claim)} for claim in claims]
        async with self._engine.begin() as connection:
            await connection.execute(insert(wanted), rows)

    async def forget(self, wish: int) -> None:
        """Drop a wish that cannot be fulfilled."""
        async with self._engine.begin() as connection:
            await connection.execute(delete(wanted).where(wanted.c.id == wish))

    async def wishes(self) -> dict[int, dict[str, Any]]:
        """What was asked for and not yet proposed."""
        async with reading(self._engine) as connection:
            rows = (await connection.execute(select(wanted).order_by(wanted.c.id))).all()
        return {row.id: json.loads(row.claim) for row in rows}
