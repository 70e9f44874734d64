"""Another neuron, as something to ask: every call signed for it, bounded, and typed by message.

Whoever answers badly is data, not a crash: all that can go wrong is one exception with a code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from ledger.signed_note import MAX_BYTES as MAX_NOTE_BYTES
from orchestra.chain.types import Neuron
from orchestra.protocol import (
    MAX_EVIDENCE_BYTES,
    MAX_RESPONSE_BYTES,
    Evidence,
    EvidenceRequest,
    GovernanceBody,
    GovernanceMessage,
    GovernanceReply,
    LedgerAuditRequest,
    LedgerAuditResponse,
    LedgerChanges,
    LedgerChangesRequest,
    Message,
    MessageRefused,
    OrchestraSynapse,
    Quote,
    QuoteRequest,
    ReplayRequest,
    ReplayVerdict,
)
from orchestra.transport import PeerRefused, SignedClient, SignedResponse, TransportError

M = TypeVar("M", bound=Message)

SHORT_TIMEOUT_S = 10.0
NETWORK_GRACE_MS = 1_000
"""How much later than its deadline an answer may arrive and still be read: the way there and back."""

MAX_LEDGER_BYTES = 64 << 20
MAX_SNAPSHOT_BYTES = 256 << 20
SNAPSHOT_TIMEOUT_S = 300.0
LARGE_BYTES = 64 << 10
"""What is larger is read in a thread."""


class PeerFailed(Exception):
    """The peer gave no usable answer. `code` is its problem code, or `timeout`, `unreachable`, `invalid`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Peer:
    """One neuron by its hotkey and where it serves."""

    hotkey: str
    url: str
    client: SignedClient

    @classmethod
    def of(cls, neuron: Neuron, client: SignedClient) -> Peer | None:
        """The peer that a metagraph row describes; None when it serves nowhere."""
        return cls(neuron.hotkey, f"http://{neuron.axon}", client) if neuron.axon else None

    async def challenge(self, synapse: OrchestraSynapse) -> SignedResponse:
        """Send a challenge and return the raw answer, whatever it is: judging it is the audit's business.

        Raises:
            PeerFailed: no answer.
        """
        timeout_s = (synapse.deadline_ms + NETWORK_GRACE_MS) / 1000
        return await self._post("/v1/challenge", synapse, timeout_s, MAX_RESPONSE_BYTES)

    async def evidence(self, request: EvidenceRequest) -> Evidence:
        return await self._ask("/v1/evidence", request, Evidence, max_bytes=MAX_EVIDENCE_BYTES)

    async def ledger_audit(self, request: LedgerAuditRequest) -> LedgerAuditResponse:
        return await self._ask("/v1/ledger-audit", request, LedgerAuditResponse)

    async def quote(self, request: QuoteRequest) -> Quote:
        return await self._ask("/v1/quote", request, Quote)

    async def replay(self, request: ReplayRequest) -> ReplayVerdict:
        return await self._ask("/v1/replay", request, ReplayVerdict, timeout_s=9.0)

    async def changes_since(self, size: int) -> LedgerChanges:
        """The Ledger's changes after `size`; this is what makes a peer a `LedgerSource`."""
        return await self._ask(
            "/v1/ledger/changes", LedgerChangesRequest(since=size), LedgerChanges, max_bytes=MAX_LEDGER_BYTES
        )

    async def governance(self, body: GovernanceBody) -> str:
        """Hand a proposal or a statement to a validator; what it returns is why that was refused, nothing if not.

        Raises:
            PeerFailed: no answer.
        """
        return (await self._ask("/v1/ledger/governance", GovernanceMessage(body=body), GovernanceReply)).refused

    async def checkpoint(self) -> bytes:
        """What a validator vouches for about the Ledger: a signed note, nothing in it checked.

        Raises:
            PeerFailed: no answer.
        """
        return await self._get("/v1/ledger/checkpoint", SHORT_TIMEOUT_S, MAX_NOTE_BYTES)

    async def snapshot(self) -> bytes:
        """A validator's whole copy of the Ledger, nothing in it checked.

        Raises:
            PeerFailed: no answer.
        """
        return await self._get("/v1/ledger/snapshot", SNAPSHOT_TIMEOUT_S, MAX_SNAPSHOT_BYTES)

    async def _ask(
        self,
        path: str,
        message: Message,
        answer: type[M],
        *,
        timeout_s: float = SHORT_TIMEOUT_S,
        max_bytes: int = MAX_RESPONSE_BYTES,
    ) -> M:
        response = await self._post(path, message, timeout_s, max_bytes)
        try:
            if len(response.body) > LARGE_BYTES:
                return await asyncio.to_thread(answer.from_wire, response.body, max_bytes=max_bytes)
            return answer.from_wire(response.body, max_bytes=max_bytes)
        except MessageRefused as error:
            raise PeerFailed("invalid", f"{path}: {error}") from None

    async def _post(self, path: str, message: Message, timeout_s: float, max_bytes: int) -> SignedResponse:
        asked = self.client.post(
            self.url,
            path,
            message.to_wire(),
            receiver=self.hotkey,
            timeout_s=timeout_s,
            max_response_bytes=max_bytes,
        )
        return await self._answered(path, asked)

    async def _get(self, path: str, timeout_s: float, max_bytes: int) -> bytes:
        asked = self.client.get(self.url, path, receiver=self.hotkey, timeout_s=timeout_s, max_response_bytes=max_bytes)
        return (await self._answered(path, asked)).body

    async def _answered(self, path: str, asked: Awaitable[SignedResponse]) -> SignedResponse:
        try:
            return await asked
        except PeerRefused as error:
            raise PeerFailed(error.code or f"http_{error.status}", f"{path} was refused") from error
        except TransportError as error:
            raise PeerFailed(type(error).__name__, f"{path}: {error}") from error
