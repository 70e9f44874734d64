"""The Commitments pallet: one slot per hotkey and subnet, overwritten each time, with a space budget per epoch.

`pallets/commitments/src/lib.rs`: at most `MaxFields` (3) fields; each call uses the encoded size of the fields, at
least 100 bytes, of the hotkey's `MaxSpace` for the subnet's current epoch. No drand here, so timelocked fields stay
sealed.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

from orchestra.devnet.chain.calls.base import U16, BadArgument, Context, call, uint
from orchestra.devnet.chain.errors import ensure
from orchestra.devnet.chain.items import Commitments, Subtensor

MAX_FIELDS: Final = 3
MIN_USAGE: Final = 100
MAX_TIMELOCKED: Final = 1024
_RAW = re.compile(r"Raw(\d{1,3})$")
_HASHES: Final = {"BlakeTwo256", "Sha256", "Keccak256", "ShaThree256"}
_UNITS: Final = {"None", "ResetBondsFlag"}
_HEX = re.compile(r"0x([0-9a-fA-F]{2})*$")


def commitment_info(value: Any) -> list[Any]:
    """`{"fields": [...]}` to its list of fields, normalised to what the SDK decodes back (lower-case hex)."""
    info = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    fields = info.get("fields")
    if info.keys() != {"fields"} or not isinstance(fields, list):
        raise BadArgument('must be {"fields": [...]}')
    return [_field(entry) for entry in cast(list[Any], fields)]


def _field(entry: Any) -> Any:
    if isinstance(entry, str) and entry in _UNITS:
        return entry
    if not isinstance(entry, dict) or len(cast(dict[str, Any], entry)) != 1:
        raise BadArgument("holds a field that is not one variant")
    variant, value = next(iter(cast(dict[str, Any], entry).items()))
    if variant == "TimelockEncrypted":
        return {variant: _timelocked(value)}
    raw = _RAW.match(variant)
    if raw and int(raw[1]) <= 128:
        return {variant: _bytes_of(value, int(raw[1]))}
    if variant in _HASHES:
        return {variant: _bytes_of(value, 32)}
    if variant == "TimelockRevealFailed":
        return variant
    raise BadArgument(f"holds an unknown variant {variant}")


def _bytes_of(value: Any, length: int) -> str:
    if not isinstance(value, str) or not _HEX.match(value) or len(value) != 2 + 2 * length:
        raise BadArgument(f"holds a field that is not {length} bytes of 0x hex")
    return value.lower()


def _timelocked(value: Any) -> dict[str, Any]:
    sealed = cast(dict[str, Any], value) if isinstance(value, dict) else {}
    encrypted = sealed.get("encrypted")
    if sealed.keys() != {"encrypted", "reveal_round"} or not isinstance(encrypted, str) or not _HEX.match(encrypted):
        raise BadArgument("holds a malformed TimelockEncrypted field")
    if len(encrypted) > 2 + 2 * MAX_TIMELOCKED:
        raise BadArgument(f"holds more than {MAX_TIMELOCKED} encrypted bytes")
    return {"encrypted": encrypted.lower(), "reveal_round": uint(64)(sealed["reveal_round"])}


def encoded_size(fields: list[Any]) -> int:
    """SCALE size of a CommitmentInfo: a length byte, and per field a variant byte and its content."""
    size = 1
    for entry in fields:
        size += 1
        if isinstance(entry, dict):
            content = next(iter(cast(dict[str, Any], entry).values()))
            text = content if isinstance(content, str) else content["encrypted"]
            size += (len(text) - 2) // 2 + (0 if isinstance(content, str) else 10)
    return size


@call("Commitments", "set_commitment", netuid=U16, info=commitment_info)
def set_commitment(ctx: Context, netuid: int, info: list[Any]) -> None:
    state = ctx.state
    ensure(state.get(Subtensor.Uids, netuid, ctx.signer) is not None, "AccountNotAllowedCommit")
    ensure(len(info) <= MAX_FIELDS, "TooManyFieldsInCommitmentInfo")
    ensure("TimelockRevealFailed" not in info, "TimelockRevealFailedNotAllowed")

    epoch = state.get(Subtensor.SubnetEpochIndex, netuid)
    usage = state.get(Commitments.UsedSpaceOf, netuid, ctx.signer)
    used = usage["used_space"] if usage and usage["last_epoch"] == epoch else 0
    used += max(MIN_USAGE, encoded_size(info))
    ensure(used <= state.get(Commitments.MaxSpace), "SpaceLimitExceeded")

    state.put(Commitments.UsedSpaceOf, netuid, ctx.signer, {"last_epoch": epoch, "used_space": used})
    record = {"deposit": 0, "block": ctx.block, "info": {"fields": info}}
    state.put(Commitments.CommitmentOf, netuid, ctx.signer, record)
    state.put(Commitments.LastCommitment, netuid, ctx.signer, ctx.block)
    ctx.emit("Commitments", "Commitment", {"netuid": netuid, "who": ctx.signer})
