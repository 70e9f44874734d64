"""Sends the Ledger's webhooks through the one HTTP door: public HTTPS addresses, no redirect, a bounded answer."""

from __future__ import annotations

from ledger.webhooks import Answer, SendFailed
from orchestra.transport import OutboundClient, TransportError
from orchestra.transport.client import retry_after_s

MAX_ANSWER_BYTES = 64 << 10


class WebhookSender:
    """A `ledger.webhooks.Sender`. The client is the caller's, who closes it."""

    def __init__(self, client: OutboundClient) -> None:
        self._client = client

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
        return Answer(answer.status, retry_after_s(answer.headers) or 0.0)
