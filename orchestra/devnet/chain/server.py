"""The chain's only door: POST / on 127.0.0.1, `{"method": ..., "params": {...}}` in, `{"result"}` or `{"error"}` out.

Bodies are bounded before they are read, waiting is bounded by the server, and an error is one of a few kinds that
`LocalSubstrate` maps to the SDK's own exceptions: `pool` (refused before inclusion), `unknown` (no such item here),
`discarded` (state too old), `block` (no such block), `bad-request`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from aiohttp import web

from orchestra.devnet.chain import accounts, runtime, views
from orchestra.devnet.chain.errors import PoolError
from orchestra.devnet.chain.extrinsic import Extrinsic, Malformed
from orchestra.devnet.chain.node import Discarded, Node, NoSuchBlock, describe
from orchestra.devnet.chain.wire import dumps, unpack

MAX_BODY: Final = 1 << 20
MAX_WAIT: Final = 20.0
MAX_STEP: Final = 100_000
MAX_BATCH: Final = 4096
SPEC_VERSION: Final = 461

NODE: Final = web.AppKey("node", Node)


class BadRequest(ValueError):
    """The request is not one of ours."""


def create_app(node: Node) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app[NODE] = node
    app.router.add_post("/", _handle)
    return app


async def _handle(request: web.Request) -> web.Response:
    try:
        method, params = _parse(await request.read())
        result = await METHODS[method](request.app[NODE], params)
    except PoolError as error:
        return _failure("pool", error.message)
    except views.Unknown as error:
        return _failure("unknown", str(error.args[0]))
    except Discarded as error:
        return _failure("discarded", str(error))
    except NoSuchBlock as error:
        return _failure("block", str(error))
    except (BadRequest, Malformed, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        return _failure("bad-request", f"{type(error).__name__}: {error}")
    return web.Response(text=dumps({"result": result}), content_type="application/json")


def _failure(kind: str, message: str) -> web.Response:
    return web.Response(text=dumps({"error": {"kind": kind, "message": message}}), content_type="application/json")


def _parse(body: bytes) -> tuple[str, dict[str, Any]]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(request, dict):
        raise BadRequest("the body is not an object")
    fields = cast(dict[str, Any], request)
    method, params = fields.get("method"), fields.get("params", {})
    if not isinstance(method, str) or method not in METHODS or not isinstance(params, dict):
        raise BadRequest(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    return method, cast(dict[str, Any], unpack(params))


# Methods --------------------------------------------------------------------------------------------------------------


async def _info(node: Node, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "genesis_hash": node.store.genesis_hash, "number": node.store.number, "hash": node.store.hash,
        "finalized": node.finalized, "spec_version": SPEC_VERSION, "slot_ms": node.slot_ms,
        "stepped": node.settings.block_time == 0,
    }  # fmt: skip


async def _block_hash(node: Node, params: dict[str, Any]) -> str:
    number = params.get("number")
    found = node.store.hash if number is None else node.store.hash_of(int(number))
    if found is None:
        raise NoSuchBlock(f"Block {number} does not exist (the head is {node.store.number})")
    return found


async def _block(node: Node, params: dict[str, Any]) -> dict[str, Any] | None:
    number = params.get("number")
    if params.get("hash") is not None:
        number = node.store.number_of(params["hash"])
        if number is None:
            return None
    stored = node.store.block(node.store.number if number is None else int(number))
    if stored is None:
        return None
    return {
        "header": {**stored.header, "hash": stored.hash},
        "extrinsics": [extrinsic.to_json() | {"hash": extrinsic.hash} for extrinsic in stored.extrinsics],
    }


async def _events(node: Node, params: dict[str, Any]) -> list[dict[str, Any]]:
    block_hash = params.get("hash") or node.store.hash
    number = node.store.number_of(block_hash)
    stored = None if number is None else node.store.block(number)
    if stored is None:
        raise NoSuchBlock(f"Block not found: {block_hash}")
    return stored.events


async def _query(node: Node, params: dict[str, Any]) -> Any:
    return views.query(node.state(params.get("at")), params["pallet"], params["item"], params["keys"])


async def _query_batch(node: Node, params: dict[str, Any]) -> list[Any]:
    state, keys = node.state(params.get("at")), params["keys"]
    if len(keys) > MAX_BATCH:
        raise BadRequest(f"at most {MAX_BATCH} keys at once")
    return [views.query(state, params["pallet"], params["item"], key) for key in keys]


async def _query_map(node: Node, params: dict[str, Any]) -> list[tuple[Any, Any]]:
    return views.query_map(node.state(params.get("at")), params["pallet"], params["item"], params["keys"])


async def _runtime_call(node: Node, params: dict[str, Any]) -> Any:
    return views.runtime_call(node.state(params.get("at")), params["api"], params["method"], params["params"])


async def _constant(node: Node, params: dict[str, Any]) -> Any:
    return views.constants(node.state(), node.slot_ms).get((params["pallet"], params["name"]))


async def _fee(node: Node, params: dict[str, Any]) -> int:
    return runtime.fee(node.state())


async def _next_index(node: Node, params: dict[str, Any]) -> int:
    return accounts.nonce(node.state(), params["address"]) + node.queued(params["address"])


async def _submit(node: Node, params: dict[str, Any]) -> str:
    return await node.submit(Extrinsic.from_json(params["extrinsic"]))


async def _wait_included(node: Node, params: dict[str, Any]) -> dict[str, Any]:
    seconds = min(float(params["seconds"]), MAX_WAIT)
    status, found = await node.wait_included(params["hash"], bool(params["finalized"]), seconds)
    if found is None:
        return {"status": status}
    stored = node.store.block(found.block)
    return {"status": status, **describe(found, stored.events if stored else [])}


async def _wait_block(node: Node, params: dict[str, Any]) -> int:
    return await node.wait_block(int(params["number"]), min(float(params["seconds"]), MAX_WAIT))


async def _step(node: Node, params: dict[str, Any]) -> int:
    count = int(params["count"])
    if not 0 <= count <= MAX_STEP:
        raise BadRequest(f"step makes 0 to {MAX_STEP} blocks")
    return await node.step(count)


async def _set_block_time(node: Node, params: dict[str, Any]) -> None:
    seconds = float(params["seconds"])
    if not 0 <= seconds <= 3600:
        raise BadRequest("the block time is 0 (stepped) to 3600 seconds")
    node.set_block_time(seconds)


METHODS: Final[dict[str, Callable[[Node, dict[str, Any]], Awaitable[Any]]]] = {
    "info": _info,
    "block_hash": _block_hash,
    "block": _block,
    "events": _events,
    "query": _query,
    "query_batch": _query_batch,
    "query_map": _query_map,
    "runtime_call": _runtime_call,
    "constant": _constant,
    "fee": _fee,
    "next_index": _next_index,
    "submit": _submit,
    "wait_included": _wait_included,
    "wait_block": _wait_block,
    "step": _step,
    "set_block_time": _set_block_time,
}
