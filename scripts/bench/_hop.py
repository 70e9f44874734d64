"""The two ends of a hop, each in a process of its own: `_hop.py server|client signed|unsigned [PORT]`.

A server prints its port, then serves until its stdin ends. A client does what `_load.py` says.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import aiohttp
from _load import obey
from aiohttp import web
from bittensor.keyfiles import Keypair
from fastapi import FastAPI, Response

from orchestra.transport import (
    AnyCaller,
    Limits,
    SignedCall,
    SignedClient,
    SignedRequests,
    SqliteNonceStore,
    install_problems,
    run,
    serve,
)

ALICE = Keypair.create_from_uri("//Alice")
BOB = Keypair.create_from_uri("//Bob")
REQUEST, ANSWER = b"q" * 2048, b"a" * 2048
PATH = "/v1/challenge"
UNLIMITED = Limits(hotkey_per_s=1e9, hotkey_burst=10**9, peer_per_s=1e9, peer_burst=10**9)


async def end_of_input() -> None:
    await asyncio.to_thread(sys.stdin.read)


async def signed_server() -> None:
    app = FastAPI()
    install_problems(app)
    stop = asyncio.Event()
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteNonceStore(Path(folder) / "nonces.sqlite") as nonces, asyncio.TaskGroup() as group:
            signed = SignedRequests(self_hotkey=BOB.ss58_address, nonces=nonces, policy=AnyCaller(), limits=UNLIMITED)

            @app.post(PATH)
            async def challenge(call: SignedCall = signed.call) -> Response:
                assert len(call.body) == len(REQUEST)
                return Response(ANSWER)

            group.create_task(serve(app, stop=stop, started=lambda address: print(address.port, flush=True)))
            await end_of_input()
            stop.set()


async def unsigned_server() -> None:
    async def challenge(request: web.Request) -> web.Response:
        assert len(await request.read()) == len(REQUEST)
        return web.Response(body=ANSWER)

    app = web.Application()
    app.router.add_post(PATH, challenge)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await end_of_input()
    await runner.cleanup()


async def signed_client(port: str) -> None:
    async with SignedClient(ALICE, allow_loopback=True) as client:

        async def call() -> bool:
            answer = await client.post(f"http://127.0.0.1:{port}", PATH, REQUEST, receiver=BOB.ss58_address)
            return len(answer.body) == len(ANSWER)

        await obey(call)


async def unsigned_client(port: str) -> None:
    async with aiohttp.ClientSession() as session:

        async def call() -> bool:
            async with session.post(f"http://127.0.0.1:{port}{PATH}", data=REQUEST) as answer:
                return len(await answer.read()) == len(ANSWER)

        await obey(call)


ROLES = {
    ("server", "signed"): signed_server,
    ("server", "unsigned"): unsigned_server,
    ("client", "signed"): signed_client,
    ("client", "unsigned"): unsigned_client,
}

if __name__ == "__main__":
    run(ROLES[sys.argv[1], sys.argv[2]](*sys.argv[3:]))
