"""Signed HTTP between neurons (btauth/1), and the bounded client for everything else: the one door to the network.

Receiving: `SignedRequests` is a FastAPI dependency that yields a `SignedCall`; `install_problems` makes every error a
problem document; `serve` runs the app. Sending: `SignedClient` for neurons, `OutboundClient` for everybody else.
"""

from orchestra.transport.app import install_problems
from orchestra.transport.btauth import FreshNonces, request_digest, sign_request, signed_payload
from orchestra.transport.client import SignedClient, SignedResponse
from orchestra.transport.errors import (
    AddressRefused,
    BadResponse,
    PeerRefused,
    PeerTimeout,
    PeerUnreachable,
    RedirectRefused,
    ResponseTooLarge,
    TransportError,
)
from orchestra.transport.limits import Limits
from orchestra.transport.nonces import (
    NonceStore,
    NonceStoreError,
    NonceStoreFailed,
    NonceStoreFull,
    SqliteNonceStore,
)
from orchestra.transport.outbound import OutboundClient, OutboundResponse
from orchestra.transport.policy import AllowedCallers, AnyCaller, CallerPolicy, MetagraphPolicy, Snapshot
from orchestra.transport.problems import PROBLEMS, Problem, Refused, refused_body
from orchestra.transport.receive import BoundedRequests, SignedCall, SignedRequests
from orchestra.transport.serve import Address, ServeError, run, serve, serving
from orchestra.transport.shared_nonces import SharedNonceStore
from orchestra.transport.wire import WireLimits

__all__ = [
    "PROBLEMS",
    "Address",
    "AddressRefused",
    "AllowedCallers",
    "AnyCaller",
    "BadResponse",
    "BoundedRequests",
    "CallerPolicy",
    "FreshNonces",
    "Limits",
    "MetagraphPolicy",
    "NonceStore",
    "NonceStoreError",
    "NonceStoreFailed",
    "NonceStoreFull",
    "OutboundClient",
    "OutboundResponse",
    "PeerRefused",
    "PeerTimeout",
    "PeerUnreachable",
    "Problem",
    "RedirectRefused",
    "Refused",
    "ResponseTooLarge",
    "ServeError",
    "SharedNonceStore",
    "SignedCall",
    "SignedClient",
    "SignedRequests",
    "SignedResponse",
    "Snapshot",
    "SqliteNonceStore",
    "TransportError",
    "WireLimits",
    "install_problems",
    "refused_body",
    "request_digest",
    "run",
    "serve",
    "serving",
    "sign_request",
    "signed_payload",
]
