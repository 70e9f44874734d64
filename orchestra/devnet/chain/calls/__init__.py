"""What can be called: one module for each concern, each call under its real name with its arguments' types.

Importing this package fills `CALLS`. A call that the real runtime has and this chain does not is refused at the pool as
"not expected", never silently accepted.
"""

from __future__ import annotations

from orchestra.devnet.chain.calls import admin, balances, commitments, neurons, staking, subnets, weights
from orchestra.devnet.chain.calls.base import CALLS, Context, parse_call

__all__ = [
    "CALLS",
    "Context",
    "admin",
    "balances",
    "commitments",
    "neurons",
    "parse_call",
    "staking",
    "subnets",
    "weights",
]
