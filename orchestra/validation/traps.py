"""Schema traps: what tells a miner that keeps its Ledger fresh from one that believes what it was told, or last knew.

Two kinds. A *hint* states an outdated input schema for an operation, and whoever believes it sends an argument that no
version in force has. A *canary* is an operation whose output schema really changes and whose change is committed to the
Ledger: who still holds the old entry reads the answer as broken. Both leave their mark in the pipeline, so both are
judged from evidence.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ledger.view import LedgerView
from orchestra.protocol import Hint, OrchestraResponse

CANARY_CAPABILITY = "time_series"


@dataclass(frozen=True, slots=True)
class Trap:
    """An outdated hint: `stale_argument` is the argument that only the hinted schema of this operation has."""

    entry: str
    operation: str
    stale_argument: str


@dataclass(frozen=True, slots=True)
class TrapVerdict:
    """`passed` None: the pipeline says nothing about it (the operation was not used)."""

    passed: bool | None
    reason: str


def hint_for(dice: random.Random, ledger: LedgerView, *, outdated: bool) -> tuple[Hint | None, Trap | None]:
    """A hint about some operation with arguments: its schema as it is, or with one argument under an earlier name."""
    refs = [
        ref
        for name in sorted(ledger.capabilities)
        for ref in ledger.operations(name)
        if _required(ref.operation.input_schema)
    ]
    if not refs:
        return None, None
    ref = dice.choice(refs)
    schema = ref.operation.input_schema
    note = f"{ref.name} takes these arguments"
    if not outdated:
        return Hint(entry=ref.entry.id, operation=ref.operation.name, note=note, input_schema=schema), None
    argument = dice.choice(_required(schema))
    stale = _stale_name(argument, schema)
    hinted = _renamed(schema, argument, stale)
    hint = Hint(entry=ref.entry.id, operation=ref.operation.name, note=note, input_schema=hinted)
    return hint, Trap(ref.entry.id, ref.operation.name, stale)


def judge_hint(trap: Trap, response: OrchestraResponse) -> TrapVerdict:
    """Did a step send the argument that only the outdated schema has?"""
    name = f"{trap.entry}/{trap.operation}"
    steps = [s for s in response.task_pipeline if (s.entry, s.operation) == (trap.entry, trap.operation)]
    if any(trap.stale_argument in step.query for step in steps):
        return TrapVerdict(False, f"believed an outdated hint: sent {trap.stale_argument!r} to {name}")
    if not steps:
        return TrapVerdict(None, f"did not use {name}")
    return TrapVerdict(True, f"kept to the Ledger's schema of {name}")


def judge_canary(response: OrchestraResponse, theirs: LedgerView | None, ours: LedgerView) -> TrapVerdict:
    """Did the miner answer from the canary's entry that was in force, and read the answer as it is now?

    `theirs` is the Ledger at the version that the response names, None when that version never existed; `ours` the
    version that the challenge names. Whoever has a newer one is not stale.
    """
    canaries = {ref.entry.id for ref in ours.operations(CANARY_CAPABILITY)}
    if theirs is None:
        return TrapVerdict(False, f"names the Ledger version {response.ledger_version}, which does not exist")
    stale = sorted(name for name in canaries if theirs.entry(name) != ours.entry(name))
    if stale and theirs.size < ours.size:
        return TrapVerdict(False, f"answered from an outdated Ledger entry of {', '.join(stale)}")
    steps = [step for step in response.task_pipeline if step.entry in canaries]
    if not steps:
        return TrapVerdict(None, "did not use the canary")
    return TrapVerdict(True, "answered from the canary's current entry")


def _required(schema: Mapping[str, Any]) -> list[str]:
    return sorted(cast("list[str]", schema.get("required", [])))


def _stale_name(argument: str, schema: Mapping[str, Any]) -> str:
    name = f"{argument}_text"
    while name in schema.get("properties", {}):
        name += "_"
    return name


def _renamed(schema: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    properties: dict[str, Any] = {new if key == old else key: value for key, value in schema["properties"].items()}
    return {**schema, "properties": properties, "required": [new if k == old else k for k in _required(schema)]}
