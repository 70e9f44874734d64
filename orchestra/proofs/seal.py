"""The miner's side: from what happened to a response whose every byte is under the miner's signature.

Sealing fixes a story, it does not make it true: what makes it checkable is the evidence bundle of raw bytes, which the
miner must keep and reveal on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.canonical import merkle_root, sha256
from ledger.types import Signer
from orchestra.execution.run import Attempt
from orchestra.proofs.binding import proof_payload, response_digest, step_leaf
from orchestra.protocol import (
    Derivation,
    Gap,
    LedgerProposal,
    OrchestraResponse,
    OrchestraSynapse,
    Proof,
    Source,
    TaskStep,
)

_NO_HASH = "0x" + "00" * 32
_NO_SIGNATURE = "0x" + "00" * 64


@dataclass(frozen=True, slots=True)
class StepBytes:
    """The raw bytes of one step: canonical JSON of its query, and the response body (None when there was none)."""

    step: int
    request: bytes
    response: bytes | None


@dataclass(frozen=True, slots=True)
class EvidenceBundle:
    """What a miner keeps of one answer, and for which validator."""

    challenge_id: str
    validator: str
    steps: tuple[StepBytes, ...]


def seal(
    *,
    attempts: Sequence[Attempt],
    data: dict[str, Any],
    provenance: Mapping[str, tuple[Source, ...] | Derivation],
    final_synthesis: str,
    gaps: Sequence[Gap],
    proposals: Sequence[LedgerProposal],
    total_latency_ms: int,
    synapse: OrchestraSynapse,
    request_digest: str,
    validator: str,
    signer: Signer,
    ledger_version: str,
    random: Callable[[], bytes],
) -> tuple[OrchestraResponse, EvidenceBundle]:
    """The signed response and the evidence to keep for it.

    `attempts` hold every attempt, local steps included, numbered 1..n in order; `request_digest` is the SHA-256 of the
    signed request's body; `random` gives 32 fresh bytes for each salt.

    Raises:
        ValueError: attempts out of order; a value that a message cannot hold or that canonical JSON refuses.
    """
    if [attempt.step for attempt in attempts] != list(range(1, len(attempts) + 1)):
        raise ValueError("attempts must be numbered 1..n in order")
    steps = tuple(_step(attempt, synapse, random()) for attempt in attempts)
    unsigned = OrchestraResponse(
        challenge_id=synapse.challenge_id,
        task_pipeline=steps,
        standardized_data=data,
        final_synthesis=final_synthesis,
        total_cost=sum(step.cost for step in steps),
        total_latency_ms=total_latency_ms,
        ledger_version=ledger_version,
        provenance=dict(provenance),
        gaps=tuple(gaps),
        ledger_proposals=tuple(proposals),
        proof=Proof(
            miner=signer.ss58_address,
            validator=validator,
            request_digest=request_digest,
            root=merkle_root([step.hash for step in steps]),
            signature=_NO_SIGNATURE,
        ),
    )
    evidence = tuple(StepBytes(attempt.step, attempt.request, attempt.response) for attempt in attempts)
    return _signed(unsigned, signer), EvidenceBundle(synapse.challenge_id, validator, evidence)


def _step(attempt: Attempt, synapse: OrchestraSynapse, salt: bytes) -> TaskStep:
    step = TaskStep(
        step=attempt.step,
        subnet=attempt.subnet,
        entry=attempt.entry,
        task=attempt.task,
        operation=attempt.operation,
        query=attempt.query,
        hash=_NO_HASH,
        response_hash=None if attempt.response is None else sha256(attempt.response),
        latency_ms=attempt.latency_ms,
        cost=attempt.cost,
        error=attempt.error,
        depends_on=attempt.depends_on,
        attempt=attempt.attempt,
        receipt=attempt.receipt,
        salt="0x" + salt.hex(),
    )
    leaf = step_leaf(step.model_dump(mode="json"), challenge_id=synapse.challenge_id, beacon=synapse.beacon)
    return step.model_copy(update={"hash": leaf})


def _signed(response: OrchestraResponse, signer: Signer) -> OrchestraResponse:
    payload = proof_payload(
        challenge_id=response.challenge_id,
        request_digest=response.proof.request_digest,
        root=response.proof.root,
        response_digest=response_digest(response.model_dump(mode="json", exclude={"proof"})),
        ledger_version=response.ledger_version,
        miner=response.proof.miner,
        validator=response.proof.validator,
    )
    proof = response.proof.model_copy(update={"signature": "0x" + signer.sign(payload).hex()})
    return response.model_copy(update={"proof": proof})
