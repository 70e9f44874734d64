"""One owner of one chain connection: every call has a deadline, and a connection that keeps failing is replaced.

Half-open sockets are what makes validators silently stop setting weights, so nothing here waits without a limit, any
failure counts (not only the ones somebody foresaw), and after a few in a row the connection is closed and built anew,
under a lock, so that there is never a second one beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import bittensor as bt
from bittensor._transport.errors import StorageFunctionNotFound, SubstrateRequestException

from orchestra.chain.errors import ChainError, ChainRejected, ChainTimeout, ChainUnreachable, RuntimeTooOld
from orchestra.chain.networks import Network

T = TypeVar("T")
CLOSE_DEADLINE_S = 1.0
SDK_LABEL = "local"  # only picks explorer links, which nobody here shows


@dataclass(slots=True, eq=False)
class Session:
    """A live connection: the SDK's client over it, the Substrate below, the runtime that was checked last (its spec
    version, None before the first), and how often it failed in a row."""

    client: bt.Client
    substrate: bt.Substrate
    checked: int | None = None
    failures: int = 0


class Link:
    """The connection to one network. `run` is the only way to use it; `close` ends it for good."""

    def __init__(
        self,
        network: Network,
        *,
        call_deadline_s: float,
        rebuild_after: int,
        greet: Callable[[Session], Awaitable[None]],
    ) -> None:
        """`greet` checks a runtime, on every new connection and before a write to one that was upgraded since;
        `rebuild_after` failures in a row replace the connection."""
        self.network = network
        self.call_deadline_s = call_deadline_s
        self.rebuilds = 0
        self._rebuild_after = rebuild_after
        self._greet = greet
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._closed = False

    async def run(
        self,
        what: str,
        op: Callable[[Session], Awaitable[T]],
        *,
        deadline_s: float | None = None,
        writes: bool = False,
    ) -> T:
        """The result of `op` on the live connection, opened first if need be.

        `what` names the call in messages. A write that runs out of time replaces the connection at once: the SDK has
        counted its nonce already and would number every later transaction too high. Raises ChainTimeout after
        `deadline_s` (default: the link's), ChainUnreachable when the connection is the trouble, RuntimeTooOld when the
        runtime lacks what the call reads, and ChainRejected when the chain answered with an error.
        """
        limit = self.call_deadline_s if deadline_s is None else deadline_s
        session: Session | None = None
        try:
            async with asyncio.timeout(limit):
                session = await self._live()
                if writes:
                    await self._check(session)
                value = await op(session)
        except TimeoutError as error:
            await self._failed(session, replace=writes)
            raise ChainTimeout(self.network.name, what, limit) from error
        except (OSError, bt.RpcConnectionError, bt.ConnectionNotReady, SubstrateRequestException) as error:
            await self._failed(session)
            raise ChainUnreachable(self.network.name, _reason(error)) from error
        except bt.ChainError as error:
            if error.code is bt.ErrorCode.UNKNOWN:
                await self._failed(session)
            raise ChainRejected(error.message, error.code.value) from error
        except StorageFunctionNotFound as error:
            raise await self._too_old(error) from error
        session.failures = 0
        return value

    async def close(self) -> None:
        """Close the connection; later calls fail. Idempotent."""
        self._closed = True
        async with self._lock:
            session, self._session = self._session, None
        if session is not None:
            await _shut(session.substrate)

    async def _live(self) -> Session:
        async with self._lock:
            if self._closed:
                raise ConnectionError("the connection was closed by this process")
            if self._session is None:
                self._session = await self._open()
            return self._session

    async def _open(self) -> Session:
        substrate = self.network.open()
        try:
            await substrate.connect()
            session = Session(bt.Client(SDK_LABEL, substrate=substrate), substrate)
            await self._check(session)
        except BaseException as error:
            await _shut(substrate)
            if isinstance(error, LookupError | TypeError | ValueError):
                raise ConnectionError(f"it does not answer as a chain does: {error!r}") from error
            raise
        return session

    async def _check(self, session: Session) -> None:
        spec = await session.substrate.spec_version()
        if spec != session.checked:
            await self._greet(session)
            session.checked = spec

    async def _failed(self, session: Session | None, *, replace: bool = False) -> None:
        """Count a failure; replace the connection when told to or when there were too many in a row."""
        if session is None:
            return
        session.failures += 1
        if session.failures < self._rebuild_after and not replace:
            return
        async with self._lock:
            if self._session is not session:
                return  # somebody else has replaced it already
            self._session = None
            self.rebuilds += 1
        await _shut(session.substrate)

    async def _too_old(self, error: StorageFunctionNotFound) -> ChainError:
        named = re.search(r"\w+\.\w+", str(error))
        spec = await self.run("spec_version", lambda session: session.substrate.spec_version())
        return RuntimeTooOld(self.network.name, spec, named.group() if named else str(error))


async def _shut(substrate: bt.Substrate) -> None:
    """Close within a limit: a connection worth replacing may be one that does not even close."""
    with contextlib.suppress(TimeoutError, OSError, bt.BittensorError):
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            await substrate.close()


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
