"""Tells those who pay for it what changed, at least once each, however often this process is killed.

Announcing writes down what is to be delivered (`ledger.webhook_store`); delivering sends what is due, one message of a
webhook at a time, so a slow receiver holds up only itself. What fails comes again after longer and longer pauses, with
jitter, and never before a receiver's own `Retry-After`; after the last it is a dead letter, which its owner can revive.
How a request reaches a receiver is the sender's business: the Ledger has no HTTP client.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from ledger.accounts import wall_ms
from ledger.serving.edition import ENTRY, Edition
from ledger.webhook_signature import signed_headers
from ledger.webhook_store import Announced, Due, State, WebhookStore

BACKOFF_S = (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 36_000)
"""Pauses after the first, second, ... failed attempt. The one after the last of them ends in a dead letter."""
JITTER = 0.2
TIMEOUT_S = 10.0
MOST_AT_ONCE = 16
GONE = 410
_LONGEST_PAUSE_S = 24 * 3600
_LEASE_MARGIN_S = 5.0
_CHANGES_AT_ONCE = 500

log = logging.getLogger(__name__)


class SendFailed(Exception):
    """There was no answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a receiver answered."""

    status: int
    retry_after_s: float = 0.0


class Sender(Protocol):
    """Sends one POST. Only `ledger.webhooks` decides when, and what follows."""

    def refuses(self, url: str) -> str:
        """Why this address cannot be called; empty when it may be tried."""
        ...

    async def send(self, url: str, headers: dict[str, str], body: bytes, *, timeout_s: float) -> Answer:
        """Raises `SendFailed`: no answer, whatever the reason."""
        ...


class Webhooks:
    """Announces editions and delivers what is due. `wall` is UTC milliseconds, `chance` gives numbers in [0, 1)."""

    def __init__(
        self,
        store: WebhookStore,
        sender: Sender,
        *,
        wall: Callable[[], int] = wall_ms,
        chance: Callable[[], float] = random.random,
        timeout_s: float = TIMEOUT_S,
        poll_s: float = 1.0,
    ) -> None:
        self._store = store
        self._sender = sender
        self._wall = wall
        self._chance = chance
        self._timeout_s = timeout_s
        self._poll_s = poll_s
        self._busy: set[str] = set()
        self._wake = asyncio.Event()

    async def announce(self, edition: Edition) -> int:
        """Write down what is to be delivered of this edition, if nobody did. Returns how many messages."""
        since, messages = await self._store.start(edition.size), 0
        while since < edition.size:
            upto = min(since + _CHANGES_AT_ONCE, edition.size)
            messages += await self._store.announce(edition.version, since, upto, _changes(edition, since, upto))
            since = upto
        if messages:
            self._wake.set()
        return messages

    async def run(self) -> None:
        """Deliver until cancelled. A database that fails is tried again."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    due = await self._take()
                except (SQLAlchemyError, OSError) as error:
                    log.warning("webhooks wait for the database: %s", error)
                    due = []
                for each in due:
                    group.create_task(self._deliver(each))
                if not due:
                    await self._pause()

    async def deliver_due(self) -> int:
        """Attempt what is due now, and return how many attempts that were."""
        due = await self._take()
        await asyncio.gather(*map(self._deliver, due))
        return len(due)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._poll_s):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    async def _take(self) -> list[Due]:
        free = MOST_AT_ONCE - len(self._busy)
        lease_ms = round((self._timeout_s + _LEASE_MARGIN_S) * 1000)
        due = await self._store.take(free, lease_ms=lease_ms, busy=self._busy) if free else []
        self._busy.update(each.webhook for each in due)
        return due

    async def _deliver(self, due: Due) -> None:
        try:
            answer, error = await self._attempt(due)
            state, next_ms = self._outcome(due, answer)
            await self._store.settle(due, state, status=answer.status, error=error, next_ms=next_ms)
            if answer.status == GONE:
                await self._store.gone(due.webhook)
        except (SQLAlchemyError, OSError) as error:
            log.warning("the outcome of %s is not stored, it will be sent again: %s", due.message, error)
        finally:
            self._busy.discard(due.webhook)
            self._wake.set()

    async def _attempt(self, due: Due) -> tuple[Answer, str]:
        headers = signed_headers(due.secret, due.message, self._wall() // 1000, due.body)
        try:
            sent = {**headers, "content-type": "application/json"}
            return await self._sender.send(due.url, sent, due.body, timeout_s=self._timeout_s), ""
        except SendFailed as error:
            return Answer(0), str(error)

    def _outcome(self, due: Due, answer: Answer) -> tuple[State, int]:
        if 200 <= answer.status < 300:
            return "delivered", 0
        if answer.status == GONE or due.attempt > len(BACKOFF_S):
            return "dead", 0
        pause = BACKOFF_S[due.attempt - 1] * (1 + JITTER * (2 * self._chance() - 1))
        pause = max(pause, min(answer.retry_after_s, _LONGEST_PAUSE_S))
        return "pending", self._wall() + round(pause * 1000)


def _changes(edition: Edition, since: int, upto: int) -> list[Announced]:
    found: list[Announced] = []
    for change in edition.changes[since:upto]:
        entry = edition.entries.get(change.entry) if change.kind == ENTRY else None
        if entry is not None:
            found.append(Announced(change.index, entry.id, entry.netuid, entry.status, change.block))
    return found
