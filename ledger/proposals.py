"""Proposals: what somebody says the Ledger should say, fixed by a digest before anybody else can read it.

A proposal replaces one part of an entry and names the digest of that part (`base`), so that it can only ever change
what its author saw. What a miner may propose has no field for endpoint, auth, receipt key or netuid: those are the
owner's to change, by a signature of the coldkey that owns the netuid on chain. What a proposal does to an entry is in
`ledger.applying`, who believes it in `ledger.statements` and `ledger.governance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeAlias, cast

from pydantic import Field, model_validator

from ledger.canonical import canonical, leaf_hash, sha256, verify_inclusion
from ledger.changes import Address, BlockNumber, Digest, ProposalKind
from ledger.entry import Auth, Endpoint, Metrics, Model, Slug, SubnetEntry
from ledger.types import Hash, Signer, Verify

MAX_PROPOSAL_BYTES = 192 << 10
MAX_EVIDENCE = 32
MIN_SAMPLE = 10
MAX_PATH = 48
Signature = Annotated[str, Field(pattern=r"^0x[0-9a-f]{128}$")]


class Hashed(Model):
    """A model that is hashed or signed. Its digests are computed once, so a changed copy is made anew, and checked."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(fields | dict(update or {}))


def sign(signer: Signer, payload: bytes) -> str:
    """A signature as messages carry it."""
    return "0x" + signer.sign(payload).hex()


# What is proposed


class _Proposed(Hashed):
    """What every proposal says. `evidence` are leaf hashes of the proposer's own calls; `salt` is random, so that the
    digest tells nothing to those who guess.
    """

    proposer: Address
    entry: Slug
    evidence: tuple[Digest, ...] = Field(default=(), max_length=MAX_EVIDENCE)
    salt: Digest


class Consent(Model):
    """The owner's signature (`consent_payload`), by the coldkey that owns `netuid`."""

    owner: Address
    netuid: int = Field(ge=0, le=65535)
    signature: Signature


class NewSubnet(_Proposed):
    """A subnet that the Ledger does not have. With the owner's consent it may say how to pay and who signs."""

    kind: Literal["new_subnet"] = "new_subnet"
    body: SubnetEntry
    valid_until: BlockNumber = 0
    consents: tuple[Consent, ...] = Field(default=(), max_length=1)

    @model_validator(mode="after")
    def _fits(self) -> NewSubnet:
        if self.body.id != self.entry:
            raise ValueError("the body is another entry")
        if not self.consents and any(each.auth != Auth() or each.receipt_key for each in self.body.operations):
            raise ValueError("auth and receipt_key of a new subnet need its owner's signature")
        if self.body.status != "active" or any(each.metrics for each in self.body.operations):
            raise ValueError("a new subnet is active, and nobody has measured it yet")
        return self


class SchemaUpdate(_Proposed):
    """An operation takes or returns something else now, and is mapped to its capability in another way. What is None
    stays.
    """

    kind: Literal["schema_update"] = "schema_update"
    operation: Slug
    base: Digest
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    request: str | None = Field(default=None, max_length=2048)
    response: str | None = Field(default=None, max_length=2048)

    @model_validator(mode="after")
    def _says_something(self) -> SchemaUpdate:
        if all(each is None for each in (self.input_schema, self.output_schema, self.request, self.response)):
            raise ValueError("neither a schema nor a mapping is given")
        return self


class Deprecation(_Proposed):
    """A subnet that does not answer any more."""

    kind: Literal["deprecation"] = "deprecation"
    base: Digest


class MetricsUpdate(_Proposed):
    """What `sample` calls of an operation measured."""

    kind: Literal["metrics_update"] = "metrics_update"
    operation: Slug
    base: Digest
    metrics: Metrics
    sample: int = Field(ge=MIN_SAMPLE, le=1_000_000)


class Owned(Model):
    """What only an owner changes; None stays. `netuid` is the entry's, the others an operation's."""

    netuid: int | None = Field(default=None, ge=0, le=65535)
    endpoint: Endpoint | None = None
    auth: Auth | None = None
    receipt_key: str | None = Field(default=None, max_length=64)


class OwnerChange(_Proposed):
    """A change that an owner signed; a move to another netuid is signed by both owners. Anybody may carry it."""

    kind: Literal["owner_change"] = "owner_change"
    operation: Slug | Literal[""] = ""
    base: Digest
    change: Owned
    valid_until: BlockNumber
    consents: tuple[Consent, ...] = Field(min_length=1, max_length=2)

    @model_validator(mode="after")
    def _fits(self) -> OwnerChange:
        given = {name for name in Owned.model_fields if getattr(self.change, name) is not None}
        if not given or (given == {"netuid"}) is not (self.operation == "") or (len(given) > 1 and "netuid" in given):
            raise ValueError("either a netuid of the entry, or fields of an operation")
        if len({each.netuid for each in self.consents}) != len(self.consents):
            raise ValueError("one signature per netuid")
        return self


Proposal: TypeAlias = Annotated[
    NewSubnet | SchemaUpdate | Deprecation | MetricsUpdate | OwnerChange, Field(discriminator="kind")
]

SCHEMA_PARTS = ("input_schema", "output_schema", "request", "response")
"""What a schema update replaces: how an operation is asked, how it answers, and how both map to its capability."""

_CLAIM_ONLY: Mapping[str, frozenset[str]] = {
    "new_subnet": frozenset({"kind", "entry", "body", "valid_until"}),
    "schema_update": frozenset({"kind", "entry", "operation", "base", *SCHEMA_PARTS}),
    "deprecation": frozenset({"kind", "entry", "base"}),
    "metrics_update": frozenset({"kind", "entry", "operation", "base", "metrics"}),
    "owner_change": frozenset({"kind", "entry", "operation", "base", "change", "valid_until"}),
}


def substance(proposal: Proposal) -> Hash:
    """What is claimed, without who claims it and why: two who found the same have one substance."""
    claim = proposal.model_dump(mode="json", include=set(_CLAIM_ONLY[proposal.kind]))
    return sha256(canonical({"domain": "orchestra-substance/1", **claim}))


def proposal_payload(proposal: Proposal) -> bytes:
    """What the proposer signs; its SHA-256 is the proposal's digest.

    Raises:
        ValueError: larger than a proposal may be, or not canonical JSON.
    """
    _require_small(proposal)
    payload = canonical({"domain": "orchestra-proposal/1", "proposal": proposal.model_dump(mode="json")})
    if len(payload) > MAX_PROPOSAL_BYTES:
        raise ValueError(f"a proposal of {len(payload)} bytes, at most {MAX_PROPOSAL_BYTES}")
    return payload


def _require_small(proposal: Proposal) -> None:
    """Refuse schemas that cannot fit before they are written out, which costs far more than counting them.

    Raises:
        ValueError: more than a proposal may be.
    """
    operations = proposal.body.operations if isinstance(proposal, NewSubnet) else (proposal,)
    pending: list[Any] = [
        getattr(each, name, None) for each in operations for name in ("input_schema", "output_schema")
    ]
    left = MAX_PROPOSAL_BYTES
    while pending and left >= 0:
        value = pending.pop()
        if isinstance(value, dict):
            named = cast("dict[str, Any]", value)
            left -= sum(map(len, named)) + len(named)
            pending.extend(named.values() if left >= 0 else ())
        elif isinstance(value, list):
            listed = cast("list[Any]", value)
            left -= len(listed)
            pending.extend(listed if left >= 0 else ())
        elif isinstance(value, str):
            left -= len(value)
    if left < 0:
        raise ValueError(f"the schemas are more than a proposal may take, {MAX_PROPOSAL_BYTES} bytes at most")


def proposal_leaf(digest: str) -> Hash:
    """The leaf of a proposal in the log of whoever anchors it."""
    return leaf_hash(digest.encode())


def consent_payload(proposal: NewSubnet | OwnerChange, netuid: int) -> bytes:
    """What the owner of `netuid` signs. It binds neither proposer nor salt: anybody may carry it."""
    what: dict[str, Any] = (
        {"body": proposal.body.digest}
        if isinstance(proposal, NewSubnet)
        else {
            "operation": proposal.operation,
            "base": proposal.base,
            "change": proposal.change.model_dump(mode="json"),
        }
    )
    return canonical(
        {
            "domain": "orchestra-owner/1",
            "kind": proposal.kind,
            "entry": proposal.entry,
            "netuid": netuid,
            "valid_until": proposal.valid_until,
            **what,
        }
    )


def sponsor_payload(digest: str, sponsor: str) -> bytes:
    """What a validator signs that holds an outsider's prepaid bond for this proposal."""
    return canonical({"domain": "orchestra-sponsor/1", "proposal": digest, "sponsor": sponsor})


# How it travels


class Anchor(Model):
    """Where to find the proposal's digest: the path to the root that `hotkey` put on chain."""

    hotkey: Address
    size: int = Field(ge=1, lt=2**53)
    root: Digest
    index: int = Field(ge=0, lt=2**53)
    path: tuple[Digest, ...] = Field(default=(), max_length=MAX_PATH)


class SignedProposal(Hashed):
    """A proposal as it is revealed. An outsider's is anchored by its sponsor, which signs for the bond."""

    proposal: Proposal
    signature: Signature
    anchor: Anchor
    sponsor_signature: Signature | Literal[""] = ""

    @cached_property
    def payload(self) -> bytes:
        """What the proposer signed. Raises ValueError: too large."""
        return proposal_payload(self.proposal)

    @cached_property
    def digest(self) -> Hash:
        return sha256(self.payload)

    @cached_property
    def substance(self) -> Hash:
        return substance(self.proposal)

    @property
    def about(self) -> ProposalKind:
        return self.proposal.kind

    @property
    def operation(self) -> str:
        """The operation it is about; empty for the whole entry."""
        return getattr(self.proposal, "operation", "")

    @property
    def valid_until(self) -> int | None:
        """The last block at which this may be anchored, by its owner's signature; None where nobody signed."""
        proposal = self.proposal
        if isinstance(proposal, NewSubnet | OwnerChange) and proposal.consents:
            return proposal.valid_until
        return None

    @property
    def is_sponsored(self) -> bool:
        return self.anchor.hotkey != self.proposal.proposer

    def trouble(self, verify: Verify) -> str:
        """Why this cannot be what it says, or nothing: size, signatures of proposer and sponsor, path to the root."""
        try:
            digest = self.digest
        except ValueError as error:
            return str(error)
        if not verify(self.proposal.proposer, self.payload, bytes.fromhex(self.signature[2:])):
            return "not signed by its proposer"
        if not self._is_vouched_for(verify):
            return "not signed by the sponsor that anchors it"
        where = self.anchor
        if not verify_inclusion(proposal_leaf(digest), where.index, where.size, where.path, where.root):
            return "the path does not lead from the proposal to the anchored root"
        return ""

    def _is_vouched_for(self, verify: Verify) -> bool:
        if not self.is_sponsored:
            return True
        payload = sponsor_payload(self.digest, self.anchor.hotkey)
        return self.sponsor_signature != "" and verify(
            self.anchor.hotkey, payload, bytes.fromhex(self.sponsor_signature[2:])
        )


def consents_trouble(
    proposal: NewSubnet | OwnerChange, owners: Mapping[int, str], netuids: set[int], verify: Verify
) -> str:
    """Why the owners of `netuids` have not agreed to this, or nothing. `owners` are coldkeys, by netuid, on chain."""
    by_netuid = {each.netuid: each for each in proposal.consents}
    for netuid in sorted(netuids):
        consent = by_netuid.get(netuid)
        if consent is None or owners.get(netuid) != consent.owner:
            return f"not signed by the owner of netuid {netuid}"
        if not verify(consent.owner, consent_payload(proposal, netuid), bytes.fromhex(consent.signature[2:])):
            return f"the signature of the owner of netuid {netuid} is wrong"
    return ""
