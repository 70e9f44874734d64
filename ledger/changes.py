"""What the log holds: entries, movements of bonds, and the header of the batch that brought them.

A leaf hashes its kind with its body, so that no body can be read as one of another kind. Everything that governance
needs to know of the past (what was settled, who lost a bond, who the validators were) is in the log and nowhere else:
a node that has the log has the state, and two nodes with one `ledger_version` agree about all of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, model_validator

from ledger.canonical import HASH_PATTERN, canonical, leaf_hash
from ledger.entry import Model, Slug, SubnetEntry
from ledger.types import Hash

Digest = Annotated[str, Field(pattern=HASH_PATTERN)]
Address = Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{40,60}$")]
Digits = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,19})$")]
"""An amount, in rao: a string wherever it is hashed."""
Version = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,11}):0x[0-9a-f]{64}$")]
BlockNumber = Annotated[int, Field(ge=0, lt=2**53)]

MAX_CERTIFICATES = 64
MAX_VALIDATORS = 256

ProposalKind: TypeAlias = Literal["new_subnet", "schema_update", "deprecation", "metrics_update", "owner_change"]

Outcome: TypeAlias = Literal["accepted", "confirmation", "copy", "superseded", "false"]
"""What became of a proposal. `accepted`: it changed the entry, or was anchored before the one that did; `confirmation`:
the same finding, anchored before the first one was revealed; `copy`: anchored later; `superseded`: true, but the entry
had moved on; `false`: denied, which alone costs half the bond.
"""


class Bond(Model):
    """A bond that was put up and settled. A later one for the same `proposal` corrects the earlier.

    `anchor` is the block that fixed the proposal, `revealed` the block by which the committee knew what it says.
    """

    proposal: Digest
    substance: Digest
    about: ProposalKind
    entry: Slug
    proposer: Address
    outcome: Outcome
    anchor: BlockNumber
    revealed: BlockNumber
    at_stake: Digits
    lost: Digits


class StakeOf(Model):
    """One validator as frozen at a window's first block: stake in rao."""

    hotkey: Address
    stake: Digits


class BatchHeader(Model):
    """The first leaf of every batch: what it builds on, by whose word, and who the validators were.

    `beacon` is the hash of `block`, where the window begins; `certificates` are digests, in the order of settling.
    """

    window: BlockNumber
    block: BlockNumber
    beacon: Digest
    leader: Address
    parent: Version
    certificates: tuple[Digest, ...] = Field(min_length=1, max_length=MAX_CERTIFICATES)
    validators: tuple[StakeOf, ...] = Field(min_length=1, max_length=MAX_VALIDATORS)

    @model_validator(mode="after")
    def _validators_are_in_order(self) -> BatchHeader:
        names = [each.hotkey for each in self.validators]
        if names != sorted(set(names)):
            raise ValueError("validators are ordered by hotkey, each once")
        return self


Kind: TypeAlias = Literal["entry", "bond", "batch"]
Change: TypeAlias = SubnetEntry | Bond | BatchHeader

_MODELS: dict[Kind, TypeAdapter[Change]] = {
    "entry": TypeAdapter(SubnetEntry),
    "bond": TypeAdapter(Bond),
    "batch": TypeAdapter(BatchHeader),
}


def kind_of(change: Change) -> Kind:
    if isinstance(change, SubnetEntry):
        return "entry"
    return "bond" if isinstance(change, Bond) else "batch"


def entry_of(change: Change) -> str:
    """The entry that a change is about; empty for the header of a batch."""
    if isinstance(change, SubnetEntry):
        return change.id
    return change.entry if isinstance(change, Bond) else ""


def change_body(change: Change) -> bytes:
    """The canonical JSON of a change, which `read_change` reads."""
    return canonical(change.model_dump(mode="json"))


def change_leaf(change: Change) -> Hash:
    """The log leaf of a change: what is hashed is its kind and all of it."""
    return leaf_hash(canonical({"kind": kind_of(change), "body": change.model_dump(mode="json")}))


def read_change(kind: str, body: Any) -> Change:
    """A change from parsed strict JSON.

    Raises:
        ValueError: no kind that this version knows, or not a body of that kind.
    """
    if kind not in _MODELS:
        raise ValueError(f"a log leaf of unknown kind {kind[:16]!r}: this version is too old for the log")
    return _MODELS[kind].validate_python(body)
