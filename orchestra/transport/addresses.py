"""Which addresses may be called, decided on the address that is connected to and not on a name.

A URL comes from a Ledger entry or from a miner's axon: from a stranger. A name is resolved once, every address it has
is judged, and the connection goes to a judged address, so a name that resolves differently the second time
(rebinding) gains nothing. Loopback is for the local network only, and only when asked for.
"""

from __future__ import annotations

import ipaddress

import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from orchestra.transport.errors import AddressRefused

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_callable(address: _Address, *, allow_loopback: bool) -> bool:
    """True for public unicast addresses, and for loopback when it is allowed. Embedded IPv4 counts as what it is."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if embedded is None and address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_callable(embedded, allow_loopback=allow_loopback)
    if address.is_loopback:
        return allow_loopback
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_url(url: httpx.URL, *, allow_loopback: bool, allow_plain: bool) -> None:
    """Judge what can be judged before resolving: scheme, credentials, and a host that is an address.

    Plain HTTP is for peers that sign (`allow_plain`) and for loopback.

    Raises:
        AddressRefused: it may not be called.
    """
    host = url.raw_host.decode("ascii")
    if url.scheme not in ("http", "https") or not host:
        raise AddressRefused("only http and https URLs with a host are called")
    if url.userinfo:
        raise AddressRefused("a URL with credentials in it is not called: name a secret instead")
    address = _literal(host)
    if address is not None and not is_callable(address, allow_loopback=allow_loopback):
        raise AddressRefused(f"{host} is not a public address")
    local = host == "localhost" if address is None else address.is_loopback
    if url.scheme == "http" and not allow_plain and not (allow_loopback and local):
        raise AddressRefused("plain HTTP is only for loopback: use https")


def _literal(host: str) -> _Address | None:
    """The address that `host` spells, None for a name. A spelling that only some resolvers read as one is refused."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        if ":" in host or last.isdigit() or last.startswith("0x"):
            raise AddressRefused("the host is not an address in its usual spelling") from None
        return None


class CheckedResolver(AbstractResolver):
    """Resolves a name once and returns only what may be called; the connector connects to exactly these addresses."""

    def __init__(self, *, allow_loopback: bool, inner: AbstractResolver | None = None) -> None:
        self._allow_loopback = allow_loopback
        self._inner = inner or DefaultResolver()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Raises `AddressRefused` when the name has any address that may not be called: a mixed answer is an attack."""
        found = await self._inner.resolve(host, port, family)  # pyright: ignore[reportArgumentType]
        for result in found:
            address = ipaddress.ip_address(result["host"].partition("%")[0])
            if not is_callable(address, allow_loopback=self._allow_loopback):
                raise AddressRefused(f"{host} resolves to an address that is not public")
        return found

    async def close(self) -> None:
        await self._inner.close()
