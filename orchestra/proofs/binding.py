"""What exactly is hashed and signed: leaves, the root, the miner's signature, the provider's receipt.

Everything here works on plain JSON objects, not on models, so that a verifier binds the document it received, with any
field it does not know, and not its own reading of it. Every signed object names its domain and version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.canonical import canonical, digest, leaf_hash, sha256
from ledger.types import Hash, Signer
from orchestra.protocol import Receipt

PROOF_DOMAIN = "orchestra-proof/1"
RECEIPT_DOMAIN = "orchestra-receipt/1"

BOUND_TO_STEP = ("challenge_id", "beacon")
"""What a leaf holds beyond the step's own fields; a step may not carry fields of these names."""


def step_leaf(step: Mapping[str, Any], *, challenge_id: str, beacon: str) -> Hash:
    """sha256(0x00 || JCS(every field of the step except `hash`, plus challenge_id and beacon)).

    Raises:
        ValueError: the step cannot be canonicalised.
    """
    fields = {name: value for name, value in step.items() if name != "hash"}
    return leaf_hash(canonical({**fields, "challenge_id": challenge_id, "beacon": beacon}))


def response_digest(document: Mapping[str, Any]) -> Hash:
    """sha256(JCS(response without proof)).

    Raises:
        ValueError: the response cannot be canonicalised.
    """
    return digest({name: value for name, value in document.items() if name != "proof"})


def proof_payload(
    *,
    challenge_id: str,
    request_digest: str,
    root: str,
    response_digest: str,
    ledger_version: str,
    miner: str,
    validator: str,
) -> bytes:
    """The bytes that a miner's hotkey signs over its response."""
    return canonical(
        {
            "domain": PROOF_DOMAIN,
            "challenge_id": challenge_id,
            "request_digest": request_digest,
            "root": root,
            "response_digest": response_digest,
            "ledger_version": ledger_version,
            "miner": miner,
            "validator": validator,
        }
    )


def receipt_payload(
    *,
    entry: str,
    operation: str,
    caller: str,
    tag: str,
    request_hash: str,
    response_hash: str,
    time_ms: int,
) -> bytes:
    """The bytes that a provider's key signs over one call. Both hashes are sha256 of the body bytes."""
    return canonical(
        {
            "domain": RECEIPT_DOMAIN,
            "entry": entry,
            "operation": operation,
            "caller": caller,
            "tag": tag,
            "request_hash": request_hash,
            "response_hash": response_hash,
            "time_ms": time_ms,
        }
    )


def issue_receipt(
    signer: Signer, *, entry: str, operation: str, caller: str, tag: str, request: bytes, response: bytes, time_ms: int
) -> Receipt:
    """A provider's receipt for a call it has answered. `request` and `response` are the body bytes, `caller` the hotkey
    that signed the request, `time_ms` UTC milliseconds.
    """
    request_hash, response_hash = sha256(request), sha256(response)
    payload = receipt_payload(
        entry=entry,
        operation=operation,
        caller=caller,
        tag=tag,
        request_hash=request_hash,
        response_hash=response_hash,
        time_ms=time_ms,
    )
    signature = "0x" + signer.sign(payload).hex()
    return Receipt(key=signer.ss58_address, time_ms=time_ms, request_hash=request_hash, signature=signature)
