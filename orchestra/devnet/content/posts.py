"""A few hundred posts on subnets and GPU clouds, as a social collection holds them: short, dated, each with a fact.

Drawn with one fixed seed from templates over the facts, so the collection is the same everywhere and never ages: its
own present is `COLLECTED_AT`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from orchestra.devnet.content.facts import Cloud, SubnetFacts, clouds, subnets

COLLECTED_AT = datetime(2026, 11, 20, tzinfo=UTC)
"""The end of the collection's last day, and the present for requests that name no dates."""
_DAYS = 36
_SEED = 2026_11_20

_USERS = (
    ("dockwatch", "Dock Watch"),
    ("gpu_ledger", "GPU Ledger"),
    ("tao_daily", "Tao Daily"),
    ("mira_builds", "Mira builds"),
    ("rackspotter", "Rack Spotter"),
    ("northwind_ml", "Northwind ML"),
    ("subnet_reader", "Subnet Reader"),
    ("ines_codes", "Ines"),
    ("quietbatch", "Quiet Batch"),
    ("evalnotes", "Eval Notes"),
    ("tensor_tom", "Tom"),
    ("latency_lena", "Lena"),
)
_ABOUT_SUBNET = (
    "SN{netuid} {name}: {description}",
    "What does {name} (subnet {netuid}) do? {description}",
    "Reading up on {name}, netuid {netuid}. {description}",
)
_ABOUT_API = (
    "{name} has a public API at {base}. {auth}",
    "Called {name} (SN{netuid}) from a script today. Base URL {base}. {auth}",
)
_NO_API = (
    "Looked for a public API on {name} (SN{netuid}) and found none.",
    "{name}, netuid {netuid}: still nothing an outsider can call.",
)
_PRICE = (
    "{cloud} lists the {gpu} at ${price:.2f} an hour on demand.",
    "Paid ${price:.2f}/hr for a {gpu} on {cloud} last night.",
    "{gpu} on {cloud}: ${price:.2f} per hour this week.",
)
_STRENGTH = (
    "What I like about {cloud}: {strength}.",
    "Moved a side project to {cloud}. Reason: {strength}.",
)
_WEAKNESS = ("One thing about {cloud}: {weakness}.", "{cloud} would be my default if it were not for this: {weakness}.")


@dataclass(frozen=True, slots=True)
class Post:
    """One post. `source` is `X` or `Reddit`, `label` a hashtag or subreddit; counts: likes, replies, reposts, views."""

    id: str
    source: str
    uri: str
    text: str
    at: datetime
    label: str
    user: str
    display_name: str
    followers: int
    counts: tuple[int, int, int, int]


@cache
def posts() -> tuple[Post, ...]:
    """All posts, oldest first."""
    draw = random.Random(_SEED)
    written = [_post(draw, index, text, label) for index, (text, label) in enumerate(_texts(draw))]
    return tuple(sorted(written, key=lambda post: (post.at, post.id)))


def _texts(draw: random.Random) -> Iterator[tuple[str, str]]:
    for facts in subnets():
        yield from _on_subnet(draw, facts)
    for cloud in clouds():
        yield from _on_cloud(draw, cloud)


def _on_subnet(draw: random.Random, facts: SubnetFacts) -> Iterator[tuple[str, str]]:
    values = {"name": facts.name, "netuid": facts.netuid, "description": facts.description}
    yield draw.choice(_ABOUT_SUBNET).format(**values), "bittensor"
    if facts.api and facts.api.base_url:
        for template in _ABOUT_API:
            yield template.format(**values, base=facts.api.base_url, auth=facts.api.auth), "bittensor"
    elif not facts.public_api and draw.random() < 0.6:
        yield draw.choice(_NO_API).format(**values), "bittensor"


def _on_cloud(draw: random.Random, cloud: Cloud) -> Iterator[tuple[str, str]]:
    for gpu in cloud.gpus:
        name = gpu.name if gpu.memory in gpu.name else f"{gpu.name} {gpu.memory}"
        yield draw.choice(_PRICE).format(cloud=cloud.name, gpu=name, price=gpu.on_demand), "gpu"
    for strength in cloud.strengths:
        for template in _STRENGTH:
            yield template.format(cloud=cloud.name, strength=strength), "gpu"
    for weakness in cloud.weaknesses:
        yield draw.choice(_WEAKNESS).format(cloud=cloud.name, weakness=weakness), "gpu"


def _post(draw: random.Random, index: int, text: str, topic: str) -> Post:
    source = "Reddit" if draw.random() < 0.3 else "X"
    user, display_name = draw.choice(_USERS)
    at = COLLECTED_AT - timedelta(seconds=draw.randrange(60, _DAYS * 86_400))
    likes = draw.randrange(0, 400)
    post_id = str(1_985_000_000_000_000_000 + index * 7_919_317) if source == "X" else f"1{index:05x}"
    uri = (
        f"https://x.com/{user}/status/{post_id}"
        if source == "X"
        else f"https://www.reddit.com/r/{topic}/comments/{post_id}/"
    )
    return Post(
        id=post_id,
        source=source,
        uri=uri,
        text=text,
        at=at,
        label=f"#{topic}" if source == "X" else f"r/{topic}",
        user=user,
        display_name=display_name,
        followers=draw.randrange(50, 20_000),
        counts=(likes, likes // 12, likes // 6, likes * 41 + draw.randrange(40)),
    )
