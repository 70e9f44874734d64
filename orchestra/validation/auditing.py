"""Joins the audit (`orchestra.proofs`) to the world of one validator: its own calls, its chain, the other validators.

Two validators reach the same audit from the same evidence because everything that differs between them is a port here,
and everything they decide by chance follows from a seed that is fresh for every challenge.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ledger.types import Verify
from ledger.view import OperationRef
from orchestra.chain.errors import ChainError
from orchestra.chain.types import Metagraph
from orchestra.ledger_node import LedgerNode
from orchestra.peers import Peer, PeerFailed
from orchestra.proofs import AuditPolicy, AuditPorts, EvidenceUnavailable, Issued, Replay, audit
from orchestra.protocol import Evidence, EvidenceRequest, OrchestraSynapse, ReplayRequest
from orchestra.transport import SignedResponse
from orchestra.validation.api import REPLAY_BUDGET_RAO, verdict_payload
from orchestra.validation.scoring import Answered

REPLAYS = 4
SEED_BYTES = 32


def fresh_seed() -> bytes:
    """What nobody knew before the answer was in."""
    return secrets.token_bytes(SEED_BYTES)


def utc_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Auditor:
    """Audits answers for one validator. `others` are the other validators to confirm a mismatch with; `seed` gives 32
    bytes for every audit, from which all its chances follow; `now_ms` is UTC.
    """

    me: str
    verify: Verify
    replay: Replay
    metagraph: Callable[[int], Awaitable[Metagraph]]
    others: Callable[[], list[Peer]]
    tao_usd: Decimal
    seed: Callable[[], bytes] = fresh_seed
    now_ms: Callable[[], int] = utc_ms

    def sent_ms(self, response: SignedResponse) -> int:
        """When the question to an answer that has just come was sent. Ask once: an audit may begin anew later."""
        return self.now_ms() - response.elapsed_ms

    async def judge(
        self,
        peer: Peer,
        synapse: OrchestraSynapse,
        response: SignedResponse,
        *,
        ledger: LedgerNode,
        sent_ms: int,
        replays: int = REPLAYS,
    ) -> Answered:
        """Audit one raw answer to `synapse`, sent to `peer` at `sent_ms`. Never raises for anything the miner did.

        At most `replays` calls are made again, by us and to confirm a difference by others: none for an objective whose
        user did not agree to that.
        """
        issued = Issued(
            synapse=synapse,
            request_digest=response.request_digest,
            miner=peer.hotkey,
            validator=self.me,
            sent_ms=sent_ms,
            elapsed_ms=response.elapsed_ms,
        )
        ports = AuditPorts(
            verify=self.verify,
            ledgers=ledger,
            is_registered=self._is_registered,
            replay=self.replay,
            confirm=self._confirm,
            now_ms=self.now_ms,
        )
        policy = AuditPolicy(
            seed=self.seed(),
            replays=replays,
            replay_budget=REPLAY_BUDGET_RAO,
            tao_usd=self.tao_usd,
        )
        return Answered(await audit(response.body, issued, _Miner(peer), ports, policy), response.elapsed_ms)

    async def _is_registered(self, netuid: int, hotkey: str, /) -> bool | None:
        try:
            return (await self.metagraph(netuid)).by_hotkey(hotkey) is not None
        except ChainError:
            return None

    async def _confirm(self, ref: OperationRef, query: Mapping[str, Any], ledger_version: str, ours: str, /) -> bool:
        """Do the other validators get what we get? All are asked at once, so that none holds up or speaks for others.

        Ours must be said by as many of them as anything else is: with our own word that is the most, in whatever order
        they stand.
        """
        asked = ReplayRequest(
            entry=ref.entry.id, operation=ref.operation.name, query=dict(query), ledger_version=ledger_version
        )
        async with asyncio.TaskGroup() as group:
            words = [group.create_task(self._word(other, asked)) for other in self.others()]
        said = Counter(word for task in words if (word := task.result()) is not None)
        return said[ours] > 0 and said[ours] == max(said.values())

    async def _word(self, other: Peer, asked: ReplayRequest) -> str | None:
        """What one validator says it got; None when it says nothing, or not in its own name."""
        try:
            verdict = await other.replay(asked)
        except PeerFailed:
            return None
        payload = verdict_payload(asked, verdict.response_hash)
        own = self.verify(other.hotkey, payload, bytes.fromhex(verdict.signature[2:]))
        return verdict.response_hash if own else None


@dataclass(frozen=True, slots=True)
class _Miner:
    """Where the evidence of an answer comes from."""

    peer: Peer

    async def __call__(self, request: EvidenceRequest, /) -> Evidence:
        try:
            return await self.peer.evidence(request)
        except PeerFailed as error:
            raise EvidenceUnavailable(str(error)) from error
