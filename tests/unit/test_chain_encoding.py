"""What we send and read exists in a real runtime: every call encodes, every argument name matches both ways, every
storage item is there, all against the metadata of spec 461 and without any node.

The calls and reads are recorded, not listed: each facade method and each command of the subnet's owner runs over a
scripted chain that writes down what the SDK composed and asked. A method that is not exercised here fails a test.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, ClassVar

import bittensor as bt
import pytest

from orchestra.chain import Chain, calls, convert, dev_signer, owner, runtime
from orchestra.devnet.chain.wire import text_or_hex
from tests.fakes.substrate import ALICE, BOB, CHARLIE, Composed, FakeSubstrate, network, seat, with_subnet
from tests.metadata import NEWER_THAN_METADATA, runtime_codec

NETUID = 2


class WatchedChain(Chain):
    """A facade that writes down which of its methods were used."""

    used: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        type(self).used.add(name)
        return super().__getattribute__(name)


class Exercise:
    """What reached the chain while every facade method ran once."""

    def __init__(self) -> None:
        self.sent: list[Composed] = []
        self.asked: set[tuple[str, str, tuple[Any, ...]]] = set()
        self.runtime: set[tuple[str, str]] = set()

    @property
    def items(self) -> set[tuple[str, str]]:
        return {(pallet, item) for pallet, item, _ in self.asked}

    def note(self, fake: FakeSubstrate) -> None:
        self.sent += [sent.call for sent in fake.sent]
        self.asked |= set(fake.asked)
        self.runtime |= set(fake.runtime_asked)


def subnet(*, commit_reveal: bool = False, share: int = 0) -> FakeSubstrate:
    fake = with_subnet(FakeSubstrate(), [seat(ALICE, permit=True), seat(BOB)], netuid=NETUID)
    fake.store("Uids", [NETUID, CHARLIE], None)
    fake.store("CommitRevealWeightsEnabled", [NETUID], commit_reveal)
    fake.store("CollateralLockShare", [NETUID], share)
    fake.shield_key = bytes(1184)
    for item in ("RevealPeriodEpochs", "SubnetEpochIndex", "LastEpochBlock", "PendingEpochAt", "BlocksSinceLastStep"):
        fake.store(item, [NETUID], 1)
    for item, value in (("FirstEmissionBlockNumber", None), ("SubnetIdentitiesV3", None), ("SubnetOwner", ALICE)):
        fake.store(item, [NETUID], value)
    fake.store("Account", [ALICE], {"data": {"free": 1}}, pallet="System")
    fake.store_map("SubnetOwner", [], [(NETUID, ALICE)])
    fake.runtime[("SubnetRegistrationRuntimeApi", "get_network_registration_cost")] = 1
    return fake


async def neuron_walk(chain: Chain, fake: FakeSubstrate) -> None:
    alice = dev_signer("//Alice")
    for method in (
        chain.head,
        chain.finalized,
        chain.block_time_s,
        chain.spec_version,
        chain.is_main,
        chain.subnet_cost_rao,
    ):
        await method()
    await chain.block_hash(1)
    await chain.metagraph(NETUID)
    await chain.hyperparameters(NETUID)
    await chain.commitments(NETUID)
    await chain.balance_rao(ALICE)
    await chain.registration_cost_rao(NETUID)
    await chain.subnets_of(ALICE)
    await chain.owners(block=1)
    for mechid in (0, 1):
        await chain.weights(NETUID, mechid)
        fake.accept()
        assert (await chain.set_weights(alice, NETUID, {BOB: 0.25, ALICE: 0.75}, mechid=mechid, version_key=1)).ok
    for transaction in (
        chain.register(alice, NETUID, hotkey=CHARLIE),
        chain.serve(alice, NETUID, "203.0.113.7", 8091),
        chain.serve(alice, NETUID, "2001:db8::1", 8091),
        chain.commit(alice, NETUID, "o1|" + "é" * 150),
        chain.transfer(alice, BOB, 1),
    ):
        fake.accept()
        assert (await transaction).ok
    assert await chain.encode(calls.start_call(NETUID)) is None  # a scripted chain has no metadata


async def owner_walk(chain: Chain, fake: FakeSubstrate) -> None:
    alice = dev_signer("//Alice")
    todo = [calls.register_subnet(ALICE), *await owner.activation(chain, NETUID)]
    todo += await owner.configuration(chain, NETUID, {name: changed(rule.value) for name, rule in owner.PUBLIC.items()})
    fake.store("MaxAllowedUids", [NETUID], 256)
    fake.store("MechanismCountCurrent", [NETUID], 1)
    fake.store("MechanismEmissionSplit", [NETUID], None)
    todo += await owner.mechanisms(chain, NETUID, [60, 40])
    todo += await owner.identity(chain, NETUID, {**owner.IDENTITY, "subnet_url": "https://orchestra.example"})
    for call in todo:
        fake.accept()
        assert (await chain.submit(call, alice)).ok
    await chain.subnet_state(NETUID, "SubnetOwner")


def changed(value: int | bool) -> int | bool:
    """A value that differs from the scripted chain's, where every switch is off."""
    return True if isinstance(value, bool) else value + 1000


@pytest.fixture(scope="module")
def exercise() -> Exercise:
    seen = Exercise()

    async def run() -> None:
        sealed = subnet(commit_reveal=True, share=6553)
        for walk, fake in ((neuron_walk, subnet()), (neuron_walk, sealed), (owner_walk, subnet())):
            async with await WatchedChain.open(network(fake)) as chain:
                await walk(chain, fake)
            seen.note(fake)

    asyncio.run(run())
    return seen


def test_the_walks_send_every_call_in_the_table_and_no_other(exercise: Exercise) -> None:
    assert {(call.module, call.function) for call in exercise.sent} == set(runtime.CALLS)


def test_every_call_encodes_and_reads_back_with_every_argument(exercise: Exercise) -> None:
    codec = runtime_codec()
    for call in exercise.sent:
        decoded = codec.decode_call(codec.compose_call(*call).data)
        assert (decoded["call_module"], decoded["call_function"]) == (call.module, call.function)
        assert [argument["name"] for argument in decoded["call_args"]] == list(runtime.CALLS[call[:2]])
        read = {argument["name"]: argument["value"] for argument in decoded["call_args"]}
        assert read == {name: as_read(value) for name, value in call.params.items()}


def as_read(value: Any) -> Any:
    """Bytes come back as text where they are UTF-8, else as hex; everything else as it was sent."""
    return text_or_hex(value) if isinstance(value, bytes) else value


def test_argument_names_match_both_ways_in_what_we_send_and_in_what_we_check_for(exercise: Exercise) -> None:
    theirs = runtime.call_arguments(runtime_codec().metadata_ir())
    for call in exercise.sent:
        assert set(call.params) == set(theirs[call[:2]]), call
    assert {name: theirs[name] for name in runtime.CALLS} == dict(runtime.CALLS)
    assert list(runtime.differences(theirs)) == []


def test_every_storage_item_read_exists_under_the_keys_we_give(exercise: Exercise) -> None:
    codec = runtime_codec()
    for pallet, item, params in exercise.asked:
        if (pallet, item) not in NEWER_THAN_METADATA:
            assert codec.storage_key(codec.storage_entry(pallet, item), list(params))


def test_the_allow_list_of_newer_storage_is_not_stale(exercise: Exercise) -> None:
    theirs = {(pallet.name, item.name) for pallet in runtime_codec().metadata_ir().pallets for item in pallet.storage}
    assert exercise.items - theirs == NEWER_THAN_METADATA, "remove what the metadata has or nobody reads"


def test_every_runtime_api_called_exists(exercise: Exercise) -> None:
    theirs = runtime_codec().runtime_api_map
    assert exercise.runtime
    for api, method in exercise.runtime:
        assert method in theirs[api]


def test_every_public_method_of_the_facade_was_exercised(exercise: Exercise) -> None:
    public = {name for name, value in vars(Chain).items() if inspect.iscoroutinefunction(value) and name[0] != "_"}
    assert public <= WatchedChain.used


def test_a_commitment_survives_the_real_codec() -> None:
    codec = runtime_codec()
    text = "o1|12:0x" + "ab" * 32 + "|0x" + "cd" * 32
    call = calls.commit(NETUID, text)
    decoded = codec.decode_call(codec.compose_call(*call).data)
    record = {"info": decoded["call_args"][1]["value"], "block": 1, "deposit": 0}
    from bittensor.metagraph import _commitments  # the SDK's own reading of what the chain would keep

    assert _commitments(NETUID, [(BOB, record)], [], 1)[BOB].value == text


def test_differences_are_named() -> None:
    theirs: dict[tuple[str, str], tuple[str, ...]] = dict(runtime.CALLS)
    theirs[("SubtensorModule", "start_call")] = ("netuid", "when")
    del theirs[("Commitments", "set_commitment")]
    assert list(runtime.differences(theirs)) == [
        "Commitments.set_commitment is gone",
        "SubtensorModule.start_call takes (netuid, when), we send (netuid)",
    ]


@pytest.mark.parametrize("percent", [[60, 40], [50, 50], [1, 99], [33, 33, 34]])
def test_a_split_sums_to_what_the_chain_demands(percent: list[int]) -> None:
    shares = calls.split_u16(percent)
    assert sum(shares) == 65535
    assert all(abs(share / 65535 - part / 100) < 1e-4 for share, part in zip(shares, percent, strict=True))


def test_sixty_forty_is_the_published_pair() -> None:
    assert calls.split_u16([60, 40]) == (39321, 26214)


@pytest.mark.parametrize("percent", [[], [100], [60, 41], [0, 100], [-1, 101]])
def test_a_split_that_is_none_is_refused(percent: list[int]) -> None:
    with pytest.raises(ValueError, match="sum to 100"):
        calls.split_u16(percent)


def test_an_sdk_error_without_a_name_still_has_a_code() -> None:
    refusal = convert.refusal(bt.BittensorError("All weights are zero"))
    assert (refusal.ok, refusal.code) == (False, "invalid_argument")


def test_setters_say_what_they_set() -> None:
    codec = runtime_codec()
    for name in owner.PUBLIC:
        setter = calls.SETTERS[name]
        assert runtime.CALLS[("AdminUtils", setter.function)] == ("netuid", setter.argument)
        assert codec.storage_entry("SubtensorModule", setter.item).param_types
