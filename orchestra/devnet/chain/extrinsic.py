"""An extrinsic of the local chain: a call, who signs it, in which order, and until when.

The real chain signs SCALE bytes, which take the runtime's metadata to build; this one signs canonical JSON of the same
facts under its own domain tag, bound to the genesis hash, so that a signature for one network is worthless on another
(and on any real chain). Both the client (`orchestra.chain.local`) and the chain process use this module, so that there
is one definition of what is signed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, cast

from orchestra.devnet.chain.wire import digest, dumps, pack

DOMAIN: Final = "orchestra-local-extrinsic/1"
MAX_PERIOD: Final = 4096
MAX_BYTES: Final = 64 * 1024
SIGNATURE_HEX: Final = 2 + 2 * 64


class Malformed(ValueError):
    """Not an extrinsic; the message says which part."""


@dataclass(frozen=True)
class Extrinsic:
    """`params` are JSON values by name; `birth` is the block the signer saw, `period` how many blocks it stays valid.

    `signature` is `0x` hex of 64 bytes (sr25519) over `payload`.
    """

    module: str
    function: str
    params: dict[str, Any]
    signer: str
    nonce: int
    birth: int
    period: int
    signature: str

    @cached_property
    def hash(self) -> str:
        """Identifies the extrinsic in pool and chain."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Extrinsic:
        """Parse what a stranger sent. Raises Malformed."""
        if not isinstance(value, dict):
            raise Malformed("an extrinsic is an object")
        fields = cast(dict[str, Any], value)
        expected = {"module": str, "function": str, "params": dict, "signer": str, "nonce": int, "birth": int}
        expected |= {"period": int, "signature": str}
        if fields.keys() != expected.keys():
            raise Malformed(f"an extrinsic has the fields {', '.join(expected)}")
        for name, kind in expected.items():
            if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
                raise Malformed(f"{name} must be of type {kind.__name__}")
        if not (0 <= fields["nonce"] < 2**32 and 0 <= fields["birth"] < 2**32 and 1 <= fields["period"] <= MAX_PERIOD):
            raise Malformed("nonce, birth or period is out of range")
        if len(dumps(fields)) > MAX_BYTES:
            raise Malformed(f"an extrinsic has at most {MAX_BYTES} bytes")
        return cls(**fields)


def payload(
    genesis_hash: str,
    module: str,
    function: str,
    params: dict[str, Any],
    signer: str,
    nonce: int,
    birth: int,
    period: int,
) -> bytes:
    """The exact bytes that `signer` signs."""
    return dumps(
        {
            "domain": DOMAIN,
            "genesis": genesis_hash,
            "call": {"module": module, "function": function, "params": pack(params)},
            "signer": signer,
            "nonce": nonce,
            "birth": birth,
            "period": period,
        }
    ).encode()


def signature_bytes(extrinsic: Extrinsic) -> bytes:
    """The signature's 64 bytes, or b"" when it is not that."""
    text = extrinsic.signature
    if len(text) != SIGNATURE_HEX or not text.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        return b""


def signed_bytes(extrinsic: Extrinsic, genesis_hash: str) -> bytes:
    """The payload that the extrinsic's signature must cover."""
    return payload(
        genesis_hash,
        extrinsic.module,
        extrinsic.function,
        extrinsic.params,
        extrinsic.signer,
        extrinsic.nonce,
        extrinsic.birth,
        extrinsic.period,
    )
