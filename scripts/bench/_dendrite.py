"""The two ends of a bittensor 10.5 hop, for an interpreter that has it: `_dendrite.py server|client dendrite [PORT]`.

Same protocol on stdin and stdout as `_hop.py`, same sizes: a Synapse that carries 2 KB there and 2 KB back.
"""

import asyncio
import socket
import sys
import time

import bittensor as bt
import bittensor.utils.networking as networking
from _load import obey

networking.get_external_ip = lambda: "127.0.0.1"  # it would ask five services on the internet

ALICE, BOB = bt.Keypair.create_from_uri("//Alice"), bt.Keypair.create_from_uri("//Bob")


class Challenge(bt.Synapse):
    question: str = ""
    answer: str = ""


class DevWallet:
    """A wallet of development keys: an axon reads nothing else of it."""

    hotkey = coldkey = coldkeypub = BOB


def forward(synapse: Challenge) -> Challenge:
    assert len(synapse.question) == 2048
    synapse.question, synapse.answer = "", "a" * 2048
    return synapse


def server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    axon = bt.Axon(wallet=DevWallet(), port=port, ip="127.0.0.1", external_ip="127.0.0.1")
    axon.attach(forward_fn=forward)
    axon.start()
    while not axon.fast_server.started:
        time.sleep(0.05)
    print(port, flush=True)
    sys.stdin.read()
    axon.stop()


async def client(port: int) -> None:
    target = bt.AxonInfo(version=1, ip="127.0.0.1", port=port, ip_type=4, hotkey=BOB.ss58_address, coldkey="")
    async with bt.Dendrite(wallet=ALICE) as dendrite:

        async def call() -> bool:
            synapse = await dendrite.call(target, Challenge(question="q" * 2048), timeout=30)
            return synapse.dendrite.status_code == 200 and len(synapse.answer) == 2048

        await obey(call)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        server()
    else:
        asyncio.run(client(int(sys.argv[3])))
