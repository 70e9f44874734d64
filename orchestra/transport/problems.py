"""Every refusal a neuron can answer with: RFC 9457 problem documents of constant bytes, one per stable code.

A refusal must cost less than the request it refuses, so each body is encoded once at import, says nothing about the
request (no echo, no sizes, no reasons an attacker could tune by) and is the same bytes every time. What differs is at
most the `Retry-After` header. Our own failures are 5xx, never the caller's 4xx.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal: a stable `code` for programs, a `title` for people that says what to do, and its HTTP status."""

    code: str
    status: int
    title: str
    body: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        document = {
            "type": f"urn:orchestra:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        object.__setattr__(self, "body", json.dumps(document, separators=(",", ":")).encode())


class Refused(Exception):
    """Raised below a route to answer with a problem. `retry_after_s` becomes `Retry-After`, whole seconds from 1."""

    def __init__(self, problem: Problem, *, retry_after_s: float | None = None) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.retry_after_s = retry_after_s

    def response(self) -> Response:
        headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.problem.status == 401:
            headers["www-authenticate"] = 'btauth version="1"'
        return Response(self.problem.body, self.problem.status, headers, MEDIA_TYPE)


PROBLEMS: dict[str, Problem] = {}
"""Every problem of this package by its code."""


def _problem(code: str, status: int, title: str) -> Problem:
    PROBLEMS[code] = Problem(code, status, title)
    return PROBLEMS[code]


BODY_TOO_LARGE = _problem("body_too_large", 413, "The body is over this endpoint's limit.")
BODY_TIMEOUT = _problem("body_timeout", 408, "The body did not arrive in time: send it at once.")
BODY_INCOMPLETE = _problem("body_incomplete", 400, "The connection ended before the body did.")

AUTH_MISSING = _problem("auth_missing", 401, "Sign the request: bittensor http_auth, btauth/1.")
AUTH_MALFORMED = _problem("auth_malformed", 401, "The X-Bittensor headers are not btauth/1 with sr25519.")
WRONG_RECEIVER = _problem("wrong_receiver", 401, "Bind the signature to this neuron's hotkey.")
STALE_REQUEST = _problem("stale_request", 401, "The nonce is too old or in the future: check your clock.")
BAD_SIGNATURE = _problem("bad_signature", 401, "The signature does not fit what was received.")
REPLAYED_REQUEST = _problem("replayed_request", 401, "This nonce was used: sign a fresh one for every attempt.")

PEER_RATE_LIMITED = _problem("peer_rate_limited", 429, "Too many requests from this address: wait.")
HOTKEY_RATE_LIMITED = _problem("hotkey_rate_limited", 429, "Too many requests by this hotkey: wait.")
TOO_MANY_IN_FLIGHT = _problem("too_many_in_flight", 503, "Too many requests in flight: wait for answers.")

HOTKEY_UNKNOWN = _problem("hotkey_unknown", 403, "This hotkey is not registered on the subnet.")
NO_PERMIT = _problem("no_permit", 403, "This hotkey holds no validator permit.")
STAKE_TOO_LOW = _problem("stake_too_low", 403, "This hotkey's stake is below this neuron's minimum.")
METAGRAPH_STALE = _problem("metagraph_stale", 503, "This neuron has lost sight of the chain: try later.")

NONCE_STORE_FULL = _problem("nonce_store_full", 503, "This neuron cannot remember more requests: try later.")
NONCE_STORE_FAILED = _problem("nonce_store_failed", 503, "This neuron cannot record requests now: try later.")

JSON_MALFORMED = _problem("json_malformed", 400, "The body is not JSON.")
BODY_PROBLEMS = {
    "too_large": _problem("json_too_large", 413, "The JSON document is over the limit."),
    "too_deep": _problem("json_too_deep", 400, "The JSON document is nested too deep."),
    "too_many_values": _problem("json_too_many_values", 413, "The JSON document holds too many values."),
    "duplicate_key": _problem("json_duplicate_key", 400, "A JSON object names a key twice."),
    "bad_number": _problem("json_bad_number", 400, "A JSON number is not exact: write large integers as strings."),
    "bad_text": _problem("json_bad_text", 400, "The JSON text is not valid UTF-8."),
    "malformed": JSON_MALFORMED,
    "unsupported_version": _problem("unsupported_version", 400, "This neuron speaks another protocol version."),
    "invalid_message": _problem("invalid_message", 422, "The body is not the message that belongs here."),
}
"""By the code of a `StrictJSONError` or of `protocol.MessageRefused`."""

NOT_FOUND = _problem("not_found", 404, "There is nothing at this path.")
METHOD_NOT_ALLOWED = _problem("method_not_allowed", 405, "This path does not take that method.")
UNPROCESSABLE = _problem("unprocessable", 422, "The request does not fit this endpoint's schema.")
BAD_REQUEST = _problem("bad_request", 400, "The request was refused.")
INTERNAL_ERROR = _problem("internal_error", 500, "This neuron failed; the fault is not yours.")


def refused_body(code: str) -> Refused:
    """The refusal that belongs to a `StrictJSONError.code` or `protocol.MessageRefused.code`."""
    return Refused(BODY_PROBLEMS.get(code, JSON_MALFORMED))
