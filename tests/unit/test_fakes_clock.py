"""The virtual loop that time-dependent tests stand on."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.clock import EPOCH, Stuck, VirtualClock, run_virtual


def test_an_hour_passes_at_once_and_exactly() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(EPOCH + 3600)


def test_timers_fire_in_order_of_time() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def wait(seconds: int) -> None:
            await asyncio.sleep(seconds)
            order.append(seconds)

        async with asyncio.TaskGroup() as group:
            for seconds in (3, 1, 2):
                group.create_task(wait(seconds))
        return order

    assert run_virtual(main()) == [1, 2, 3]


def test_a_timeout_is_virtual_too() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(EPOCH + 5)


def test_waiting_for_nothing_is_reported_instead_of_hanging() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run_virtual(main())


def test_a_task_left_behind_is_reported() -> None:
    async def main() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(asyncio.sleep(1))]

    with pytest.raises(AssertionError, match="left running"):
        run_virtual(main())


async def test_the_plain_clock_moves_only_when_told() -> None:
    clock = VirtualClock(10.0)
    assert clock() == clock.now() == 10.0
    clock.advance(5)
    await clock.sleep(2)
    assert clock.now() == 17.0
