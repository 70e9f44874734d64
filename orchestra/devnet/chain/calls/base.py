"""The frame every call stands in: argument types, who signed, which block, and the events it leaves.

Arguments are checked against their declared types before the extrinsic enters the pool, exactly where the real node
refuses bytes that do not decode; the functions below then only ever see well-typed values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from orchestra.devnet.chain.address import is_address
from orchestra.devnet.chain.errors import CALL, PoolError
from orchestra.devnet.chain.state import State

Decoder: TypeAlias = Callable[[Any], Any]


class BadArgument(ValueError):
    """An argument is not of its declared type."""


@dataclass
class Context:
    """One dispatch: `signer` (SS58), the block being built, the state, and the events so far."""

    state: State
    block: int
    signer: str
    events: list[tuple[str, str, Any]] = field(default_factory=list[tuple[str, str, Any]])

    def emit(self, module: str, event: str, attributes: Any) -> None:
        self.events.append((module, event, attributes))


@dataclass(frozen=True)
class CallSpec:
    run: Callable[..., None]
    arguments: dict[str, Decoder]


CALLS: dict[tuple[str, str], CallSpec] = {}


def call(module: str, name: str, /, **arguments: Decoder) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as `module.name`; keyword arguments give its parameters' types in call order."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        CALLS[module, name] = CallSpec(run, arguments)
        return run

    return register


def parse_call(module: str, function: str, params: dict[str, Any]) -> tuple[Callable[..., None], dict[str, Any]]:
    """The function to run and its checked arguments. Raises PoolError."""
    spec = CALLS.get((module, function))
    if spec is None:
        raise PoolError(f"{CALL}: the local chain has no {module}.{function}")
    if params.keys() != spec.arguments.keys():
        raise PoolError(f"{CALL}: {module}.{function} takes {', '.join(spec.arguments)}; got {', '.join(params)}")
    values: dict[str, Any] = {}
    for name, decode in spec.arguments.items():
        try:
            values[name] = decode(params[name])
        except BadArgument as error:
            raise PoolError(f"{CALL}: {module}.{function}: {name} {error}") from None
    return spec.run, values


# Argument types -------------------------------------------------------------------------------------------------------


def uint(bits: int) -> Decoder:
    def decode(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**bits:
            raise BadArgument(f"must be an integer of {bits} bits")
        return value

    return decode


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadArgument("must be true or false")
    return value


def account(value: Any) -> str:
    """An SS58 address, bare or as the MultiAddress variant `{"Id": address}`."""
    if isinstance(value, dict) and cast(dict[str, Any], value).keys() == {"Id"}:
        value = cast(dict[str, Any], value)["Id"]
    if not isinstance(value, str) or not is_address(value):
        raise BadArgument("must be an SS58 address")
    return value


def blob(limit: int) -> Decoder:
    """Bytes, written as `0x` hex or as plain text, at most `limit`; decoded to bytes."""

    def decode(value: Any) -> bytes:
        if not isinstance(value, str):
            raise BadArgument("must be bytes as 0x hex")
        try:
            raw = bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
        except ValueError:
            raise BadArgument("must be bytes as 0x hex") from None
        if len(raw) > limit:
            raise BadArgument(f"must have at most {limit} bytes")
        return raw

    return decode


def listing(inner: Decoder, limit: int) -> Decoder:
    def decode(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(cast(list[Any], value)) > limit:
            raise BadArgument(f"must be a list of at most {limit}")
        return [inner(part) for part in cast(list[Any], value)]

    return decode


def optional(inner: Decoder) -> Decoder:
    return lambda value: None if value is None else inner(value)


def fixed_bits(value: Any) -> dict[str, int]:
    """A U64F64, as `{"bits": raw}`."""
    if not isinstance(value, dict) or cast(dict[str, Any], value).keys() != {"bits"}:
        raise BadArgument('must be {"bits": integer}')
    return {"bits": uint(128)(cast(dict[str, Any], value)["bits"])}


U8, U16, U32, U64, U128 = uint(8), uint(16), uint(32), uint(64), uint(128)
