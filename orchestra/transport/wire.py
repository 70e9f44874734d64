"""uvicorn's HTTP parser with the limits it lacks: a stranger's connection costs bounded memory for a bounded time.

uvicorn waits forever for headers that never end, for a body nobody reads any more, and for a peer that does not read
its answer. Here each of these has a deadline or a byte limit, after which the connection is dropped without a word.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

_LINGER_NOT = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Limits of one connection, and how many of them one address may hold.

    Times are seconds: for a request's head, for the whole request to arrive, and for the peer to take our answer when
    the socket is full. `discard_bytes` is how much of a refused body is read before the connection is dropped.
    """

    head_bytes: int = 32 << 10
    head_timeout_s: float = 10.0
    request_timeout_s: float = 60.0
    write_timeout_s: float = 30.0
    discard_bytes: int = 1 << 20
    per_peer: int = 512


class BoundedHttp(HttpToolsProtocol):
    """One connection of the server under `WireLimits`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: WireLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._in_head = True
        self._head_bytes = 0
        self._discarded = 0
        self._arriving: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._expect_within(self._limits.head_timeout_s)
        if self._held_by_peer() > self._limits.per_peer:
            self._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        self._written()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            self._expect_head()
        super().data_received(data)
        if self._in_head and self._head_bytes > self._limits.head_bytes:
            self._drop()

    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._discarded = 0
        self._expect_within(self._limits.request_timeout_s)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > self._limits.discard_bytes:
                self._drop()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._arrived()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self._limits.write_timeout_s, self._drop)

    def resume_writing(self) -> None:
        self._written()
        super().resume_writing()

    def _held_by_peer(self) -> int:
        host = self.client[0] if self.client else None
        others = (other.client for other in self.connections if isinstance(other, BoundedHttp))
        return sum(client is not None and client[0] == host for client in others)

    def _drop(self) -> None:
        """Reset the connection: the kernel keeps none of what we wrote for a peer that does not read it."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()

    def _expect_head(self) -> None:
        if self._arriving is None:
            self._expect_within(self._limits.head_timeout_s)

    def _expect_within(self, seconds: float) -> None:
        self._arrived()
        self._arriving = self.loop.call_later(seconds, self._drop)

    def _arrived(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _written(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
