"""What a validator must never lose, in one database: score events, issued challenges, seeds, weight attempts.

Every row is keyed by what it is about, so that doing something twice after a crash changes nothing: an event is its
challenge, a weight attempt its tempo and mechanism. Scores themselves are not stored: they follow from the events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from ledger.database import SqlStore, reading
from orchestra.validation.components import ScoreEvent

MIGRATIONS = "orchestra.validation.migrations"

metadata = MetaData()

score_events = Table(
    "score_events",
    metadata,
    Column("event_id", String(80), primary_key=True),
    Column("hotkey", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("refuted", Boolean, nullable=False),
    Column("components", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Index("ix_score_events_block", "block"),
    Index("ix_score_events_hotkey", "hotkey", "block"),
)

issued = Table(
    "issued_challenges",
    metadata,
    Column("challenge_id", String(66), primary_key=True),
    Column("miner", String(64), nullable=False),
    Column("tempo", BigInteger, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Index("ix_issued_slot", "tempo", "slot", unique=True),
)

seeds = Table(
    "challenge_seeds",
    metadata,
    Column("tempo", BigInteger, primary_key=True, autoincrement=False),
    Column("secret", LargeBinary, nullable=False),
    Column("committed_block", BigInteger, nullable=True),
)

weight_attempts = Table(
    "weight_attempts",
    metadata,
    Column("tempo", BigInteger, primary_key=True, autoincrement=False),
    Column("mechid", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("code", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("vector", Text, nullable=False),
)

ChallengeState = Literal["issued", "scored", "abandoned"]
WeightState = Literal["submitting", "set", "failed"]


@dataclass(frozen=True, slots=True)
class IssuedChallenge:
    """A challenge that was sent, or is about to be: written before the first byte leaves."""

    challenge_id: str
    miner: str
    tempo: int
    slot: int
    block: int
    kind: str
    state: ChallengeState = "issued"


@dataclass(frozen=True, slots=True)
class WeightAttempt:
    """One tempo's weights for one mechanism, and how setting them went. `vector` is by hotkey."""

    tempo: int
    mechid: int
    state: WeightState
    block: int
    tries: int
    vector: dict[str, float]
    code: str = ""
    message: str = ""


class ValidationStore(SqlStore):
    """The validator's database."""

    METADATA = metadata
    MIGRATIONS = MIGRATIONS

    # challenges and what came of them

    async def issue(self, challenge: IssuedChallenge) -> bool:
        """Record a challenge before it is sent. False when this slot of the schedule was already used."""
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(issued), [_fields(challenge)])
        except IntegrityError:
            return False
        return True

    async def slots_used(self, tempo: int) -> frozenset[int]:
        """Slots of a tempo's schedule that are behind us, whatever came of them."""
        query = select(issued.c.slot).where(issued.c.tempo == tempo)
        async with reading(self._engine) as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def abandon_unanswered(self) -> int:
        """After a restart: challenges that a crash interrupted say nothing about anybody. Returns how many."""
        async with self._engine.begin() as connection:
            result = await connection.execute(
                update(issued).where(issued.c.state == "issued").values(state="abandoned")
            )
            return result.rowcount

    async def record(self, events: Sequence[ScoreEvent], *, settles: str | None = None) -> int:
        """Store events and settle the challenge they came from, in one transaction. Known events are left as they are.

        Returns how many events were new.
        """
        async with self._engine.begin() as connection:
            known = select(score_events.c.event_id).where(
                score_events.c.event_id.in_([event.event_id for event in events])
            )
            seen = set((await connection.execute(known)).scalars())
            fresh = [_event_row(event) for event in events if event.event_id not in seen]
            if fresh:
                await connection.execute(insert(score_events), fresh)
            if settles is not None:
                await connection.execute(update(issued).where(issued.c.challenge_id == settles).values(state="scored"))
        return len(fresh)

    async def events(self, *, since: int, hotkey: str | None = None) -> tuple[ScoreEvent, ...]:
        """Events of the window that begins at block `since`, in order of block."""
        query = select(score_events).where(score_events.c.block >= since)
        if hotkey is not None:
            query = query.where(score_events.c.hotkey == hotkey)
        async with reading(self._engine) as connection:
            rows = await connection.execute(query.order_by(score_events.c.block, score_events.c.event_id))
            return tuple(_event(row) for row in rows)

    async def forget_before(self, block: int) -> int:
        """The retention rule: drop challenges and events older than `block`. Returns how many events went."""
        async with self._engine.begin() as connection:
            await connection.execute(delete(issued).where(issued.c.block < block))
            return (await connection.execute(delete(score_events).where(score_events.c.block < block))).rowcount

    # seeds

    async def seed(self, tempo: int, fresh: bytes) -> bytes:
        """The secret of a tempo: the stored one, or `fresh`, which is then stored."""
        async with self._engine.begin() as connection:
            known = (await connection.execute(select(seeds.c.secret).where(seeds.c.tempo == tempo))).scalar()
            if known is not None:
                return known
            await connection.execute(insert(seeds), [{"tempo": tempo, "secret": fresh, "committed_block": None}])
            return fresh

    async def seed_committed(self, tempo: int, block: int) -> None:
        """Record at which block the chain was first seen to vouch for a seed."""
        async with self._engine.begin() as connection:
            await connection.execute(update(seeds).where(seeds.c.tempo == tempo).values(committed_block=block))

    async def seed_commitments(self) -> dict[int, tuple[bytes, int | None]]:
        """Every seed by tempo, with the block at which its commitment was on chain (None: not yet)."""
        async with reading(self._engine) as connection:
            rows = await connection.execute(select(seeds).order_by(seeds.c.tempo))
            return {row.tempo: (row.secret, row.committed_block) for row in rows}

    async def forget_seeds_before(self, tempo: int) -> None:
        """The retention rule of seeds: whoever wanted to check an opened one has done so."""
        async with self._engine.begin() as connection:
            await connection.execute(delete(seeds).where(seeds.c.tempo < tempo))

    # weights

    async def weight_attempt(self, tempo: int, mechid: int) -> WeightAttempt | None:
        query = select(weight_attempts).where(weight_attempts.c.tempo == tempo, weight_attempts.c.mechid == mechid)
        async with reading(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _attempt(row)

    async def weight_attempts(self, limit: int = 100) -> tuple[WeightAttempt, ...]:
        """The latest attempts, newest first."""
        query = select(weight_attempts).order_by(weight_attempts.c.tempo.desc(), weight_attempts.c.mechid).limit(limit)
        async with reading(self._engine) as connection:
            return tuple(_attempt(row) for row in await connection.execute(query))

    async def last_set(self) -> int | None:
        """The newest tempo for which weights were set; None when they never were."""
        query = select(func.max(weight_attempts.c.tempo)).where(weight_attempts.c.state == "set")
        async with reading(self._engine) as connection:
            return (await connection.execute(query)).scalar()

    async def first_block(self) -> int | None:
        """The block of the oldest event that is still kept."""
        async with reading(self._engine) as connection:
            return (await connection.execute(select(func.min(score_events.c.block)))).scalar()

    async def save_attempt(self, attempt: WeightAttempt) -> None:
        """Insert or replace the one row of this tempo and mechanism."""
        same = (weight_attempts.c.tempo == attempt.tempo, weight_attempts.c.mechid == attempt.mechid)
        row = _fields(attempt) | {"vector": json.dumps(attempt.vector, sort_keys=True)}
        async with self._engine.begin() as connection:
            await connection.execute(delete(weight_attempts).where(*same))
            await connection.execute(insert(weight_attempts), [row])


def _fields(value: IssuedChallenge | WeightAttempt) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _event_row(event: ScoreEvent) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "hotkey": event.hotkey,
        "kind": event.kind,
        "block": event.block,
        "refuted": event.refuted,
        "components": json.dumps(dict(event.values), sort_keys=True),
        "reasons": json.dumps(list(event.reasons)),
    }


def _event(row: Any) -> ScoreEvent:
    reasons: Iterable[str] = json.loads(row.reasons)
    return ScoreEvent(
        row.event_id, row.hotkey, row.kind, row.block, json.loads(row.components), row.refuted, tuple(reasons)
    )


def _attempt(row: Any) -> WeightAttempt:
    vector: dict[str, float] = json.loads(row.vector)
    return WeightAttempt(row.tempo, row.mechid, row.state, row.block, row.tries, vector, row.code, row.message)
