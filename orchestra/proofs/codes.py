"""Every reason code of an audit, in one table: its check, its outcome, its meaning.

A code belongs to one check and always means one outcome, so a reader never has to guess. *Refuted* is kept for broken
bindings, for statements that the miner's own signed evidence contradicts, and for confirmed replay mismatches;
everything that might be somebody else's fault is *unverifiable* and only earns nothing. `docs/proofs.md` prints them.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

Outcome = Literal["verified", "unverifiable", "refuted"]
Check = Literal["structure", "contract", "evidence", "output", "dataflow", "provenance", "receipt", "replay", "anchor"]


class Code(str, Enum):  # noqa: UP042 - StrEnum cannot carry the rest of the row
    """Every reason code with its check, its outcome and its meaning in one line."""

    check: Check
    outcome: Outcome
    meaning: str

    def __new__(cls, value: str, check: Check, outcome: Outcome, meaning: str) -> Code:
        code = str.__new__(cls, value)
        code._value_ = value
        code.check, code.outcome, code.meaning = check, outcome, meaning
        return code

    # structure: can it be read?
    TOO_LARGE = "too_large", "structure", "unverifiable", "the answer exceeds the size limit"
    TOO_DEEP = "too_deep", "structure", "unverifiable", "the answer nests deeper than 64 levels"
    TOO_MANY_VALUES = "too_many_values", "structure", "unverifiable", "the answer holds more than 200,000 values"
    DUPLICATE_KEY = "duplicate_key", "structure", "unverifiable", "an object names a key twice"
    BAD_NUMBER = "bad_number", "structure", "unverifiable", "a number that JSON peers would read differently"
    BAD_TEXT = "bad_text", "structure", "unverifiable", "not UTF-8, or a lone surrogate"
    MALFORMED = "malformed", "structure", "unverifiable", "not a JSON object"
    UNSUPPORTED_VERSION = "unsupported_version", "structure", "unverifiable", "another protocol_version"
    INVALID_MESSAGE = (
        "invalid_message",
        "structure",
        "unverifiable",
        "a field is missing, of the wrong type or too large",
    )
    AMBIGUOUS_VALUE = (
        "ambiguous_value",
        "structure",
        "unverifiable",
        "a value is spelled in another way than the protocol's",
    )
    # structure: is it the answer to our challenge, and does it hold together?
    BOUND = (
        "bound",
        "structure",
        "verified",
        "leaves, root and signature fix exactly this answer to exactly this challenge",
    )
    CHALLENGE_MISMATCH = "challenge_mismatch", "structure", "refuted", "it answers another challenge"
    VALIDATOR_MISMATCH = "validator_mismatch", "structure", "refuted", "it was signed for another validator"
    MINER_MISMATCH = "miner_mismatch", "structure", "refuted", "it is signed as another miner than the one asked"
    REQUEST_DIGEST_MISMATCH = "request_digest_mismatch", "structure", "refuted", "it answers another request"
    UNSIGNED_FIELD = "unsigned_field", "structure", "refuted", "a field stands where no hash or signature covers it"
    STEP_NUMBERS = "step_numbers", "structure", "refuted", "steps are not numbered 1..n in order"
    DEPENDS_ON_INVALID = (
        "depends_on_invalid",
        "structure",
        "refuted",
        "a step depends on one that is not earlier and successful",
    )
    RESPONSE_HASH_MISSING = "response_hash_missing", "structure", "refuted", "a successful step has no response hash"
    TOTAL_COST_MISMATCH = "total_cost_mismatch", "structure", "refuted", "total_cost is not the sum of the steps' costs"
    LATENCY_IMPOSSIBLE = (
        "latency_impossible",
        "structure",
        "refuted",
        "total_latency_ms is shorter than its steps or longer than the challenge",
    )
    LEDGER_VERSION_FORKED = (
        "ledger_version_forked",
        "structure",
        "refuted",
        "the ledger_version has a root that never was",
    )
    LEDGER_VERSION_AHEAD = (
        "ledger_version_ahead",
        "structure",
        "unverifiable",
        "the ledger_version is newer than the auditor's",
    )
    SUBNET_MISMATCH = (
        "subnet_mismatch",
        "structure",
        "refuted",
        "a step names another subnet than the Ledger does for its entry",
    )
    OPERATION_UNKNOWN = "operation_unknown", "structure", "unverifiable", "the Ledger has no such operation"
    LEAF_MISMATCH = (
        "leaf_mismatch",
        "structure",
        "refuted",
        "a step does not hash to its leaf with this challenge and beacon",
    )
    ROOT_MISMATCH = "root_mismatch", "structure", "refuted", "the leaves do not hash to the root"
    SIGNATURE_INVALID = "signature_invalid", "structure", "refuted", "the miner did not sign this document"
    OVER_MAX_COST = (
        "over_max_cost",
        "structure",
        "unverifiable",
        "total_cost is more than the challenge's max_cost",
    )
    # contract: is it a call that the Ledger allows?
    QUERY_SCHEMA_MISMATCH = (
        "query_schema_mismatch",
        "contract",
        "unverifiable",
        "the query of a successful step does not fit the Ledger's input_schema",
    )
    OPERATION_SUPERSEDED = (
        "operation_superseded",
        "contract",
        "unverifiable",
        "the Ledger of the challenge has another contract for it than the older one of the answer",
    )
    # evidence
    REVEALED = "revealed", "evidence", "verified", "the revealed bytes hash to the leaf"
    EVIDENCE_UNAVAILABLE = "evidence_unavailable", "evidence", "unverifiable", "the evidence could not be fetched"
    EVIDENCE_MALFORMED = (
        "evidence_malformed",
        "evidence",
        "unverifiable",
        "the evidence cannot be read, or is another challenge's",
    )
    EVIDENCE_MISSING = "evidence_missing", "evidence", "unverifiable", "the bytes of a step were not revealed"
    REQUEST_BYTES_MISMATCH = (
        "request_bytes_mismatch",
        "evidence",
        "refuted",
        "the revealed request is not the step's query",
    )
    RESPONSE_BYTES_MISMATCH = (
        "response_bytes_mismatch",
        "evidence",
        "refuted",
        "the revealed response does not hash to response_hash",
    )
    # output: the mapped output, derived again from the bytes
    OUTPUT_MALFORMED = "output_malformed", "output", "unverifiable", "the revealed response cannot be parsed or mapped"
    OUTPUT_SCHEMA_MISMATCH = (
        "output_schema_mismatch",
        "output",
        "unverifiable",
        "the revealed response does not fit the Ledger's output_schema",
    )
    # dataflow
    FLOWS = (
        "flows",
        "dataflow",
        "verified",
        "what the query is made of stands in the challenge or in the outputs it depends on",
    )
    DATAFLOW_UNREVEALED = (
        "dataflow_unrevealed",
        "dataflow",
        "unverifiable",
        "an output that the step depends on is not known",
    )
    DATAFLOW_UNDECLARED = (
        "dataflow_undeclared",
        "dataflow",
        "unverifiable",
        "a query value comes from a step that depends_on does not name",
    )
    DATAFLOW_UNFOUNDED = (
        "dataflow_unfounded",
        "dataflow",
        "unverifiable",
        "a query value stands in no earlier output and not in the challenge",
    )
    # provenance
    SUPPORTED = "supported", "provenance", "verified", "the cited source contains the value"
    DERIVED = "derived", "provenance", "verified", "the declared computation over cited values gives the value"
    VALUE_UNSOURCED = "value_unsourced", "provenance", "unverifiable", "a value has no provenance"
    SOURCE_UNREVEALED = "source_unrevealed", "provenance", "unverifiable", "the cited step's output is not known"
    SOURCE_NOT_ALLOWED = (
        "source_not_allowed",
        "provenance",
        "unverifiable",
        "a local step is cited for something else than free text",
    )
    TOO_MUCH_TO_CHECK = "too_much_to_check", "provenance", "unverifiable", "more cited text than an auditor compares"
    PROVENANCE_DANGLING = (
        "provenance_dangling",
        "provenance",
        "unverifiable",
        "provenance for a value that is not there",
    )
    SOURCE_INVALID = "source_invalid", "provenance", "refuted", "the cited step does not exist or failed"
    SOURCE_UNRESOLVED = (
        "source_unresolved",
        "provenance",
        "refuted",
        "the cited pointer leads nowhere in the step's output",
    )
    VALUE_UNSUPPORTED = "value_unsupported", "provenance", "refuted", "the cited source does not contain the value"
    DERIVATION_MISMATCH = "derivation_mismatch", "provenance", "refuted", "the declared computation gives another value"
    # receipts
    RECEIPT_VALID = (
        "receipt_valid",
        "receipt",
        "verified",
        "the provider signed this call by this miner for this challenge",
    )
    RECEIPT_MISSING = (
        "receipt_missing",
        "receipt",
        "unverifiable",
        "the operation always returns receipts and the step has none",
    )
    RECEIPT_UNEXPECTED = (
        "receipt_unexpected",
        "receipt",
        "unverifiable",
        "the Ledger knows no receipt key for the operation",
    )
    RECEIPT_UNREGISTERED = (
        "receipt_unregistered",
        "receipt",
        "unverifiable",
        "the receipt key is not registered on the netuid",
    )
    REGISTRY_UNREADABLE = (
        "registry_unreadable",
        "receipt",
        "unverifiable",
        "the auditor cannot read now who is registered on the netuid",
    )
    RECEIPT_OUT_OF_WINDOW = (
        "receipt_out_of_window",
        "receipt",
        "unverifiable",
        "the provider's time lies outside the challenge",
    )
    RECEIPT_WRONG_KEY = "receipt_wrong_key", "receipt", "refuted", "the receipt is by another key than the Ledger's"
    RECEIPT_REQUEST_MISMATCH = "receipt_request_mismatch", "receipt", "refuted", "the receipt is for another request"
    RECEIPT_INVALID = (
        "receipt_invalid",
        "receipt",
        "refuted",
        "the provider did not sign this call for this miner and challenge",
    )
    # replay
    REPLAY_MATCHES = "replay_matches", "replay", "verified", "the subnet gives the same content to the auditor"
    NOT_REPLAYABLE = "not_replayable", "replay", "unverifiable", "not exact, not safe to retry, sensitive or too dear"
    REPLAY_TOO_LATE = (
        "replay_too_late",
        "replay",
        "unverifiable",
        "the stability window has passed, or the content changed with the window that ended meanwhile",
    )
    REPLAY_BEYOND_TRUST = (
        "replay_beyond_trust",
        "replay",
        "unverifiable",
        "more different calls than an auditor takes on trust beside those that it repeats",
    )
    REPLAY_FAILED = "replay_failed", "replay", "unverifiable", "the auditor's own call failed"
    REPLAY_REFUSED = (
        "replay_refused",
        "replay",
        "unverifiable",
        "the subnet refuses to the auditor the call that it is said to have answered",
    )
    REPLAY_MISMATCH_UNCONFIRMED = (
        "replay_mismatch_unconfirmed",
        "replay",
        "unverifiable",
        "the auditor got other content, and nobody else did or could tell",
    )
    REPLAY_MISMATCH_CONFIRMED = (
        "replay_mismatch_confirmed",
        "replay",
        "refuted",
        "two validators got the same other content",
    )
    # anchor
    ANCHOR_NOT_REQUIRED = (
        "anchor_not_required",
        "anchor",
        "unverifiable",
        "anchors on chain are not checked yet, and cost nothing",
    )
