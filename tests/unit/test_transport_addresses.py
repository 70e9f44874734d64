"""Which addresses and URLs may be called."""

from __future__ import annotations

import ipaddress

import httpx
import pytest

from orchestra.transport import AddressRefused
from orchestra.transport.addresses import check_url, is_callable

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
LOOPBACK = ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fc00::1",
    "fe80::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "2002:a00:1::",
    "64:ff9b::a9fe:a9fe",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_callable(ipaddress.ip_address(address), allow_loopback=False)


@pytest.mark.parametrize("address", PRIVATE)
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_private(address: str, allow_loopback: bool) -> None:
    assert not is_callable(ipaddress.ip_address(address), allow_loopback=allow_loopback)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_only_when_asked_for(address: str) -> None:
    assert not is_callable(ipaddress.ip_address(address), allow_loopback=False)
    assert is_callable(ipaddress.ip_address(address), allow_loopback=True)


def allowed(url: str, *, allow_loopback: bool = False, allow_plain: bool = False) -> bool:
    try:
        check_url(httpx.URL(url), allow_loopback=allow_loopback, allow_plain=allow_plain)
    except AddressRefused:
        return False
    return True


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "/path",
        "https://user:secret@example.com/",
        "https://10.0.0.1/",
        "https://[fe80::1]/",
        "https://2130706433/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://1.2.3.4.5/",
    ],
)
def test_urls_that_nobody_calls(url: str) -> None:
    assert not allowed(url, allow_loopback=True, allow_plain=True)


def test_plain_http_is_for_signers_and_for_loopback() -> None:
    assert allowed("https://example.com/")
    assert not allowed("http://example.com/")
    assert not allowed("http://example.com/", allow_loopback=True)
    assert allowed("http://example.com/", allow_plain=True)
    assert allowed("http://93.184.216.34:8091", allow_plain=True)
    assert not allowed("http://127.0.0.1/", allow_plain=True)
    assert allowed("http://127.0.0.1/", allow_loopback=True)
    assert allowed("http://localhost/", allow_loopback=True)
    assert allowed("http://[::1]:80/", allow_loopback=True)
