"""The watcher follows blocks, survives a chain that goes away, and gives up only when told to."""

from __future__ import annotations

import pytest

from orchestra.chain import BlockRef, ChainUnreachable, Metagraph
from orchestra.chain.watch import ChainLost, ChainWatch, Sight


class Done(Exception):
    """The script has ended."""


class ScriptedChain:
    """One entry for every poll: a block number, or None for a chain that does not answer."""

    def __init__(self, script: list[int | None]) -> None:
        self.script = script
        self.block = 0

    async def head(self) -> BlockRef:
        if not self.script:
            raise Done
        block = self.script.pop(0)
        if block is None:
            raise ChainUnreachable("test", "scripted")
        self.block = block
        return BlockRef(block, "0x" + "00" * 32)

    async def metagraph(self, netuid: int, *, block: int | None = None) -> Metagraph:
        return Metagraph(netuid, BlockRef(self.block, "0x" + "00" * 32), 10, ())


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def watch(script: list[int | None], *, give_up_s: float = 100.0) -> tuple[list[int], ChainWatch]:
    time = Time()
    seen: list[int] = []
    watcher = ChainWatch(ScriptedChain(script), 2, poll_s=1, give_up_s=give_up_s, clock=time, sleep=time.sleep)

    async def on_block(sight: Sight) -> None:
        seen.append(sight.block.number)

    with pytest.raises((Done, ChainLost)) as ended:
        await watcher.run(on_block)
    if ended.type is ChainLost:
        seen.append(-1)
    return seen, watcher


async def test_each_new_head_once() -> None:
    seen, _ = await watch([1, 1, 2, 2, 5])
    assert seen == [1, 2, 5]


async def test_it_goes_on_when_the_chain_comes_back() -> None:
    seen, _ = await watch([1, None, None, 3])
    assert seen == [1, 3]


async def test_it_keeps_the_last_sight_with_its_age() -> None:
    _, watcher = await watch([1, None, None])
    assert watcher.sight is not None
    assert (watcher.sight.block.number, watcher.sight.read_at) == (1, 0.0)


async def test_it_ends_when_the_chain_stays_away() -> None:
    seen, _ = await watch([1, *[None] * 20], give_up_s=10)
    assert seen == [1, -1]


async def test_a_block_whose_work_lost_the_chain_comes_again() -> None:
    time = Time()
    seen: list[int] = []
    watcher = ChainWatch(ScriptedChain([1, 2, 2, 3]), 2, poll_s=1, clock=time, sleep=time.sleep)

    async def on_block(sight: Sight) -> None:
        seen.append(sight.block.number)
        if seen == [1, 2]:
            raise ChainUnreachable("test", "it went away under our work")

    with pytest.raises(Done):
        await watcher.run(on_block)
    assert seen == [1, 2, 2, 3]
