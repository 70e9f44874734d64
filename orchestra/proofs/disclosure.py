"""The third check: the raw bytes behind the steps, fetched from the miner, held against the leaves, and mapped again.

Asked for are the steps that the result cites, the steps that those depend on, and a few others drawn by a seed that
the miner does not know. A pointer resolves in what the bytes map to by the Ledger, not in what the miner says of them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from ledger.canonical import StrictJSONError, canonical, digest, parse_strict, sha256
from ledger.types import JSON, Hash
from ledger.view import LedgerView, OperationRef
from orchestra.proofs.codes import Code
from orchestra.proofs.findings import Finding
from orchestra.proofs.seal import StepBytes
from orchestra.protocol import (
    Derivation,
    Evidence,
    EvidenceRequest,
    OrchestraResponse,
    Source,
    StepEvidence,
    TaskStep,
)
from orchestra.subnets.caller import promise_violation
from orchestra.subnets.checks import output_violation
from orchestra.subnets.mapping import MAX_BODY_BYTES, MappingFailed, map_wire, parse_wire
from orchestra.synthesis.derivation import sources_of

MAX_ROUNDS = 8
MAX_TOTAL_BYTES = 32 << 20
"""A large bundle comes in several messages, each of which must bring something new. Of all, so many bytes of requests
and responses are kept: the step that goes over and those after it are as if they had never come."""


class EvidenceUnavailable(Exception):
    """The miner could not be asked, or gave no readable answer."""


class EvidenceSource(Protocol):
    """`POST /v1/evidence` at the miner."""

    async def __call__(self, request: EvidenceRequest, /) -> Evidence:
        """Raises: EvidenceUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Disclosed:
    """The steps that were asked for, the bytes that came and hash to their leaves, the outputs that they map to."""

    cited: frozenset[int]
    revealed: Mapping[int, StepBytes]
    outputs: Mapping[int, JSON]
    findings: tuple[Finding, ...]


def cited_steps(response: OrchestraResponse) -> frozenset[int]:
    """Steps of the pipeline that provenance cites."""
    cited = frozenset[int]().union(*map(steps_of, response.provenance.values()))
    return cited & {step.step for step in response.task_pipeline}


def steps_of(origin: tuple[Source, ...] | Derivation) -> frozenset[int]:
    """The steps that one provenance entry cites."""
    sources = sources_of(origin) if isinstance(origin, Derivation) else origin
    return frozenset(source.step for source in sources)


def call_key(step: TaskStep) -> Hash:
    """One for all steps that make the same call: entry, operation and query."""
    return digest([step.entry, step.operation, step.query])


def behind(response: OrchestraResponse, steps: Iterable[int]) -> frozenset[int]:
    """These steps and all that they depend on, however far."""
    found: set[int] = set()
    waiting = list(steps)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting.extend(response.task_pipeline[number - 1].depends_on)
    return frozenset(found)


def draw(steps: Iterable[int], count: int, *, seed: bytes, purpose: str, challenge_id: str) -> tuple[int, ...]:
    """`count` of the steps, in ascending order, by HMAC-SHA256(seed, purpose, challenge, step): unforeseeable for who
    does not know the seed, the same for everybody who does.
    """

    def rank(step: int) -> bytes:
        return hmac.digest(seed, f"{purpose}|{challenge_id}|{step}".encode(), "sha256")

    return tuple(sorted(sorted(steps, key=rank)[:count]))


async def disclose(
    response: OrchestraResponse,
    view: LedgerView | None,
    source: EvidenceSource,
    *,
    beyond: int,
    seed: bytes,
    timeout_s: float,
) -> Disclosed:
    """Fetch and check the evidence of every cited step, of what it depends on, and of `beyond` other steps."""
    cited = behind(response, cited_steps(response))
    others = [step.step for step in response.task_pipeline if step.step not in cited]
    extra = draw(others, beyond, seed=seed, purpose="evidence", challenge_id=response.challenge_id)
    asked = sorted({*cited, *extra})
    received, findings = await _fetch(response.challenge_id, asked, source, timeout_s)
    return await asyncio.to_thread(_compared, response, view, cited, asked, received, findings)


def _compared(
    response: OrchestraResponse,
    view: LedgerView | None,
    cited: frozenset[int],
    asked: Iterable[int],
    received: Mapping[int, StepBytes],
    findings: list[Finding],
) -> Disclosed:
    revealed: dict[int, StepBytes] = {}
    outputs: dict[int, JSON] = {}
    for number in asked:
        step = response.task_pipeline[number - 1]
        finding = _compare(step, received.get(number))
        findings.append(finding)
        if finding.code is Code.REVEALED:
            revealed[number] = received[number]
            findings.extend(_map(step, received[number], view, outputs))
    return Disclosed(cited, revealed, outputs, tuple(findings))


async def _fetch(
    challenge_id: str, steps: Collection[int], source: EvidenceSource, timeout_s: float
) -> tuple[dict[int, StepBytes], list[Finding]]:
    received: dict[int, StepBytes] = {}
    for _ in range(MAX_ROUNDS):
        missing = tuple(step for step in steps if step not in received)
        if not missing:
            break
        try:
            async with asyncio.timeout(timeout_s):
                evidence = await source(EvidenceRequest(challenge_id=challenge_id, steps=missing))
        except (EvidenceUnavailable, TimeoutError):
            return received, [Finding(Code.EVIDENCE_UNAVAILABLE)]
        news = await asyncio.to_thread(_decode, evidence, challenge_id, missing)
        if news is None:
            return received, [Finding(Code.EVIDENCE_MALFORMED)]
        kept = _within(news, MAX_TOTAL_BYTES - sum(map(_size, received.values())))
        received |= kept
        if not kept or len(kept) < len(news):
            break
    return received, []


def _within(steps: Mapping[int, StepBytes], room: int) -> dict[int, StepBytes]:
    """The first of the steps, as many as there is room for."""
    ends = accumulate(map(_size, steps.values()))
    return {number: step for (number, step), end in zip(steps.items(), ends, strict=True) if end <= room}


def _size(step: StepBytes) -> int:
    return len(step.request) + len(step.response or b"")


def _decode(evidence: Evidence, challenge_id: str, asked: Collection[int]) -> dict[int, StepBytes] | None:
    """The bytes of the asked steps; None when the message is not an answer to what was asked."""
    numbers = [step.step for step in evidence.steps]
    if evidence.challenge_id != challenge_id or len(set(numbers)) != len(numbers):
        return None
    try:
        return {step.step: _bytes(step) for step in evidence.steps if step.step in asked}
    except (binascii.Error, ValueError):
        return None


def _bytes(step: StepEvidence) -> StepBytes:
    response = None if step.response is None else base64.b64decode(step.response, validate=True)
    return StepBytes(step.step, base64.b64decode(step.request, validate=True), response)


def _compare(step: TaskStep, received: StepBytes | None) -> Finding:
    if received is None:
        return Finding(Code.EVIDENCE_MISSING, step=step.step)
    if received.request != canonical(step.query):
        return Finding(Code.REQUEST_BYTES_MISMATCH, step=step.step)
    if (None if received.response is None else sha256(received.response)) != step.response_hash:
        return Finding(Code.RESPONSE_BYTES_MISMATCH, step=step.step)
    return Finding(Code.REVEALED, step=step.step)


def _map(step: TaskStep, received: StepBytes, view: LedgerView | None, outputs: dict[int, JSON]) -> Iterator[Finding]:
    """Put the output of a successful step into `outputs`, or say why there is none."""
    if step.error is not None or received.response is None:
        return
    ref = view.operation(step.entry, step.operation) if view else None
    if step.subnet != "local" and ref is None:
        return
    try:
        outputs[step.step] = map_local(received.response) if ref is None else map_body(ref, received.response)
    except MappingFailed as failed:
        fits = failed.code != "schema_mismatch"
        yield Finding(Code.OUTPUT_MALFORMED if fits else Code.OUTPUT_SCHEMA_MISMATCH, step=step.step)


def map_local(body: bytes) -> JSON:
    """A local step's output: the JSON that its bytes are.

    Raises:
        MappingFailed: `malformed`.
    """
    try:
        return parse_strict(body, max_bytes=MAX_BODY_BYTES)
    except StrictJSONError as error:
        raise MappingFailed("malformed", error.detail) from None


def map_body(ref: OperationRef, body: bytes) -> JSON:
    """What a caller of this operation gets from such a body: parsed, valid against its schema, mapped, as promised.

    Raises:
        MappingFailed: `malformed`, `unmappable` or `schema_mismatch`.
    """
    wire = parse_wire(ref.operation, body)
    violation = output_violation(ref.operation, wire)
    output = None if violation else map_wire(ref.operation, wire)
    violation = violation or promise_violation(ref.operation.capability, output)
    if violation:
        raise MappingFailed("schema_mismatch", violation)
    return output
