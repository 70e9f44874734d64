"""Plan + Ledger -> Route: who does which task, who stands behind, and what that may be expected to cost."""

from orchestra.routing.reference import RouteCost, regret, route_cost
from orchestra.routing.reputation import NO_REPUTATION, Estimate, LocalReputation, Reputation
from orchestra.routing.route import Candidate, Limits, Route, RoutedTask
from orchestra.routing.router import route

__all__ = [
    "NO_REPUTATION",
    "Candidate",
    "Estimate",
    "Limits",
    "LocalReputation",
    "Reputation",
    "Route",
    "RouteCost",
    "RoutedTask",
    "regret",
    "route",
    "route_cost",
]
