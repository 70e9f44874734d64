"""A subnet as the Ledger knows it: precise enough to call, without a line of code of its own.

Code knows wire protocols, the Ledger knows subnets. Two shapes of data meet in an `Operation`: the wire shape, which
`input_schema` and `output_schema` describe and which drift is measured against, and the shape that the operation's
capability promises (`ledger.capabilities`), which planning and synthesis speak. `request` and `response` are JMESPath
expressions from one to the other, so a provider can be exchanged for another within one capability.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.canonical import canonical, digest
from ledger.types import Hash

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Amount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,18})?$")]


class Model(BaseModel):
    """Immutable; refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Surface(Model):
    """Something public about a subnet: its site, documentation, repository, health route."""

    kind: Literal["website", "docs", "repository", "openapi", "health", "other"]
    url: str = Field(max_length=512)


class Auth(Model):
    """Which secret goes where. `secret` names a setting; the value never enters the Ledger.

    `format` holds `{key}` where the secret goes: five spellings of the same bearer token are in use.
    """

    kind: Literal["none", "header", "query", "hotkey"] = "none"
    name: str = Field(default="", max_length=64)
    format: str = Field(default="{key}", max_length=128)
    secret: str = Field(default="", pattern=r"^[A-Z0-9_]{0,64}$")


class Endpoint(Model):
    """Where an operation is and how its arguments travel. `{name}` in `path` takes an argument."""

    base_url: str = Field(max_length=256, pattern=r"^https?://")
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str = Field(max_length=256, pattern=r"^/")
    arguments: Literal["query", "json_body", "none"]
    media_type: Literal["application/json", "text/plain"] = "application/json"


class ErrorRule(Model):
    """What an answer of this status (and, where given, a body that contains this text) means."""

    status: int = Field(ge=100, le=599)
    contains: str = Field(default="", max_length=128)
    means: Literal["throttled", "out_of_credit", "auth", "refused", "fault"]
    retryable: bool


class Price(Model):
    """`amount` of `currency` per `per` units; the worst case of a call is `max_units` of them.

    `reported_in` says where an answer states its real cost: `header:NAME` or `body:JMESPATH`, in `currency`.
    """

    amount: Amount
    currency: Literal["TAO", "USD"]
    unit: Literal["call", "item", "token"] = "call"
    per: int = Field(default=1, ge=1)
    max_units: int = Field(default=1, ge=1)
    reported_in: str = Field(default="", max_length=128)

    def rao(self, units: int, *, tao_usd: Decimal) -> int:
        """What `units` cost, in rao, rounded up. `tao_usd`: dollars for one TAO at the time of the call."""
        return to_rao(Decimal(self.amount) * units / self.per, self.currency, tao_usd=tao_usd)

    def worst_rao(self, *, tao_usd: Decimal) -> int:
        """The most one call costs, in rao: what a budget reserves before sending it."""
        return self.rao(self.max_units, tao_usd=tao_usd)


def to_rao(amount: Decimal, currency: Literal["TAO", "USD"], *, tao_usd: Decimal) -> int:
    """An amount of TAO or USD in rao, rounded up so that a cost is never understated."""
    tao = amount if currency == "TAO" else amount / tao_usd
    return int((tao * 10**9).to_integral_value(rounding="ROUND_CEILING"))


class RateLimit(Model):
    requests: int = Field(ge=1)
    window_s: int = Field(ge=1)


class Metrics(Model):
    """Governed measurements, quantised so that every node hashes the same: milliseconds and parts per thousand."""

    latency_ms: int = Field(ge=0)
    latency_p95_ms: int = Field(ge=0)
    reliability_permille: int = Field(ge=0, le=1000)


class Operation(Model):
    """One thing a subnet does, as a contract that every call is checked against."""

    name: Slug
    capability: Slug
    protocol: Literal["http-json", "openai-chat", "connect-json", "signed-http"]
    endpoint: Endpoint
    auth: Auth = Auth()
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    request: str = Field(default="", max_length=2048)
    response: str = Field(default="", max_length=2048)
    errors: tuple[ErrorRule, ...] = ()
    price: Price | None = None
    determinism: Literal["exact", "stable", "volatile"]
    stability_s: int = Field(default=0, ge=0)
    safe_to_retry: bool
    receipt_key: str = Field(default="", max_length=64)
    max_batch: int = Field(default=1, ge=1)
    rate_limit: RateLimit | None = None
    cache_ttl_s: int = Field(default=0, ge=0)
    sensitive: bool = False
    metrics: Metrics | None = None
    notes: str = Field(default="", max_length=2048)


class SubnetEntry(Model):
    """What the network agrees on about one provider. Keyed by provider, never by netuid: netuids change hands."""

    id: Slug
    netuid: int = Field(ge=0, le=65535)
    netuid_since: int = Field(default=0, ge=0)
    name: str = Field(min_length=1, max_length=128)
    description: str = Field(max_length=1024)
    capabilities: tuple[Slug, ...]
    status: Literal["active", "degraded", "deprecated"] = "active"
    surfaces: tuple[Surface, ...] = ()
    operations: tuple[Operation, ...] = ()
    notes: str = Field(default="", max_length=4096)

    @model_validator(mode="after")
    def _names_are_unique(self) -> SubnetEntry:
        names = [operation.name for operation in self.operations]
        if len(names) != len(set(names)):
            raise ValueError(f"entry {self.id}: an operation name occurs twice")
        return self

    @property
    def subnet(self) -> str:
        """How a `TaskStep` names it: `SN22`."""
        return f"SN{self.netuid}"

    def operation(self, name: str) -> Operation | None:
        return next((operation for operation in self.operations if operation.name == name), None)

    def canonical(self) -> bytes:
        """The bytes that are the entry's log leaf."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> Hash:
        return digest(self.model_dump(mode="json"))
