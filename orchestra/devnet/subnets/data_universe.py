"""SN13 on this machine: `OnDemandData` over a collection of posts, in Connect's JSON, billed by row.

Requests that name no dates get the collection's last day, because the service's default is the last 24 hours and the
collection's present stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from ledger.canonical import StrictJSONError, parse_strict
from orchestra.devnet.content.posts import COLLECTED_AT, Post
from orchestra.devnet.subnets.faults import Faults
from orchestra.devnet.subnets.keys import Keys, Standing, bearer, fingerprint
from orchestra.transport import Refused
from orchestra.transport.receive import read_bounded

MAX_BODY = 64 << 10
ROW_USD = Decimal("0.00005")
"""Devnet's own figure: none is published."""
_MESSAGES = {400: "Invalid request", 401: "Unauthorized", 402: "Insufficient credits", 429: "Too many requests"}


class Query(BaseModel):
    """The request as documented; unknown members are refused, as Connect does."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(pattern=r"^(X|Reddit|REDDIT|YouTube)$")
    usernames: list[str] = Field(default_factory=list, max_length=5)
    keywords: list[str] = Field(default_factory=list, max_length=5)
    start_date: datetime = COLLECTED_AT - timedelta(days=1)
    end_date: datetime = COLLECTED_AT
    limit: int = Field(default=100, ge=1, le=1000)
    keyword_mode: str = Field(default="all", pattern=r"^(any|all)$")
    url: str | None = None

    @model_validator(mode="after")
    def _one_mode(self) -> Query:
        if self.url is not None and (self.usernames or self.keywords):
            raise ValueError("url excludes usernames and keywords")
        if self.start_date.tzinfo is None or self.end_date.tzinfo is None:
            raise ValueError("dates need a zone")
        return self


def error(status: int) -> Response:
    """An error in the service's own words."""
    return JSONResponse({"error": _MESSAGES.get(status, "Internal server error")}, status)


def caller(scope: Scope) -> str:
    """Who calls, for the log."""
    key = bearer(_authorization(scope))
    return fingerprint(key) if key else "anonymous"


def create_app(posts: Sequence[Post], keys: Keys, faults: Faults) -> Starlette:
    """The service over a collection and its customers. Without any key it answers 464 and nothing else."""

    async def on_demand_data(request: Request) -> Response:
        header = _authorization(request.scope)
        if not header:
            return Response(status_code=464)
        key = bearer(header)
        standing = keys.standing(key)
        if standing is not Standing.GOOD:
            return error(401 if standing is Standing.UNKNOWN else 402)
        try:
            query = Query.model_validate(parse_strict(await read_bounded(request.receive, MAX_BODY)))
        except (StrictJSONError, ValidationError, Refused):
            return error(400)
        found = find(posts, query)
        cost = ROW_USD * len(found)
        keys.charge(key, cost)
        rows = [_drifted(row(post)) if faults.control.drifted else row(post) for post in found]
        meta = {"items_returned": len(rows), "cost_usd": float(cost)}
        return JSONResponse({"status": "success", "data": rows, "meta": meta})

    return Starlette(routes=[Route("/sn13.v1.Sn13Service/OnDemandData", on_demand_data, methods=["POST"])])


def find(posts: Sequence[Post], query: Query) -> list[Post]:
    """Posts that match, newest first."""
    wanted = [post for post in posts if _matches(post, query)]
    return sorted(wanted, key=lambda post: (post.at, post.id), reverse=True)[: query.limit]


def _matches(post: Post, query: Query) -> bool:
    if post.source.lower() != query.source.lower():
        return False
    if query.url is not None:
        return post.uri == query.url
    if not query.start_date <= post.at <= query.end_date:
        return False
    if query.usernames and post.user.lower() not in {name.lower().lstrip("@") for name in query.usernames}:
        return False
    said = f"{post.text} {post.label}".lower()
    hits = [keyword.lower() in said for keyword in query.keywords]
    return not hits or (all(hits) if query.keyword_mode == "all" else any(hits))


def row(post: Post) -> dict[str, Any]:
    """A post on the wire: X with `content`, its author and its counts; Reddit with `text`, as the vendor has it."""
    base: dict[str, Any] = {
        "uri": post.uri,
        "datetime": post.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": "X" if post.source == "X" else "REDDIT",
        "label": post.label,
    }
    user = {
        "id": str(4_000_000 + sum(post.user.encode()) * 97),
        "username": post.user,
        "display_name": post.display_name,
        "followers_count": post.followers,
        "verified": False,
    }
    if post.source != "X":
        return {**base, "text": post.text, "media": [], "user": user}
    likes, replies, reposts, views = post.counts
    counts = {"like_count": likes, "reply_count": replies, "retweet_count": reposts, "view_count": views}
    tweet = {
        "id": post.id,
        "hashtags": [post.label],
        "is_quote": False,
        "is_reply": False,
        "is_retweet": False,
        **counts,
    }
    return {**base, "content": post.text, "media": [], "user": user, "tweet": tweet}


def _drifted(item: dict[str, Any]) -> dict[str, Any]:
    """The next schema: one body field, another name for the time, the author flat."""
    kept = {name: value for name, value in item.items() if name not in ("content", "text", "datetime", "user")}
    return {
        **kept,
        "body": item.get("content", item.get("text")),
        "created_at": item["datetime"],
        "author": item["user"]["username"],
    }


def _authorization(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")
