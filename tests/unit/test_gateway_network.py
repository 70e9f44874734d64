"""Which miners a gateway asks: the best that have proved something, never one that was caught."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from orchestra.chain import dev_signer
from orchestra.chain.types import BlockRef, Metagraph
from orchestra.chain.watch import Sight
from orchestra.gateway.backend import NobodyAnswered
from orchestra.gateway.messages import ObjectiveRequest, Progress
from orchestra.gateway.network import NetworkBackend
from orchestra.peers import PeerFailed
from orchestra.protocol import OrchestraSynapse
from orchestra.validation.components import Score, ScoreEvent, score
from tests import proofkit as kit
from tests.fakes.clock import VirtualClock
from tests.fakes.validation import block_hash

A, B, C = (dev_signer(f"//{name}").ss58_address for name in ("a", "b", "c"))
REQUEST = ObjectiveRequest(objective="Compare GPU prices", target_schema={"name": "str"})


def scored(hotkey: str, *, proof: float | None = 1.0, other: float = 1.0, refuted: bool = False) -> Score:
    values: dict[Any, float] = {"routing": other} | ({} if proof is None else {"hash_verification": proof})
    return score(hotkey, [ScoreEvent("e", hotkey, "challenge", 1, values, refuted, ())])


@dataclass(frozen=True)
class Named:
    """A peer that nobody gets further with than its name."""

    hotkey: str


@dataclass
class Asked:
    """A validator whose miners all decline, so that everybody it would ask is asked."""

    table: list[Score]
    serving: tuple[str, ...] = (A, B, C)
    asked: list[str] = field(default_factory=list[str])
    min_stake_rao: int = 1
    sight: Sight | None = field(default_factory=lambda: Sight(Metagraph(2, BlockRef(7, block_hash(7)), 10, ()), 0.0))

    @property
    def ledger(self) -> Any:
        return type("Ledger", (), {"view": kit.make_ledger()})

    async def scores(self) -> tuple[Score, ...]:
        return tuple(sorted(self.table, key=lambda each: (-each.total, each.hotkey)))

    def peer(self, hotkey: str) -> Named | None:
        return Named(hotkey) if hotkey in self.serving else None

    async def ask(self, peer: Named, synapse: OrchestraSynapse) -> Any:
        self.asked.append(peer.hotkey)
        raise PeerFailed("declined", "busy")


async def asked(*table: Score, serving: tuple[str, ...] = (A, B, C)) -> list[str]:
    validator = Asked(list(table), serving)
    told: list[Progress] = []
    clock = VirtualClock()
    with pytest.raises(NobodyAnswered) as nobody:
        await NetworkBackend(cast("Any", validator), clock, clock.sleep).answer(REQUEST, told.append)
    assert [each.stage for each in told] == (["asking"] * len(validator.asked) or ["waiting"])
    assert all(hotkey in str(nobody.value) for hotkey in validator.asked)
    return validator.asked


async def test_the_best_two_are_asked_in_order() -> None:
    assert await asked(scored(A, proof=0.5), scored(B), scored(C, proof=0.7)) == [B, C]


async def test_who_was_caught_is_never_asked() -> None:
    assert await asked(scored(A), scored(B, refuted=True)) == [A]
    assert await asked(scored(A, refuted=True), scored(B, refuted=True)) == []


async def test_who_has_proved_nothing_is_not_asked_while_somebody_has() -> None:
    """A forger that is not caught yet looks well in everything that needs no proof."""
    assert await asked(scored(A, proof=0.2, other=0.0), scored(B, proof=0.0), scored(C, proof=None)) == [A]


async def test_before_anybody_has_proved_something_those_who_were_not_caught_are_asked() -> None:
    assert set(await asked(scored(A, proof=None), scored(B, proof=0.0), scored(C, refuted=True))) == {A, B}


async def test_who_serves_nowhere_is_passed_over() -> None:
    assert await asked(scored(A), scored(B), serving=(B,)) == [B]
    assert await asked() == []
