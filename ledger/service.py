"""The Ledger API over one database, as a whole: opened in order, followed while it runs, closed in reverse.

Following means: read what was committed, publish it, and announce it to the webhooks. Several servers may share one
PostgreSQL database; counts, keys and deliveries then are common, the pace is each server's own.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from ledger import store
from ledger.accounts import Accounts
from ledger.api import create_app
from ledger.database import Marker, open_engine
from ledger.metering import Meter
from ledger.serving import tables
from ledger.serving.edition import Attach, EditionReader, nothing_attached
from ledger.serving.services import Services
from ledger.webhook_store import WebhookStore
from ledger.webhooks import Sender, Webhooks
from ledger.writer import Writer

REFRESH_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LedgerService:
    """A running service: the app, and what it stands on."""

    app: FastAPI
    services: Services
    reader: EditionReader
    webhooks: Webhooks

    async def refresh(self) -> None:
        """Publish and announce what was committed since."""
        await self.webhooks.announce(await self.reader.refresh())

    async def follow(self) -> None:
        """Refresh for ever. A database that fails is asked again; a log that does not hash is no longer followed."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.refresh()
            except (SQLAlchemyError, OSError) as error:
                log.warning("the Ledger cannot be read now: %s", error)


@asynccontextmanager
async def serving_ledger(
    url: str,
    sender: Sender,
    *,
    ledger_url: str = "",
    attachments: Attach = nothing_attached,
    tao_usd: Decimal | None = None,
    behind_proxy: bool = False,
    marker: Marker | None = None,
    webhook_timeout_s: float = 10.0,
) -> AsyncGenerator[LedgerService]:
    """Open the service on a database, with its first edition read; `marker` hears of every write transaction. The
    Ledger itself may stand in another database, which is then only read.

    Raises:
        ledger.store.LedgerCorrupt: the table of changes is damaged.
        ledger.upgrade.DatabaseTooNew: a newer release has been here.
    """
    async with AsyncExitStack() as stack:
        ledger = await open_engine(ledger_url or url, store.metadata, migrations=store.MIGRATIONS)
        stack.push_async_callback(ledger.dispose)
        engine = await open_engine(url, tables.metadata, migrations=tables.MIGRATIONS, marker=marker)
        stack.push_async_callback(engine.dispose)
        writer = Writer(url, marker=marker)
        stack.push_async_callback(writer.close)
        meter = await stack.enter_async_context(Meter(writer))
        reader, listeners = EditionReader(ledger, attachments), WebhookStore(engine)
        services = Services(lambda: reader.edition, Accounts(engine), meter, listeners, sender, tao_usd, behind_proxy)
        webhooks = Webhooks(listeners, sender, timeout_s=webhook_timeout_s)
        service = LedgerService(create_app(services), services, reader, webhooks)
        await service.refresh()
        gc.freeze()  # what was read now stays: no collection looks at it again
        await stack.enter_async_context(_running(service))
        yield service


@asynccontextmanager
async def _running(service: LedgerService) -> AsyncGenerator[None]:
    tasks = [
        asyncio.create_task(service.follow(), name="following the Ledger"),
        asyncio.create_task(service.webhooks.run(), name="delivering webhooks"),
    ]
    for task in tasks:
        task.add_done_callback(_tell)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("%s has ended, restart this server: %s", task.get_name(), error, exc_info=error)
