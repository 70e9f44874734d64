"""How an objective becomes a verified, structured result.

The public names are loaded when they are first used, so that a program that needs one does not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestra.client import Client
    from orchestra.orchestrator import Orchestrator
    from orchestra.protocol import OrchestraResponse, OrchestraSynapse, TaskStep

__all__ = ["Client", "OrchestraResponse", "OrchestraSynapse", "Orchestrator", "TaskStep"]

_HOME = {
    "Client": "client",
    "Orchestrator": "orchestrator",
    "OrchestraSynapse": "protocol",
    "OrchestraResponse": "protocol",
    "TaskStep": "protocol",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
