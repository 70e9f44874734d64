"""A miner's HTTP surface: signed routes for validators, one open route that says whether it is up."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, FastAPI, Response

from orchestra.mining.service import AlreadyAnswered, Busy, EvidenceMissing, Miner
from orchestra.protocol import (
    EvidenceRequest,
    LedgerAuditRequest,
    Message,
    MessageRefused,
    OrchestraSynapse,
    QuoteRequest,
)
from orchestra.schema import TargetSchemaError
from orchestra.transport import Problem, Refused, SignedCall, SignedRequests, install_problems, refused_body

M = TypeVar("M", bound=Message)

BUSY = Problem("busy", 503, "This miner has as many challenges in hand as it takes: try later.")
ALREADY_ANSWERED = Problem("already_answered", 409, "This challenge id was answered: every challenge has its own.")
BAD_TARGET_SCHEMA = Problem("bad_target_schema", 422, "The target_schema is not one: see docs/target-schema.md.")
NO_EVIDENCE = Problem("no_evidence", 404, "This miner holds no such evidence for this validator.")


def create_app(miner: Miner, signed: SignedRequests, *, ready: Callable[[], bool]) -> FastAPI:
    """The app for one miner. `ready`: does it see the chain?"""
    app = FastAPI(title="Orchestra miner", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    install_problems(app)

    @app.post("/v1/challenge")
    async def challenge(call: Annotated[SignedCall, Depends(signed)]) -> Response:
        synapse = read(OrchestraSynapse, call)
        try:
            answer = await miner.challenge(synapse, request_digest=call.request_digest, validator=call.hotkey)
        except Busy:
            raise Refused(BUSY, retry_after_s=5) from None
        except AlreadyAnswered:
            raise Refused(ALREADY_ANSWERED) from None
        except TargetSchemaError:
            raise Refused(BAD_TARGET_SCHEMA) from None
        return wire(answer)

    @app.post("/v1/evidence")
    async def evidence(call: Annotated[SignedCall, Depends(signed)]) -> Response:
        try:
            return wire(await miner.reveal(read(EvidenceRequest, call), validator=call.hotkey))
        except EvidenceMissing:
            raise Refused(NO_EVIDENCE) from None

    @app.post("/v1/ledger-audit")
    async def ledger_audit(call: Annotated[SignedCall, Depends(signed)]) -> Response:
        return wire(miner.ledger_audit(read(LedgerAuditRequest, call)))

    @app.post("/v1/quote")
    async def quote(call: Annotated[SignedCall, Depends(signed)]) -> Response:
        return wire(miner.quote(read(QuoteRequest, call), validator=call.hotkey))

    @app.get("/v1/health")
    async def health() -> Response:
        return wire(miner.health(ready=ready()))

    return app


def read(message: type[M], call: SignedCall) -> M:
    """The call's body as a message, or the refusal that belongs to what is wrong with it."""
    try:
        return message.from_wire(call.body, max_bytes=max(1, len(call.body)))
    except MessageRefused as error:
        raise refused_body(error.code) from None


def wire(message: Message) -> Response:
    """A message as canonical JSON."""
    return Response(message.to_wire(), media_type="application/json")
