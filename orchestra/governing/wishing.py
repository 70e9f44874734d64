"""From an entry as somebody wants it to the proposals that would make the Ledger say so, each a change that governance
knows (docs/ledger-governance.md), and what cannot be proposed at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter

from ledger.applying import base_of
from ledger.entry import Auth, Operation, SubnetEntry
from ledger.proposals import SCHEMA_PARTS, NewSubnet, OwnerChange, Proposal, consent_payload
from ledger.types import Signer

OWNED = ("endpoint", "auth", "receipt_key")
UNSIGNED = "0x" + "00" * 64

_PROPOSAL: TypeAdapter[Proposal] = TypeAdapter(Proposal)
_NOTHING = "0x" + "00" * 32


def claims_for(known: SubnetEntry | None, wanted: SubnetEntry) -> tuple[list[dict[str, Any]], list[str]]:
    """What to propose (fields of `ledger.proposals`, without proposer, base and salt), and the parts that differ and
    that nobody proposes so: metrics are measured (`orchestra.governing.measuring`), the rest no proposal changes.
    """
    if known is None:
        return [{"kind": "new_subnet", "entry": wanted.id, "body": _unmeasured(wanted)}], []
    claims: list[dict[str, Any]] = []
    left = [name for name in SubnetEntry.model_fields if name not in _PROPOSABLE and _differ(known, wanted, name)]
    if known.netuid != wanted.netuid:
        claims.append({"kind": "owner_change", "entry": wanted.id, "change": {"netuid": wanted.netuid}})
    if known.status != wanted.status:
        if wanted.status == "deprecated":
            claims.append({"kind": "deprecation", "entry": wanted.id})
        else:
            left.append("status")
    for operation in wanted.operations:
        before = known.operation(operation.name)
        if before is None:
            left.append(f"operations/{operation.name} (new)")
            continue
        claims += _operation(wanted.id, before, operation)
        rest = [name for name in Operation.model_fields if name not in (*SCHEMA_PARTS, *OWNED)]
        left += [f"operations/{operation.name}/{name}" for name in rest if _differ(before, operation, name)]
    gone = {each.name for each in known.operations} - {each.name for each in wanted.operations}
    left += [f"operations/{name} (gone)" for name in sorted(gone)]
    return claims, left


def _unmeasured(entry: SubnetEntry) -> dict[str, Any]:
    """Without metrics, which validators measure, of a subnet that is active."""
    plain: dict[str, Any] = {**entry.model_dump(mode="json"), "status": "active"}
    operations: list[dict[str, Any]] = plain["operations"]
    return {**plain, "operations": [{**each, "metrics": None} for each in operations]}


_PROPOSABLE = ("netuid", "netuid_since", "status", "operations")


def _operation(entry: str, before: Operation, after: Operation) -> list[dict[str, Any]]:
    plain = after.model_dump(mode="json")
    found: list[dict[str, Any]] = []
    for kind, names in (("schema_update", SCHEMA_PARTS), ("owner_change", OWNED)):
        changed = {name: plain[name] for name in names if _differ(before, after, name)}
        if changed:
            what = changed if kind == "schema_update" else {"change": changed}
            found.append({"kind": kind, "entry": entry, "operation": after.name, **what})
    return found


def _differ(one: SubnetEntry | Operation, other: SubnetEntry | Operation, name: str) -> bool:
    return getattr(one, name) != getattr(other, name)


def netuids_to_sign(known: SubnetEntry | None, claim: Mapping[str, Any]) -> list[int]:
    """Whose owners have to sign a claim: nobody's for most; both for a move to another netuid."""
    if claim["kind"] == "new_subnet":
        body = SubnetEntry.model_validate(claim["body"])
        paid = any(each.auth != Auth() or each.receipt_key for each in body.operations)
        return [body.netuid] if paid else []
    if claim["kind"] != "owner_change" or known is None:
        return []
    moved = claim["change"].get("netuid")
    return [known.netuid] if moved is None else sorted({known.netuid, moved})


def signed_by_owner(
    claim: Mapping[str, Any], known: SubnetEntry | None, owner: Callable[[int], Signer], *, valid_until: int
) -> dict[str, Any]:
    """The claim with the signature of the coldkey that owns each netuid it concerns (`owner`), good until that block.

    Raises:
        pydantic.ValidationError, ledger.applying.CannotApply: it is no proposal, or not about this entry.
    """
    netuids = netuids_to_sign(known, claim)
    unsigned = [{"owner": owner(n).ss58_address, "netuid": n, "signature": UNSIGNED} for n in netuids]
    filled = {**claim, "valid_until": valid_until, "consents": unsigned}
    stand_in: dict[str, Any] = {"proposer": unsigned[0]["owner"], "salt": _NOTHING}
    if claim["kind"] == "owner_change":
        draft = _PROPOSAL.validate_python({**filled, **stand_in, "base": _NOTHING})
        stand_in["base"] = base_of(known, draft)
    proposal = _PROPOSAL.validate_python({**filled, **stand_in})
    assert isinstance(proposal, NewSubnet | OwnerChange)
    signatures = ["0x" + owner(n).sign(consent_payload(proposal, n)).hex() for n in netuids]
    consents = [{**each, "signature": signature} for each, signature in zip(unsigned, signatures, strict=True)]
    return {**filled, "consents": consents}


def proposal_of(claim: Mapping[str, Any], entry: SubnetEntry | None, *, proposer: str, salt: bytes) -> Proposal:
    """The proposal that somebody makes of a claim, with the digest of what it replaces as the entry has it now.

    Raises:
        pydantic.ValidationError, ledger.applying.CannotApply: it is no proposal, or not about this entry.
    """
    filled: dict[str, Any] = {**claim, "proposer": proposer, "salt": "0x" + salt.hex()}
    if claim["kind"] == "new_subnet":
        return _PROPOSAL.validate_python(filled)
    proposal = _PROPOSAL.validate_python({**filled, "base": _NOTHING})
    return proposal.model_copy(update={"base": base_of(entry, proposal)})
