"""What the owner of the Orchestra subnet wants the chain to say, and the calls that are missing until it does.

Every function compares the wish with the chain and returns only what is left to do, as plain calls: running a command
twice sends nothing the second time, and a dry run shows the very calls that a real one would send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestra.chain import calls
from orchestra.chain.calls import SETTERS, UID_BUDGET, Call
from orchestra.chain.errors import ChainError
from orchestra.chain.facade import Chain

Value = int | bool


class Rule(NamedTuple):
    """What one hyperparameter should be, and why, in one line."""

    value: Value
    why: str


PUBLIC: Mapping[str, Rule] = {
    "tempo": Rule(360, "the shortest epoch an owner may choose: a score reaches the weights within 72 minutes"),
    "immunity_period": Rule(7200, "a day, about 100 challenges, before a newcomer can lose its place"),
    "min_allowed_weights": Rule(1, "one honest miner among forgers must be able to get all the weight"),
    "serving_rate_limit": Rule(50, "a neuron that moved is found again after ten minutes"),
    "max_allowed_uids": Rule(128, "uids x mechanisms may not exceed 256: this leaves room for two mechanisms"),
    "commit_reveal_weights_enabled": Rule(True, "weights stay sealed for an epoch: copying them is worth nothing"),
    "commit_reveal_period": Rule(1, "one epoch of secrecy is enough; more only delays what miners earn"),
}
"""The rules on test and finney."""

LOCAL: Mapping[str, Rule] = {
    **PUBLIC,
    "tempo": Rule(10, "an epoch every ten blocks: a demo shows incentive within a minute"),
    "immunity_period": Rule(100, "ten epochs, in proportion to the tempo"),
    "serving_rate_limit": Rule(5, "half an epoch, in proportion to the tempo"),
    "commit_reveal_weights_enabled": Rule(
        False, "sealed weights are opened by drand, which a local chain cannot reach"
    ),
}
"""The rules on a chain of this machine."""

PROFILES: Mapping[str, Mapping[str, Rule]] = {"public": PUBLIC, "local": LOCAL}

IDENTITY: Mapping[str, str] = {
    "subnet_name": "Orchestra",
    "description": "The subnet that uses the others: one objective in, one verified structured result out.",
}


async def activation(chain: Chain, netuid: int) -> list[Call]:
    """The start_call, unless the subnet runs already. Raises SubnetMissing."""
    await chain.require_subnet(netuid)
    started = await chain.subnet_state(netuid, "FirstEmissionBlockNumber")
    return [] if started is not None else [calls.start_call(netuid)]


async def configuration(chain: Chain, netuid: int, wanted: Mapping[str, Value]) -> list[Call]:
    """One call for every hyperparameter whose value differs, in the order of `wanted`. Raises SubnetMissing."""
    await chain.require_subnet(netuid)
    current = await hyperparameters(chain, netuid, wanted)
    return [calls.set_hyperparameter(netuid, name, value) for name, value in wanted.items() if current[name] != value]


async def hyperparameters(chain: Chain, netuid: int, names: Sequence[str] | Mapping[str, Any]) -> dict[str, Value]:
    """The current values of owner-settable hyperparameters by name, each of the type it is set with."""
    values = {name: await chain.subnet_state(netuid, SETTERS[name].item) for name in names}
    return {name: value if isinstance(value, bool) else int(value) for name, value in values.items()}


async def mechanisms(chain: Chain, netuid: int, percent: Sequence[int]) -> list[Call]:
    """What it takes to split the emission by `percent` between that many mechanisms; `[100]` goes back to one.

    Room for the uids comes first, because the chain refuses more than 256 uids x mechanisms; the count comes before the
    split, because a new count resets it.
    """
    rules = await chain.hyperparameters(netuid)
    count, todo = len(percent), list[Call]()
    if rules.max_uids * count > UID_BUDGET:
        todo.append(calls.set_hyperparameter(netuid, "max_allowed_uids", UID_BUDGET // count))
    if rules.mechanism_count != count:
        todo.append(calls.set_mechanism_count(netuid, count))
    if count > 1 and rules.mechanism_split != calls.split_u16(percent):
        todo.append(calls.set_mechanism_split(netuid, percent))
    return todo


async def identity(chain: Chain, netuid: int, wanted: Mapping[str, str]) -> list[Call]:
    """The call that publishes who the subnet is, unless the chain says exactly that."""
    await chain.require_subnet(netuid)
    call = calls.set_identity(netuid, wanted)
    current = await chain.subnet_state(netuid, "SubnetIdentitiesV3") or {}
    fields = {name: value.decode() for name, value in call.args.items() if isinstance(value, bytes)}
    return [] if all(text(current.get(name)) == value for name, value in fields.items()) else [call]


def text(value: Any) -> str:
    """Text out of what the SDK decodes a byte string to: a str, 0x hex, or bytes."""
    if isinstance(value, str) and value.startswith("0x"):
        value = bytes.fromhex(value[2:])
    if isinstance(value, list | tuple):
        value = bytes(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def settings(pairs: Sequence[str]) -> dict[str, Value]:
    """`["tempo=720", "commit_reveal_weights_enabled=false"]` as values. Raises ChainError naming what is allowed."""
    return dict(_setting(pair) for pair in pairs)


def _setting(pair: str) -> tuple[str, Value]:
    name, _, value = pair.partition("=")
    if name in PUBLIC:
        if isinstance(PUBLIC[name].value, bool):
            if value in {"true", "false"}:
                return name, value == "true"
        elif value.isascii() and value.isdecimal():
            return name, int(value)
    raise ChainError(f"Cannot set {pair!r}: pass --set NAME=NUMBER or NAME=true|false, NAME one of {', '.join(PUBLIC)}")


def shares(split: str) -> list[int]:
    """`"60/40"` as percentages; `"100"` means one mechanism. Raises ChainError."""
    try:
        percent = [int(part) for part in split.split("/")]
        if percent != [100]:
            calls.split_u16(percent)
    except ValueError as error:
        raise ChainError(f"Cannot split by {split!r} ({error}): pass --split 60/40, or --split 100") from error
    return percent
