"""Keeps a neuron's view of its subnet: one reader follows the blocks, and many users never wait for the chain.

Whoever needs the metagraph takes the latest snapshot with its age; how old is too old is the user's rule. Trouble with
the chain is logged once when it starts and once when it ends, and is never fatal by itself: a neuron that dies with its
endpoint is worth less than one that waits. A chain that stays away longer than `give_up_s` ends the process, so that a
supervisor can start a fresh one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from orchestra.chain.errors import ChainError
from orchestra.chain.types import BlockRef, Metagraph

logger = logging.getLogger(__name__)


class ChainLost(RuntimeError):
    """The chain could not be read for too long. The process should end and be started again."""


class ChainReads(Protocol):
    """What watching needs of the facade."""

    async def head(self) -> BlockRef: ...

    async def metagraph(self, netuid: int, *, block: int | None = None) -> Metagraph: ...


@dataclass(frozen=True, slots=True)
class Sight:
    """The subnet as last read: `read_at` is monotonic seconds."""

    members: Metagraph
    read_at: float

    @property
    def block(self) -> BlockRef:
        return self.members.block


class ChainWatch:
    """Follows one subnet. `run` reads; `sight` is the newest metagraph, None before the first."""

    def __init__(
        self,
        chain: ChainReads,
        netuid: int,
        *,
        poll_s: float,
        give_up_s: float = 900.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._chain = chain
        self._netuid = netuid
        self._poll_s = poll_s
        self._give_up_s = give_up_s
        self._clock = clock
        self._sleep = sleep
        self._trouble = ""
        self.sight: Sight | None = None

    async def refresh(self) -> Sight:
        """Read the metagraph now, whatever is known.

        Raises:
            ChainError: it cannot be read.
        """
        metagraph = await self._chain.metagraph(self._netuid)
        self.sight = Sight(metagraph, self._clock())
        return self.sight

    async def run(self, on_block: Callable[[Sight], Awaitable[None]]) -> None:
        """Call `on_block` for every new head that is seen, until cancelled.

        A block that passes while `on_block` works is skipped, not queued: work is decided by block numbers. When the
        chain goes away under `on_block`, that block comes again.

        Raises:
            ChainLost: no successful read for `give_up_s` seconds.
        """
        seen = -1
        last_success = self._clock()
        while True:
            try:
                head = await self._chain.head()
                if head.number != seen:
                    sight = await self.refresh()
                    await on_block(sight)
                    seen = sight.block.number
            except ChainError as error:
                self._note(str(error))
                if self._clock() - last_success > self._give_up_s:
                    raise ChainLost(f"no word from the chain for {self._give_up_s:g} s; last: {error}") from error
            else:
                last_success = self._clock()
                self._note("")
            await self._sleep(self._poll_s)

    def _note(self, trouble: str) -> None:
        if trouble and not self._trouble:
            logger.warning("%s", trouble)
        elif self._trouble and not trouble:
            logger.info("the chain answers again")
        self._trouble = trouble
