"""The two ways the chain says no, as on the real one: before inclusion (pool) and after (dispatch).

The names are the runtime's own, so that the SDK maps them to the same `ErrorCode`, description and remediation that an
operator sees on finney. A pool refusal leaves no trace on chain; a dispatch failure is included, pays its fee and uses
up its nonce.
"""

from __future__ import annotations


class DispatchError(Exception):
    """The call was included and failed; everything it wrote is undone. `name` is the runtime's error name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class PoolError(Exception):
    """The extrinsic never enters a block. `message` is the text a Substrate node answers, from which the SDK reads the
    name.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


STALE = "Invalid Transaction: Transaction is outdated"
FUTURE = "Invalid Transaction: Transaction will be valid in the future"
BAD_PROOF = "Invalid Transaction: Transaction has a bad signature"
PAYMENT = "Invalid Transaction: Inability to pay some fees (e.g. account balance too low)"
ANCIENT = "Invalid Transaction: Transaction has an ancient birth block"
PRIORITY = "Priority is too low: another extrinsic with this nonce is in the pool"
CALL = "Invalid Transaction: Transaction call is not expected"
POOL_FULL = "Invalid Transaction: Transaction would exhaust the block limits"


def ensure(condition: bool, name: str) -> None:
    """Raise DispatchError(name) unless the condition holds: the runtime's `ensure!`."""
    if not condition:
        raise DispatchError(name)
