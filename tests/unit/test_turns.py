"""Questions in turn: however many ask while one is under way, one more is enough for all of them."""

from __future__ import annotations

import asyncio

import pytest

from neurons.turns import InTurn, OneAtATime


class Slow:
    """Answers when told to, with the number of the question."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()

    async def __call__(self) -> str:
        self.asked += 1
        number = self.asked
        await self.go.wait()
        return f"answer {number}"


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_ask_while_one_is_under_way_share_the_next_answer() -> None:
    turns, slow = InTurn[str](), Slow()
    first = asyncio.create_task(turns(slow))
    await _settle()
    others = [asyncio.create_task(turns(slow)) for _ in range(50)]
    await _settle()
    slow.go.set()
    assert await first == "answer 1"
    assert await asyncio.gather(*others) == ["answer 2"] * 50  # the first was put before they asked
    assert slow.asked == 2


async def test_who_asks_after_an_answer_asks_anew() -> None:
    turns, slow = InTurn[str](), Slow()
    slow.go.set()
    assert [await turns(slow) for _ in range(3)] == ["answer 1", "answer 2", "answer 3"]


async def test_an_empty_answer_is_an_answer() -> None:
    turns, asked = InTurn[str](), 0

    async def nothing() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return ""

    assert await asyncio.gather(*(turns(nothing) for _ in range(9))) == [""] * 9
    assert asked == 2


@pytest.mark.parametrize("number", [1, 2])
async def test_who_is_cancelled_or_fails_leaves_the_turn_to_the_next(number: int) -> None:
    turns, slow = InTurn[str](), Slow()
    tasks = [asyncio.create_task(turns(slow)) for _ in range(3)]
    await _settle()
    for task in tasks[:number]:
        task.cancel()
    await _settle()
    slow.go.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in done[:number])
    assert all(isinstance(each, str) for each in done[number:])


async def test_work_beside_the_blocks_is_not_begun_again_while_it_runs() -> None:
    slow, answers = Slow(), list[str]()

    async def work() -> None:
        answers.append(await slow())

    async with asyncio.TaskGroup() as group:
        beside = OneAtATime(group)
        for _ in range(3):
            beside.begin(work)
            await _settle()
        slow.go.set()
        await _settle()
        beside.begin(work)
    assert answers == ["answer 1", "answer 2"]
