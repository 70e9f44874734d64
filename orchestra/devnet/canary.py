"""The canary of the local network: atlas, whose answer really changes shape when its control port says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.entry import SubnetEntry
from orchestra.devnet.entries import entry_after_drift
from orchestra.transport import OutboundClient

CANARY_ENTRY = "atlas"
TIMEOUT_S = 5.0


class CanaryFailed(RuntimeError):
    """The control port did not do as asked."""


@dataclass(frozen=True, slots=True)
class AtlasCanary:
    """`original` gives the entry as it is without a drift; `control` is the URL of the control port."""

    control: str
    original: Callable[[], SubnetEntry]
    http: OutboundClient

    async def change(self, *, drifted: bool) -> SubnetEntry:
        """Make the service answer in the drifted or in the original shape, and return the entry for that shape.

        Raises:
            CanaryFailed: it refused.
            orchestra.transport.TransportError: it did not answer.
        """
        answer = await self.http.request(
            "POST", f"{self.control}/control", json={"schema": "drifted" if drifted else None}, timeout_s=TIMEOUT_S
        )
        if answer.status != 200:
            raise CanaryFailed(f"the canary's control port answered with {answer.status}")
        return entry_after_drift(self.original()) if drifted else self.original()
