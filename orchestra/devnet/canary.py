"""The canary of the local network: atlas, whose answer really changes shape when its control port says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger.entry import SubnetEntry
from orchestra.devnet.entries import entry_after_drift
from orchestra.transport import OutboundClient, TransportError
from orchestra.validation.canary import CanaryFailed

CANARY_ENTRY = "atlas"
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class AtlasCanary:
    """`original` gives the entry as it is without a drift; `control` is the URL of the control port."""

    control: str
    original: Callable[[], SubnetEntry]
    http: OutboundClient

    async def change(self, *, drifted: bool) -> SubnetEntry:
        """Make the service answer in the drifted or in the original shape, and return the entry for that shape.

        Raises:
            CanaryFailed: the control port refused, or did not answer.
        """
        url, schema = f"{self.control}/control", "drifted" if drifted else None
        try:
            answer = await self.http.request("POST", url, json={"schema": schema}, timeout_s=TIMEOUT_S)
        except TransportError as error:
            raise CanaryFailed(f"no answer from the canary's control port: {error}") from error
        if answer.status != 200:
            raise CanaryFailed(f"the canary's control port answered with {answer.status}")
        return entry_after_drift(self.original()) if drifted else self.original()
