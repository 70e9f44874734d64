"""Keys that this node holds for subnets, each bound to the one origin it may be sent to.

The Ledger names a secret and an endpoint, and strangers propose changes to the Ledger. So the binding is local: an
operation that names a secret from another origin does not get it, whatever the Ledger says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BASE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/[A-Za-z0-9._~/-]*)?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){3}|localhost|\[::1\]")


def origin_of(url: str) -> str | None:
    """`scheme://host[:port]` of a base URL in lower case, default port left out; None for anything that two URL parsers
    could read differently (credentials, backslashes, queries): such a URL is not called.
    """
    match = _BASE_URL.fullmatch(url)
    if match is None:
        return None
    scheme, port = match["scheme"], match["port"]
    shown = f":{int(port)}" if port and port != _DEFAULT_PORTS[scheme] else ""
    return f"{scheme}://{match['host'].lower()}{shown}"


def is_loopback(origin: str) -> bool:
    """Is the origin this machine, as far as can be told without resolving?"""
    match = _BASE_URL.fullmatch(origin)
    return match is not None and _LOOPBACK.fullmatch(match["host"].lower()) is not None


@dataclass(frozen=True, slots=True)
class Secret:
    """A key and the origin it belongs to: HTTPS, or this machine for the local network. Never shown.

    Raises:
        ValueError: the value cannot stand in a header, or the origin is not one.
    """

    value: str = field(repr=False)
    origin: str

    def __post_init__(self) -> None:
        if not (self.value.isascii() and self.value.isprintable() and self.value.strip() == self.value and self.value):
            raise ValueError("a key is printable ASCII without blanks around it")
        origin = origin_of(self.origin.rstrip("/"))
        if origin is None or not (origin.startswith("https://") or is_loopback(origin)):
            raise ValueError(f"{self.origin!r} is not an origin: write https://host (plain http only for this machine)")
        object.__setattr__(self, "origin", origin)
