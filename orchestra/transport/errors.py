"""What can go wrong when calling out: few types, each a different thing to do next."""

from __future__ import annotations


class TransportError(Exception):
    """Base class: no usable answer came back."""


class PeerUnreachable(TransportError):
    """No connection, or it broke before the answer was whole: try another peer, or this one later."""


class PeerTimeout(TransportError):
    """The deadline passed. The peer may still have done the work; `seconds` says how long we waited."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no complete answer within {seconds:g} s")
        self.seconds = seconds


class PeerRefused(TransportError):
    """The peer answered with a status other than 2xx; `code` is its problem code, if it named one that we can read.

    `retry_after_s` is what the peer asks us to wait, when it does.
    """

    def __init__(self, status: int, code: str | None, retry_after_s: float | None) -> None:
        super().__init__(f"refused with {status}" + (f" {code}" if code else ""))
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class ResponseTooLarge(TransportError):
    """The answer, before or after decompression, is over `max_bytes`; the connection was dropped."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the answer is over {max_bytes} bytes")
        self.max_bytes = max_bytes


class BadResponse(TransportError):
    """The peer does not speak HTTP as we do: a broken message, an encoding we did not ask for, a broken compression."""


class AddressRefused(TransportError):
    """The URL may not be called: plain HTTP, a private address, credentials in it. Loopback needs `allow_loopback`."""


class RedirectRefused(TransportError):
    """The peer redirects to another origin, too often, or what is not GET or HEAD: call the new URL yourself."""
