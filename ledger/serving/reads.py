"""The routes that read the Ledger. Each finds its page; who may ask, how often, and what is counted is the door's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import AfterValidator

from ledger.search_query import Input, Limits
from ledger.serving import models
from ledger.serving.edition import Change
from ledger.serving.exports import export_csv, export_json
from ledger.serving.pages import MOST_LISTED, basic_operation, dumps
from ledger.serving.problems import (
    NO_CHECKPOINT,
    NO_OPERATION,
    NO_SNAPSHOT,
    NO_SUBNET,
    TIER_TOO_LOW,
    UNKNOWN_VERSION,
    Problem,
    Refused,
)
from ledger.serving.services import Asked, asked, looked_up
from ledger.serving.tiers import TIERS, Tier

JSON = "application/json"
NOTE = "text/plain; charset=utf-8"
CSV = "text/csv; charset=utf-8"

router = APIRouter(prefix="/v1")
_SLUG = r"^[a-z0-9][a-z0-9_-]{0,63}$"

Free: TypeAlias = Annotated[Asked, Depends(asked)]
Lookup: TypeAlias = Annotated[Asked, Depends(looked_up)]
SubnetId: TypeAlias = Annotated[str, Path(pattern=_SLUG, description="An entry's id.")]
OperationName: TypeAlias = Annotated[str, Path(pattern=_SLUG, description="An operation's name within its entry.")]
After: TypeAlias = Annotated[str, Query(description="The `next` of the page before.")]
Capability: TypeAlias = Annotated[str | None, Query(description="Only what serves this capability.")]
Limit: TypeAlias = Annotated[
    int,
    Query(description=f"Most lines to answer with, up to {MOST_LISTED}."),
    AfterValidator(lambda given: min(max(given, 1), MOST_LISTED)),
]


async def limits(
    max_cost_tao: Annotated[
        str, Query(pattern=r"^([0-9]{1,9}(\.[0-9]{1,18})?)?$", description="A call costs at most this much TAO.")
    ] = "",
    max_latency_ms: Annotated[int | None, Query(description="A call takes at most this long.")] = None,
    takes: Annotated[list[Input] | None, Query(description="Kinds of input it must take.")] = None,
    keyless: Annotated[bool, Query(description="Works without a key.")] = False,
) -> Limits:
    """What an operation must keep. Of one about which it is not known, the answer says so."""
    cost: tuple[Decimal, Literal["TAO", "USD"]] | None = (Decimal(max_cost_tao), "TAO") if max_cost_tao else None
    return Limits(cost, max_latency_ms, frozenset(takes or ()), keyless)


Asking: TypeAlias = Annotated[Limits, Depends(limits)]


def problems(*several: Problem) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its documentation."""
    found: dict[int | str, dict[str, Any]] = {}
    for each in several:
        known = found.setdefault(each.status, {"model": models.ProblemPage, "description": ""})
        known["description"] = " ".join(filter(None, (known["description"], f"`{each.code}`: {each.title}")))
    return found


@router.get("/health", response_model=models.Health, tags=["server"])
async def health(here: Free) -> Response:
    """Whether this server answers, and with which version."""
    return _json(here.pages.page(status=b'"ok"'))


@router.get("/tiers", response_model=models.Tiers, tags=["server"])
async def tiers(here: Free) -> Response:
    """What each tier may do."""
    return _json(dumps({"tiers": [shown(tier) for tier in TIERS.values()]}))


@router.get("/account", response_model=models.AccountPage, tags=["server"], responses=problems())
async def account(here: Free) -> Response:
    """Whose key this is, and what it used."""
    mine = here.account
    usage = {str(month): count for month, count in (await here.services.accounts.usage(mine.id)).items()}
    return _json(dumps({"id": mine.id, "owner": mine.owner, "tier": shown(mine.tier), "usage": usage}))


@router.get("/ledger", response_model=models.LedgerPage, tags=["log"])
async def ledger(here: Free) -> Response:
    """The version in force."""
    return _json(here.pages.ledger())


@router.get("/capabilities", response_model=models.CapabilitiesPage, tags=["find"])
async def capabilities(here: Lookup) -> Response:
    """The vocabulary of what subnets can do, and how many operations serve each."""
    return _json(here.pages.capabilities())


@router.get("/subnets", response_model=models.SubnetsPage, tags=["find"])
async def subnets(
    here: Lookup,
    capability: Capability = None,
    status: Annotated[Literal["active", "degraded", "deprecated"] | None, Query()] = None,
    after: After = "",
    limit: Limit = 20,
) -> Response:
    """Entries by id."""
    page = here.pages.subnets(here.full, capability=capability, status=status, after=after, limit=limit)
    return _json(page)


@router.get("/subnets/{subnet}", response_model=models.SubnetPage, tags=["find"], responses=problems(NO_SUBNET))
async def subnet(here: Lookup, subnet: SubnetId) -> Response:
    """One entry as it is now, with the proof that the log holds it."""
    page = here.pages.subnet(subnet, here.full)
    if page is None:
        raise Refused(NO_SUBNET)
    return _json(page)


@router.get(
    "/subnets/{subnet}/operations/{operation}",
    response_model=models.OperationPage,
    tags=["find"],
    responses=problems(NO_SUBNET, NO_OPERATION),
)
async def operation(here: Lookup, subnet: SubnetId, operation: OperationName) -> Response:
    """One operation: how it is called, and with the larger tiers its schemas."""
    entry = here.pages.edition.entries.get(subnet)
    if entry is None:
        raise Refused(NO_SUBNET)
    found = entry.operation(operation)
    if found is None:
        raise Refused(NO_OPERATION)
    body = (found if here.full else basic_operation(found)).model_dump_json().encode()
    return _json(here.pages.page(subnet=dumps(subnet), operation=body))


@router.get("/subnets/{subnet}/history", response_model=models.HistoryPage, tags=["log"], responses=problems(NO_SUBNET))
async def history(
    here: Lookup,
    subnet: SubnetId,
    since: Annotated[int, Query(description="The `next` of the page before.")] = 0,
    limit: Limit = 20,
) -> Response:
    """Every change of one entry, oldest first; what it said then with the larger tiers."""
    changes = here.pages.edition.history(subnet)
    if not changes:
        raise Refused(NO_SUBNET)
    return await _changes(here, [each for each in changes if each.index >= since], limit)


@router.get(
    "/subnets/{subnet}/proof",
    response_model=models.Proof,
    tags=["log"],
    responses=problems(NO_SUBNET, UNKNOWN_VERSION),
)
async def proof(
    here: Lookup,
    subnet: SubnetId,
    size: Annotated[int | None, Query(description="Within so many leaves; if not said, the checkpoint's.")] = None,
) -> Response:
    """That the log holds what this entry says now (RFC 9162)."""
    edition = here.pages.edition
    changes = edition.history(subnet)
    if not changes:
        raise Refused(NO_SUBNET)
    within = here.pages.vouched(changes[-1].index) if size is None else size
    if not changes[-1].index < within <= edition.size:
        raise Refused(UNKNOWN_VERSION, f"from {changes[-1].index + 1} to {edition.size} leaves")
    return _json(dumps(here.pages.proof(changes[-1].index, within)))


@router.get("/operations", response_model=models.OperationsPage, tags=["find"])
async def operations(
    here: Lookup, asking: Asking, capability: Capability = None, after: After = "", limit: Limit = 20
) -> Response:
    """Operations by capability and limits, in order of their names."""
    pages, tao_usd = here.pages, here.services.tao_usd
    return _json(await asyncio.to_thread(pages.operations, capability, asking, after, limit, tao_usd))


@router.get("/search", response_model=models.SearchPage, tags=["find"])
async def search(
    here: Lookup,
    q: Annotated[str, Query(description="What is to be done, in plain words, limits included.")],
    limit: Limit = 10,
) -> Response:
    """Entries for a question in plain words, best first: "transcribe audio, takes a URL, costs under 0.001 TAO"."""
    return _json(await asyncio.to_thread(here.pages.search, q, limit, here.services.tao_usd))


@router.get("/changes", response_model=models.ChangesPage, tags=["log"], responses=problems(UNKNOWN_VERSION))
async def changes(
    here: Lookup,
    since: Annotated[str, Query(pattern=r"^[0-9]{1,16}(:0x[0-9a-f]{64})?$", description="Leaves, or a version.")] = "0",
    limit: Limit = 20,
) -> Response:
    """What changed since a number of leaves, or since a version; the latter is checked to be of this log."""
    edition = here.pages.edition
    size, _, root = since.partition(":")
    if int(size) > edition.size or (root and edition.log.root(int(size)) != root):
        raise Refused(UNKNOWN_VERSION, f"the log has {edition.size} leaves")
    old = int(size)
    path = edition.log.consistency_proof(old, edition.size) if old else ()
    chosen = edition.changes[old : edition.size][: limit + 1]
    return await _changes(here, chosen, limit, since=dumps(old), consistency=dumps(path))


async def _changes(here: Asked, chosen: Sequence[Change], limit: int, **more: bytes) -> Response:
    following = chosen[limit].index if len(chosen) > limit else None
    return _json(await here.pages.changes(chosen[:limit], here.full, next=dumps(following), **more))


@router.get(
    "/checkpoint",
    response_class=Response,
    tags=["log"],
    responses={200: {"content": {"text/plain": {}}}, **problems(NO_CHECKPOINT)},
)
async def checkpoint(here: Free) -> Response:
    """The latest checkpoint that validators signed (C2SP tlog-checkpoint)."""
    note = here.pages.edition.attached.checkpoint
    if note is None:
        raise Refused(NO_CHECKPOINT)
    return Response(note, media_type=NOTE)


@router.get(
    "/snapshot",
    response_class=Response,
    tags=["log"],
    responses={200: {"content": {"application/octet-stream": {}}}, **problems(NO_SNAPSHOT, TIER_TOO_LOW)},
)
async def snapshot(here: Lookup) -> Response:
    """The latest signed snapshot, for `orchestra ledger verify`."""
    if not here.full:
        raise Refused(TIER_TOO_LOW, "a snapshot holds full schemas")
    found = here.pages.edition.attached.snapshot
    if found is None:
        raise Refused(NO_SNAPSHOT)
    return Response(found, media_type="application/octet-stream")


@router.get("/export.json", response_class=Response, tags=["export"], responses={200: {"content": {JSON: {}}}})
async def as_json(here: Lookup) -> Response:
    """All entries as one JSON list; whole ones are a seed for `--ledger.seed`."""
    return _json(await asyncio.to_thread(export_json, here.pages, here.full))


@router.get("/export.csv", response_class=Response, tags=["export"], responses={200: {"content": {"text/csv": {}}}})
async def as_csv(here: Lookup) -> Response:
    """All operations as one table."""
    return Response(await asyncio.to_thread(export_csv, here.pages, here.full), media_type=CSV)


def shown(tier: Tier) -> dict[str, Any]:
    """A tier as the API shows it."""
    return {
        "name": tier.name,
        "requests_per_minute": tier.per_minute,
        "monthly_lookups": tier.monthly,
        "full_schemas": tier.full,
        "webhooks": tier.webhooks,
    }


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON)
