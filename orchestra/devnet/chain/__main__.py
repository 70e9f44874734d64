"""`python -m orchestra.devnet.chain`: the local chain as a process.

When it is ready it prints one JSON line, `{"port": ..., "genesis_hash": ...}`, and serves 127.0.0.1 until SIGTERM or
SIGINT, after which it exits 0. Started again with the same database, it goes on where it was. A launcher that may be
killed holds the process's standard input open and says `--tied-to-stdin`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from pydantic import ValidationError

from orchestra.chain.keys import verify_signature
from orchestra.devnet.chain.genesis import Genesis
from orchestra.devnet.chain.node import Node, Settings
from orchestra.devnet.chain.server import create_app
from orchestra.devnet.chain.store import Store, WrongChain

HOST = "127.0.0.1"
DEFAULT_PORT = 9955
MAX_GENESIS = 8 << 20


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m orchestra.devnet.chain", description="A local Bittensor-like chain."
    )
    parser.add_argument("--db", type=Path, required=True, help="SQLite file that holds the chain")
    parser.add_argument("--genesis", type=Path, help="JSON file as orchestra/devnet/chain/genesis.py describes")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 picks a free one (default %(default)s)")
    parser.add_argument("--block-time", type=float, default=1.0, help="seconds; 0: blocks only by step or extrinsic")
    parser.add_argument(
        "--seal", choices=("instant", "manual"), default="instant",
        help="with --block-time 0: whether an extrinsic makes a block at once or waits for a step",
    )  # fmt: skip
    parser.add_argument("--finality-lag", type=int, default=0, help="blocks between head and finalised head")
    parser.add_argument(
        "--tied-to-stdin", action="store_true", help="end when standard input closes, not to outlive a killed parent"
    )
    parser.add_argument(
        "--transaction-fd", type=int, help="descriptor that gets B and E around every write transaction"
    )
    return parser.parse_args()


def _load_genesis(path: Path | None) -> Genesis:
    if path is None:
        return Genesis()
    if path.stat().st_size > MAX_GENESIS:
        raise ValueError(f"{path} is larger than {MAX_GENESIS} bytes")
    return Genesis.model_validate_json(path.read_bytes())


def _marker(descriptor: int | None) -> Callable[[bool], None] | None:
    """Tells a test, through a pipe that survives a kill, whether a transaction was open."""
    if descriptor is None:
        return None
    return lambda active: _mark(descriptor, active)


def _mark(descriptor: int, active: bool) -> None:
    os.write(descriptor, b"B" if active else b"E")


async def _serve(store: Store, arguments: argparse.Namespace) -> None:
    settings = Settings(arguments.block_time, arguments.seal == "instant", arguments.finality_lag)
    node = Node(store, verify_signature, settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.tied_to_stdin:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end_of_input, loop, stop)
    runner = web.AppRunner(create_app(node), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, arguments.port).start()
        port = runner.addresses[0][1]
        print(json.dumps({"port": port, "genesis_hash": store.genesis_hash}), flush=True)
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(node.run())
            group.create_task(_cancel_after(stop, ticking))
    finally:
        await runner.cleanup()


def _stop_at_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


async def _cancel_after(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    await stop.wait()
    task.cancel()


def main() -> int:
    arguments = _arguments()
    try:
        store = Store(arguments.db, _load_genesis(arguments.genesis), _marker(arguments.transaction_fd))
    except (ValidationError, ValueError, WrongChain, OSError) as error:
        print(f"cannot start the chain: {error}", file=sys.stderr)
        return 2
    except sqlite3.OperationalError as error:
        print(f"cannot open {arguments.db}: {error}; is another chain using it?", file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(store, arguments))
    except OSError as error:
        print(f"cannot listen on {HOST}:{arguments.port}: {error}", file=sys.stderr)
        return 2
    except ExceptionGroup as group:
        if not group.subgroup(sqlite3.Error):
            raise
        print(f"the chain stopped, {arguments.db} cannot be written: {group.exceptions[0]}", file=sys.stderr)
        return 3
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
