"""Real processes: an accepted nonce outlives kill -9, and SIGTERM lets a request finish and exits 0."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from bittensor.keyfiles import Keypair

from orchestra.transport import (
    OutboundClient,
    OutboundResponse,
    SignedClient,
    TransportError,
    sign_request,
)

pytestmark = pytest.mark.e2e

ALICE = Keypair.create_from_uri("//Alice")
BOB = Keypair.create_from_uri("//Bob").ss58_address
NEURON = Path(__file__).with_name("transport_neuron.py")
KILLS, SEED = 3, 20261120


class Process:
    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()


@contextlib.asynccontextmanager
async def neuron(nonces: Path) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(NEURON),
        str(nonces),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        started = Process(process, "")
        started.url = await started.line()
        assert started.url.startswith("http://127.0.0.1:")
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


Prepared = tuple[dict[str, str], bytes]


def prepare() -> Prepared:
    body = b'{"n":1}'
    headers, _ = sign_request(ALICE, method="POST", path="/v1/echo", body=body, receiver=BOB, nonce_ns=time.time_ns())
    return headers, body


async def send(client: OutboundClient, url: str, prepared: Prepared) -> OutboundResponse:
    headers, body = prepared
    return await client.request("POST", url + "/v1/echo", headers=headers, content=body, timeout_s=20)


async def send_until_killed(url: str) -> list[Prepared]:
    """Signed requests as fast as they go, eight at a time; returns those that were answered with 200."""
    accepted: list[Prepared] = []

    async def worker(client: OutboundClient) -> None:
        with contextlib.suppress(TransportError):
            while True:
                prepared = prepare()
                answer = await send(client, url, prepared)
                if answer.status == 200:
                    accepted.append(prepared)
                else:
                    assert answer.status == 429

    async with OutboundClient(allow_loopback=True) as client, asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(worker(client))
    return accepted


async def test_accepted_nonces_survive_kill_9(tmp_path: Path) -> None:
    moments = random.Random(SEED)
    accepted: list[Prepared] = []
    async with OutboundClient(allow_loopback=True) as client:
        for _ in range(KILLS):
            async with neuron(tmp_path / "nonces.sqlite") as running, asyncio.TaskGroup() as group:
                traffic = group.create_task(send_until_killed(running.url))
                await asyncio.sleep(moments.uniform(0.1, 0.4))
                running.process.kill()
                accepted += await traffic
        assert len(accepted) > KILLS
        async with neuron(tmp_path / "nonces.sqlite") as running:
            for prepared in random.Random(SEED).sample(accepted, min(150, len(accepted))):
                answer = await send(client, running.url, prepared)
                assert answer.status == 401, answer.body
                assert b'"replayed_request"' in answer.body
            assert (await send(client, running.url, prepare())).status == 200


async def test_sigterm_lets_a_request_finish_and_exits_0(tmp_path: Path) -> None:
    async with (
        neuron(tmp_path / "nonces.sqlite") as running,
        SignedClient(ALICE, allow_loopback=True) as client,
        asyncio.TaskGroup() as group,
    ):
        pending = group.create_task(client.post(running.url, "/v1/wait", b'"late"', receiver=BOB))
        assert await running.line() == "waiting"
        running.process.send_signal(signal.SIGTERM)
        while await accepts(running.url):
            await asyncio.sleep(0)
        assert running.process.stdin is not None
        running.process.stdin.write(b"go on\n")
        assert (await pending).body == b'"late"'
        assert await running.line() == "closed"
        assert await running.process.wait() == 0


async def accepts(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        return False
    writer.close()
    return True
