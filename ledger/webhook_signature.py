"""Standard Webhooks (standardwebhooks.com): who sent a message, and that nothing of it was changed.

A symmetric secret, `whsec_` and base64, signs `ID.TIMESTAMP.BODY` with HMAC-SHA256. The id stays the same through all
attempts, so that a receiver can tell a repeat; the timestamp is that of the attempt, so that it can refuse an old one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

SECRET_PREFIX = "whsec_"  # noqa: S105 - it is how every such secret begins
TOLERANCE_S = 300


def new_secret() -> str:
    """A secret of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed_headers(secret: str, message: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt."""
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{_signature(secret, message, timestamp_s, body)}",
    }


def is_genuine(secret: str, headers: dict[str, str], body: bytes, *, now_s: int) -> bool:
    """For receivers: one of the signatures fits, and the attempt is at most five minutes away."""
    message, signatures = headers.get("webhook-id", ""), headers.get("webhook-signature", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now_s - int(timestamp)) > TOLERANCE_S:
        return False
    expected = f"v1,{_signature(secret, message, int(timestamp), body)}".encode()
    return any(hmac.compare_digest(expected, each.encode()) for each in signatures.split(" "))


def _signature(secret: str, message: str, timestamp_s: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message}.{timestamp_s}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
