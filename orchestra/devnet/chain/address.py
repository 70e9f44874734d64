"""SS58 addresses without the SDK: the chain process checks them, it never holds a key.

Format: base58(prefix byte, 32-byte public key, 2 checksum bytes of blake2b-512 over "SS58PRE" and what precedes),
https://docs.polkadot.com/polkadot-protocol/parachain-basics/accounts/#address-formats
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

PREFIX: Final = 42
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH: Final = 1 + 32 + 2
_LONGEST: Final = 48


@lru_cache(maxsize=4096)
def is_address(text: str) -> bool:
    """True for a valid SS58 address of the generic Substrate format, which Bittensor uses."""
    if not 40 <= len(text) <= _LONGEST or any(char not in _ALPHABET for char in text):
        return False
    number = 0
    for char in text:
        number = number * 58 + _ALPHABET.index(char)
    if number.bit_length() > 8 * _LENGTH:
        return False
    raw = number.to_bytes(_LENGTH, "big")
    checksum = blake2b(b"SS58PRE" + raw[:-2]).digest()[:2]
    return raw[0] == PREFIX and raw[-2:] == checksum
