"""What outsiders prepaid to this validator, and the bonds that it holds of that: an account book that can be checked.

Every movement of money is a row that says what the account came to, and rows are only ever added (a trigger sees to
that). A bond is reserved in the transaction that writes its proposal down, so nothing leaves without one, and it is
settled once: the database knows each proposal's reservation and its end by the proposal's digest. Amounts are integers
of rao, and no account can go below nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter
from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database import SqlStore, reading
from ledger.proposals import Anchor, Proposal
from orchestra.governing.drafts import OPEN, Draft, State

Kind: TypeAlias = Literal["paid_in", "paid_back", "reserved", "settled"]

CREDITS = "credits"
"""What the file is called in a validator's folder."""

metadata = MetaData()
movements = Table(
    "movements",
    metadata,
    Column("address", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("reference", String(128), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("free", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    UniqueConstraint("kind", "reference", name="uq_movements_reference"),
    CheckConstraint("kind IN ('paid_in', 'paid_back', 'reserved', 'settled')", name="ck_movements_kind"),
    CheckConstraint("amount > 0 AND lost >= 0 AND lost <= amount", name="ck_movements_amount"),
    CheckConstraint("free >= 0 AND held >= 0", name="ck_movements_account"),
)
sponsored = Table(
    "sponsored",
    metadata,
    Column("digest", String(66), primary_key=True),
    Column("address", String(64), nullable=False),
    Column("proposal", Text, nullable=False),
    Column("signature", String(130), nullable=False),
    Column("bond", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("anchor", Text, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("anchored", BigInteger, nullable=False),
    Column("block", BigInteger, nullable=False),
    Index("ix_sponsored_state", "state"),
    Index("ix_sponsored_made", "made"),
    Index("ix_sponsored_anchored", "anchored"),
)
for _what in ("UPDATE", "DELETE"):
    _trigger = DDL(
        f"CREATE TRIGGER movements_keep_{_what.lower()} BEFORE {_what} ON movements"
        " BEGIN SELECT RAISE(ABORT, 'movements are only added'); END"
    )
    event.listen(movements, "after_create", _trigger.execute_if(dialect="sqlite"))

MOST_RAO = 21_000_000 * 10**9
"""All the TAO there will be."""

KEPT = 1_000
"""Settled proposals whose text is remembered. Movements and what became of a proposal are never forgotten: an account
must add up, and there are a few hundred a day by the rules.
"""

_PROPOSAL: TypeAdapter[Proposal] = TypeAdapter(Proposal)


class CreditRefused(ValueError):
    """A movement that the account cannot bear."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one address has here, in rao: `free` to be put up, `held` as bonds of open proposals, `lost` so far."""

    address: str
    free: int = 0
    held: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Sponsored(Draft):
    """An outsider's proposal, with its signature and the bond that is held for it."""

    signature: str = ""
    bond: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a proposal has come: since which block, and what its bond lost."""

    state: State
    block: int
    bond: int
    lost: int


@dataclass(frozen=True, slots=True)
class Room:
    """How many proposals are taken in the tempo that began at block `since`: of one address, and of all."""

    since: int
    of_one: int
    in_all: int


Reservation: TypeAlias = Literal["reserved", "known", "unpaid", "full"]


class CreditStore(SqlStore):
    """What outsiders prepaid, and what became of it."""

    METADATA = metadata

    # what the operator does

    async def pay_in(self, address: str, amount: int, reference: str) -> bool:
        """Credit what an outsider paid. False, and nothing changes, when `reference` was credited before.

        Raises:
            CreditRefused: no amount, or more than there is.
        """
        return await self._pay("paid_in", address, amount, reference)

    async def pay_back(self, address: str, amount: int, reference: str) -> bool:
        """Take off what was paid back to an outsider. False when `reference` was paid back before.

        Raises:
            CreditRefused: more than is free.
        """
        return await self._pay("paid_back", address, amount, reference)

    async def _pay(self, kind: Kind, address: str, amount: int, reference: str) -> bool:
        if not 0 < amount <= MOST_RAO:
            raise CreditRefused(f"an amount is 1 to {MOST_RAO} rao, not {amount}")
        same = select(movements.c.address).where(movements.c.kind == kind, movements.c.reference == reference)
        async with self._engine.begin() as connection:
            if (await connection.execute(same)).first():
                return False
            change = amount if kind == "paid_in" else -amount
            await _move(connection, kind, address, reference, amount, free=change)
        return True

    async def account(self, address: str) -> Account:
        """One account; an address that never paid has an empty one."""
        return next((each for each in await self._accounts(address)), Account(address))

    async def accounts(self) -> tuple[Account, ...]:
        """Every account, by address."""
        return await self._accounts(None)

    async def _accounts(self, address: str | None) -> tuple[Account, ...]:
        newest = select(
            movements.c.address, func.max(movements.c.number).label("number"), func.sum(movements.c.lost).label("lost")
        ).group_by(movements.c.address)
        if address is not None:
            newest = newest.where(movements.c.address == address)
        last = newest.subquery()
        is_last = (movements.c.address == last.c.address) & (movements.c.number == last.c.number)
        query = select(movements.c.address, movements.c.free, movements.c.held, last.c.lost).join(last, is_last)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query.order_by(movements.c.address))).all()
        return tuple(Account(row.address, row.free, row.held, int(row.lost)) for row in rows)

    # bonds

    async def reserve(self, made: Sponsored, room: Room) -> Reservation:
        """Hold the bond and write the proposal down, both or neither. `known`: it was written down before; `unpaid`:
        its proposer has too little free; `full`: no more in this tempo.
        """
        digest, address = made.digest, made.proposal.proposer
        async with self._engine.begin() as connection:
            if (await connection.execute(select(sponsored.c.digest).where(sponsored.c.digest == digest))).first():
                return "known"
            if await _counted(connection, room, None) >= room.in_all:
                return "full"
            if await _counted(connection, room, address) >= room.of_one:
                return "full"
            try:
                await _move(connection, "reserved", address, digest, made.bond, free=-made.bond, held=made.bond)
            except CreditRefused:
                return "unpaid"
            await connection.execute(insert(sponsored), [_row(made, digest)])
        return "reserved"

    async def anchored(self, digest: str, anchor: Anchor, block: int) -> None:
        """Record where the chain vouches for a proposal."""
        values = {"state": "anchored", "anchor": anchor.model_dump_json(), "anchored": block, "block": block}
        fixed = (sponsored.c.digest == digest) & (sponsored.c.state == "fixed")
        async with self._engine.begin() as connection:
            await connection.execute(update(sponsored).where(fixed).values(**values))

    async def settle(self, digest: str, state: State, block: int, *, lost: int) -> bool:
        """Give a bond back but for what it lost. False, and nothing changes, when it was settled before."""
        is_open = select(sponsored.c.address, sponsored.c.bond).where(
            sponsored.c.digest == digest, sponsored.c.state.in_(OPEN)
        )
        async with self._engine.begin() as connection:
            row = (await connection.execute(is_open)).one_or_none()
            if row is None:
                return False
            gone = min(lost, row.bond)  # of more than it put up nobody can lose
            back = {"free": row.bond - gone, "held": -row.bond}
            await _move(connection, "settled", row.address, digest, row.bond, lost=gone, **back)
            ended = {"state": state, "block": block, "lost": gone}
            await connection.execute(update(sponsored).where(sponsored.c.digest == digest).values(**ended))
            await _forget_texts(connection)
        return True

    async def underway(self) -> tuple[Sponsored, ...]:
        """The proposals that are open, oldest first."""
        query = select(sponsored).where(sponsored.c.state.in_(OPEN)).order_by(sponsored.c.made, sponsored.c.digest)
        async with reading(self._engine) as connection:
            return tuple(map(_sponsored, (await connection.execute(query)).all()))

    async def find(self, digest: str) -> Standing | None:
        """What became of a proposal; None when it was never taken."""
        query = select(sponsored).where(sponsored.c.digest == digest)
        async with reading(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Standing(row.state, row.block, row.bond, row.lost)


async def _move(
    connection: AsyncConnection,
    kind: Kind,
    address: str,
    reference: str,
    amount: int,
    *,
    lost: int = 0,
    free: int = 0,
    held: int = 0,
) -> None:
    """Add a movement. Raises CreditRefused, with nothing written, when the account cannot bear it."""
    newest = select(movements).where(movements.c.address == address).order_by(movements.c.number.desc()).limit(1)
    last = (await connection.execute(newest)).one_or_none()
    number, now_free, now_held = (last.number, last.free, last.held) if last else (0, 0, 0)
    if now_free + free < 0 or now_held + held < 0:
        raise CreditRefused(f"{address} has {now_free} rao free, not {amount}")
    row = {
        "address": address,
        "number": number + 1,
        "kind": kind,
        "reference": reference,
        "amount": amount,
        "lost": lost,
        "free": now_free + free,
        "held": now_held + held,
    }
    await connection.execute(insert(movements), [row])


async def _counted(connection: AsyncConnection, room: Room, address: str | None) -> int:
    """How many take a place in this tempo. One that is not anchored yet will be in this tempo or in a later one, so
    whoever is counted here can never be more at the other validators, who count by anchors.
    """
    taken = or_(sponsored.c.made >= room.since, sponsored.c.anchored >= room.since, sponsored.c.state == "fixed")
    query = select(func.count()).select_from(sponsored).where(taken)
    if address is not None:
        query = query.where(sponsored.c.address == address)
    return (await connection.execute(query)).scalar_one()


async def _forget_texts(connection: AsyncConnection) -> None:
    ended = sponsored.c.state.not_in(OPEN) & (sponsored.c.proposal != "")
    old = select(sponsored.c.digest).where(ended).order_by(sponsored.c.block.desc(), sponsored.c.digest).offset(KEPT)
    gone = (await connection.execute(old)).scalars().all()
    if gone:
        await connection.execute(update(sponsored).where(sponsored.c.digest.in_(gone)).values(proposal="", anchor=""))


def _row(made: Sponsored, digest: str) -> Mapping[str, Any]:
    return {
        "digest": digest,
        "address": made.proposal.proposer,
        "proposal": made.proposal.model_dump_json(),
        "signature": made.signature,
        "bond": made.bond,
        "lost": 0,
        "state": made.state,
        "anchor": "",
        "made": made.block,
        "anchored": -1,
        "block": made.block,
    }


def _sponsored(row: Any) -> Sponsored:
    anchor = Anchor.model_validate_json(row.anchor) if row.anchor else None
    proposal = _PROPOSAL.validate_json(row.proposal)
    return Sponsored(proposal, row.state, row.block, anchor, signature=row.signature, bond=row.bond)
