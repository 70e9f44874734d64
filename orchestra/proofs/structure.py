"""The first check, without network or evidence: is this document the answer to exactly our challenge, and whole?

Everything is bound as received: leaves, root and signature are computed over the raw document, so a field that this
version does not know is inside them too. Reading stops at the first thing that makes the document unreadable; after
that every rule is checked, so that a reader sees all that is wrong with it. About a millisecond for five steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from ledger.canonical import StrictJSONError, as_object, merkle_root, parse_strict
from ledger.types import JSON, Verify
from ledger.view import LedgerView
from orchestra.proofs.binding import BOUND_TO_STEP, proof_payload, response_digest, step_leaf
from orchestra.proofs.codes import Code
from orchestra.proofs.findings import Finding, is_refuted
from orchestra.protocol import (
    MAX_RESPONSE_BYTES,
    MessageRefused,
    OrchestraResponse,
    OrchestraSynapse,
    Proof,
    TaskStep,
)

LATENCY_SLACK_MS = 250
"""By how much a miner's clock may count more than ours over one challenge."""


class Ledgers(Protocol):
    """The versions of the Ledger that the auditor knows. `orchestra.ledger_node.LedgerNode` is one."""

    @property
    def view(self) -> LedgerView:
        """The newest."""
        ...

    def at(self, version: str) -> LedgerView | None:
        """The Ledger as it was at `version`; None when it never was."""
        ...


@dataclass(frozen=True, slots=True)
class Issued:
    """A challenge as its validator remembers it: what was asked of whom, and when.

    `request_digest` is the SHA-256 of the signed request's body, `sent_ms` UTC milliseconds, `elapsed_ms` how long the
    answer took by the validator's monotonic clock.
    """

    synapse: OrchestraSynapse
    request_digest: str
    miner: str
    validator: str
    sent_ms: int
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class Structure:
    """What the first check leaves behind: the reading (None when there is none), the Ledger that it was made with (None
    when the auditor does not know it), and the findings.
    """

    findings: tuple[Finding, ...]
    response: OrchestraResponse | None = None
    view: LedgerView | None = None

    @property
    def sound(self) -> bool:
        return self.response is not None and not is_refuted(self.findings)


def verify_structure(raw: bytes, issued: Issued, *, verify: Verify, ledgers: Ledgers) -> Structure:
    """Check a received answer by itself. Pure: no network, no clock."""
    try:
        document = as_object(parse_strict(raw, max_bytes=MAX_RESPONSE_BYTES))
        response = OrchestraResponse.from_fields(document)
    except StrictJSONError as error:
        return Structure((Finding(Code(error.code)),))
    except MessageRefused as error:
        return Structure((Finding(Code(error.code), detail=error.detail.partition(":")[0][:120]),))
    if not _restates(document, response.model_dump(mode="json", exclude_unset=True)):
        return Structure((Finding(Code.AMBIGUOUS_VALUE),))
    view = ledgers.at(response.ledger_version)
    findings = (
        *_addressed(response, issued),
        *_unsigned(document),
        *_ordered(response.task_pipeline),
        *_summed(response, issued),
        *_known(response, view, ledgers.view.size),
        *_hashed(document, response, issued),
        *_signed(document, response, verify),
    )
    bound = () if is_refuted(findings) else (Finding(Code.BOUND),)
    return Structure((*bound, *findings), response, view)


def _restates(raw: Any, read: Any) -> bool:
    """Does the reading say the same as the document, unknown fields aside? 1 and 1.0 are one JSON number; 1, "1" and
    true are three values, of which a lenient reader makes one.
    """
    if isinstance(read, dict):
        fields = cast("dict[str, Any]", read)
        return isinstance(raw, dict) and all(name in raw and _restates(raw[name], fields[name]) for name in fields)
    if isinstance(read, list):
        pair = cast("Sequence[Any]", raw), cast("Sequence[Any]", read)
        return isinstance(raw, list) and len(pair[0]) == len(pair[1]) and all(map(_restates, *pair))
    return raw == read and isinstance(raw, bool) == isinstance(read, bool)


def _addressed(response: OrchestraResponse, issued: Issued) -> Iterator[Finding]:
    if response.challenge_id != issued.synapse.challenge_id:
        yield Finding(Code.CHALLENGE_MISMATCH)
    if response.proof.validator != issued.validator:
        yield Finding(Code.VALIDATOR_MISMATCH)
    if response.proof.miner != issued.miner:
        yield Finding(Code.MINER_MISMATCH)
    if response.proof.request_digest != issued.request_digest:
        yield Finding(Code.REQUEST_DIGEST_MISMATCH)


def _unsigned(document: dict[str, JSON]) -> Iterator[Finding]:
    """Fields where no hash looks: in the proof itself, and under the names that a leaf uses for the challenge."""
    for name in sorted(as_object(document["proof"]).keys() - Proof.model_fields.keys()):
        yield Finding(Code.UNSIGNED_FIELD, detail=f"proof/{name}"[:120])
    for index, step in enumerate(_raw_steps(document), 1):
        for name in BOUND_TO_STEP:
            if name in step:
                yield Finding(Code.UNSIGNED_FIELD, step=index, detail=name)


def _ordered(steps: Sequence[TaskStep]) -> Iterator[Finding]:
    if [step.step for step in steps] != list(range(1, len(steps) + 1)):
        yield Finding(Code.STEP_NUMBERS)
        return
    done: set[int] = set()
    for step in steps:
        if len(set(step.depends_on)) != len(step.depends_on) or not done.issuperset(step.depends_on):
            yield Finding(Code.DEPENDS_ON_INVALID, step=step.step)
        if step.error is None:
            done.add(step.step)
            if step.response_hash is None:
                yield Finding(Code.RESPONSE_HASH_MISSING, step=step.step)


def _summed(response: OrchestraResponse, issued: Issued) -> Iterator[Finding]:
    steps, total = response.task_pipeline, response.total_latency_ms
    if response.total_cost != sum(step.cost for step in steps):
        yield Finding(Code.TOTAL_COST_MISMATCH)
    if response.total_cost > issued.synapse.max_cost:
        yield Finding(Code.OVER_MAX_COST)
    finished: dict[int, int] = {}
    for step in steps:
        began = max((finished.get(earlier, 0) for earlier in step.depends_on), default=0)
        finished[step.step] = began + max(0, step.latency_ms - 1)
    if total < max(finished.values(), default=0):
        yield Finding(Code.LATENCY_IMPOSSIBLE, detail="shorter than its steps")
    if total > issued.elapsed_ms + LATENCY_SLACK_MS:
        yield Finding(Code.LATENCY_IMPOSSIBLE, detail="longer than the challenge")


def _known(response: OrchestraResponse, view: LedgerView | None, size: int) -> Iterator[Finding]:
    if view is None:
        ahead = int(response.ledger_version.partition(":")[0]) > size
        yield Finding(Code.LEDGER_VERSION_AHEAD if ahead else Code.LEDGER_VERSION_FORKED)
        return
    for step in response.task_pipeline:
        ref = view.operation(step.entry, step.operation)
        if ref is None and step.subnet != "local":
            yield Finding(Code.OPERATION_UNKNOWN, step=step.step)
        elif ref is not None and step.subnet != ref.entry.subnet:
            yield Finding(Code.SUBNET_MISMATCH, step=step.step)


def _hashed(document: dict[str, JSON], response: OrchestraResponse, issued: Issued) -> Iterator[Finding]:
    challenge_id, beacon = issued.synapse.challenge_id, issued.synapse.beacon
    for raw, step in zip(_raw_steps(document), response.task_pipeline, strict=True):
        if step_leaf(raw, challenge_id=challenge_id, beacon=beacon) != step.hash:
            yield Finding(Code.LEAF_MISMATCH, step=step.step)
    if merkle_root([step.hash for step in response.task_pipeline]) != response.proof.root:
        yield Finding(Code.ROOT_MISMATCH)


def _signed(document: dict[str, JSON], response: OrchestraResponse, verify: Verify) -> Iterator[Finding]:
    proof = response.proof
    payload = proof_payload(
        challenge_id=response.challenge_id,
        request_digest=proof.request_digest,
        root=proof.root,
        response_digest=response_digest(document),
        ledger_version=response.ledger_version,
        miner=proof.miner,
        validator=proof.validator,
    )
    if not verify(proof.miner, payload, bytes.fromhex(proof.signature[2:])):
        yield Finding(Code.SIGNATURE_INVALID)


def _raw_steps(document: dict[str, JSON]) -> list[dict[str, JSON]]:
    return cast("list[dict[str, JSON]]", document["task_pipeline"])
