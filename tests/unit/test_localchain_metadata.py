"""The local chain against the real runtime's metadata: names, key counts, defaults, calls, events and every value.

A busy little network is played through the pure runtime; then every stored entry and every runtime-API answer must come
back unchanged from encoding and decoding with its real type. What the SDK decodes on finney is what it gets here.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from bittensor import calls as sdk_calls
from bittensor._transport.codec import RuntimeCodec
from bittensor._transport.errors import StorageFunctionNotFound

from orchestra.devnet.chain import events, views
from orchestra.devnet.chain.calls import CALLS
from orchestra.devnet.chain.items import PUBLIC, Item
from orchestra.devnet.chain.state import State
from orchestra.devnet.chain.wire import dumps, loads
from tests.localchain import busy_chain
from tests.metadata import NEWER_THAN_METADATA, runtime_codec


@pytest.fixture(scope="module")
def codec() -> RuntimeCodec:
    return runtime_codec()


@pytest.fixture(scope="module")
def state() -> State:
    return busy_chain()


KNOWN = [item for at, item in PUBLIC.items() if at not in NEWER_THAN_METADATA]


def name(item: Item) -> str:
    return f"{item.pallet}.{item.name}"


@pytest.mark.parametrize("item", KNOWN, ids=name)
def test_every_item_exists_with_its_keys_and_default(codec: RuntimeCodec, item: Item) -> None:
    entry = codec.storage_entry(item.pallet, item.name)
    assert len(entry.param_types) == item.keys
    missing = codec.decode(entry.decode_type(False), entry.default_bytes)
    assert item.default == missing
    assert type(item.default) is type(missing)


@pytest.mark.parametrize("at", sorted(NEWER_THAN_METADATA), ids=".".join)
def test_the_allow_list_is_not_stale(codec: RuntimeCodec, at: tuple[str, str]) -> None:
    with pytest.raises(StorageFunctionNotFound):
        codec.storage_entry(*at)


def shape(value: Any) -> Any:
    """Types all the way down: a tuple must not come back as a list."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return (type(value), [shape(part) for part in value])
    return (type(value), value)


def assert_survives(codec: RuntimeCodec, type_string: str, value: Any) -> None:
    decoded = codec.decode(type_string, codec.encode(type_string, value))
    assert shape(decoded) == shape(value)
    assert shape(loads(dumps(value))) == shape(value)  # as it travels from the chain process


@pytest.mark.parametrize("item", KNOWN, ids=name)
def test_every_stored_value_survives_its_real_type(codec: RuntimeCodec, state: State, item: Item) -> None:
    entry = codec.storage_entry(item.pallet, item.name)
    for key, _ in state.pairs(item):
        assert_survives(codec, entry.value_type, views.query(state, item.pallet, item.name, list(key)))
        codec.storage_key(entry, list(key))
    if item.keys:
        for _, value in views.query_map(state, item.pallet, item.name, []):
            assert_survives(codec, entry.value_type, value)


def test_the_busy_chain_fills_what_it_claims_to(state: State) -> None:
    """The test above is worth as much as the state it walks over."""
    filled = {name(item) for item in PUBLIC.values() if state.pairs(item)}
    for needed in ("Weights", "Bonds", "Incentive", "Axons", "Uids", "SubnetIdentitiesV3", "IdentitiesV2", "Emission",
                   "MechanismEmissionSplit", "TimelockedWeightCommits", "Prometheus", "StakingHotkeys"):  # fmt: skip
        assert f"SubtensorModule.{needed}" in filled
    assert {"Commitments.CommitmentOf", "Commitments.UsedSpaceOf", "System.Account"} <= filled


def api_calls(state: State) -> list[tuple[str, str, list[Any]]]:
    hotkey = views.query(state, "SubtensorModule", "Keys", [2, 0])
    coldkey = views.query(state, "SubtensorModule", "Owner", [hotkey])
    samples: dict[str, Any] = {
        "netuid": 2, "mecid": 1, "coldkey_account": coldkey, "coldkey_accounts": [coldkey], "hotkey_account": hotkey,
        "tao": 5, "alpha": 5, "account": coldkey,
    }  # fmt: skip
    codec = runtime_codec()
    return [
        (api, method, [samples[argument] for argument, _ in codec.runtime_api_map[api][method]["inputs"]])
        for api, method in views.APIS
    ]


def test_every_runtime_answer_survives_its_real_type(codec: RuntimeCodec, state: State) -> None:
    for api, method, params in api_calls(state):
        value = views.runtime_call(state, api, method, params)
        assert value is not None, f"{api}.{method} answered nothing"
        assert_survives(codec, codec.runtime_api_map[api][method]["output"], value)


def test_a_missing_subnet_is_none_in_the_real_type_too(codec: RuntimeCodec, state: State) -> None:
    for method in ("get_metagraph", "get_subnet_hyperparams_v3", "get_dynamic_info", "get_next_epoch_start_block"):
        assert views.runtime_call(state, "SubnetInfoRuntimeApi", method, [999]) is None
        assert codec.decode(codec.runtime_api_map["SubnetInfoRuntimeApi"][method]["output"], b"\x00") is None


@pytest.mark.parametrize("at", sorted(CALLS), ids=".".join)
def test_every_call_takes_the_real_arguments(codec: RuntimeCodec, at: tuple[str, str]) -> None:
    (pallet,) = (pallet for pallet in codec.metadata_ir().pallets if pallet.name == at[0])
    (real,) = (call for call in pallet.calls if call.name == at[1])
    assert [argument.name for argument in real.args] == list(CALLS[at].arguments)
    builder = getattr(getattr(sdk_calls, at[0]), at[1])
    assert list(inspect.signature(builder).parameters) == list(CALLS[at].arguments)


def test_every_event_has_its_real_indices(codec: RuntimeCodec) -> None:
    types = {entry["id"]: entry["type"] for entry in codec.registry_types()}
    records = types[int(codec.storage_entry("System", "Events").value_type.split("::")[1])]["def"]["sequence"]["type"]
    (event,) = (f["type"] for f in types[records]["def"]["composite"]["fields"] if f["name"] == "event")
    pallets = {variant["name"]: variant for variant in types[event]["def"]["variant"]["variants"]}
    for (module, name), (pallet, index) in events.INDICES.items():
        variants = types[pallets[module]["fields"][0]["type"]]["def"]["variant"]["variants"]
        real = {variant["name"]: variant["index"] for variant in variants}
        assert (pallets[module]["index"], real.get(name)) == (pallet, index), f"{module}.{name}"


REAL_CONSTANTS = [
    ("Balances", "ExistentialDeposit"),
    ("Commitments", "MaxFields"),
    ("SubtensorModule", "InitialStartCallDelay"),
    ("SubtensorModule", "MaxTempo"),
    ("SubtensorModule", "MinTempo"),
    ("System", "BlockHashCount"),
    ("System", "SS58Prefix"),
]


@pytest.mark.parametrize("at", REAL_CONSTANTS, ids=".".join)
def test_constants_are_the_real_ones(codec: RuntimeCodec, state: State, at: tuple[str, str]) -> None:
    assert views.constants(state, 1000)[at] == codec.constant(*at)
