"""A miner, apart from HTTP: given an authenticated call, what it answers. Every answer is signed and every claim is
kept.

The evidence of an answer is stored before the answer leaves, because a validator may ask for it in the next moment and
a miner that cannot show its bytes has earned nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from ledger.canonical import canonical
from ledger.types import Signer
from ledger.view import LedgerView
from orchestra.execution.run import Attempt
from orchestra.ledger_node import LedgerNode
from orchestra.mining.hints import HintedView
from orchestra.orchestrator import Orchestrator
from orchestra.proofs import EvidenceMissing, EvidenceStore
from orchestra.protocol import (
    EntryView,
    Evidence,
    EvidenceRequest,
    Health,
    LedgerAuditRequest,
    LedgerAuditResponse,
    OrchestraResponse,
    OrchestraSynapse,
    Quote,
    QuoteRequest,
)

logger = logging.getLogger(__name__)

SOFTWARE = "orchestra/0.1.0"


class Busy(Exception):
    """As many challenges are being answered as this miner takes at once."""


class AlreadyAnswered(Exception):
    """A challenge id is answered once."""


@dataclass(slots=True)
class Miner:
    """One hotkey's service. `catch_up` brings the Ledger to the network's version; None: this miner does not follow.
    `notice` is told of every call, whoever's challenge it was for.
    """

    signer: Signer
    orchestrator: Orchestrator
    ledger: LedgerNode
    evidence: EvidenceStore
    catch_up: Callable[[], Awaitable[object]] | None
    most_at_once: int = 8
    notice: Callable[[Sequence[Attempt]], None] = lambda _: None
    _answering: dict[str, str] = field(default_factory=dict[str, str])

    async def challenge(self, synapse: OrchestraSynapse, *, request_digest: str, validator: str) -> OrchestraResponse:
        """Answer one challenge.

        Raises:
            Busy: come back later.
            AlreadyAnswered: this id was answered, or is being answered.
            orchestra.schema.TargetSchemaError: the target_schema is not one.
        """
        if synapse.challenge_id in self._answering:
            raise AlreadyAnswered
        if self._full(validator):
            raise Busy
        self._answering[synapse.challenge_id] = validator  # before anything is awaited: ids may come twice
        try:
            if await self.evidence.has(synapse.challenge_id):
                raise AlreadyAnswered
            return await self._answer(synapse, request_digest, validator)
        finally:
            del self._answering[synapse.challenge_id]

    def _full(self, validator: str) -> bool:
        """Are all places taken, or this validator's half of them? None may crowd out the others."""
        theirs = sum(each == validator for each in self._answering.values())
        return len(self._answering) >= self.most_at_once or theirs >= max(1, self.most_at_once // 2)

    async def _answer(self, synapse: OrchestraSynapse, request_digest: str, validator: str) -> OrchestraResponse:
        view = await self._ledger_for(synapse)
        orchestrator = replace(self.orchestrator, ledger=lambda: view)
        response, evidence, outcome = await orchestrator.answer(
            synapse, request_digest=request_digest, validator=validator, signer=self.signer
        )
        await self.evidence.put(evidence)
        self.notice(outcome.attempts)
        logger.info(
            "answered %s in %d ms for %d rao: %d steps, %d gaps",
            synapse.challenge_id[:10],
            outcome.elapsed_ms,
            outcome.cost,
            len(outcome.attempts),
            len(outcome.gaps),
        )
        return response

    async def _ledger_for(self, synapse: OrchestraSynapse) -> LedgerView:
        """The view to answer from: the network's when we can have it, otherwise ours, with the hints as last resort."""
        if self.ledger.at(synapse.ledger_version) is None and self.catch_up is not None:
            await self.catch_up()
        if self.ledger.at(synapse.ledger_version) is not None:
            return self.ledger.view
        return HintedView(self.ledger.view, synapse.hints)

    async def reveal(self, request: EvidenceRequest, *, validator: str) -> Evidence:
        """The raw bytes of some steps, for the validator that the challenge came from.

        Raises:
            EvidenceMissing: nothing is known of this challenge, or it was another validator's.
        """
        return await self.evidence.reveal(request, validator=validator)

    def ledger_audit(self, request: LedgerAuditRequest) -> LedgerAuditResponse:
        """What this miner's Ledger says of some entries, signed."""
        view = self.ledger.view
        known = {name: view.entry(name) for name in request.entries}
        entries = tuple(EntryView(entry=name, digest=entry.digest if entry else None) for name, entry in known.items())
        signature = self.signer.sign(audit_payload(view.version, request.nonce, entries, self.signer.ss58_address))
        return LedgerAuditResponse(
            ledger_version=view.version, nonce=request.nonce, entries=entries, signature="0x" + signature.hex()
        )

    def quote(self, request: QuoteRequest, *, validator: str) -> Quote:
        """Whether this miner would take such a challenge, and at most for how much."""
        busy = self._full(validator)
        return Quote(
            challenge_id=request.challenge_id,
            cost=min(request.max_cost, self.orchestrator.most_cost),
            latency_ms=request.deadline_ms,
            accepts=not busy,
            reason="as many challenges in hand as this miner takes, from one validator or from all" if busy else "",
        )

    def health(self, *, ready: bool) -> Health:
        return Health(
            role="miner",
            hotkey=self.signer.ss58_address,
            ledger_version=self.ledger.view.version,
            software=SOFTWARE,
            ready=ready,
        )


def audit_payload(version: str, nonce: str, entries: tuple[EntryView, ...], miner: str) -> bytes:
    """What a miner signs about its Ledger."""
    return canonical(
        {
            "domain": "orchestra-ledger-audit/1",
            "ledger_version": version,
            "nonce": nonce,
            "entries": [entry.model_dump(mode="json") for entry in entries],
            "miner": miner,
        }
    )


__all__ = ["AlreadyAnswered", "Busy", "EvidenceMissing", "Miner", "audit_payload"]
