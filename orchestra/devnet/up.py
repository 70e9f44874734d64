"""`orchestra up`: the local network in the foreground, until somebody says stop.

A process of it that dies is started again, as an operator's service manager would; a network that is up twice in one
folder would fight itself, so the folder is locked.
"""

from __future__ import annotations

import asyncio
import fcntl
import shlex
import signal
from collections import Counter
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestra.chain.networks import LOCAL_NAME, LOCAL_PORT
from orchestra.devnet.network import NETUID, Layout, LocalNetwork, default_root, is_free, unusable
from orchestra.devnet.processes import Child, ProcessFailed
from orchestra.settings import SettingsError

MINER = (
    f"python neurons/miner.py --netuid {NETUID} --network {LOCAL_NAME} --wallet.name newcomer"
    " --axon.ip 127.0.0.9 --axon.port 8099"
)
LOOK_EVERY_S = 1.0
MOST_RESTARTS = 5


async def keep_up(folder: Path | None, *, block_time_s: float, console: Console) -> None:
    """Start the network, say how to use it, keep its processes running until SIGINT or SIGTERM, stop it.

    Raises:
        ProcessFailed: a process did not come up.
        SettingsError: the network of this folder runs already, or the folder cannot be used.
    """
    root = (folder or default_root()).expanduser().resolve()
    with alone_in(root), console.status("starting") as status:

        def progress(what: str) -> None:
            console.print(f"[green]up[/]  {what}", highlight=False)
            status.update(f"after {what}")

        network = LocalNetwork(Layout(root), block_time_s, _chain_port(), progress=progress)
        stop = _stop_signals()
        if not await _until(stop, network.start()):
            return
        try:
            status.stop()
            console.print(instructions(network, default=folder is None), markup=False, highlight=False, soft_wrap=True)
            await _until(stop, _keep_running(network, console))
        finally:
            console.print("stopping", style="dim")
            await network.stop()


def instructions(network: LocalNetwork, *, default: bool) -> str:
    """How to use the network, and how to join it, as commands to paste."""
    root = shlex.quote(str(network.layout.root))
    elsewhere = "" if default else f"  export ORCHESTRA_LOCAL={root}\n"
    schema = '{"offers": [{"name": "str", "price": "float"}]}'
    return f"""
The network is up. Gateway: {network.gateway}   Logs: {network.layout.root / "logs"}

Ask it, in a second terminal:
{elsewhere}  orchestra run "Compare RunPod and Lambda on A100 price" --schema '{schema}'
  orchestra status

Join it as a new miner:
  orchestra wallet new --wallet.name newcomer --no-password
  orchestra register --netuid {NETUID} --network {LOCAL_NAME} --wallet.name newcomer --fund-from //Alice
  {MINER}

Ctrl-C stops it; what it did stays in {network.layout.root}.
"""


def _chain_port() -> int:
    """The port that others try first, unless somebody listens there: then 0, for any."""
    return LOCAL_PORT if is_free("127.0.0.1", LOCAL_PORT) else 0


@contextmanager
def alone_in(root: Path) -> Generator[None]:
    """Make the folder of a network and keep others out of it.

    Raises:
        SettingsError: another network runs there, or the folder cannot be used.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (root / "up.lock").open("a")
    except OSError as error:
        raise unusable(root, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"the network in {root} is up already: use it, or choose another folder"
            raise SettingsError(message) from None
        yield


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Run `work` to its end, or cancel it and wait for that when `stop` is set. Was it the end?"""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait({working, stopping})


async def _keep_running(network: LocalNetwork, console: Console) -> None:
    """Start again what dies; what dies too often stays down, and is said so."""
    deaths: Counter[str] = Counter()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        for child in network.processes.ended():
            deaths[child.name] += 1
            if deaths[child.name] <= MOST_RESTARTS:
                console.print(f"{child.name} ended with {child.process.returncode}: started again", style="yellow")
                await _restart(network, child, console)
            elif deaths[child.name] == MOST_RESTARTS + 1:
                console.print(f"{child.name} stays down after {MOST_RESTARTS} restarts: see {child.log}", style="red")


async def _restart(network: LocalNetwork, child: Child, console: Console) -> None:
    try:
        await network.processes.restart(child.name)
    except ProcessFailed as error:
        console.print(str(error), style="red", markup=False)
