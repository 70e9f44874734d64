"""Which operations are worth a look now: probes go where demand, age and past drift say that a surprise is dearest.

Pure arithmetic over what is known of each operation, so that a plan can be explained and repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

DAY_S = 86_400.0
PRIOR_S = 30 * DAY_S
"""Before anything is known, a schema is taken to change once in so long a time."""
LEAST_DEMAND = 0.1
"""Calls a day that count for an operation nobody calls, so that it is looked at some day."""
LOOK_RAO = 1_000
"""What a look costs beside its price: time, traffic, the provider's patience."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """One operation that may be probed now.

    `demand`: calls a day. `age_s`: since the last look, None when there was none. `drifts` changes were seen in
    `watched_s` seconds, from the first look to the last. `cost`: the most one look costs, in rao.
    """

    name: str
    demand: float
    cost: int
    age_s: float | None = None
    drifts: int = 0
    watched_s: float = 0.0


def chance_of_change(prospect: Prospect) -> float:
    """The probability that the schema changed since the last look; 1 when there was none.

    Changes are taken for a Poisson process. Its rate is the mean of the Gamma posterior after `drifts` changes in
    `watched_s` seconds, with a prior of one change in 30 days: (drifts + 1) / (watched_s + 30 days).
    """
    if prospect.age_s is None:
        return 1.0
    rate = (prospect.drifts + 1) / (prospect.watched_s + PRIOR_S)
    return -math.expm1(-rate * max(prospect.age_s, 0.0))


def worth(prospect: Prospect) -> float:
    """Calls a day that a look may save from a wrong schema, for each rao it costs:

    (demand + 0.1) * chance_of_change / (cost + 1,000 rao).
    """
    return (prospect.demand + LEAST_DEMAND) * chance_of_change(prospect) / (prospect.cost + LOOK_RAO)


def plan(prospects: Iterable[Prospect], *, budget: int, most: int) -> list[Prospect]:
    """At most `most` prospects whose costs together stay within `budget` rao, by `worth`, best first.

    Greedy: one that is too dear for what is left is passed over for the next. Names decide between equals.
    """
    chosen: list[Prospect] = []
    left = budget
    for prospect in sorted(prospects, key=lambda each: (-worth(each), each.name)):
        if len(chosen) == most:
            break
        if prospect.cost <= left:
            chosen.append(prospect)
            left -= prospect.cost
    return chosen
