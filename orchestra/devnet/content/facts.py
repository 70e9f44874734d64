"""The facts behind the pages, typed. Loaded once from the JSON files beside this module."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One published operation; `price` is the sentence that was published, None where no figure was found."""

    name: str
    method: str
    path: str
    capability: str
    price: str | None
    streaming: bool


@dataclass(frozen=True, slots=True)
class Api:
    """How a subnet is called from outside. `auth` is a sentence; None stands for what is not published."""

    base_url: str | None
    auth: str
    docs_url: str | None
    rate_limits: str | None
    billing: str | None
    latency: str | None
    errors: tuple[tuple[int, bool], ...]
    operations: tuple[ApiOperation, ...]


@dataclass(frozen=True, slots=True)
class SubnetFacts:
    """One of the 128 subnets as published on `as_of`."""

    netuid: int
    name: str
    aliases: tuple[str, ...]
    description: str
    capabilities: tuple[str, ...]
    repository: str | None
    website: str | None
    public_api: bool
    notes: str | None
    as_of: date
    api: Api | None

    @property
    def slug(self) -> str:
        """Unique: some names are shared."""
        return f"{self.netuid}-{re.sub(r'[^a-z0-9]+', '-', self.name.lower()).strip('-') or 'subnet'}"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card for rent: USD per GPU and hour on demand, and interruptible where that is sold."""

    name: str
    memory: str
    on_demand: float
    spot: float | None


@dataclass(frozen=True, slots=True)
class Cloud:
    """A GPU cloud. Prices in USD: storage per GB and month, egress per GB; `uptime` in percent."""

    name: str
    host: str
    layout: str
    headquarters: str
    founded: int
    updated: date
    tagline: str
    about: str
    strengths: tuple[str, ...]
    weaknesses: tuple[str, ...]
    gpus: tuple[Gpu, ...]
    billing: str
    minimum_rental: str
    storage_price: float
    egress_price: float
    regions: tuple[str, ...]
    uptime: float
    support: str
    api_base: str
    auth: str


def load_json(name: str) -> Any:
    """A data file of this package."""
    return json.loads(files("orchestra.devnet.content").joinpath(name).read_text(encoding="utf-8"))


@cache
def subnets() -> tuple[SubnetFacts, ...]:
    """The 128 subnets in order of their netuids."""
    return tuple(_subnet(record) for record in load_json("subnets.json"))


@cache
def clouds() -> tuple[Cloud, ...]:
    """The GPU clouds, the three of the demo objective first."""
    return tuple(_cloud(record) for record in load_json("clouds.json"))


def _subnet(record: dict[str, Any]) -> SubnetFacts:
    return SubnetFacts(
        netuid=record["netuid"],
        name=record["name"],
        aliases=tuple(record["aliases"]),
        description=record["description"],
        capabilities=tuple(record["capabilities"]),
        repository=record["repository"],
        website=record["website"],
        public_api=record["public_api"],
        notes=record["notes"],
        as_of=date.fromisoformat(record["as_of"]),
        api=_api(record["api"]) if record["api"] else None,
    )


def _api(record: dict[str, Any]) -> Api:
    return Api(
        base_url=record["base_url"],
        auth=auth_in_words(record["auth"]),
        docs_url=record["docs_url"],
        rate_limits=record["rate_limits"],
        billing=record["billing"],
        latency=record["latency"],
        errors=tuple((error["status"], error["retryable"]) for error in record["errors"]),
        operations=tuple(ApiOperation(**operation) for operation in record["operations"]),
    )


def _cloud(record: dict[str, Any]) -> Cloud:
    fields: dict[str, Any] = {
        **record,
        **{name: tuple(record[name]) for name in ("strengths", "weaknesses", "regions")},
        "gpus": tuple(Gpu(*row) for row in record["gpus"]),
        "updated": date.fromisoformat(record["updated"]),
    }
    return Cloud(**fields)


def auth_in_words(auth: dict[str, str]) -> str:
    """What a developer has to do, as a person would write it."""
    kind, header, shape = auth["kind"], auth.get("header", "Authorization"), auth.get("format", "<key>")
    sentence = {
        "none": "No key is needed.",
        "bearer": f"Bearer token in the {header} header: {shape}.",
        "optional_bearer": f"Bearer token in the {header} header, optional: {shape}.",
        "api_key_raw": f"API key in the {header} header: {shape}.",
        "api_key_scheme": f"API key in the {header} header, written as {shape}.",
        "api_key_header": f"API key in the {header} header" + (f", of the form {shape}." if "format" in auth else "."),
        "aws_sigv4": f"AWS Signature Version 4 in the {header} header: {shape}.",
        "wallet_signature": f"Wallet signature. {shape}.",
    }[kind]
    obtain = f" Keys come from {auth['obtain']}." if auth.get("obtain") else ""
    other = f" Or {auth['alternative']}." if auth.get("alternative") else ""
    return sentence + obtain + other
