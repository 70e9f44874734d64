"""The SDK's door to the local chain: a `bittensor.Substrate` over the chain process of `orchestra.devnet.chain`.

`bittensor.Client(substrate=LocalSubstrate(endpoint))` reads and writes as it does on finney: the same intents, the same
decoded values, the same `ExtrinsicResult` and error codes; a chain that cannot be reached raises the SDK's
`RpcConnectionError` within a deadline (`local_link.py`), and the next call tries again.

Between submission and inclusion the chain may die. Then nobody here knows the outcome, and `RpcConnectionError` names
the extrinsic: read the chain again before repeating it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, cast

from bittensor import calls as sdk_calls
from bittensor._generated.errors import ERRORS
from bittensor._transport.codec import multisig_account
from bittensor._transport.contract import MultisigAccount, UnsignedExtrinsic
from bittensor.balance import Balance
from bittensor.result import (
    ChainError,
    ExtrinsicResult,
    RpcConnectionError,
    chain_error_from_substrate_request,
)

from orchestra.chain.local_link import DEADLINE, ChainLink, PoolRejection
from orchestra.devnet.chain.extrinsic import Extrinsic, payload
from orchestra.devnet.chain.wire import dumps, loads, pack

DEFAULT_LOCAL_PORT: Final = 9955
LONG_POLL: Final = 10.0
INCLUSION_DEADLINE: Final = 60.0
DEFAULT_PERIOD: Final = 128
HEADER_FIELDS: Final = ("number", "parentHash", "hash", "stateRoot", "extrinsicsRoot")


@dataclass(frozen=True)
class LocalCall:
    """A composed call: what the SDK passes from `compose` to `submit`, with JSON-ready arguments."""

    module: str
    function: str
    params: dict[str, Any]

    @cached_property
    def data(self) -> bytes:
        """Canonical bytes of the call: the local counterpart of SCALE call data."""
        return dumps({"module": self.module, "function": self.function, "params": self.params}).encode()

    @cached_property
    def call_hash(self) -> bytes:
        return blake2b(self.data, digest_size=32).digest()


class LocalSubstrate:
    """One connection to a chain process at `http://127.0.0.1:PORT`. Use it from one event loop; `close` it.

    `inclusion_deadline` (seconds) bounds how long `submit` waits for its block.
    """

    def __init__(
        self, endpoint: str, *, deadline: float = DEADLINE, inclusion_deadline: float = INCLUSION_DEADLINE
    ) -> None:
        self.endpoint = endpoint
        self.token_symbols: dict[int, str] = {}
        self._link = ChainLink(endpoint, deadline)
        self._call = self._link.call
        self._inclusion_deadline = inclusion_deadline
        self._genesis_hash = ""
        self._signing: dict[str, asyncio.Lock] = {}

    def balance(self, rao: int, netuid: int = 0) -> Balance:
        return Balance(int(rao), netuid, self.token_symbols.get(netuid) if netuid else None)

    # Lifecycle --------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open the connection. Idempotent. Raises RpcConnectionError when no local chain answers there."""
        if self._genesis_hash:
            return
        self._link.open()
        try:
            self._genesis_hash = (await self._call("info"))["genesis_hash"]
        except BaseException:
            await self._link.close()
            raise

    async def close(self) -> None:
        self._genesis_hash = ""
        await self._link.close()

    # Blocks -----------------------------------------------------------------------------------------------------------

    async def block_hash(self, block: int | None = None) -> str:
        return await self._call("block_hash", number=block)

    async def block_number(self) -> int:
        return (await self._call("info"))["number"]

    async def finalized_block_number(self) -> int:
        return (await self._call("info"))["finalized"]

    async def block_time(self) -> float:
        return int(await self.constant("Aura", "SlotDuration")) / 1000

    async def spec_version(self) -> int:
        return (await self._call("info"))["spec_version"]

    async def get_block(self, block_number: int | None = None, block_hash: str | None = None) -> dict[str, Any] | None:
        block = await self._call("block", number=block_number, hash=block_hash)
        if block is None:
            return None
        header = {name: block["header"][name] for name in HEADER_FIELDS}
        inherent = _decoded("Timestamp", "set", {"now": block["header"]["timestamp"]})
        signed = [
            {
                **_decoded(extrinsic["module"], extrinsic["function"], extrinsic["params"]),
                "address": extrinsic["signer"],
                "nonce": extrinsic["nonce"],
                "signature": {"Sr25519": extrinsic["signature"]},
                "extrinsic_hash": extrinsic["hash"],
            }
            for extrinsic in block["extrinsics"]
        ]
        return {"header": header, "extrinsics": [inherent, *signed]}

    async def blocks(self, *, finalized: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Headers from the current head on, none left out."""
        number = await (self.finalized_block_number() if finalized else self.block_number())
        while True:
            while True:
                head = await self._call("wait_block", LONG_POLL, number=number, seconds=LONG_POLL)
                reached = await self.finalized_block_number() if finalized else head
                if reached >= number:
                    break
                if finalized:
                    await self._call("wait_block", LONG_POLL, number=head + 1, seconds=LONG_POLL)
            block = await self.get_block(block_number=number)
            if block is None:
                raise ChainError(f"block {number} is no longer kept by the local chain")
            yield {"header": block["header"]}
            number += 1

    async def events(self, block_hash: str | None = None) -> list[dict[str, Any]]:
        return [_with_dispatch_error(event) for event in await self._call("events", hash=block_hash)]

    # Storage ----------------------------------------------------------------------------------------------------------

    async def query(
        self, module: str, storage_function: str, params: list[Any] | None = None, block_hash: str | None = None
    ) -> Any:
        return await self._call("query", pallet=module, item=storage_function, keys=params or [], at=block_hash)

    async def query_map(
        self, module: str, storage_function: str, params: list[Any] | None = None, block_hash: str | None = None
    ) -> list[tuple[Any, Any]]:
        return await self._call("query_map", pallet=module, item=storage_function, keys=params or [], at=block_hash)

    async def query_batch(
        self, module: str, storage_function: str, param_sets: list[list[Any]], block_hash: str | None = None
    ) -> list[Any]:
        if not param_sets:
            return []
        return await self._call("query_batch", pallet=module, item=storage_function, keys=param_sets, at=block_hash)

    async def map_has_entries(
        self, module: str, storage_function: str, params: list[Any], block_hash: str | None = None
    ) -> bool:
        return bool(await self.query_map(module, storage_function, params, block_hash))

    async def runtime_call(self, api: str, method: str, params: list[Any], block_hash: str | None = None) -> Any:
        ordered = list(cast(dict[str, Any], params).values()) if isinstance(params, dict) else params
        return await self._call("runtime_call", api=api, method=method, params=ordered, at=block_hash)

    async def constant(self, module: str, name: str) -> Any:
        return await self._call("constant", pallet=module, name=name)

    async def decode_scale(self, type_string: str, data: Any) -> Any:
        raise ChainError(f"the local chain keeps JSON, not SCALE: nothing to decode as {type_string}")

    # Calls and fees ---------------------------------------------------------------------------------------------------

    async def compose(self, call: Any) -> LocalCall:
        """Check a `(module, function, params)` call against the SDK's own catalogue and make it JSON-ready.

        Raises ValueError for arguments that the runtime does not take: the real codec would ignore them silently.
        """
        if isinstance(call, LocalCall):
            return call
        module, function, params = call
        builder = getattr(getattr(sdk_calls, module, None), function, None)
        if builder is not None and params.keys() != inspect.signature(builder).parameters.keys():
            expected = ", ".join(inspect.signature(builder).parameters)
            raise ValueError(f"{module}.{function} takes {expected}; got {', '.join(params)}")
        return LocalCall(module, function, pack(params))

    async def estimate_fee(self, call: Any, keypair: Any) -> Balance:
        return Balance.from_rao(await self._call("fee"))

    async def estimate_weight(self, call: Any, keypair: Any) -> dict[str, int]:
        return {"ref_time": 0, "proof_size": 0}

    async def account_next_index(self, address: str) -> int:
        return await self._call("next_index", address=address)

    # Writes -----------------------------------------------------------------------------------------------------------

    async def mev_next_key(self) -> bytes | None:
        return None

    async def submit(
        self,
        call: Any,
        keypair: Any,
        *,
        nonce: int | None = None,
        period: int | None = DEFAULT_PERIOD,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> ExtrinsicResult:
        """Sign, submit, wait. A refusal comes back in the result; only a chain that cannot be reached raises."""
        composed = await self.compose(call)
        lock = self._signing.setdefault(keypair.ss58_address, asyncio.Lock())
        try:
            # One signer's next nonce is only known once the extrinsic before it is in the pool.
            async with lock:
                extrinsic = await self._signed(composed, keypair, nonce, period)
                await self._call("submit", extrinsic=extrinsic.to_json())
        except PoolRejection as error:
            return _refused(error)
        return await self._outcome(extrinsic.hash, wait_for_inclusion, wait_for_finalization)

    async def _signed(self, call: LocalCall, keypair: Any, nonce: int | None, period: int | None) -> Extrinsic:
        signer = keypair.ss58_address
        index = await self.account_next_index(signer) if nonce is None else nonce
        birth, lifetime = await self.block_number(), period or DEFAULT_PERIOD
        signature = keypair.sign(
            payload(self._genesis_hash, call.module, call.function, call.params, signer, index, birth, lifetime)
        )
        if inspect.isawaitable(signature):
            signature = await signature
        return Extrinsic(
            call.module, call.function, call.params, signer, index, birth, lifetime, _signature_hex(signature)
        )

    async def _outcome(self, extrinsic_hash: str, inclusion: bool, finalization: bool) -> ExtrinsicResult:
        if not (inclusion or finalization):
            return ExtrinsicResult(success=True, message="Submitted (not waiting).")
        try:
            async with asyncio.timeout(self._inclusion_deadline):
                while True:
                    found = await self._call(
                        "wait_included", LONG_POLL, hash=extrinsic_hash, finalized=finalization, seconds=LONG_POLL
                    )
                    if found["status"] != "pending":
                        break
        except TimeoutError:
            raise RpcConnectionError(
                f"extrinsic {extrinsic_hash} is in the pool but no block took it in {self._inclusion_deadline:g} s"
            ) from None
        except RpcConnectionError as error:
            raise RpcConnectionError(f"{error} (the outcome of extrinsic {extrinsic_hash} is unknown)") from error
        if found["status"] == "dropped":
            return _refused(PoolRejection(f"The extrinsic dropped out of the pool: {extrinsic_hash}"))
        return _report(found)

    async def sign_extrinsic(self, call: Any, keypair: Any, *, nonce: int, period: int) -> tuple[bytes, str]:
        extrinsic = await self._signed(await self.compose(call), keypair, nonce, period)
        return dumps(extrinsic.to_json()).encode(), extrinsic.hash

    async def find_extrinsic(self, extrinsic_hash: str, block_hash: str) -> ExtrinsicResult | None:
        found = await self._call("wait_included", hash=extrinsic_hash, finalized=False, seconds=0)
        return _report(found) if found.get("block_hash") == block_hash else None

    async def submit_signed(
        self, extrinsic: Any, keypair: Any, *, wait_for_inclusion: bool = True, wait_for_finalization: bool = True
    ) -> ExtrinsicResult:
        """Submit what `sign_extrinsic` made: its bytes, or an `Extrinsic`."""
        signed = extrinsic if isinstance(extrinsic, Extrinsic) else Extrinsic.from_json(loads(extrinsic))
        try:
            await self._call("submit", extrinsic=signed.to_json())
        except PoolRejection as error:
            return _refused(error)
        return await self._outcome(signed.hash, wait_for_inclusion, wait_for_finalization)

    async def prepare(
        self,
        call: Any,
        *,
        address: str,
        crypto_type: int = 1,
        nonce: int | None = None,
        period: int | None = DEFAULT_PERIOD,
        tip: int = 0,
        metadata_hash: bytes | None = None,
    ) -> UnsignedExtrinsic:
        """An extrinsic to be signed elsewhere: `payload` is what the address must sign."""
        composed = await self.compose(call)
        index = await self.account_next_index(address) if nonce is None else nonce
        birth, lifetime = await self.block_number(), period or DEFAULT_PERIOD
        signed = payload(
            self._genesis_hash, composed.module, composed.function, composed.params, address, index, birth, lifetime
        )
        return UnsignedExtrinsic(
            call_data=composed.data, address=address, public_key=b"", crypto_type=crypto_type,
            era={"period": lifetime, "current": birth}, nonce=index, tip=tip, tip_asset_id=None,
            genesis_hash=self._genesis_hash, era_block_hash=await self.block_hash(birth),
            spec_version=await self.spec_version(), transaction_version=1, metadata_hash=metadata_hash,
            payload=signed, payload_json={"data": "0x" + signed.hex(), "address": address, "type": "bytes"},
            included_in_extrinsic=b"", included_in_signed_data=b"",
        )  # fmt: skip

    async def submit_signature(
        self,
        unsigned: UnsignedExtrinsic,
        signature: bytes | str,
        *,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> ExtrinsicResult:
        call, era = loads(unsigned.call_data), cast(dict[str, int], unsigned.era)
        extrinsic = Extrinsic(
            call["module"], call["function"], call["params"], unsigned.address, unsigned.nonce, era["current"],
            era["period"], _signature_hex(signature),
        )  # fmt: skip
        return await self.submit_signed(
            extrinsic, None, wait_for_inclusion=wait_for_inclusion, wait_for_finalization=wait_for_finalization
        )

    def multisig_account(self, signatories: list[str], threshold: int) -> MultisigAccount:
        return multisig_account(signatories, threshold)

    async def submit_multisig(
        self,
        call: Any,
        keypair: Any,
        multisig_account: MultisigAccount,
        *,
        wait_for_inclusion: bool = True,
        wait_for_finalization: bool = True,
    ) -> ExtrinsicResult:
        return _refused(PoolRejection("Transaction call is not expected: the local chain has no multisigs"))

    # For tests and launchers ------------------------------------------------------------------------------------------

    async def step(self, count: int = 1) -> int:
        """Make `count` blocks now; the new head's number."""
        return await self._call("step", float(count), count=count)

    async def set_block_time(self, seconds: float) -> None:
        """Seconds between blocks from now on; 0 stops the clock."""
        await self._call("set_block_time", seconds=seconds)


# Wire to SDK ----------------------------------------------------------------------------------------------------------


def _signature_hex(signature: bytes | str) -> str:
    """64 bytes as `0x` hex; a leading MultiSignature version byte is dropped."""
    raw = bytes.fromhex(signature.removeprefix("0x")) if isinstance(signature, str) else bytes(signature)
    return "0x" + (raw[1:] if len(raw) == 65 else raw).hex()


def _decoded(module: str, function: str, params: dict[str, Any]) -> dict[str, Any]:
    arguments = [{"name": name, "value": value} for name, value in params.items()]
    return {"call": {"call_module": module, "call_function": function, "call_args": arguments}}


def _refused(error: PoolRejection) -> ExtrinsicResult:
    refusal = chain_error_from_substrate_request(error)
    # The SDK's text for this one is general; the chain said which call or argument it means.
    message = str(error) if refusal.name == "Call" else refusal.message
    return ExtrinsicResult(success=False, message=message, error=refusal)


def _report(found: dict[str, Any]) -> ExtrinsicResult:
    name, block_hash = found["error"], found["block_hash"]
    extrinsic_id = f"{found['block']}-{found['index']:04d}"
    if name is None:
        fee, events = Balance.from_rao(found["fee"]), found["events"]
        return ExtrinsicResult(True, "Success", block_hash, extrinsic_id, fee=fee, events=events)
    text = next((info.docs for info in ERRORS.values() if info.name == name and info.docs), name)
    return ExtrinsicResult(False, text, block_hash, extrinsic_id, error=ChainError(text, name))


def _with_dispatch_error(event: dict[str, Any]) -> dict[str, Any]:
    """Give a failure event the runtime's own error coordinates."""
    if event["event_id"] != "ExtrinsicFailed":
        return event
    name = event["attributes"]["dispatch_error"]["Other"]
    found = next((at for at, info in ERRORS.items() if info.name == name), None)
    error = {"Token": name} if found is None else {"Module": {"index": found[0], "error": f"0x{found[1]:02x}000000"}}
    attributes = {**event["attributes"], "dispatch_error": error}
    return {**event, "attributes": attributes, "event": {**event["event"], "attributes": attributes}}
