"""Sends the Ledger's webhooks through the one HTTP door: public HTTPS addresses, no redirect, a bounded answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from ledger.webhooks import Answer, SendFailed
from orchestra.subnets.failures import retry_after_s
from orchestra.transport import OutboundClient, TransportError

MAX_ANSWER_BYTES = 64 << 10


def utc_now() -> datetime:
    return datetime.now(UTC)


class WebhookSender:
    """A `ledger.webhooks.Sender`. The client is the caller's, who closes it."""

    def __init__(self, client: OutboundClient, *, now: Callable[[], datetime] = utc_now) -> None:
        self._client = client
        self._now = now

    def refuses(self, url: str) -> str:
        """See `Sender.refuses`."""
        return self._client.refuses(url)

    async def send(self, url: str, headers: dict[str, str], body: bytes, *, timeout_s: float) -> Answer:
        """See `Sender.send`."""
        try:
            answer = await self._client.request(
                "POST", url, headers=headers, content=body, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES
            )
        except TransportError as error:
            raise SendFailed(str(error)) from None
        return Answer(answer.status, retry_after_s(answer.headers, self._now()) or 0.0)
