"""A small grammar of objectives and target_schemas, and how one challenge is drawn from it.

Everything a challenge says follows from its dice (`orchestra.validation.seeds`), the Ledger version and the issued
block, so that whoever knows the opened secret can draw it again. What the grammar talks about is data (`domains.json`,
or the operator's own file): names that exist in what the subnets of the network know.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ledger.canonical import digest
from ledger.view import LedgerView
from orchestra.protocol import DEFAULT_DEADLINE_MS, Hint, OrchestraSynapse
from orchestra.schema import TargetSchema
from orchestra.validation.traps import Trap, hint_for

HINT_SHARE = 0.4
"""How often a challenge carries a hint; organic ones as often."""

OUTDATED_SHARE = 0.5
"""How many of the hints are outdated: the schema trap."""


class KeyType(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str
    type: str


class Domain(BaseModel):
    """One kind of work: what may be asked about, in which words, and the shapes that answers may be asked in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    canary: bool = False
    share: int = Field(ge=1)
    entities: tuple[str, ...] = Field(min_length=1)
    most_entities: int = Field(ge=1)
    objectives: tuple[str, ...] = Field(min_length=1)
    subjects: tuple[str, ...] = Field(min_length=1)
    lists: tuple[str, ...]
    required: tuple[KeyType, ...]
    optional: tuple[KeyType, ...]
    least_optional: int = Field(ge=0)


_DOMAINS = TypeAdapter(tuple[Domain, ...])


def load_domains(raw: bytes | None = None) -> tuple[Domain, ...]:
    """The grammar's vocabulary: the packaged one, or an operator's JSON.

    Raises:
        pydantic.ValidationError: not a list of domains.
    """
    return _DOMAINS.validate_json(raw or files("orchestra.validation").joinpath("domains.json").read_bytes())


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one miner is asked, and what the validator keeps to itself: why, and which trap is in it."""

    synapse: OrchestraSynapse
    kind: Literal["plain", "hint", "canary"]
    domain: str
    trap: Trap | None = None


def draw(
    dice: random.Random,
    *,
    domains: Sequence[Domain],
    ledger: LedgerView,
    issued_block: int,
    beacon: str,
    max_cost: int,
    deadline_ms: int = DEFAULT_DEADLINE_MS,
) -> Challenge:
    """The next challenge. Same dice, Ledger and block: same challenge, to the byte."""
    playable = [domain for domain in domains if not domain.canary or "time_series" in ledger.capabilities]
    domain = dice.choices(playable, weights=[each.share for each in playable])[0]
    entities = dice.sample(domain.entities, dice.randint(1, domain.most_entities))
    objective = dice.choice(domain.objectives).format(entities=_and(entities), subject=dice.choice(domain.subjects))
    hint, trap = _hint(dice, ledger)
    synapse = OrchestraSynapse(
        challenge_id=_hash(dice),
        objective=objective,
        target_schema=_target(dice, domain, len(entities)),
        deadline_ms=deadline_ms,
        hints=(hint,) if hint else (),
        issued_block=issued_block,
        beacon=beacon,
        max_cost=max_cost,
        ledger_version=ledger.version,
        tag=_hash(dice),
    )
    kind = "canary" if domain.canary else "hint" if trap else "plain"
    return Challenge(synapse, kind, domain.name, trap)


def _hint(dice: random.Random, ledger: LedgerView) -> tuple[Hint | None, Trap | None]:
    if dice.random() >= HINT_SHARE:
        return None, None
    return hint_for(dice, ledger, outdated=dice.random() < OUTDATED_SHARE)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _hash(dice: random.Random) -> str:
    return "0x" + dice.randbytes(32).hex()


def _target(dice: random.Random, domain: Domain, count: int) -> dict[str, Any]:
    """A target_schema; a list of records is asked for with as many records as there are entities."""
    chosen = dice.sample(domain.optional, dice.randint(domain.least_optional, len(domain.optional)))
    record: dict[str, Any] = {each.key: each.type for each in (*domain.required, *chosen)}
    if not domain.lists:
        return record
    name = dice.choice(domain.lists)
    full = TargetSchema.parse({name: [record]}).json_schema
    listed = {**full["properties"][name], "minItems": count}
    return {**full, "properties": {**full["properties"], name: listed}}


def challenge_digest(challenge: Challenge) -> str:
    """What two draws from one secret must agree on."""
    return digest(challenge.synapse.model_dump(mode="json"))
