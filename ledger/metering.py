"""Counts lookups, exactly, before they are answered: a crash loses no count that somebody saw, and doubles none.

One writer takes whatever waits and commits it as one transaction, so sixteen requests at once cost one commit. The
month's count is one row per key; the quota is checked where it is counted, under the database's own lock, so it is
exact across servers. A caller who names a request (`X-Request-Id`) may repeat it for ten minutes and is counted once:
its receipt is written in the same transaction. When the outcome of a commit is not known nobody is told "counted".
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, bindparam, delete, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from ledger.accounts import Account, wall_ms
from ledger.serving.allowance import month_of
from ledger.serving.tables import api_receipts, api_usage
from ledger.writer import Writer

MOST_WAITING = 10_000
RECEIPT_MS = 10 * 60 * 1000
_LARGEST_BATCH = 64
_UNLIMITED = 2**62
_TIDY_EVERY_S = 60.0
_BEGIN = text("INSERT INTO api_usage (key_id, month, lookups) VALUES (:of, :in_month, 0) ON CONFLICT DO NOTHING")
_RECEIPTS = (
    "INSERT INTO api_receipts (key_id, request, at_ms) SELECT :key_id, value, :at_ms FROM {each} WHERE true"
    " ON CONFLICT DO NOTHING RETURNING request"
)
_EACH = {"sqlite": "json_each(:requests)", "postgresql": "json_array_elements_text(CAST(:requests AS json))"}


class MeteringFailed(Exception):
    """The count could not be committed in time, so the lookup must be refused. The fault is ours."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The month's count after a lookup. Not `admitted`: the quota is used up, and this one was not counted."""

    admitted: bool
    used: int


@dataclass(slots=True)
class _Waiting:
    account: Account
    request: str | None
    month: int
    verdict: asyncio.Future[Counted] = field(repr=False)


_Outcome = tuple[_Waiting, "Counted | MeteringFailed"]


class Meter:
    """The one writer of counts in this process, used as `async with Meter(writer) as meter`.

    `timeout_s` bounds the wait of one lookup; `wall` is UTC milliseconds.
    """

    def __init__(self, writer: Writer, *, timeout_s: float = 5.0, wall: Callable[[], int] = wall_ms) -> None:
        self._writes = writer
        self._timeout_s = timeout_s
        self._wall = wall
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._open = False
        self._tidied = float("-inf")
        self._writer: asyncio.Task[None] | None = None
        self._keep = text(_RECEIPTS.format(each=_EACH[writer.dialect]))

    async def __aenter__(self) -> Self:
        self._open = True
        self._writer = asyncio.create_task(self._write(), name="meter")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._wake.set()
        assert self._writer is not None
        await self._writer

    async def count(self, account: Account, request: str | None = None) -> Counted:
        """Count one lookup, durably. `request` (at most 64 characters) names it: named again, it is not counted again.

        Raises:
            MeteringFailed: not committed, or not known whether it was.
        """
        if not self._open or len(self._waiting) >= MOST_WAITING:
            raise MeteringFailed("the meter is closed or overrun")
        verdict: asyncio.Future[Counted] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(account, request, month_of(self._wall()), verdict))
        self._wake.set()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await verdict
        except TimeoutError:
            raise MeteringFailed(f"no commit within {self._timeout_s:g} s") from None

    async def _write(self) -> None:
        try:
            while self._open or self._waiting:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
                    await self._settle([each for each in batch if not each.verdict.done()])
        finally:
            self._open = False  # a bug ended it: lookups are refused at once instead of after a wait

    async def _settle(self, batch: list[_Waiting]) -> None:
        """Count a batch in one transaction, and say so only when it is committed."""
        try:
            outcomes = await self._writes.run(lambda connection: self._count_all(connection, batch))
        except (SQLAlchemyError, OSError) as error:
            outcomes = [(each, MeteringFailed(f"the database failed ({type(error).__name__})")) for each in batch]
        for each, said in outcomes:
            if each.verdict.done():
                continue
            if isinstance(said, Counted):
                each.verdict.set_result(said)
            else:
                each.verdict.set_exception(said)

    def _count_all(self, connection: Connection, batch: list[_Waiting]) -> list[_Outcome]:
        self._tidy(connection)
        return [said for group in _by_count(batch) for said in self._count(connection, group)]

    def _count(self, connection: Connection, group: list[_Waiting]) -> list[_Outcome]:
        """Count what one key asked for in one month."""
        account, month = group[0].account, group[0].month
        at = {"of": account.id, "in_month": month}
        quota = _UNLIMITED if account.tier.monthly is None else account.tier.monthly
        names = list(dict.fromkeys(each.request for each in group if each.request is not None))
        if not names:
            used = connection.execute(_ADD, {**at, "more": len(group), "quota": quota}).scalar()
            if used is not None:
                return [(each, Counted(True, used)) for each in group]
        connection.execute(_BEGIN, at)
        used = connection.execute(_LOCK, at).scalar_one()
        fresh = self._receipts(connection, account, names)
        admitted, more = _admit(group, fresh, quota - used)
        used += more
        connection.execute(_SET, {**at, "used": used})
        if refused := [each.request for each, fits in zip(group, admitted, strict=True) if each.request and not fits]:
            same = (api_receipts.c.key_id == account.id, api_receipts.c.request.in_(refused))
            connection.execute(delete(api_receipts).where(*same))
        return [(each, Counted(fits, used)) for each, fits in zip(group, admitted, strict=True)]

    def _receipts(self, connection: Connection, account: Account, names: list[str]) -> set[str]:
        """Write receipts for requests that were named, and return those that had none."""
        if not names:
            return set()
        given = {"key_id": account.id, "requests": json.dumps(names), "at_ms": self._wall()}
        return set(connection.execute(self._keep, given).scalars())

    def _tidy(self, connection: Connection) -> None:
        """The retention rule: a receipt is forgotten some time after `RECEIPT_MS`."""
        if time.monotonic() - self._tidied > _TIDY_EVERY_S:
            self._tidied = time.monotonic()
            connection.execute(delete(api_receipts).where(api_receipts.c.at_ms < self._wall() - RECEIPT_MS))


def _by_count(batch: Iterable[_Waiting]) -> list[list[_Waiting]]:
    """Groups that share a count, in one order everywhere, so that servers wait for each other but never in a circle."""
    groups: dict[tuple[str, int], list[_Waiting]] = {}
    for each in batch:
        groups.setdefault((each.account.id, each.month), []).append(each)
    return [groups[key] for key in sorted(groups)]


def _admit(group: Iterable[_Waiting], fresh: set[str], left: int) -> tuple[list[bool], int]:
    """Which requests fit when `left` more may be counted, and how many count: a repeat fits and counts nothing."""
    admitted: list[bool] = []
    seen: dict[str, bool] = {}
    counted = 0
    for each in group:
        fits = True
        if each.request is not None and each.request in seen:
            fits = seen[each.request]
        elif each.request is None or each.request in fresh:
            fits = counted < left
            counted += fits
        if each.request is not None:
            seen[each.request] = fits
        admitted.append(fits)
    return admitted, counted


_THIS = (api_usage.c.key_id == bindparam("of"), api_usage.c.month == bindparam("in_month"))
_LOCK = select(api_usage.c.lookups).where(*_THIS).with_for_update()
_SET = update(api_usage).where(*_THIS).values(lookups=bindparam("used"))
_ADD = (
    update(api_usage)
    .where(*_THIS, api_usage.c.lookups + bindparam("more") <= bindparam("quota"))
    .values(lookups=api_usage.c.lookups + bindparam("more"))
    .returning(api_usage.c.lookups)
)
