"""From what a validator's probes saw to its verdict, by kind of proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ledger.entry import Metrics
from ledger.governance.rules import Rules
from ledger.proposals import MetricsUpdate, Proposal
from ledger.statements import Answer

Seen: TypeAlias = Literal["holds", "differs", "unable"]
"""What one probe says of the claim: it is as proposed, it is not, or we could not tell (no key, our own failure, a
volatile answer). For a deprecation: the call failed, it succeeded, we could not make it.
"""

LATENCY_TOLERANCE_MS = 50
LATENCY_TOLERANCE_PERCENT = 25
RELIABILITY_TOLERANCE_PERMILLE = 50
DENIED_ABOVE = 2.0
"""Tolerances. From one up to here is an abstention."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One probe. For a metrics update `measured` is what a sample of at least 10 calls showed, and `seen` is ignored
    unless it is `unable`.
    """

    block: int
    seen: Seen
    measured: Metrics | None = None


def verdict_on(proposal: Proposal, observed: Sequence[Observation], rules: Rules) -> Answer | None:
    """The answer, once enough was seen; None while it takes another probe."""
    usable = [each for each in observed if each.seen != "unable"]
    if proposal.kind == "deprecation":
        return _on_deprecation(usable, rules)
    if not usable:
        return "abstain" if len(observed) >= rules.probe_tries else None
    if isinstance(proposal, MetricsUpdate):
        measured = usable[-1].measured
        return "abstain" if measured is None else _on_metrics(proposal.metrics, measured)
    return "confirm" if usable[-1].seen == "holds" else "deny"


def next_probe(proposal: Proposal, observed: Sequence[Observation], first: int, rules: Rules) -> int:
    """At which block the next probe is due. The attempts of a deprecation are spread over a tempo."""
    if not observed:
        return first
    pause = max(1, rules.tempo // rules.attempts) if proposal.kind == "deprecation" else rules.resend
    return observed[-1].block + pause


def _on_deprecation(usable: Sequence[Observation], rules: Rules) -> Answer | None:
    if len(usable) < rules.attempts:
        return None
    succeeded = sum(each.seen == "differs" for each in usable)
    return "confirm" if succeeded * 100 < rules.alive_percent * len(usable) else "deny"


def deviation(claimed: Metrics, measured: Metrics) -> float:
    """By how many tolerances a claim is off what was measured, in the worst of its figures."""
    latencies = ((claimed.latency_ms, measured.latency_ms), (claimed.latency_p95_ms, measured.latency_p95_ms))
    shares = [
        abs(ours - theirs) / max(LATENCY_TOLERANCE_MS, ours * LATENCY_TOLERANCE_PERCENT / 100)
        for theirs, ours in latencies
    ]
    reliability = abs(claimed.reliability_permille - measured.reliability_permille)
    return max(*shares, reliability / RELIABILITY_TOLERANCE_PERMILLE)


def _on_metrics(claimed: Metrics, measured: Metrics) -> Answer:
    worst = deviation(claimed, measured)
    if worst <= 1:
        return "confirm"
    return "deny" if worst > DENIED_ABOVE else "abstain"
