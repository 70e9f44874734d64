"""Under which name an address is limited, by whoever limits addresses."""

from __future__ import annotations

import ipaddress


def peer_key(host: str | None) -> str:
    """The key under which an address is limited: an IPv6 host by its /64, since one machine owns all of that."""
    if host is None or ":" not in host:
        return host or "unknown"
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False).network_address)
