"""A subnet as the Ledger knows it: precise enough to call, without a line of code of its own.

Code knows wire protocols, the Ledger knows subnets. Two shapes of data meet in an `Operation`: the wire shape, which
`input_schema` and `output_schema` describe and which drift is measured against, and the shape that the operation's
capability promises (`ledger.capabilities`), which planning and synthesis speak. `request` and `response` are JMESPath
expressions from one to the other, so a provider can be exchanged for another within one capability.

What an entry says, who says so and whether anybody checked are three things: a `Claim` names the authority behind a
part of an entry, and the `Verification` of that part, if there was one, stands apart from it. A field that joined the
model later is left out of the canonical form while it holds its default, so entries without it keep their digest.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.canonical import canonical, digest
from ledger.types import Hash

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Amount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,18})?$")]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]


def _unsaid(value: object) -> bool:
    """A later field that holds its default is left out, so that older entries keep their digest."""
    return not value


class Model(BaseModel):
    """Immutable; refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Surface(Model):
    """Something public about a subnet: its site, documentation, repository, health route."""

    kind: Literal["website", "docs", "repository", "openapi", "health", "other"]
    url: str = Field(max_length=512)


class Auth(Model):
    """Which secret goes where. `secret` names a setting; the value never enters the Ledger.

    `format` holds `{key}` where the secret goes: five spellings of the same bearer token are in use. `sigv4` signs as
    Amazon's S3 does, `wallet` in a way of the provider's own that the notes describe. `optional`: works without, too.
    """

    kind: Literal["none", "header", "query", "hotkey", "sigv4", "wallet"] = "none"
    name: str = Field(default="", max_length=64)
    format: str = Field(default="{key}", max_length=128)
    secret: str = Field(default="", pattern=r"^[A-Z0-9_]{0,64}$")
    optional: bool = Field(default=False, exclude_if=_unsaid)


class Endpoint(Model):
    """Where an operation is and how its arguments travel. `{name}` in `path` takes an argument, `arguments` says where
    the others go. No `base_url`: there is no public address, everybody who runs the service has their own.
    """

    base_url: str = Field(max_length=256, pattern=r"^(https?://.+)?$")
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str = Field(max_length=256, pattern=r"^/")
    arguments: Literal["query", "json_body", "multipart", "raw_body", "none"]
    media_type: Literal[
        "application/json",
        "text/plain",
        "text/event-stream",
        "application/octet-stream",
        "application/pdf",
        "application/xml",
        "audio/wav",
        "image/*",
    ] = "application/json"


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
    unit: Literal["call", "item", "token", "hour"] = "call"
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


class Verification(Model):
    """Somebody checked: `at` that day, `by` a hotkey or a name, `how`, and with what `result`."""

    at: Day
    by: str = Field(min_length=1, max_length=128)
    how: Literal["call", "probe", "chain", "source_code", "documents"]
    result: Literal["confirmed", "contradicted", "inconclusive"]


class Claim(Model):
    """Who says so. `about` is a JSON pointer into what holds the claim, `""` all of it; `source` names the statement.

    `authority`: `official` (the provider), `community` (others who use it), `observed` (seen in its answers). That is
    not `verification`: what the provider says may be wrong, and a stranger's word may have been checked.
    """

    about: str = Field(default="", max_length=256, pattern=r"^(/.*)?$")
    authority: Literal["official", "community", "observed"]
    source: str = Field(min_length=1, max_length=256)
    as_of: Day
    verification: Verification | None = None


class Job(Model):
    """How work that an operation starts is followed, by other operations of the same entry.

    `id` finds in the starting answer what `status` and `result` take as `argument`; `done` and `failed` (JMESPath on
    the answer of `status`) are true once it ended. Without `result`, the last answer of `status` holds the outcome.
    """

    status: Slug
    result: Slug | None = None
    id: str = Field(min_length=1, max_length=128)
    argument: str = Field(min_length=1, max_length=64)
    done: str = Field(min_length=1, max_length=512)
    failed: str = Field(min_length=1, max_length=512)
    interval_s: int = Field(ge=1)
    give_up_s: int = Field(ge=1)


Role = Literal["task", "variant", "job", "step", "support"]
"""What one call of an operation is good for. `task`: it gives what the capability promises. `variant`: the same work,
but other arguments or another form than the capability's contract has. `job`: it starts work; `Operation.job`, where
known, says how that is followed. `step`: it goes on with such work. `support`: models, prices, balance, health.
"""


class Operation(Model):
    """One thing a subnet does, as a contract that every call is checked against.

    `expected_ms` is what a call is said to take, `timeout_s` how long it is worth waiting; neither was measured here.
    """

    name: Slug
    capability: Slug
    protocol: Literal["http-json", "openai-chat", "connect-json", "signed-http", "s3"]
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
    role: Role = Field(default="task", exclude_if=lambda role: role == "task")
    job: Job | None = Field(default=None, exclude_if=_unsaid)
    expected_ms: int = Field(default=0, ge=0, exclude_if=_unsaid)
    timeout_s: int = Field(default=0, ge=0, exclude_if=_unsaid)
    max_concurrent: int = Field(default=0, ge=0, exclude_if=_unsaid)
    claims: tuple[Claim, ...] = Field(default=(), exclude_if=_unsaid)


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
    aliases: tuple[str, ...] = Field(default=(), exclude_if=_unsaid)
    claims: tuple[Claim, ...] = Field(default=(), exclude_if=_unsaid)

    @model_validator(mode="after")
    def _names_fit_together(self) -> SubnetEntry:
        names = [operation.name for operation in self.operations]
        if len(names) != len(set(names)):
            raise ValueError(f"entry {self.id}: an operation name occurs twice")
        followed = {name for each in self.operations if each.job for name in (each.job.status, each.job.result) if name}
        if unknown := followed.difference(names):
            raise ValueError(f"entry {self.id}: a job names {sorted(unknown)[0]}, which is no operation of it")
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
