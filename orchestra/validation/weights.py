"""*How* weights are set: vectors from scores, submitted once, with the outcome kept. *When* is `weight_beat`.

An attempt is written down before it is sent. After a crash the chain itself says whether it arrived (our own
`last_update`), so a vector is never submitted twice and never forgotten. Weights are by hotkey up to the last moment:
the facade resolves uids at submission and drops hotkeys that have left.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from orchestra.validation.components import Score, shares
from orchestra.validation.schedule import Tempo
from orchestra.validation.store import ValidationStore, WeightAttempt

logger = logging.getLogger(__name__)

NO_REPLY = "connection"
"""The code of a submission whose reply was lost: it may have arrived."""


class SetOutcome(Protocol):
    """What the chain facade says of a submission (`orchestra.chain.TxOutcome`)."""

    @property
    def ok(self) -> bool: ...
    @property
    def code(self) -> str | None: ...
    @property
    def message(self) -> str: ...
    @property
    def dropped(self) -> tuple[str, ...]: ...


class WeightChain(Protocol):
    """The chain as far as setting weights needs it."""

    async def last_update(self) -> int | None:
        """The block of our own last accepted weights; None when we are not registered."""
        ...

    async def holds(self, weights: Mapping[str, float], mechid: int) -> bool:
        """Are these our weights on chain now, as far as quantisation lets one tell?"""
        ...

    async def mechanisms(self) -> int:
        """1 or 2."""
        ...

    async def submit(self, weights: Mapping[str, float], mechid: int) -> SetOutcome: ...


@dataclass(frozen=True, slots=True)
class WeightSetter:
    """Sets this validator's weights for one tempo. Safe to call again and again."""

    store: ValidationStore
    chain: WeightChain

    async def set(self, tempo: Tempo, scores: tuple[Score, ...], *, block: int) -> tuple[WeightAttempt, ...]:
        """Submit what has not been set in this tempo yet, mechanism by mechanism, and return all attempts."""
        vectors = await self._vectors(scores)
        return tuple([await self._set_one(tempo, mechid, vector, block) for mechid, vector in vectors])

    async def _vectors(self, scores: tuple[Score, ...]) -> tuple[tuple[int, dict[str, float]], ...]:
        if await self.chain.mechanisms() == 2:
            return (0, shares(scores, "orchestration")), (1, shares(scores, "ledger"))
        return ((0, shares(scores)),)

    async def _set_one(self, tempo: Tempo, mechid: int, vector: dict[str, float], block: int) -> WeightAttempt:
        attempt = await self.store.weight_attempt(tempo.index, mechid)
        if attempt is not None and attempt.state == "set":
            return attempt
        unknown = attempt is not None and (attempt.state == "submitting" or attempt.code == NO_REPLY)
        if attempt is not None and unknown and await self._arrived(attempt):
            return await self._keep(replace(attempt, state="set", code="", message="found on chain afterwards"))
        tries = attempt.tries + 1 if attempt else 1
        begun = WeightAttempt(tempo.index, mechid, "submitting", block, tries, vector)
        if not vector:
            nobody = replace(begun, state="failed", code="nobody_scored", message="no miner has a score")
            return await self._keep(nobody)
        await self.store.save_attempt(begun)
        outcome = await self.chain.submit(vector, mechid)
        if outcome.dropped:
            logger.warning("left before their weight was set: %s", ", ".join(outcome.dropped))
        state = "set" if outcome.ok else "failed"
        return await self._keep(replace(begun, state=state, code=outcome.code or "", message=outcome.message))

    async def _arrived(self, attempt: WeightAttempt) -> bool:
        """Did the chain take it? By our last update for mechanism 0, which is all that names; else by what it holds."""
        if attempt.mechid > 0:
            return await self.chain.holds(attempt.vector, attempt.mechid)
        last = await self.chain.last_update()
        return last is not None and last >= attempt.block

    async def _keep(self, attempt: WeightAttempt) -> WeightAttempt:
        await self.store.save_attempt(attempt)
        level = logging.INFO if attempt.state == "set" else logging.WARNING
        logger.log(level, "weights of tempo %d: %s %s", attempt.tempo, attempt.state, attempt.code or attempt.message)
        return attempt
