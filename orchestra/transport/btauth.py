"""btauth/1 as Orchestra uses it: the signed headers, the wire form of a path, and the digest that an answer signs.

bittensor's `http_auth` defines the protocol and verifies it. What we add: the receiver is always bound, the header
spellings are canonical (so one request has one meaning), only sr25519 hotkeys sign, and `request_digest` names a
request by the exact bytes that were signed, so that an answer can be bound to it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bittensor import http_auth

from ledger.types import Hash, Hotkey, Signer
from orchestra.transport import problems
from orchestra.transport.problems import Refused

REQUEST_DOMAIN = b"orchestra-request/1\n"
MAX_AGE_S = http_auth.DEFAULT_MAX_AGE
ALLOWED_SKEW_S = http_auth.DEFAULT_ALLOWED_SKEW

_SET_BACK_NS = 500_000_000
"""So far ahead of the clock nonces may run by themselves: half a second of one a nanosecond."""
_SCHEME = "sr25519"
_CRYPTO_TYPE = 1
_HOTKEY = re.compile(r"[1-9A-HJ-NP-Za-km-z]{46,50}")
_NONCE = re.compile(r"[1-9][0-9]{0,18}")
_SIGNATURE = re.compile(r"0x[0-9a-f]{128}")

_NAMES = {
    name.lower().encode(): name
    for name in (
        http_auth.HEADER_VERSION,
        http_auth.HEADER_HOTKEY,
        http_auth.HEADER_RECEIVER,
        http_auth.HEADER_NONCE,
        http_auth.HEADER_CRYPTO,
        http_auth.HEADER_SIGNATURE,
    )
}
_REQUIRED = (http_auth.HEADER_VERSION, http_auth.HEADER_HOTKEY, http_auth.HEADER_NONCE, http_auth.HEADER_SIGNATURE)

# Newer 11.3.x releases want the scheme that the verifier expects; older ones do not know the parameter.
_EXPECTED: dict[str, Any] = (
    {"expected_crypto_type": _CRYPTO_TYPE}
    if "expected_crypto_type" in inspect.signature(http_auth.verify).parameters
    else {}
)


class _NonceCheckedLater:
    """What `verify` asks synchronously. Our own check is asynchronous and is awaited after it, as the last check."""

    retention = float("inf")

    def check_and_store(self, hotkey_ss58: str, nonce_ns: int) -> bool:
        return True


_NONCE_CHECKED_LATER = _NonceCheckedLater()


class FreshNonces:
    """The nonces of one signer: the time in UTC nanoseconds, never the same twice in one tick of the clock.

    When the clock was set back they follow it. A nonce from a future that never was is refused by every receiver, and a
    validator that went on with them would find nobody who answers.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._last = 0

    def __call__(self) -> int:
        now = self._clock_ns()
        set_back = self._last - now > _SET_BACK_NS
        self._last = now if set_back else max(self._last + 1, now)
        return self._last


@dataclass(frozen=True, slots=True)
class Envelope:
    """The auth headers of one request, well-formed but not yet believed."""

    hotkey: Hotkey
    nonce_ns: int
    receiver: str
    headers: dict[str, str]


def wire_path(raw_path: bytes, query: bytes) -> str:
    """The request target as it was sent: percent-encoded path plus `?query`, from ASGI's `raw_path` and `query_string`.

    Raises:
        Refused: `auth_malformed`, the target is not ASCII (a client must percent-encode it).
    """
    target = raw_path + b"?" + query if query else raw_path
    try:
        return target.decode("ascii")
    except UnicodeDecodeError:
        raise Refused(problems.AUTH_MALFORMED) from None


def read_envelope(headers: Iterable[tuple[bytes, bytes]]) -> Envelope:
    """The auth headers out of raw ASGI headers (names in lower case), refused when two readers could disagree.

    Raises:
        Refused: `auth_missing`; or `auth_malformed` for a repeated header, a nonce, signature or hotkey in any but its
            canonical spelling, another version, or a scheme other than sr25519; or `wrong_receiver` without a receiver.
    """
    found: dict[str, str] = {}
    for key, value in headers:
        name = _NAMES.get(key)
        if name is None:
            continue
        if name in found:
            raise Refused(problems.AUTH_MALFORMED)
        found[name] = value.decode("latin-1")
    if any(name not in found for name in _REQUIRED):
        raise Refused(problems.AUTH_MISSING)
    if not _well_formed(found):
        raise Refused(problems.AUTH_MALFORMED)
    receiver = found.get(http_auth.HEADER_RECEIVER)
    if receiver is None:
        raise Refused(problems.WRONG_RECEIVER)
    return Envelope(Hotkey(found[http_auth.HEADER_HOTKEY]), int(found[http_auth.HEADER_NONCE]), receiver, found)


def _well_formed(found: dict[str, str]) -> bool:
    return (
        found[http_auth.HEADER_VERSION] == http_auth.VERSION
        and found.get(http_auth.HEADER_CRYPTO, _SCHEME) == _SCHEME
        and _HOTKEY.fullmatch(found[http_auth.HEADER_HOTKEY]) is not None
        and _NONCE.fullmatch(found[http_auth.HEADER_NONCE]) is not None
        and _SIGNATURE.fullmatch(found[http_auth.HEADER_SIGNATURE]) is not None
    )


def check_fresh(envelope: Envelope, now_ns: int, *, max_age_s: float, allowed_skew_s: float) -> None:
    """Refuse a nonce outside the freshness window before anything dearer happens; `verify_request` checks it again.

    Raises:
        Refused: `stale_request`.
    """
    age_ns = now_ns - envelope.nonce_ns
    if age_ns > max_age_s * 1e9 or -age_ns > allowed_skew_s * 1e9:
        raise Refused(problems.STALE_REQUEST)


def verify_request(
    envelope: Envelope,
    body: bytes,
    *,
    method: str,
    path: str,
    self_hotkey: str,
    now_ns: int,
    max_age_s: float = MAX_AGE_S,
    allowed_skew_s: float = ALLOWED_SKEW_S,
) -> None:
    """Everything btauth/1 checks except the replay, which the caller awaits on its `NonceStore` afterwards.

    Raises:
        Refused: `wrong_receiver`, `stale_request`, `auth_malformed` or `bad_signature`.
    """
    try:
        http_auth.verify(
            envelope.headers,
            body,
            method=method,
            path=path,
            self_hotkey_ss58=self_hotkey,
            max_age=max_age_s,
            allowed_skew=allowed_skew_s,
            nonce_store=_NONCE_CHECKED_LATER,
            now_ns=now_ns,
            **_EXPECTED,
        )
    except http_auth.WrongReceiver:
        raise Refused(problems.WRONG_RECEIVER) from None
    except http_auth.StaleRequest:
        raise Refused(problems.STALE_REQUEST) from None
    except http_auth.BadSignature:
        raise Refused(problems.BAD_SIGNATURE) from None
    except http_auth.AuthError:
        raise Refused(problems.AUTH_MALFORMED) from None


def signed_payload(*, method: str, path: str, body: bytes, nonce_ns: int, sender: str, receiver: str) -> bytes:
    """The exact bytes that btauth/1 signs for this request, receiver bound."""
    return http_auth.build_payload(
        scheme=_SCHEME,
        method=method,
        path=path,
        body=body,
        nonce_ns=nonce_ns,
        sender_ss58=sender,
        receiver_ss58=receiver,
    )


def request_digest(payload: bytes) -> Hash:
    """`0x` + hex SHA-256 over `orchestra-request/1`, a newline and the signed payload: what an answer to it signs."""
    return Hash("0x" + hashlib.sha256(REQUEST_DOMAIN + payload).hexdigest())


def sign_request(
    signer: Signer, *, method: str, path: str, body: bytes, receiver: str, nonce_ns: int
) -> tuple[dict[str, str], Hash]:
    """The headers that authenticate a request to `receiver` only, and the request's digest.

    `path` is the target exactly as it will be sent, query included. Every attempt needs its own `nonce_ns` (UTC
    nanoseconds, never used before).
    """
    sender = signer.ss58_address
    payload = signed_payload(method=method, path=path, body=body, nonce_ns=nonce_ns, sender=sender, receiver=receiver)
    headers = {
        http_auth.HEADER_VERSION: http_auth.VERSION,
        http_auth.HEADER_HOTKEY: sender,
        http_auth.HEADER_RECEIVER: receiver,
        http_auth.HEADER_NONCE: str(nonce_ns),
        http_auth.HEADER_SIGNATURE: "0x" + signer.sign(payload).hex(),
    }
    return headers, request_digest(payload)
