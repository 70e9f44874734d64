"""A neuron in a process of its own: `transport_neuron.py NONCES_FILE` prints its URL, then serves.

`/v1/wait` answers when a line comes on stdin.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bittensor.keyfiles import Keypair
from fastapi import FastAPI, Response

from orchestra.transport import (
    AnyCaller,
    SignedCall,
    SignedRequests,
    SqliteNonceStore,
    install_problems,
    run,
    serve,
)


async def main(path: str) -> None:
    app = FastAPI()
    install_problems(app)
    async with SqliteNonceStore(path, retention_s=600) as nonces:
        signed = SignedRequests(
            self_hotkey=Keypair.create_from_uri("//Bob").ss58_address,
            nonces=nonces,
            policy=AnyCaller(),
            max_age_s=500,
        )

        @app.post("/v1/echo")
        async def echo(call: SignedCall = signed.call) -> Response:
            return Response(call.body)

        @app.post("/v1/wait")
        async def wait(call: SignedCall = signed.call) -> Response:
            print("waiting", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            return Response(call.body)

        await serve(app, started=lambda address: print(address.url, flush=True))
    print("closed", flush=True)


if __name__ == "__main__":
    run(main(sys.argv[1]))
