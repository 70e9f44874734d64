"""What a validator serves to outsiders: a challenge of an entry, sponsored with a bond that they prepaid.

Nobody signs these requests as neurons do: an outsider is on no metagraph, and strangers' nonces would fill the store
that members need. What is sent carries its own signatures, and sending it twice changes nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, FastAPI, Response

from ledger.canonical import is_hash
from orchestra.governing.challenge import MAX_CHALLENGE_BYTES, Challenge, ChallengeState
from orchestra.governing.sponsoring import ChallengeRefused, Reason, Sponsor
from orchestra.mining.api import wire
from orchestra.protocol import MessageRefused
from orchestra.transport import BoundedRequests, Limits, Problem, Refused, problems, refused_body

LIMITS = Limits(peer_per_s=1.0, peer_burst=20, peer_in_flight=4)
"""Of one address: enough to send a tempo's challenges and to ask after them."""

MOST_AT_ONCE = 4
"""Challenges that are read and checked at the same time, whoever sends them: the council needs threads too."""

RETRY_AFTER_S = 60

NOT_SPONSORED = Problem("not_sponsored", 409, "One hotkey commits to this Ledger: nobody is sponsored here.")
UNKNOWN_CHALLENGE = Problem("unknown_challenge", 404, "This validator did not take such a challenge: send it.")
NOT_READY = Problem("sponsor_not_ready", 503, "This validator has no say in the Ledger now: try later, or another.")
WRONG_ORDER = Problem("wrong_order", 422, "The order is for another sponsor, or for less than the bond.")
NOT_A_CHALLENGE = Problem(
    "not_a_challenge", 422, "An outsider challenges an entry that is there; miners propose new ones."
)
NO_RIGHTS = Problem("no_proposal_rights", 403, "Too many false proposals by this address: wait a day.")
DOES_NOT_APPLY = Problem(
    "does_not_apply",
    409,
    "The Ledger does not say what this replaces, or says this already: begin with its newest entry.",
)
CONSENT_OUT_OF_TIME = Problem(
    "consent_out_of_time", 422, "The owner's signature is not good now: have it signed for blocks ahead, within a day."
)
SCHEMA_REFUSED = Problem("schema_refused", 422, "A schema in it is not one that nodes compile: see docs/ledger.md.")
NOT_SIGNED = Problem("not_signed_by_proposer", 403, "Sign the proposal and the order with the proposer's key.")
BOND_NOT_PREPAID = Problem(
    "bond_not_prepaid", 402, "No bond of this address is free: pay this validator's operator, then send it again."
)
SPONSOR_FULL = Problem("sponsor_full", 429, "As many as are sponsored in a tempo: try in the next, or another sponsor.")

BY_REASON: Mapping[Reason, Problem] = {
    "not_ready": NOT_READY,
    "wrong_order": WRONG_ORDER,
    "not_a_challenge": NOT_A_CHALLENGE,
    "barred": NO_RIGHTS,
    "does_not_apply": DOES_NOT_APPLY,
    "consent_out_of_time": CONSENT_OUT_OF_TIME,
    "schema_refused": SCHEMA_REFUSED,
    "not_signed": NOT_SIGNED,
    "unpaid": BOND_NOT_PREPAID,
    "full": SPONSOR_FULL,
}


def add_challenges(app: FastAPI, sponsor: Sponsor | None, bodies: BoundedRequests | None = None) -> None:
    """Add the routes. `sponsor` is None where one hotkey commits to the Ledger."""
    bounded = bodies or BoundedRequests(max_body=MAX_CHALLENGE_BYTES, limits=LIMITS)
    places = asyncio.Semaphore(MOST_AT_ONCE)

    @app.post("/v1/ledger/challenge")
    async def challenge(body: Annotated[bytes, Depends(bounded)]) -> Response:
        if sponsor is None:
            raise Refused(NOT_SPONSORED)
        if places.locked():
            raise Refused(problems.TOO_MANY_IN_FLIGHT, retry_after_s=LIMITS.retry_after_s)
        async with places:
            return wire(await _taken(sponsor, body))

    @app.get("/v1/ledger/challenge/{digest}")
    async def state(digest: str, _: Annotated[bytes, Depends(bounded)]) -> Response:
        found = await sponsor.state_of(digest) if sponsor is not None and is_hash(digest) else None
        if found is None:
            raise Refused(UNKNOWN_CHALLENGE)
        return wire(found)


async def _taken(sponsor: Sponsor, body: bytes) -> ChallengeState:
    sent = await asyncio.to_thread(_read, body)
    try:
        return await sponsor.take(sent)
    except ChallengeRefused as error:
        problem = BY_REASON[error.reason]
        raise Refused(problem, retry_after_s=_pause(problem)) from None


def _read(body: bytes) -> Challenge:
    try:
        return Challenge.from_wire(body, max_bytes=max(1, len(body)))
    except MessageRefused as error:
        raise refused_body(error.code) from None


def _pause(problem: Problem) -> int | None:
    return RETRY_AFTER_S if problem.status in (429, 503) else None
