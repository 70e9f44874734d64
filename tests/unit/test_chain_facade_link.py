"""The connection's owner: deadlines, rebuilding after failures, one connection at a time, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import bittensor as bt
import pytest
from websockets.asyncio.server import ServerConnection, serve

from orchestra.chain import (
    Chain,
    ChainRejected,
    ChainTimeout,
    ChainUnreachable,
    RuntimeMismatch,
    UnknownNetwork,
    dev_signer,
)
from orchestra.chain.link import Link, Session
from orchestra.chain.networks import LOCAL_PORT, resolve
from tests.fakes.substrate import BOB, FakeSubstrate, network

SHORT = 0.05


async def opened(*substrates: FakeSubstrate, **options: float) -> Chain:
    return await Chain.open(network(*substrates), call_deadline_s=SHORT, submit_deadline_s=SHORT, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["http://127.0.0.1:9944", "https://x", "devnet", "", "Finney", "orchestra-local:"])
def test_a_name_that_means_nothing_gets_one_line_with_those_that_do(name: str) -> None:
    if name == "orchestra-local:":
        assert resolve(name).endpoint.endswith(str(LOCAL_PORT))
        return
    with pytest.raises(UnknownNetwork, match="finney, test, local, orchestra-local") as caught:
        resolve(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "1e3", "٣", "99999999999999999999"])
def test_a_local_port_must_be_a_port(port: str) -> None:
    with pytest.raises(UnknownNetwork):
        resolve(f"orchestra-local:{port}")


@pytest.mark.parametrize("name", ["finney", "test", "local", "archive", "ws://127.0.0.1:1", "wss://node.example:443"])
def test_the_sdks_names_and_urls_are_known(name: str) -> None:
    assert resolve(name).name == name
    assert resolve(name).endpoint.startswith("ws")


async def test_a_call_that_never_answers_ends_at_its_deadline() -> None:
    fake = FakeSubstrate()
    async with await opened(fake) as chain:
        fake.unanswered.add("block_number")
        with pytest.raises(ChainTimeout, match=r"head: no answer in 0\.05 s") as caught:
            await chain.head()
    assert isinstance(caught.value, ChainUnreachable)
    assert caught.value.seconds == SHORT


async def test_the_connection_is_rebuilt_after_so_many_failures_in_a_row_and_the_old_one_closed() -> None:
    first, second = FakeSubstrate(head=1), FakeSubstrate(head=2)
    async with await opened(first, second, rebuild_after=2) as chain:
        first.broken["block_number"] = [ConnectionResetError("gone"), ConnectionResetError("gone")]
        for _ in range(2):
            with pytest.raises(ChainUnreachable, match="gone"):
                await chain.head()
        assert first.closed == 1
        assert (await chain.head()).number == 2
        assert chain.link.rebuilds == 1
    assert (first.connected, second.connected, second.closed) == (1, 1, 1)


async def test_a_success_in_between_starts_the_count_again() -> None:
    fake = FakeSubstrate()
    async with await opened(fake, rebuild_after=2) as chain:
        for _ in range(5):
            fake.broken["block_number"] = [OSError("blip")]
            with pytest.raises(ChainUnreachable):
                await chain.head()
            await chain.head()
    assert fake.closed == 1


async def test_any_failure_counts_but_an_answer_of_the_chain_does_not() -> None:
    first, second = FakeSubstrate(), FakeSubstrate()
    async with await opened(first, second, rebuild_after=2) as chain:
        first.broken["block_number"] = [bt.ChainError("?", "SubnetNotExists")] * 5
        for _ in range(5):
            with pytest.raises(ChainRejected):
                await chain.head()
        assert first.closed == 0
        first.broken["block_number"] = [bt.ChainError("RPC session closed"), bt.ConnectionNotReady("?")]
        for _ in range(2):
            with pytest.raises((ChainRejected, ChainUnreachable)):
                await chain.head()
        assert first.closed == 1


async def test_many_callers_at_once_rebuild_once() -> None:
    first, second = FakeSubstrate(), FakeSubstrate(head=2)
    async with await opened(first, second, rebuild_after=1) as chain:
        first.unanswered.add("block_number")
        failed = await asyncio.gather(*(chain.head() for _ in range(8)), return_exceptions=True)
        assert {type(error) for error in failed} == {ChainTimeout}
        heads = await asyncio.gather(*(chain.head() for _ in range(8)))
        assert {head.number for head in heads} == {2}
        assert chain.link.rebuilds == 1
    assert first.closed == 1


async def test_a_connection_that_does_not_even_close_is_let_go() -> None:
    first, second = FakeSubstrate(), FakeSubstrate(head=2)
    first.unanswered.add("close")
    async with await opened(first, second, rebuild_after=1) as chain:
        first.broken["block_number"] = [OSError("gone")]
        with pytest.raises(ChainUnreachable):
            await chain.head()
        assert (await chain.head()).number == 2


async def test_a_write_that_runs_out_of_time_replaces_the_connection_because_its_nonce_is_spent() -> None:
    first, second = FakeSubstrate(), FakeSubstrate()
    second.accept()
    async with await opened(first, second, rebuild_after=3) as chain:
        first.unanswered.add("submit")
        with pytest.raises(ChainTimeout):
            await chain.transfer(dev_signer("//Alice"), BOB, 1)
        assert first.closed == 1
        assert (await chain.transfer(dev_signer("//Alice"), BOB, 1)).ok


async def test_an_endpoint_that_cannot_be_opened_is_closed_again_and_tried_anew_on_the_next_call() -> None:
    first, second = FakeSubstrate(), FakeSubstrate()
    first.unanswered.add("connect")
    with pytest.raises(ChainTimeout):
        await opened(first)
    assert first.closed == 1
    broken = FakeSubstrate()
    broken.broken["connect"] = [bt.RpcConnectionError("refused")]
    with pytest.raises(ChainUnreachable, match="refused"):
        await opened(broken)
    assert broken.closed == 1
    async with await opened(second):
        pass


async def test_cancelling_a_call_cancels_it_and_leaves_the_connection_usable() -> None:
    fake = FakeSubstrate()
    async with await opened(fake) as chain:
        fake.unanswered.add("block_number")
        task = asyncio.create_task(chain.head())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fake.unanswered.clear()
        await chain.head()


async def test_the_runtime_is_checked_again_before_a_write_when_it_was_upgraded_and_only_then() -> None:
    fake, checked = FakeSubstrate(), list[int]()

    async def greet(session: Session) -> None:
        checked.append(fake.spec)
        if fake.spec == 500:
            raise RuntimeMismatch("fake", fake.spec, "everything is new")

    link = Link(network(fake), call_deadline_s=SHORT, rebuild_after=3, greet=greet)
    write = partial(link.run, "write", lambda session: session.substrate.block_number(), writes=True)
    await write()
    await write()
    assert checked == [462]
    fake.spec = 463
    await write()
    assert checked == [462, 463]
    fake.spec = 500
    with pytest.raises(RuntimeMismatch, match="spec 500"):
        await write()
    await link.run("read", lambda session: session.substrate.block_number())
    await link.close()


async def test_an_endpoint_that_answers_nonsense_is_not_a_chain() -> None:
    fake = FakeSubstrate()
    fake.broken["connect"] = [TypeError("'NoneType' object is not subscriptable")]
    with pytest.raises(ChainUnreachable, match="does not answer as a chain does"):
        await opened(fake)
    assert fake.closed == 1


async def test_a_closed_chain_stays_closed() -> None:
    fake = FakeSubstrate()
    chain = await opened(fake)
    await chain.close()
    await chain.close()
    assert fake.closed == 1
    with pytest.raises(ChainUnreachable, match="closed by this process"):
        await chain.head()


# The SDK's own RPC backend against real sockets ----------------------------------------------------------------------


@asynccontextmanager
async def tcp(handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def nothing_is_left(before: set[asyncio.Task[object]]) -> None:
    """Every task that the attempt made is over (given the loop a few turns to notice)."""
    for _ in range(20):
        if asyncio.all_tasks() <= before:
            return
        await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        before = asyncio.all_tasks()
        with pytest.raises(ChainUnreachable, match=f"ws://127.0.0.1:{port}"):
            await Chain.open(f"ws://127.0.0.1:{port}", call_deadline_s=5)
        await nothing_is_left(before)


async def test_a_half_open_socket_is_reported_at_the_deadline_and_leaves_no_task() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with tcp(silent) as port:
        before = asyncio.all_tasks()
        with pytest.raises(ChainTimeout):
            await Chain.open(f"ws://127.0.0.1:{port}", call_deadline_s=0.2)
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() - before if task.get_name() == "rpc-session"]


async def test_a_server_that_shakes_hands_and_then_says_nothing_is_reported_at_the_deadline() -> None:
    async def mute(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    async with serve(mute, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        before = asyncio.all_tasks()
        with pytest.raises(ChainTimeout):
            await Chain.open(f"ws://127.0.0.1:{port}", call_deadline_s=0.2)
        assert not [task for task in asyncio.all_tasks() - before if task.get_name() == "rpc-session"]


async def test_a_server_that_is_not_a_chain_is_unreachable_or_refused() -> None:
    async def html(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    async with tcp(html) as port:
        with pytest.raises(ChainUnreachable):
            await Chain.open(f"ws://127.0.0.1:{port}", call_deadline_s=5)


async def test_opening_and_closing_many_times_leaves_no_task_and_no_descriptor() -> None:
    async def mute(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    async with serve(mute, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        before = await settled()
        for _ in range(20):
            with pytest.raises(ChainTimeout):
                await Chain.open(url, call_deadline_s=0.02)
        assert await settled() <= before


async def settled() -> tuple[int, int]:
    """Tasks and descriptors of this process, once both have stopped falling."""
    previous = (sys.maxsize, sys.maxsize)
    while (now := (len(asyncio.all_tasks()), len(os.listdir("/dev/fd")))) < previous:
        previous = now
        await asyncio.sleep(0.05)
    return now
