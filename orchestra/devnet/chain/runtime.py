"""The chain's rules as a pure, synchronous state machine: a parent block and extrinsics in, a block and changes out.

Nothing here reads a clock, a file or a socket, and the same inputs give the same block, bit for bit; storage
(`store.py`) and network (`server.py`) are somebody else's. A block runs its epochs first and its extrinsics after, as
`on_initialize` does on the real chain. Each extrinsic pays a constant fee and uses up its nonce whether its call
succeeds or not; a failed call's writes are undone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from orchestra.devnet.chain import accounts, epoch, events, networks
from orchestra.devnet.chain.address import is_address
from orchestra.devnet.chain.calls import Context, parse_call
from orchestra.devnet.chain.errors import (
    ANCIENT,
    BAD_PROOF,
    FUTURE,
    PAYMENT,
    STALE,
    DispatchError,
    PoolError,
)  # fmt: skip
from orchestra.devnet.chain.extrinsic import Extrinsic, signature_bytes, signed_bytes
from orchestra.devnet.chain.items import NOBODY, Local, Subtensor, System, Timestamp
from orchestra.devnet.chain.state import ABSENT, Changes, State
from orchestra.devnet.chain.wire import digest, dumps

Verify: TypeAlias = Callable[[str, bytes, bytes], bool]
"""(SS58 address, message, signature) -> whether it is an sr25519 signature by that address. Never raises."""

COLDKEY_PAYS: Final = frozenset(
    {
        ("SubtensorModule", "set_weights"),
        ("SubtensorModule", "set_mechanism_weights"),
        ("SubtensorModule", "commit_timelocked_mechanism_weights"),
        ("SubtensorModule", "serve_axon"),
        ("SubtensorModule", "serve_prometheus"),
        ("Commitments", "set_commitment"),
    }
)
"""Calls signed by a hotkey whose fee its coldkey pays (`runtime/src/fee_filters.rs`)."""


@dataclass(frozen=True)
class Outcome:
    """What became of one included extrinsic.

    `index` counts from 1, because extrinsic 0 of every block is the timestamp; `error` is a runtime error name, None on
    success; `fee` is rao.
    """

    hash: str
    index: int
    error: str | None
    fee: int


@dataclass(frozen=True)
class Block:
    """A produced block. `hash` covers everything in `header`, which commits to the extrinsics and to every change."""

    number: int
    hash: str
    header: dict[str, Any]
    extrinsics: tuple[Extrinsic, ...]
    outcomes: tuple[Outcome, ...]
    events: list[dict[str, Any]]
    changes: Changes = field(repr=False)


class Runtime:
    """Rules bound to one network (`genesis_hash`) and one signature check."""

    def __init__(self, genesis_hash: str, verify: Verify) -> None:
        self.genesis_hash = genesis_hash
        self._verify = verify

    # Before a block ---------------------------------------------------------------------------------------------------

    def validate(self, state: State, extrinsic: Extrinsic, queued: int = 0) -> None:
        """Whether the extrinsic may enter the pool, with `queued` of its signer already there. Raises PoolError."""
        parse_call(extrinsic.module, extrinsic.function, extrinsic.params)
        if not is_address(extrinsic.signer):
            raise PoolError(BAD_PROOF)
        signed = signed_bytes(extrinsic, self.genesis_hash)
        if not self._verify(extrinsic.signer, signed, signature_bytes(extrinsic)):
            raise PoolError(BAD_PROOF)
        self._check_order(state, extrinsic, state.block + 1, queued)
        if accounts.free(state, payer(state, extrinsic)) < fee(state) + accounts.existential_deposit(state):
            raise PoolError(PAYMENT)

    def _check_order(self, state: State, extrinsic: Extrinsic, block: int, queued: int) -> None:
        expected = accounts.nonce(state, extrinsic.signer) + queued
        if extrinsic.nonce < expected:
            raise PoolError(STALE)
        if extrinsic.nonce > expected:
            raise PoolError(FUTURE)
        if not extrinsic.birth <= block <= extrinsic.birth + extrinsic.period:
            raise PoolError(ANCIENT)

    # A block ----------------------------------------------------------------------------------------------------------

    def build(self, state: State, parent_hash: str, extrinsics: Sequence[Extrinsic], timestamp: int) -> Block:
        """The block after `state.block`. Extrinsics that have become invalid since the pool took them are left out."""
        number = state.block + 1
        included: list[Extrinsic] = []
        outcomes: list[Outcome] = []
        records: list[dict[str, Any]] = []
        with state.layer() as changes:
            self._initialise(state, number, parent_hash, timestamp)
            for extrinsic in extrinsics:
                try:
                    self._check_order(state, extrinsic, number, 0)
                    outcome, emitted = self._apply(state, extrinsic, number, len(included) + 1)
                except PoolError:
                    continue
                included.append(extrinsic)
                outcomes.append(outcome)
                records += emitted
        header = {
            "number": number,
            "parentHash": parent_hash,
            "timestamp": timestamp,
            "extrinsicsRoot": digest([extrinsic.hash for extrinsic in included]),
            "stateRoot": changes_root(changes),
        }
        return Block(number, digest(header), header, tuple(included), tuple(outcomes), records, changes)

    def _initialise(self, state: State, number: int, parent_hash: str, timestamp: int) -> None:
        state.put(System.Number, number)
        state.put(System.ParentHash, parent_hash)
        state.put(Timestamp.Now, timestamp)
        for netuid in networks.netuids(state):
            if state.get(Subtensor.RegistrationsThisBlock, netuid):
                state.put(Subtensor.RegistrationsThisBlock, netuid, 0)
            _decay_burn(state, netuid)
            if epoch.due(state, netuid, number):
                epoch.run(state, netuid, number)

    def _apply(
        self, state: State, extrinsic: Extrinsic, number: int, index: int
    ) -> tuple[Outcome, list[dict[str, Any]]]:
        """Charge, then dispatch. Raises PoolError when the fee cannot be paid: then nothing has happened."""
        who, cost = payer(state, extrinsic), fee(state)
        if accounts.free(state, who) < cost + accounts.existential_deposit(state):
            raise PoolError(PAYMENT)
        accounts.use_nonce(state, extrinsic.signer)
        accounts.burn(state, who, cost)
        context = Context(state, number, extrinsic.signer)
        context.emit("Balances", "Withdraw", {"who": who, "amount": cost})
        error = self._dispatch(context, extrinsic)
        context.emit("TransactionPayment", "TransactionFeePaid", {"who": who, "actual_fee": cost, "tip": 0})
        if error is None:
            context.emit("System", "ExtrinsicSuccess", {"dispatch_info": DISPATCH_INFO})
        else:
            failed = {"dispatch_error": {"Other": error}, "dispatch_info": DISPATCH_INFO}
            context.emit("System", "ExtrinsicFailed", failed)
        outcome = Outcome(extrinsic.hash, index, error, cost)
        return outcome, [events.record(*event, index) for event in context.events]

    def _dispatch(self, context: Context, extrinsic: Extrinsic) -> str | None:
        """Run the call in its own layer; the error's name if it failed."""
        run, arguments = parse_call(extrinsic.module, extrinsic.function, extrinsic.params)
        before = len(context.events)
        try:
            with context.state.layer():
                run(context, **arguments)
        except DispatchError as error:
            del context.events[before:]
            return error.name
        return None


DISPATCH_INFO: Final = {"weight": {"ref_time": 0, "proof_size": 0}, "class": "Normal", "pays_fee": "Yes"}


def fee(state: State) -> int:
    """Rao that any extrinsic costs."""
    return state.get(Local.Spec)["fee"]


def payer(state: State, extrinsic: Extrinsic) -> str:
    """Who pays: the signer, or the coldkey behind a hotkey for a neuron's routine calls."""
    if (extrinsic.module, extrinsic.function) in COLDKEY_PAYS:
        owner = state.get(Subtensor.Owner, extrinsic.signer)
        return extrinsic.signer if owner == NOBODY else owner
    return extrinsic.signer


def changes_root(changes: Changes) -> str:
    """A commitment to a block's writes, independent of their order."""
    lines = [
        (item.pallet, item.name, dumps(key), None if value is ABSENT else dumps(value))
        for (item, key), value in changes.items()
    ]
    return digest(sorted(lines, key=lambda line: line[:3]))


def _decay_burn(state: State, netuid: int) -> None:
    """The registration price halves every `BurnHalfLife` blocks, down to `MinBurn`."""
    price, floor = state.get(Subtensor.Burn, netuid), state.get(Subtensor.MinBurn, netuid)
    if price > floor:
        half_life = max(1, state.get(Subtensor.BurnHalfLife, netuid))
        state.put(Subtensor.Burn, netuid, max(floor, int(price * 0.5 ** (1 / half_life))))
