"""The scalars that everything else is made of, so that a signature says what a bare int or str would not."""

from __future__ import annotations

from typing import NewType, Protocol, TypeAlias

Hotkey = NewType("Hotkey", str)
"""A hotkey's SS58 address: the key under which everything that belongs to a neuron is stored."""

Netuid = NewType("Netuid", int)
Block = NewType("Block", int)

Rao = NewType("Rao", int)
"""10^-9 TAO (or alpha). Always an int inside; a string of digits wherever it is hashed or sent."""

Hash = NewType("Hash", str)
"""`0x` and 64 lower-case hex digits."""

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

RAO_PER_TAO = 10**9


class Signer(Protocol):
    """Signs with one hotkey. A bittensor `Keypair` satisfies it."""

    @property
    def ss58_address(self) -> str: ...

    def sign(self, data: bytes, /) -> bytes: ...


class Verify(Protocol):
    """True when `signature` over `data` is by `hotkey`; False for anything else, never an exception."""

    def __call__(self, hotkey: str, data: bytes, signature: bytes, /) -> bool: ...
