"""Runs one local subnet: `python -m orchestra.devnet.subnets NAME`. Prints one JSON line when it serves."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from starlette.types import ASGIApp

from orchestra.devnet.content import posts
from orchestra.devnet.subnets import chutes, data_universe, desearch, local_web
from orchestra.devnet.subnets.bm25 import Bm25Index
from orchestra.devnet.subnets.crawler import Crawler
from orchestra.devnet.subnets.documents import documents
from orchestra.devnet.subnets.faults import Faults, Gate, control_app
from orchestra.devnet.subnets.keys import DEFAULT_BALANCE_USD, DEFAULT_KEY_URI, DEFAULT_KEYS, Keys
from orchestra.devnet.subnets.vectors import VectorIndex
from orchestra.transport import (
    AnyCaller,
    Limits,
    OutboundClient,
    ServeError,
    SignedRequests,
    SqliteNonceStore,
    run,
    serving,
)

NAMES = ("desearch", "data-universe", "chutes", "atlas", "web")
_DRAIN_S = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        run(_serve(options))
    except (ServeError, ValueError, OSError) as error:
        print(f"{options.name}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestra.devnet.subnets", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback)")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--control-port", type=int, default=0, help="0: any free one")
    parser.add_argument(
        "--web", default="", help="URL of a running local web; without it, desearch and atlas start one"
    )
    parser.add_argument(
        "--web-port", type=int, default=0, help="port of the local web that is started; 0: any free one"
    )
    parser.add_argument("--keys", type=Path, help='file with the accepted API keys: {"KEY": balance in USD, ...}')
    parser.add_argument(
        "--key-file", type=Path, help=f"file with atlas' signing key as a URI; default {DEFAULT_KEY_URI}"
    )
    parser.add_argument("--state", type=Path, help="folder for what must survive a restart; default a temporary one")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _running(options) as ready:
        print(json.dumps(ready), flush=True)
        await stop.wait()


@asynccontextmanager
async def _running(options: argparse.Namespace) -> AsyncGenerator[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        if options.name == "web":
            web = await stack.enter_async_context(
                serving(local_web.create_app(), options.host, options.port, drain_s=_DRAIN_S)
            )
            yield {"name": "web", "url": web.url, "port": web.port}
            return
        app, faults, more = await _service(options, stack)
        gate = Gate(faults.middleware(app), options.host, options.port)
        stack.push_async_callback(gate.set_open, False)
        address = await gate.set_open(True)
        control = await stack.enter_async_context(
            serving(control_app(faults, gate), options.host, options.control_port, drain_s=_DRAIN_S)
        )
        stack.callback(faults.set, faults.control.model_copy(update={"outage": None}))
        yield {
            "name": options.name,
            "url": address.url,
            "port": address.port,
            "control_url": control.url,
            "control_port": control.port,
            **more,
        }


async def _service(options: argparse.Namespace, stack: AsyncExitStack) -> tuple[ASGIApp, Faults, dict[str, Any]]:
    match options.name:
        case "desearch":
            faults = Faults(desearch.error, desearch.caller)
            crawler, web = await _crawler(options, stack)
            index = stack.enter_context(Bm25Index(documents()))
            return desearch.create_app(index, crawler, _keys(options), faults), faults, web
        case "data-universe":
            faults = Faults(data_universe.error, data_universe.caller)
            return data_universe.create_app(posts(), _keys(options), faults), faults, {}
        case "chutes":
            faults = Faults(chutes.error, chutes.caller)
            upstream = _upstream()
            client = await stack.enter_async_context(OutboundClient(allow_loopback=True)) if upstream else None
            app = chutes.create_app(_keys(options), faults, upstream=upstream, client=client)
            return app, faults, {"upstream": bool(upstream)}
        case _:
            return await _atlas(options, stack)


async def _atlas(options: argparse.Namespace, stack: AsyncExitStack) -> tuple[ASGIApp, Faults, dict[str, Any]]:
    from orchestra.chain.keys import dev_signer  # here, because only atlas has a use for what they bring along
    from orchestra.devnet.subnets import atlas

    faults = Faults(atlas.error, atlas.caller)
    crawler, web = await _crawler(options, stack)
    uri = options.key_file.read_text(encoding="utf-8").strip() if options.key_file else DEFAULT_KEY_URI
    signer = dev_signer(uri)
    folder = options.state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atlas-")))
    folder.mkdir(parents=True, exist_ok=True)
    nonces = await stack.enter_async_context(SqliteNonceStore(folder / "atlas-nonces.sqlite"))
    signed = SignedRequests(self_hotkey=signer.ss58_address, nonces=nonces, policy=AnyCaller(), limits=_limits())
    app = atlas.create_app(VectorIndex(documents()), crawler, faults, signer, signed)
    return app, faults, {**web, "hotkey": signer.ss58_address}


def _limits() -> Limits:
    """Everybody calls from one address here."""
    return Limits(
        hotkey_per_s=500,
        hotkey_burst=2_000,
        peer_per_s=2_000,
        peer_burst=8_000,
        hotkey_in_flight=256,
        peer_in_flight=1_024,
    )


async def _crawler(options: argparse.Namespace, stack: AsyncExitStack) -> tuple[Crawler, dict[str, Any]]:
    url = options.web.rstrip("/")
    if not url:
        started = serving(local_web.create_app(), options.host, options.web_port, drain_s=_DRAIN_S)
        url = (await stack.enter_async_context(started)).url
    crawler = await stack.enter_async_context(Crawler(url))
    return crawler, {"web_url": url}


def _keys(options: argparse.Namespace) -> Keys:
    """The accepted keys.

    Raises:
        ValueError: the file is not an object of balances.
    """
    if options.keys is None:
        return Keys({DEFAULT_KEYS[options.name]: DEFAULT_BALANCE_USD})
    document = json.loads(options.keys.read_text(encoding="utf-8"))
    try:
        return Keys({str(key): Decimal(str(balance)) for key, balance in document.items()})
    except (AttributeError, InvalidOperation):
        raise ValueError(f"{options.keys}: expected an object of API keys with their balance in USD") from None


def _upstream() -> chutes.Upstream | None:
    """The real model that the environment names, if it does.

    Raises:
        ValueError: an address without a model.
    """
    base_url = os.environ.get("ORCHESTRA_LLM_BASE_URL", "")
    if not base_url:
        return None
    model = os.environ.get("ORCHESTRA_LLM_MODEL", "")
    if not model:
        raise ValueError("ORCHESTRA_LLM_BASE_URL is set: set ORCHESTRA_LLM_MODEL to the model's name too")
    return chutes.Upstream(base_url, model, SecretStr(os.environ.get("ORCHESTRA_LLM_API_KEY", "")))


if __name__ == "__main__":
    sys.exit(main())
