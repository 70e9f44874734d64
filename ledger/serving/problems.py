"""Every refusal of the Ledger API: RFC 9457 problem documents with a stable code. Our own failures are 5xx.

The title belongs to the code and says what to do; `detail`, where there is one, is about this request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
_LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    status: int
    title: str

    def body(self, detail: str = "") -> bytes:
        document: dict[str, str | int] = {
            "type": f"urn:orchestra:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if detail:
            document["detail"] = detail[:_LONGEST_DETAIL]
        return json.dumps(document, separators=(",", ":")).encode()


class Refused(Exception):
    """Raised anywhere below the app to answer with a problem."""

    def __init__(self, problem: Problem, detail: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> Response:
        headers = dict(self.headers)
        if self.problem.status == 401:
            headers["www-authenticate"] = "Bearer"
        return Response(self.problem.body(self.detail), self.problem.status, headers, MEDIA_TYPE)


PROBLEMS: dict[str, Problem] = {}
"""Every problem of the Ledger API by its code."""


def _problem(code: str, status: int, title: str) -> Problem:
    PROBLEMS[code] = Problem(code, status, title)
    return PROBLEMS[code]


BAD_REQUEST = _problem("bad_request", 400, "The request was refused.")
KEY_MISSING = _problem("key_missing", 401, "This needs a key: send Authorization: Bearer KEY.")
KEY_UNKNOWN = _problem("key_unknown", 401, "This key was never issued, or it was revoked.")
TIER_TOO_LOW = _problem("tier_too_low", 403, "This key's tier does not include that.")
ADDRESS_REFUSED = _problem("address_refused", 403, "A webhook goes to an HTTPS address that everybody can reach.")
NOT_FOUND = _problem("not_found", 404, "There is nothing at this path.")
NO_SUBNET = _problem("no_subnet", 404, "The Ledger has no entry of that id.")
NO_OPERATION = _problem("no_operation", 404, "This entry has no operation of that name.")
NO_CHECKPOINT = _problem("no_checkpoint", 404, "This server holds no signed checkpoint.")
NO_SNAPSHOT = _problem("no_snapshot", 404, "This server holds no snapshot.")
NO_LETTER = _problem("no_letter", 404, "This key has no dead letter of that id.")
METHOD_NOT_ALLOWED = _problem("method_not_allowed", 405, "This path does not take that method.")
BODY_TIMEOUT = _problem("body_timeout", 408, "The body did not arrive in time: send it at once.")
UNKNOWN_VERSION = _problem("unknown_version", 409, "This log has no such version: yours is of another history.")
TOO_MANY_WEBHOOKS = _problem("too_many_webhooks", 409, "This key has as many webhooks as its tier includes.")
BODY_TOO_LARGE = _problem("body_too_large", 413, "The body is over this endpoint's limit.")
UNPROCESSABLE = _problem("unprocessable", 422, "A parameter or a field is missing or wrong.")
RATE_LIMITED = _problem("rate_limited", 429, "Too many requests: wait as long as Retry-After says.")
QUOTA_EXCEEDED = _problem("quota_exceeded", 429, "This month's lookups are used up.")
INTERNAL_ERROR = _problem("internal_error", 500, "This server failed; the fault is not yours.")
NO_DATABASE = _problem("no_database", 503, "This server's database does not answer: try later.")
NOT_READY = _problem("not_ready", 503, "This server has not read its Ledger yet: try again in a second.")

BY_STATUS = {404: NOT_FOUND, 422: UNPROCESSABLE}
"""What the framework itself refuses."""
