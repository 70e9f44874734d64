"""What a validator serves to other neurons: the Ledger to every registered hotkey, replays to other validators."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response
from fastapi.responses import JSONResponse, StreamingResponse

from ledger.canonical import canonical, sha256
from ledger.entry import Operation
from ledger.types import Signer
from orchestra.execution.run import CallFailed, SubnetCaller
from orchestra.governing.sponsoring import Sponsor
from orchestra.ledger_copies import LedgerCopies, NothingToVouchFor
from orchestra.ledger_node import LedgerNode
from orchestra.mining.api import read, wire
from orchestra.mining.service import SOFTWARE
from orchestra.protocol import (
    GovernanceBody,
    GovernanceMessage,
    GovernanceReply,
    Health,
    LedgerChangesRequest,
    ReplayRequest,
    ReplayVerdict,
)
from orchestra.transport import Problem, Refused, SignedCall, SignedRequests, install_problems
from orchestra.validation.sponsor_api import add_challenges

REPLAY_TIMEOUT_S = 8.0
REPLAY_BUDGET_RAO = 5_000_000
"""The most that an audit spends on repeating calls, and so the most that we repeat for another validator."""

MOST_COPIES_AT_ONCE = 2
"""A copy is large and its reader may be slow: so many are handed out at the same time."""

BUSY = Problem("busy", 503, "This validator hands out as many copies of the Ledger as it can: try later, or another.")
NO_CHECKPOINT = Problem("no_checkpoint", 503, "This validator cannot vouch for its Ledger now: ask another.")

NOT_GOVERNED = Problem("not_governed", 409, "One hotkey commits to this Ledger: nothing is proposed to validators.")

MOST_RAO_AN_HOUR = 50_000_000
"""What one other validator may make us spend on repeating calls."""


@dataclass(frozen=True, slots=True)
class ValidatorServices:
    """What the routes need. `govern` takes what members say about the Ledger, `sponsor` what outsiders do; both None
    where one hotkey commits to it.
    """

    signer: Signer
    ledger: LedgerNode
    copies: LedgerCopies
    caller: SubnetCaller
    catch_up: Callable[[], Awaitable[object]]
    opened_seeds: Callable[[], Awaitable[list[dict[str, Any]]]]
    tao_usd: Decimal
    govern: Callable[[GovernanceBody, str], Awaitable[str]] | None = None
    sponsor: Sponsor | None = None


def create_app(
    services: ValidatorServices,
    *,
    members: SignedRequests,
    validators: SignedRequests,
    governing: SignedRequests,
    ready: Callable[[], bool],
) -> FastAPI:
    """The app of one validator. `members` admits registered hotkeys, `validators` those with a permit, `governing` the
    former with larger bodies.
    """
    app = FastAPI(title="Orchestra validator", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    install_problems(app)
    budget = Budgets(MOST_RAO_AN_HOUR)
    copying = Places(MOST_COPIES_AT_ONCE)
    add_challenges(app, services.sponsor)

    @app.post("/v1/ledger/changes")
    async def changes(call: Annotated[SignedCall, Depends(members)]) -> Response:
        asked = read(LedgerChangesRequest, call)
        return wire(services.ledger.changes_since(asked.since, services.signer))

    @app.post("/v1/ledger/governance")
    async def governance(call: Annotated[SignedCall, Depends(governing)]) -> Response:
        if services.govern is None:
            raise Refused(NOT_GOVERNED)
        message = await asyncio.to_thread(read, GovernanceMessage, call)
        return wire(GovernanceReply(refused=(await services.govern(message.body, call.hotkey))[:1_000]))

    @app.get("/v1/ledger/checkpoint")
    async def checkpoint(call: Annotated[SignedCall, Depends(members)]) -> Response:
        try:
            return Response(await services.copies.checkpoint(), media_type="text/plain; charset=utf-8")
        except NothingToVouchFor:
            raise Refused(NO_CHECKPOINT, retry_after_s=60) from None

    @app.get("/v1/ledger/snapshot")
    async def snapshot(call: Annotated[SignedCall, Depends(members)]) -> Response:
        if not copying.take():
            raise Refused(BUSY, retry_after_s=30)
        try:
            return StreamingResponse(await services.copies.snapshot(), media_type="application/jsonl")
        except NothingToVouchFor:
            raise Refused(NO_CHECKPOINT, retry_after_s=60) from None

    @app.post("/v1/replay")
    async def replay(call: Annotated[SignedCall, Depends(validators)]) -> Response:
        asked = read(ReplayRequest, call)
        return wire(await _replay(asked, services, budget.of(call.hotkey)))

    @app.get("/v1/seeds")
    async def seeds() -> Response:
        return JSONResponse(await services.opened_seeds())

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


class Places:
    """So many at once. A place is given back when the task that took it ends: the one that serves its request."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self) -> bool:
        """Take a place until this task is done; False when there is none."""
        task = asyncio.current_task()
        if not self._left or task is None:
            return False
        self._left -= 1
        task.add_done_callback(self._give_back)
        return True

    def _give_back(self, _: object) -> None:
        self._left += 1


class Budget:
    """What one caller may still make us spend in the hour that runs."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._hour = -1
        self._left = most

    def take(self, amount: int) -> bool:
        """Spend it if it is there."""
        hour = int(self._clock() // 3600)
        if hour != self._hour:
            self._hour, self._left = hour, self._most
        if amount > self._left:
            return False
        self._left -= amount
        return True


class Budgets:
    """A budget for every caller; callers are validators of one subnet, so there are few."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._of: dict[str, Budget] = {}

    def of(self, hotkey: str) -> Budget:
        return self._of.setdefault(hotkey, Budget(self._most, self._clock))


async def _replay(asked: ReplayRequest, services: ValidatorServices, budget: Budget) -> ReplayVerdict:
    """Make the call if it is one that an audit may repeat, and sign what came back; null says nothing about anybody."""
    if services.ledger.at(asked.ledger_version) is None:
        await services.catch_up()
    view = services.ledger.at(asked.ledger_version)
    ref = view.operation(asked.entry, asked.operation) if view else None
    found = None
    price = _price(ref.operation, services.tao_usd) if ref else None
    if ref is not None and price is not None and budget.take(price):
        try:
            answer = await services.caller.call(ref, asked.query, tag="0x" + "00" * 32, timeout_s=REPLAY_TIMEOUT_S)
            found = sha256(answer.body)
        except CallFailed:
            found = None
    signature = services.signer.sign(verdict_payload(asked, found))
    return ReplayVerdict(response_hash=found, signature="0x" + signature.hex())


def _price(operation: Operation, tao_usd: Decimal) -> int | None:
    """What a repetition costs at most; None for a call that no audit repeats: inexact, unsafe, sensitive or dear."""
    exact = operation.determinism == "exact" and operation.safe_to_retry and not operation.sensitive
    worst = operation.price.worst_rao(tao_usd=tao_usd) if exact and operation.price is not None else None
    return worst if worst is not None and worst <= REPLAY_BUDGET_RAO else None


def verdict_payload(asked: ReplayRequest, response_hash: str | None) -> bytes:
    """What a validator signs about a replay."""
    body: dict[str, Any] = asked.model_dump(mode="json")
    return canonical({"domain": "orchestra-replay/1", "request": body, "response_hash": response_hash})
