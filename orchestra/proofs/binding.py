"""What exactly a miner hashes and signs: leaves, the root, the response, its proof.

Everything here works on plain JSON objects, not on models, so that a verifier binds the document it received, with any
field it does not know, and not its own reading of it. (What a provider signs is in `orchestra.subnets.receipts`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.canonical import canonical, digest, leaf_hash
from ledger.types import Hash

PROOF_DOMAIN = "orchestra-proof/1"

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
