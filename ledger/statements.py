"""What validators sign about proposals, and the proof that one signed two things where it may sign one.

Every statement has a domain of its own, a signer, and a slot (a proposal, a window): an honest validator fills a slot
once. The signature is over the canonical JSON of everything else in it, so two statements that differ are a proof
(`Equivocation`) that stands by itself.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator

from ledger.canonical import canonical, digest, sha256
from ledger.changes import MAX_CERTIFICATES, MAX_VALIDATORS, Address, BatchHeader, BlockNumber, Digest, Version
from ledger.entry import Model
from ledger.proposals import Hashed, Signature, SignedProposal
from ledger.types import Hash, Signer, Verify

Answer: TypeAlias = Literal["confirm", "deny", "abstain"]
UNSIGNED = "0x" + "00" * 64


class _Statement(Hashed):
    """Something that `signer` signed. `slot` is what it may say only one thing about."""

    DOMAIN: ClassVar[str]

    signer: Address
    signature: Signature = UNSIGNED

    @cached_property
    def payload(self) -> bytes:
        return canonical({"domain": self.DOMAIN, **self.model_dump(mode="json", exclude={"signature"})})

    @cached_property
    def digest(self) -> Hash:
        return sha256(self.payload)

    @property
    def slot(self) -> tuple[str, str, str]:
        raise NotImplementedError

    def is_signed(self, verify: Verify) -> bool:
        return verify(self.signer, self.payload, bytes.fromhex(self.signature[2:]))


class Verdict(_Statement):
    """One validator on one proposal. `seen`: the finalised block at which it first held it; `probed`: of its probe."""

    DOMAIN: ClassVar[str] = "orchestra-verdict/1"

    about: Literal["verdict"] = "verdict"
    proposal: Digest
    anchor: BlockNumber
    answer: Answer
    seen: BlockNumber
    probed: BlockNumber

    @property
    def slot(self) -> tuple[str, str, str]:
        return ("verdict", self.signer, self.proposal)


class Seal(_Statement):
    """A leader's signature under its batch: the header and the version that results. Its digest is the batch's."""

    DOMAIN: ClassVar[str] = "orchestra-batch/1"

    about: Literal["seal"] = "seal"
    window: BlockNumber
    header: Digest
    version: Version

    @property
    def slot(self) -> tuple[str, str, str]:
        return ("seal", self.signer, str(self.window))


class Final(_Statement):
    """What a validator read off the chain: the batch that is final in this window, or none, and the version then."""

    DOMAIN: ClassVar[str] = "orchestra-final/1"

    about: Literal["final"] = "final"
    window: BlockNumber
    batch: Digest | None
    version: Version

    @property
    def slot(self) -> tuple[str, str, str]:
        return ("final", self.signer, str(self.window))


Statement: TypeAlias = Annotated[Verdict | Seal | Final, Field(discriminator="about")]


def sign_verdict(signer: Signer, *, proposal: str, anchor: int, answer: Answer, seen: int, probed: int) -> Verdict:
    unsigned = Verdict(
        signer=signer.ss58_address, proposal=proposal, anchor=anchor, answer=answer, seen=seen, probed=probed
    )
    return unsigned.model_copy(update={"signature": _sign(signer, unsigned)})


def sign_seal(signer: Signer, *, header: BatchHeader, version: str) -> Seal:
    unsigned = Seal(signer=signer.ss58_address, window=header.window, header=header_digest(header), version=version)
    return unsigned.model_copy(update={"signature": _sign(signer, unsigned)})


def sign_final(signer: Signer, *, window: int, batch: str | None, version: str) -> Final:
    unsigned = Final(signer=signer.ss58_address, window=window, batch=batch, version=version)
    return unsigned.model_copy(update={"signature": _sign(signer, unsigned)})


def _sign(signer: Signer, statement: _Statement) -> str:
    return "0x" + signer.sign(statement.payload).hex()


def header_digest(header: BatchHeader) -> Hash:
    return digest({"domain": "orchestra-header/1", "header": header.model_dump(mode="json")})


class Equivocation(Hashed):
    """Two statements of one validator for one slot. `is_proven` needs nothing else."""

    first: Statement
    second: Statement

    @property
    def culprit(self) -> str:
        return self.first.signer

    def is_proven(self, verify: Verify) -> bool:
        return (
            self.first.slot == self.second.slot
            and self.first.digest != self.second.digest
            and self.first.is_signed(verify)
            and self.second.is_signed(verify)
        )


class Certificate(Hashed):
    """A proposal and the verdicts that prove what the committee found: all of one answer, ordered by signer."""

    proposal: SignedProposal
    anchor: BlockNumber
    answer: Literal["confirm", "deny"]
    verdicts: tuple[Verdict, ...] = Field(min_length=1, max_length=MAX_VALIDATORS)

    @model_validator(mode="after")
    def _verdicts_are_about_this(self) -> Certificate:
        signers = [each.signer for each in self.verdicts]
        if signers != sorted(set(signers)):
            raise ValueError("verdicts are ordered by signer, each once")
        expected = (self.proposal.digest, self.anchor, self.answer)
        if any((each.proposal, each.anchor, each.answer) != expected for each in self.verdicts):
            raise ValueError("a verdict on something else")
        return self

    @cached_property
    def digest(self) -> Hash:
        votes = [[each.signer, each.seen, each.probed, each.signature] for each in self.verdicts]
        bound = {"proposal": self.proposal.digest, "anchor": self.anchor, "answer": self.answer, "verdicts": votes}
        return digest({"domain": "orchestra-certificate/1", **bound})

    @property
    def order(self) -> tuple[int, str]:
        """Where it stands in a batch."""
        return (self.anchor, self.proposal.digest)


class Batch(Hashed):
    """A leader's batch: what it sealed, and what proves it."""

    seal: Seal
    header: BatchHeader
    certificates: tuple[Certificate, ...] = Field(min_length=1, max_length=MAX_CERTIFICATES)

    @model_validator(mode="after")
    def _holds_together(self) -> Batch:
        if (self.seal.window, self.seal.signer) != (self.header.window, self.header.leader):
            raise ValueError("the seal is of another window, or not by the leader that the header names")
        if self.seal.header != header_digest(self.header):
            raise ValueError("the seal is under another header")
        if self.header.certificates != tuple(each.digest for each in self.certificates):
            raise ValueError("the header names other certificates")
        order = [each.order for each in self.certificates]
        if order != sorted(order) or len({digest for _, digest in order}) != len(order):
            raise ValueError("certificates are ordered by anchor and digest, each proposal once")
        return self

    @property
    def digest(self) -> Hash:
        return self.seal.digest


# Messages between validators


class Judged(Model):
    """A proposal with one validator's verdict on it."""

    proposal: SignedProposal
    verdict: Verdict


class Ballot(Model):
    """To a window's leader: every verdict of the sender's that is not settled yet."""

    judged: tuple[Judged, ...] = Field(min_length=1, max_length=MAX_CERTIFICATES)


class BatchRequest(Model):
    """Who voted for this batch is asked for it."""

    batch: Digest


class FinalsRequest(Model):
    """From one that is behind: what do you know to be final?"""

    since: BlockNumber


class Finals(Model):
    """The answer: the last statements that this validator signed."""

    finals: tuple[Final, ...] = Field(max_length=8)


Message: TypeAlias = SignedProposal | Ballot | Batch | BatchRequest | FinalsRequest | Finals | Equivocation

_MESSAGES: dict[str, type[Message]] = {
    "proposal": SignedProposal,
    "ballot": Ballot,
    "batch": Batch,
    "batch_request": BatchRequest,
    "finals_request": FinalsRequest,
    "finals": Finals,
    "equivocation": Equivocation,
}
_KINDS = {model: kind for kind, model in _MESSAGES.items()}


def message_kind(message: Message) -> str:
    """How a message is named on the wire; its body is `model_dump(mode="json")`."""
    return _KINDS[type(message)]


def read_message(kind: str, body: Any) -> Message:
    """A message from parsed strict JSON. No signature in it is checked yet.

    Raises:
        ValueError: no such kind, or not a message of that kind.
    """
    if kind not in _MESSAGES:
        raise ValueError(f"a message of unknown kind {kind[:16]!r}")
    return _MESSAGES[kind].model_validate(body)
