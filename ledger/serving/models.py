"""What the Ledger API answers with and what it takes: the source of its OpenAPI, and what tests check answers by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ledger.entry import Price, Slug, SubnetEntry, Surface
from ledger.serving.tiers import TierName

Version = Annotated[str, Field(pattern=r"^[0-9]+:0x[0-9a-f]{64}$")]
HashText = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
WebhookUrl = Annotated[
    str,
    Field(
        max_length=512,
        pattern=r"^(https://([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}|http://127\.0\.0\.1)"
        r"(:[1-9][0-9]{0,4})?(/[!-~]*)?$",
    ),
]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Health(Model):
    status: Literal["ok"]
    ledger_version: Version


class TierLimits(Model):
    """`monthly_lookups` null: no end. `full_schemas`: whole entries instead of what a subnet is."""

    name: TierName
    requests_per_minute: int
    monthly_lookups: int | None
    full_schemas: bool
    webhooks: int


class Tiers(Model):
    tiers: tuple[TierLimits, ...]


class AccountPage(Model):
    """`usage`: counted lookups by month, as {"202610": 17}."""

    id: str
    owner: str
    tier: TierLimits
    usage: dict[str, int]


class LedgerPage(Model):
    """The version in force. `block`: when it was last changed. `checkpoint` and `snapshot`: whether there is one."""

    ledger_version: Version
    size: int
    root: HashText
    block: int
    subnets: int
    operations: int
    checkpoint: bool
    snapshot: bool


class CapabilityPage(Model):
    name: str
    meaning: str
    operations: int


class CapabilitiesPage(Model):
    ledger_version: Version
    capabilities: tuple[CapabilityPage, ...]


class BasicOperation(Model):
    name: Slug
    capability: Slug
    role: str
    protocol: str


class BasicSubnet(Model):
    """What a subnet is, without how to call it: what every tier sees."""

    id: Slug
    netuid: int
    netuid_since: int
    name: str
    description: str
    capabilities: tuple[Slug, ...]
    status: str
    aliases: tuple[str, ...]
    surfaces: tuple[Surface, ...]
    operations: tuple[BasicOperation, ...]


class ChangeLine(Model):
    """A leaf of the log. `entry` is empty where it is about none."""

    index: int
    kind: str
    entry: str
    block: int
    leaf: HashText


class Proof(Model):
    """RFC 9162 §2.1.3: `leaf` stands at `index` in the tree of `size` leaves with this `root`; nearest sibling first.

    `checkpoint`: the signed note over exactly this tree, where this server holds one.
    """

    index: int
    leaf: HashText
    size: int
    root: HashText
    path: tuple[HashText, ...]
    checkpoint: str | None


class SubnetPage(Model):
    """One entry as it is now. The proof is over the whole entry, so it comes with the tiers that see all of it."""

    ledger_version: Version
    subnet: SubnetEntry | BasicSubnet
    change: ChangeLine
    proof: Proof | None


class SubnetsPage(Model):
    """`next`: pass it as `after` for more; null at the end."""

    ledger_version: Version
    subnets: tuple[SubnetEntry | BasicSubnet, ...]
    next: str | None


class OperationLine(Model):
    """An operation in a list. `why`: what is known of the limits that were asked for."""

    subnet: Slug
    netuid: int
    operation: Slug
    capability: Slug
    price: Price | None
    expected_ms: int
    status: str
    why: tuple[str, ...]


class OperationsPage(Model):
    ledger_version: Version
    operations: tuple[OperationLine, ...]
    next: str | None


class OperationPage(Model):
    ledger_version: Version
    subnet: Slug
    operation: dict[str, Any]


class HitLine(Model):
    """An entry that answers the question, with the operations that do, best first."""

    id: Slug
    netuid: int
    name: str
    description: str
    status: str
    operations: tuple[Slug, ...]
    score: float
    why: tuple[str, ...]


class SearchPage(Model):
    ledger_version: Version
    hits: tuple[HitLine, ...]


class PastChange(ChangeLine):
    """`body`: the whole entry after the change, with the tiers that see all of it."""

    body: SubnetEntry | dict[str, Any] | None


class HistoryPage(Model):
    ledger_version: Version
    changes: tuple[PastChange, ...]
    next: int | None


class ChangesPage(HistoryPage):
    """`next`: pass it as `since` for more; null at the end.

    `consistency`: RFC 9162 §2.1.4, that the log of this version begins with the `since` leaves you have.
    """

    since: int
    consistency: tuple[HashText, ...]


class NewWebhook(Model):
    """`entries`: ids of the entries to be told of; empty for all."""

    url: WebhookUrl = Field(examples=["https://hooks.example.com/ledger"])
    entries: tuple[Slug, ...] = Field(default=(), max_length=100)


class WebhookPage(Model):
    id: str
    url: str
    entries: tuple[str, ...]
    state: Literal["active", "gone"]
    created_ms: int


class WebhookMade(WebhookPage):
    """`secret` is shown this once; it verifies the signatures (standardwebhooks.com)."""

    secret: str


class WebhooksPage(Model):
    webhooks: tuple[WebhookPage, ...]


class AttemptLine(Model):
    """`status` 0: no answer; `error` says why."""

    attempt: int
    at_ms: int
    status: int
    error: str


class DeliveryLine(Model):
    """`next_ms`: when it is tried again, while `pending`."""

    message: str
    webhook: str
    state: Literal["pending", "delivered", "dead"]
    created_ms: int
    next_ms: int
    attempts: tuple[AttemptLine, ...]


class DeliveriesPage(Model):
    deliveries: tuple[DeliveryLine, ...]


class ProblemPage(Model):
    """RFC 9457. `code` is stable; `detail` is about this request."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
