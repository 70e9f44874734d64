"""The routes of those who want to be told: webhooks, what was delivered to them, and dead letters."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from ledger.serving import models
from ledger.serving.pages import dumps
from ledger.serving.problems import (
    ADDRESS_REFUSED,
    BAD_REQUEST,
    KEY_MISSING,
    NO_LETTER,
    TIER_TOO_LOW,
    TOO_MANY_WEBHOOKS,
    Refused,
)
from ledger.serving.reads import JSON, Free, Limit, problems
from ledger.serving.services import Asked
from ledger.webhook_store import Delivery, Webhook

router = APIRouter(prefix="/v1", tags=["webhooks"], responses=problems(KEY_MISSING, TIER_TOO_LOW))

WebhookId = Annotated[str, Path(description="A webhook's id.")]
MessageId = Annotated[str, Path(description="A message's id, as in `webhook-id`.")]


@router.post(
    "/webhooks",
    status_code=201,
    response_model=models.WebhookMade,
    responses=problems(BAD_REQUEST, TIER_TOO_LOW, ADDRESS_REFUSED, TOO_MANY_WEBHOOKS),
)
async def add(here: Free, wanted: models.NewWebhook) -> Response:
    """Be told of changes at an address of yours. The secret in the answer is shown this once."""
    key = _listener(here)
    if why := here.services.sender.refuses(wanted.url):
        raise Refused(ADDRESS_REFUSED, why)
    made = await here.services.webhooks.add(key, wanted.url, wanted.entries, most=here.visit.tier.webhooks)
    if made is None:
        raise Refused(TOO_MANY_WEBHOOKS, f"at most {here.visit.tier.webhooks}")
    secret, webhook = made
    return Response(dumps({**_shown(webhook), "secret": secret}), 201, media_type=JSON)


@router.get("/webhooks", response_model=models.WebhooksPage)
async def listed(here: Free) -> Response:
    """Your webhooks, without their secrets."""
    mine = await here.services.webhooks.of(_listener(here))
    return Response(dumps({"webhooks": [_shown(each) for each in mine]}), media_type=JSON)


@router.get("/deliveries", response_model=models.DeliveriesPage)
async def deliveries(
    here: Free,
    webhook: Annotated[str | None, Query(description="Only to this webhook.")] = None,
    state: Annotated[Literal["pending", "delivered", "dead"] | None, Query(description="`dead`: given up.")] = None,
    limit: Limit = 20,
) -> Response:
    """What was sent to you and how every attempt went, newest first. `state=dead` is the list of dead letters."""
    key = _listener(here)
    found = await here.services.webhooks.deliveries(key, webhook_id=webhook, state=state, limit=limit)
    return Response(dumps({"deliveries": [_delivery(each) for each in found]}), media_type=JSON)


@router.post("/deliveries/{message}/retry", status_code=204, responses=problems(NO_LETTER), response_class=Response)
async def retry(here: Free, message: MessageId) -> Response:
    """Try a dead letter again, now."""
    if not await here.services.webhooks.revive(_listener(here), message):
        raise Refused(NO_LETTER)
    return Response(status_code=204)


@router.delete("/webhooks/{webhook}", status_code=204, response_class=Response)
async def remove(here: Free, webhook: WebhookId) -> Response:
    """Be told no more, if you ever were; what is on its way to this address is forgotten."""
    await here.services.webhooks.remove(_listener(here), webhook)
    return Response(status_code=204)


def _listener(here: Asked) -> str:
    """The id of a key whose tier includes webhooks."""
    key = here.account.id
    if here.visit.tier.webhooks == 0:
        raise Refused(TIER_TOO_LOW, "webhooks come with production")
    return key


def _shown(webhook: Webhook) -> dict[str, Any]:
    return {name: value for name, value in asdict(webhook).items() if name != "key_id"}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return asdict(delivery)
