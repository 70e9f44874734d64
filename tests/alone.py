"""A gateway that works alone on a real local subnet (Desearch's) over real sockets, all in this process: no chain, no
miners. For tests and documentation that need true answers quickly.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal

from ledger.view import LedgerView
from orchestra.alone import local_backend
from orchestra.devnet.entries import devnet_entries
from orchestra.devnet.subnets import desearch, local_web
from orchestra.devnet.subnets.bm25 import Bm25Index
from orchestra.devnet.subnets.crawler import Crawler
from orchestra.devnet.subnets.documents import documents
from orchestra.devnet.subnets.faults import Faults
from orchestra.devnet.subnets.keys import DEFAULT_BALANCE_USD, DEFAULT_KEYS, Keys
from orchestra.gateway.api import create_app
from orchestra.gateway.backend import LocalBackend
from orchestra.subnets import Secret
from orchestra.transport import serving

RECEIPT_KEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@asynccontextmanager
async def backend_alone() -> AsyncGenerator[LocalBackend]:
    """A backend over the local web as Desearch reads it."""
    faults = Faults(desearch.error, desearch.caller)
    keys = Keys({DEFAULT_KEYS["desearch"]: DEFAULT_BALANCE_USD})
    with Bm25Index(documents()) as index:
        async with (
            serving(local_web.create_app()) as web,
            Crawler(web.url) as crawler,
            serving(desearch.create_app(index, crawler, keys, faults)) as subnet,
        ):
            ledger = LedgerView(devnet_entries({"desearch": subnet.url}, RECEIPT_KEY))
            held = {"ORCHESTRA_KEY_SN22": Secret(DEFAULT_KEYS["desearch"], subnet.url)}
            async with local_backend(ledger, held, tao_usd=Decimal(300), allow_loopback=True) as backend:
                yield backend


@contextmanager
def gateway_alone() -> Generator[str]:
    """The URL of such a gateway, which runs in a thread beside the caller."""
    started: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with backend_alone() as backend, serving(create_app(backend)) as address:
            started.append(address.url)
            ready.set()
            await stop.wait()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=work, name="gateway-alone")
    thread.start()
    ready.wait()
    try:
        assert started, "the gateway did not start: see the thread's traceback"
        yield started[0]
    finally:
        if started:
            loop.call_soon_threadsafe(stop.set)
        thread.join()
