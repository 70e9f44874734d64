"""Who is told of changes, what is to be delivered, and how every attempt went: one database, nothing only in memory.

What is to be delivered is written in one transaction with how far the log was announced, so that no crash loses a
change or announces it twice. A delivery that is taken is put off for as long as an attempt may last; who dies with it
in hand has made it due again. Its id follows from what it says, and stays the same for every attempt.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ledger.accounts import wall_ms
from ledger.database import insert_new, reading
from ledger.serving.tables import DAY_MS, webhook_attempts, webhook_cursor, webhook_deliveries, webhooks
from ledger.webhook_signature import new_secret

MOST_CHANGES = 100
"""Changes that one message tells of."""
KEPT_MS = 30 * DAY_MS
"""How long what was delivered, or given up, stays in the log."""

State = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told of changes. `entries` empty: of all. `state` "gone": it asked to hear no more (410)."""

    id: str
    key_id: str
    url: str
    entries: tuple[str, ...]
    created_ms: int
    state: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver. `status` 0: there was no answer, and `error` says why."""

    attempt: int
    at_ms: int
    status: int
    error: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one webhook, with all attempts made so far."""

    message: str
    webhook: str
    state: str
    created_ms: int
    next_ms: int
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that was taken to be attempted now, for the `attempt`-th time."""

    message: str
    webhook: str
    url: str
    secret: str
    body: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class Announced:
    """What changed, as a receiver hears it: the log index, the entry after the change and the block."""

    index: int
    entry: str
    netuid: int
    status: str
    block: int


class WebhookStore:
    """The webhooks of one database. `wall` is UTC milliseconds."""

    def __init__(self, engine: AsyncEngine, *, wall: Callable[[], int] = wall_ms) -> None:
        self._engine = engine
        self._wall = wall

    # who is told

    async def add(self, key_id: str, url: str, entries: Iterable[str], *, most: int) -> tuple[str, Webhook] | None:
        """A new webhook and its secret, which is not shown again; None when the key has `most` already."""
        made = Webhook(secrets.token_hex(8), key_id, url, tuple(entries), self._wall(), "active")
        secret = new_secret()
        mine = select(func.count()).select_from(webhooks).where(webhooks.c.key_id == key_id)
        async with self._engine.begin() as connection:
            if (await connection.execute(mine)).scalar_one() >= most:
                return None
            row = {**_fields(made), "entries": json.dumps(made.entries), "secret": secret}
            await connection.execute(insert(webhooks), [row])
        return secret, made

    async def of(self, key_id: str) -> tuple[Webhook, ...]:
        """The webhooks of a key, oldest first."""
        query = select(webhooks).where(webhooks.c.key_id == key_id).order_by(webhooks.c.created_ms, webhooks.c.id)
        async with reading(self._engine) as connection:
            return tuple(_webhook(row) for row in await connection.execute(query))

    async def remove(self, key_id: str, webhook_id: str) -> bool:
        """Forget a webhook and what was to be delivered to it. False when the key has none of that id."""
        async with self._engine.begin() as connection:
            mine = (webhooks.c.id == webhook_id, webhooks.c.key_id == key_id)
            if (await connection.execute(delete(webhooks).where(*mine))).rowcount == 0:
                return False
            messages = select(webhook_deliveries.c.message).where(webhook_deliveries.c.webhook == webhook_id)
            await connection.execute(delete(webhook_attempts).where(webhook_attempts.c.message.in_(messages)))
            await connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.webhook == webhook_id))
        return True

    # what is to be delivered

    async def start(self, size: int) -> int:
        """How many leaves of the log are announced; a database that never announced any starts at `size`."""
        async with self._engine.begin() as connection:
            await insert_new(connection, webhook_cursor, [{"id": 0, "announced": size}])
            return (await connection.execute(select(webhook_cursor.c.announced))).scalar_one()

    async def announce(self, version: str, since: int, upto: int, changes: Sequence[Announced]) -> int:
        """Write down what the webhooks are to hear of leaves `since` to `upto`, once. Returns how many messages.

        Nothing is written when another server was first.
        """
        forward = update(webhook_cursor).where(webhook_cursor.c.announced == since).values(announced=upto)
        async with self._engine.begin() as connection:
            if (await connection.execute(forward)).rowcount == 0:
                return 0
            listening = await connection.execute(select(webhooks).where(webhooks.c.state == "active"))
            rows = [row for each in listening.all() for row in self._messages(_webhook(each), version, changes)]
            await insert_new(connection, webhook_deliveries, rows)
            await self._forget(connection)
            return len(rows)

    def _messages(self, webhook: Webhook, version: str, changes: Sequence[Announced]) -> list[dict[str, Any]]:
        wanted = [each for each in changes if not webhook.entries or each.entry in webhook.entries]
        parts = [wanted[at : at + MOST_CHANGES] for at in range(0, len(wanted), MOST_CHANGES)]
        return [_message(webhook, version, part, self._wall()) for part in parts]

    async def _forget(self, connection: AsyncConnection) -> None:
        """The retention rule: what ended long ago leaves the log of deliveries."""
        old = (webhook_deliveries.c.state != "pending", webhook_deliveries.c.created_ms < self._wall() - KEPT_MS)
        messages = select(webhook_deliveries.c.message).where(*old)
        await connection.execute(delete(webhook_attempts).where(webhook_attempts.c.message.in_(messages)))
        await connection.execute(delete(webhook_deliveries).where(*old))

    async def take(self, most: int, *, lease_ms: int, busy: Iterable[str] = ()) -> list[Due]:
        """At most `most` deliveries that are due, one of each webhook that is not `busy`; put off by `lease_ms`."""
        due = webhook_deliveries.c
        first = (
            select(due.webhook, func.min(due.created_ms).label("created_ms"))
            .where(due.state == "pending", due.next_ms <= self._wall(), due.webhook.not_in(list(busy)))
            .group_by(due.webhook)
            .order_by(func.min(due.next_ms))
            .limit(most)
            .subquery()
        )
        query = (
            select(webhook_deliveries, webhooks.c.url, webhooks.c.secret)
            .join(first, (first.c.webhook == due.webhook) & (first.c.created_ms == due.created_ms))
            .join(webhooks, webhooks.c.id == due.webhook)
            .where(due.state == "pending", due.next_ms <= self._wall())
            .order_by(due.message)
            .with_for_update(of=webhook_deliveries, skip_locked=True)
        )
        async with self._engine.begin() as connection:
            rows = {row.webhook: row for row in (await connection.execute(query)).all()}
            if rows:
                put_off = update(webhook_deliveries).where(due.message == bindparam("of"))
                until = self._wall() + lease_ms
                taken = [{"of": row.message} for row in rows.values()]
                await connection.execute(put_off.values(next_ms=until, attempts=due.attempts + 1), taken)
        return [
            Due(row.message, row.webhook, row.url, row.secret, row.body.encode(), row.attempts + 1)
            for row in rows.values()
        ]

    async def settle(self, due: Due, state: State, *, status: int, error: str, next_ms: int = 0) -> None:
        """Write down how an attempt went, and what follows from it; nothing when a later attempt was begun."""
        row = {
            "message": due.message,
            "attempt": due.attempt,
            "at_ms": self._wall(),
            "status": status,
            "error": error[:200],
        }
        this = update(webhook_deliveries).where(
            webhook_deliveries.c.message == due.message,
            webhook_deliveries.c.state == "pending",
            webhook_deliveries.c.attempts == due.attempt,
        )
        async with self._engine.begin() as connection:
            if (await connection.execute(this.values(state=state, next_ms=next_ms))).rowcount:
                await insert_new(connection, webhook_attempts, [row])

    async def gone(self, webhook_id: str) -> None:
        """The receiver wants no more: nothing is sent to it until it is registered again."""
        async with self._engine.begin() as connection:
            await connection.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(state="gone"))
            waiting = (webhook_deliveries.c.webhook == webhook_id, webhook_deliveries.c.state == "pending")
            await connection.execute(update(webhook_deliveries).where(*waiting).values(state="dead"))

    # how it went

    async def deliveries(
        self, key_id: str, *, webhook_id: str | None = None, state: State | None = None, limit: int = 100
    ) -> list[Delivery]:
        """The latest deliveries to a key's webhooks, newest first, with their attempts."""
        query = (
            select(webhook_deliveries)
            .join(webhooks, webhooks.c.id == webhook_deliveries.c.webhook)
            .where(webhooks.c.key_id == key_id)
            .order_by(webhook_deliveries.c.created_ms.desc(), webhook_deliveries.c.message)
            .limit(limit)
        )
        if webhook_id is not None:
            query = query.where(webhooks.c.id == webhook_id)
        if state is not None:
            query = query.where(webhook_deliveries.c.state == state)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).all()
            some = webhook_attempts.c.message.in_([row.message for row in rows])
            made = await connection.execute(select(webhook_attempts).where(some).order_by(webhook_attempts.c.attempt))
            attempts: dict[str, list[Attempt]] = {}
            for each in made:
                attempts.setdefault(each.message, []).append(Attempt(each.attempt, each.at_ms, each.status, each.error))
        return [
            Delivery(
                row.message, row.webhook, row.state, row.created_ms, row.next_ms, tuple(attempts.get(row.message, ()))
            )
            for row in rows
        ]

    async def revive(self, key_id: str, message: str) -> bool:
        """Try a dead letter again, from now on. False when the key has none of that id."""
        mine = select(webhooks.c.id).where(webhooks.c.key_id == key_id, webhooks.c.state == "active")
        this = (
            webhook_deliveries.c.message == message,
            webhook_deliveries.c.state == "dead",
            webhook_deliveries.c.webhook.in_(mine),
        )
        async with self._engine.begin() as connection:
            again = update(webhook_deliveries).where(*this).values(state="pending", next_ms=self._wall())
            return (await connection.execute(again)).rowcount == 1


def _message(webhook: Webhook, version: str, part: Sequence[Announced], now_ms: int) -> dict[str, Any]:
    data = {"ledger_version": version, "changes": [_fields(each) for each in part]}
    body = json.dumps({"type": "ledger.changed", "data": data}, separators=(",", ":"))
    named = f"orchestra-webhook/1\n{webhook.id}\n{part[0].index}\n{part[-1].index}\n{version}"
    return {
        "message": "msg_" + hashlib.sha256(named.encode()).hexdigest()[:32],
        "webhook": webhook.id,
        "body": body,
        "state": "pending",
        "attempts": 0,
        "created_ms": now_ms,
        "next_ms": now_ms,
    }


def _fields(value: Webhook | Announced) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _webhook(row: Any) -> Webhook:
    return Webhook(row.id, row.key_id, row.url, tuple(json.loads(row.entries)), row.created_ms, row.state)
