"""What the Ledger API needs from outside: who has keys, what is counted, which edition is in force."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from starlette.requests import Request

from ledger.accounts import Account, Accounts, wall_ms
from ledger.metering import Meter
from ledger.serving.allowance import Pace
from ledger.serving.door import Visit, visit_of
from ledger.serving.edition import Edition
from ledger.serving.pages import Pages
from ledger.serving.problems import KEY_MISSING, NOT_READY, Refused
from ledger.webhook_store import WebhookStore
from ledger.webhooks import Sender

_ENTRY = "/v1/subnets/"


@dataclass
class Services:
    """Everything an app is made over. `edition` gives the one in force, None before there is one.

    `tao_usd`: dollars for one TAO, for prices in the other currency; without it they count as unknown.
    `behind_proxy`: the caller is whom the nearest proxy names in `X-Forwarded-For`.
    """

    edition: Callable[[], Edition | None]
    accounts: Accounts
    meter: Meter
    webhooks: WebhookStore
    sender: Sender
    tao_usd: Decimal | None = None
    behind_proxy: bool = False
    pace: Pace = field(default_factory=lambda: Pace(clock=time.monotonic))
    wall: Callable[[], int] = wall_ms
    _pages: Pages | None = None

    def pages(self) -> Pages:
        """The pages of the edition in force, made once for each.

        Raises:
            Refused: nothing was read yet.
        """
        edition = self.edition()
        if edition is None:
            raise Refused(NOT_READY, headers={"retry-after": "1"})
        if self._pages is None or self._pages.edition is not edition:
            self._pages = Pages(edition)
        return self._pages

    def ready(self, path: str, visit: Visit) -> bytes | None:
        """The page of one entry, when that is what is asked for: what a door answers by itself."""
        if not path.startswith(_ENTRY) or self.edition() is None:
            return None
        pages = self.pages()
        body = pages.subnet(path[len(_ENTRY) :], visit.tier.full)
        if body is not None:
            _lookup(visit, pages)
        return body


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as a route sees it."""

    services: Services
    visit: Visit
    pages: Pages

    @property
    def full(self) -> bool:
        return self.visit.tier.full

    @property
    def account(self) -> Account:
        """Whose request it is. Raises Refused: nobody's."""
        if self.visit.account is None:
            raise Refused(KEY_MISSING)
        return self.visit.account


async def asked(request: Request) -> Asked:
    """What is free of charge, and may be different every time."""
    services: Services = request.app.state.services
    return Asked(services, visit_of(request.scope), services.pages())


async def looked_up(request: Request) -> Asked:
    """A lookup: counted when it is answered, and the same as long as the version is."""
    found = await asked(request)
    _lookup(found.visit, found.pages)
    return found


def _lookup(visit: Visit, pages: Pages) -> None:
    visit.counted = True
    visit.etag = pages.etag(visit.tier.full)
