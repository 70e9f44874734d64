"""What a validator serves to other neurons: the Ledger to every registered hotkey, replays to other validators."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response

from ledger.canonical import canonical, sha256
from ledger.entry import Operation
from ledger.types import Signer
from orchestra.execution.run import CallFailed, SubnetCaller
from orchestra.ledger_node import LedgerNode
from orchestra.mining.api import read, wire
from orchestra.mining.service import SOFTWARE
from orchestra.protocol import Health, LedgerChangesRequest, ReplayRequest, ReplayVerdict
from orchestra.transport import SignedCall, SignedRequests, install_problems

REPLAY_TIMEOUT_S = 8.0
MOST_RAO_A_REPLAY = 1_000_000


@dataclass(frozen=True, slots=True)
class ValidatorServices:
    """What the routes need."""

    signer: Signer
    ledger: LedgerNode
    caller: SubnetCaller
    catch_up: Callable[[], Awaitable[object]]
    tao_usd: Decimal


def create_app(
    services: ValidatorServices, *, members: SignedRequests, validators: SignedRequests, ready: Callable[[], bool]
) -> FastAPI:
    """The app of one validator. `members` admits registered hotkeys, `validators` those with a permit."""
    app = FastAPI(title="Orchestra validator", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    install_problems(app)

    @app.post("/v1/ledger/changes")
    async def changes(call: Annotated[SignedCall, Depends(members)]) -> Response:
        asked = read(LedgerChangesRequest, call)
        return wire(services.ledger.changes_since(asked.since, services.signer))

    @app.post("/v1/replay")
    async def replay(call: Annotated[SignedCall, Depends(validators)]) -> Response:
        return wire(await _replay(read(ReplayRequest, call), services))

    @app.get("/v1/health")
    async def health() -> Response:
        return wire(
            Health(
                role="validator",
                hotkey=services.signer.ss58_address,
                ledger_version=services.ledger.view.version,
                software=SOFTWARE,
                ready=ready(),
            )
        )

    return app


async def _replay(asked: ReplayRequest, services: ValidatorServices) -> ReplayVerdict:
    """Make the call if it is one that an audit may repeat, and sign what came back; null says nothing about anybody."""
    if services.ledger.at(asked.ledger_version) is None:
        await services.catch_up()
    view = services.ledger.at(asked.ledger_version)
    ref = view.operation(asked.entry, asked.operation) if view else None
    found = None
    if ref is not None and _repeatable(ref.operation, services.tao_usd):
        try:
            answer = await services.caller.call(ref, asked.query, tag="0x" + "00" * 32, timeout_s=REPLAY_TIMEOUT_S)
            found = sha256(answer.body)
        except CallFailed:
            found = None
    signature = services.signer.sign(verdict_payload(asked, found))
    return ReplayVerdict(response_hash=found, signature="0x" + signature.hex())


def _repeatable(operation: Operation, tao_usd: Decimal) -> bool:
    """Exact, safe, not sensitive, and of a known price that is small: another validator spends our money here."""
    exact = operation.determinism == "exact" and operation.safe_to_retry and not operation.sensitive
    return exact and operation.price is not None and operation.price.worst_rao(tao_usd=tao_usd) <= MOST_RAO_A_REPLAY


def verdict_payload(asked: ReplayRequest, response_hash: str | None) -> bytes:
    """What a validator signs about a replay."""
    body: dict[str, Any] = asked.model_dump(mode="json")
    return canonical({"domain": "orchestra-replay/1", "request": body, "response_hash": response_hash})
