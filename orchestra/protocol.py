"""Every message between neurons. What we write forbids unknown fields; what we read from a newer peer ignores them.

A message is read in one order: size, strict JSON (`ledger.canonical.parse_strict`), `protocol_version`, then the
model. Money is rao, a string of digits on the wire and an int in Python; hashes are `0x` and 64 hex digits; times are
milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from ledger.canonical import DEFAULT_MAX_VALUES, HASH_PATTERN, StrictJSONError, as_object, canonical, parse_strict
from ledger.changes import Change, Kind, kind_of

PROTOCOL_VERSION = 1

MAX_OBJECTIVE_CHARS = 8_192
MAX_STEPS = 256
MAX_QUERY_BYTES = 64 << 10
MAX_REQUEST_BYTES = 256 << 10
MAX_RESPONSE_BYTES = 4 << 20
MAX_EVIDENCE_BYTES = 8 << 20
DEFAULT_DEADLINE_MS = 30_000


def _rao(value: object) -> object:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("an amount of rao is a string of digits")


RaoAmount = Annotated[int, BeforeValidator(_rao), Field(ge=0, lt=2**63), PlainSerializer(str, return_type=str)]
HashStr = Annotated[str, Field(pattern=HASH_PATTERN)]
SS58 = Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{40,60}$")]
Signature = Annotated[str, Field(pattern=r"^0x[0-9a-f]{128}$")]
Pointer = Annotated[str, Field(max_length=1024, pattern=r"^(/[^\x00]*)?$")]
LedgerVersion = Annotated[str, Field(pattern=r"^[0-9]{1,12}:0x[0-9a-f]{64}$")]


class MessageRefused(ValueError):
    """A message that is not ours to read. `code`: a strict-JSON code, `unsupported_version` or `invalid_message`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Part(BaseModel):
    """Something inside a message."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Part):
    """A whole message, with its version."""

    MAX_VALUES: ClassVar[int] = DEFAULT_MAX_VALUES
    protocol_version: Literal[1] = 1

    def to_wire(self) -> bytes:
        """Canonical JSON: what is sent is what is hashed."""
        return canonical(self.model_dump(mode="json"))

    @classmethod
    def from_wire(cls, raw: bytes, *, max_bytes: int = MAX_REQUEST_BYTES) -> Self:
        """Read a message from a peer.

        Raises:
            MessageRefused: too large, not strict JSON, of another version, or not this message.
        """
        try:
            fields = as_object(parse_strict(raw, max_bytes=max_bytes, max_values=cls.MAX_VALUES))
        except StrictJSONError as error:
            raise MessageRefused(error.code, error.detail) from None
        return cls.from_fields(fields)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """The same from parsed strict JSON. Fields that a newer minor version added are ignored."""
        if fields.get("protocol_version") is True or fields.get("protocol_version") != PROTOCOL_VERSION:
            raise MessageRefused("unsupported_version", f"this node speaks version {PROTOCOL_VERSION}")
        try:
            return cls.model_validate(fields, extra="ignore")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = "/".join(str(part) for part in first["loc"])
            raise MessageRefused("invalid_message", f"/{where}: {first['msg']}"[:300]) from None


# validator -> miner: POST /v1/challenge ------------------------------------------------------------------------------


class Hint(Part):
    """Something a caller believes about an operation. A hint is advice: the Ledger is what counts."""

    entry: str = Field(max_length=64)
    operation: str = Field(default="", max_length=64)
    note: str = Field(default="", max_length=512)
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None


class OrchestraSynapse(Message):
    """One objective for one miner. `beacon` is the hash of block `issued_block`."""

    challenge_id: HashStr
    objective: str = Field(min_length=1, max_length=MAX_OBJECTIVE_CHARS)
    target_schema: dict[str, Any]
    deadline_ms: int = Field(default=DEFAULT_DEADLINE_MS, ge=100, le=600_000)
    hints: tuple[Hint, ...] = Field(default=(), max_length=16)
    issued_block: int = Field(ge=0)
    beacon: HashStr
    max_cost: RaoAmount
    ledger_version: LedgerVersion
    tag: HashStr


# miner -> validator --------------------------------------------------------------------------------------------------

ErrorKind = Literal[
    "timeout",
    "unreachable",
    "throttled",
    "out_of_credit",
    "auth",
    "refused",
    "fault",
    "malformed",
    "schema_mismatch",
    "over_budget",
    "deadline",
    "cancelled",
]


class StepError(Part):
    """Why an attempt failed. `detail` is ours, never the provider's raw text."""

    kind: ErrorKind
    detail: str = Field(default="", max_length=300)
    status: int | None = Field(default=None, ge=100, le=599)


class Receipt(Part):
    """The provider's signature over entry, operation, caller, tag, both hashes and time (`orchestra.proofs`)."""

    key: SS58
    time_ms: int = Field(ge=0)
    request_hash: HashStr
    signature: Signature


class TaskStep(Part):
    """One attempt at one task. `hash` is the leaf over every other field, the challenge id and the beacon.

    `query` is the complete arguments object in wire form; `response_hash` is over the body bytes after
    content-decoding, before parsing, and null when there was no body; `depends_on` names successful attempts only.
    """

    step: int = Field(ge=1, le=MAX_STEPS)
    subnet: str = Field(pattern=r"^(SN[0-9]{1,5}|local)$")
    entry: str = Field(max_length=64)
    task: str = Field(max_length=256)
    operation: str = Field(max_length=64)
    query: dict[str, Any]
    hash: HashStr
    response_hash: HashStr | None
    latency_ms: int = Field(ge=0)
    cost: RaoAmount
    error: StepError | None = None
    depends_on: tuple[int, ...] = Field(default=(), max_length=MAX_STEPS)
    attempt: int = Field(default=1, ge=1, le=64)
    receipt: Receipt | None = None
    salt: HashStr


class Source(Part):
    """A value as it stands in the mapped output of a successful step."""

    step: int = Field(ge=1, le=MAX_STEPS)
    pointer: Pointer


Operator = Literal["min", "max", "mean", "median", "sum", "difference", "rank", "scale"]


class Derivation(Part):
    """A value computed from cited ones, which the auditor computes again. `by` is a decimal factor for `scale`."""

    op: Operator
    of: tuple[Source, ...] | Derivation = Field(union_mode="left_to_right")
    by: str | None = Field(default=None, pattern=r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$")


Provenance = dict[Pointer, tuple[Source, ...] | Derivation]


class Gap(Part):
    """Something asked for that was not delivered, and why."""

    fields: tuple[str, ...] = ()
    capability: str = Field(default="", max_length=64)
    reason: str = Field(max_length=300)


class LedgerProposal(Part):
    """A change to the Ledger that a miner's own calls suggest. `evidence` are leaf hashes of those calls."""

    kind: Literal["new_subnet", "schema_update", "deprecation", "metrics_update"]
    entry: str = Field(max_length=64)
    operation: str = Field(default="", max_length=64)
    change: dict[str, Any]
    evidence: tuple[HashStr, ...] = Field(default=(), max_length=32)


class Proof(Part):
    """The miner's signature over the challenge, the request, the root, the whole response and both hotkeys."""

    miner: SS58
    validator: SS58
    request_digest: HashStr
    root: HashStr
    signature: Signature


class OrchestraResponse(Message):
    """What a miner answers. Nothing in it is outside the signature in `proof`."""

    challenge_id: HashStr
    task_pipeline: tuple[TaskStep, ...] = Field(max_length=MAX_STEPS)
    standardized_data: dict[str, Any]
    final_synthesis: str = Field(max_length=32_768)
    total_cost: RaoAmount
    total_latency_ms: int = Field(ge=0)
    ledger_version: LedgerVersion
    provenance: Provenance = Field(default_factory=dict, max_length=20_000)
    gaps: tuple[Gap, ...] = Field(default=(), max_length=64)
    ledger_proposals: tuple[LedgerProposal, ...] = Field(default=(), max_length=32)
    proof: Proof


# POST /v1/evidence ---------------------------------------------------------------------------------------------------


class EvidenceRequest(Message):
    """Which steps of an answered challenge to reveal."""

    challenge_id: HashStr
    steps: tuple[int, ...] = Field(min_length=1, max_length=MAX_STEPS)


class StepEvidence(Part):
    """The raw bytes of one step in base64: the canonical JSON of its query, and the body (null when there was none)."""

    step: int = Field(ge=1, le=MAX_STEPS)
    request: str
    response: str | None


class Evidence(Message):
    challenge_id: HashStr
    steps: tuple[StepEvidence, ...] = Field(max_length=MAX_STEPS)


# POST /v1/ledger-audit -----------------------------------------------------------------------------------------------


class LedgerAuditRequest(Message):
    """What does your Ledger say of these entries? `nonce` makes the question unique."""

    entries: tuple[Annotated[str, Field(max_length=64)], ...] = Field(min_length=1, max_length=64)
    nonce: HashStr


class EntryView(Part):
    """A node's copy of an entry: null digest when it has none."""

    entry: str = Field(max_length=64)
    digest: HashStr | None


class LedgerAuditResponse(Message):
    ledger_version: LedgerVersion
    nonce: HashStr
    entries: tuple[EntryView, ...] = Field(max_length=64)
    signature: Signature


# POST /v1/quote ------------------------------------------------------------------------------------------------------


class QuoteRequest(Message):
    """What would this cost? Asked before every challenge, synthetic or organic; tells the shape, not the objective."""

    challenge_id: HashStr
    capabilities: tuple[str, ...] = Field(default=(), max_length=32)
    target_schema: dict[str, Any]
    deadline_ms: int = Field(ge=100, le=600_000)
    max_cost: RaoAmount


class Quote(Message):
    challenge_id: HashStr
    cost: RaoAmount
    latency_ms: int = Field(ge=0)
    accepts: bool
    reason: str = Field(default="", max_length=200)


# between validators --------------------------------------------------------------------------------------------------


class ReplayRequest(Message):
    """Make this call yourself and say what came back: an `exact` mismatch counts when a second validator sees it."""

    entry: str = Field(max_length=64)
    operation: str = Field(max_length=64)
    query: dict[str, Any]
    ledger_version: LedgerVersion


class ReplayVerdict(Message):
    """`response_hash` null: the call failed here, and says nothing."""

    response_hash: HashStr | None
    signature: Signature


# the Ledger between neurons ------------------------------------------------------------------------------------------


class LedgerLeaf(Part):
    """One committed change in log order (`ledger.changes`)."""

    index: int = Field(ge=0)
    kind: Kind
    body: Change = Field(union_mode="left_to_right")

    @model_validator(mode="after")
    def _body_is_of_its_kind(self) -> Self:
        if kind_of(self.body) != self.kind:
            raise ValueError(f"this is no {self.kind}")
        return self


class LedgerChangesRequest(Message):
    """What comes after this size of the log?"""

    since: int = Field(ge=0)


class LedgerChanges(Message):
    """`POST /v1/ledger/changes`: the leaves after a size, the version they lead to, and who says so."""

    MAX_VALUES: ClassVar[int] = 5_000_000
    since: int = Field(ge=0)
    version: LedgerVersion
    leaves: tuple[LedgerLeaf, ...] = Field(max_length=1_000)
    signer: SS58
    signature: Signature


# GET /v1/health ------------------------------------------------------------------------------------------------------


class Health(Message):
    """Unsigned and cheap: is this neuron up, who is it and what does it run?"""

    role: Literal["miner", "validator", "gateway"]
    hotkey: SS58 | None
    ledger_version: LedgerVersion
    software: str = Field(max_length=64)
    ready: bool
