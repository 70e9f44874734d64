"""What is done about each kind of failure: one table, read by one function, for every subnet and protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestra.protocol import ErrorKind


@dataclass(frozen=True, slots=True)
class Rule:
    """`again`: the same operation may do better next time. `harmless`: the failed call did no work, so repeating it
    needs no `safe_to_retry`. `before_others`: try again here even where an alternative stands ready.
    """

    again: bool
    harmless: bool = False
    before_others: bool = False


RULES: Mapping[ErrorKind, Rule] = MappingProxyType(
    {
        "timeout": Rule(again=True),
        "unreachable": Rule(again=True),
        "throttled": Rule(again=True, harmless=True),
        "fault": Rule(again=True, before_others=True),
        "auth": Rule(again=False),
        "out_of_credit": Rule(again=False),
        "refused": Rule(again=False),
        "schema_mismatch": Rule(again=False),
        "malformed": Rule(again=False),
        "over_budget": Rule(again=False),
        "deadline": Rule(again=False),
        "cancelled": Rule(again=False),
    }
)
"""Every kind not repeated here moves on to the next alternative, then to the task's other way, then gives up."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Hard caps of one run. A retry is a repetition of the same operation; going to an alternative is none.

    `patience` times an operation's p95 (at least `patience_floor_ms`) is how long it is waited for while an alternative
    stands ready; `first_part` of its time is how long while anything may follow it. Backoff doubles from `backoff_ms`
    unless the provider said when. An endpoint that left `silences` calls in a row unanswered is passed over while there
    is an alternative.
    """

    retries_per_run: int = 12
    tries_before_others: int = 2
    tries_of_last: int = 3
    attempts_per_run: int = 192
    calls_per_endpoint: int = 16
    silences: int = 2
    first_part: float = 0.6
    patience: float = 3.0
    patience_floor_ms: int = 1_000
    backoff_ms: int = 100


def wait_before_retry(
    kind: ErrorKind,
    policy: Policy,
    *,
    tries: int,
    safe: bool,
    retryable: bool | None,
    others: bool,
    closed_s: float,
) -> float | None:
    """Seconds to wait before calling the same operation again; None: do not.

    `tries` counts the calls made to it for this task; `safe` is its `safe_to_retry`; `retryable` is the Ledger's word
    on this very error, where it has one; `others` says that an alternative stands ready; the endpoint asked not to be
    called for another `closed_s`.
    """
    rule = RULES[kind]
    again = rule.again if retryable is None else rule.again and retryable
    if not again or not (safe or rule.harmless):
        return None
    if others and (closed_s or not rule.before_others):
        return None
    if tries >= (policy.tries_before_others if others else policy.tries_of_last):
        return None
    backoff = policy.backoff_ms / 1000 * 2 ** (tries - 1)
    return max(backoff, closed_s)
