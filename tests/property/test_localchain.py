"""The state machine under arbitrary calls: what must hold whatever anybody does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestra.devnet.chain import accounts, networks, registry, views, wire
from orchestra.devnet.chain.genesis import Genesis
from orchestra.devnet.chain.items import PUBLIC, Balances, Item, Local, Subtensor, System, storage_index
from orchestra.devnet.chain.runtime import Runtime
from orchestra.devnet.chain.state import ABSENT, Changes, History, State
from orchestra.devnet.chain.store import Store
from tests.chainproc import one_subnet, ss58
from tests.localchain import PureChain, signature_is_fine

COLD = ("//Alice", "//Bob", "//v0//cold", "//m0//cold", "//nobody")
HOT = ("//v0", "//v1", "//m0", "//m1", "//m2", "//new", "//newer", "//Bob")
SMALL = {"max_allowed_uids": 6, "min_allowed_uids": 1, "immunity_period": 2, "tempo": 3, "weights_rate_limit": 0}
amounts = st.one_of(st.integers(0, 1000), st.integers(0, 10**13), st.integers(10**13 - 10**6, 10**13))
uids = st.lists(st.integers(0, 7), max_size=6)


class ChainMachine(RuleBasedStateMachine):
    """Anybody calls anything, blocks pass, and the books must balance after every one."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = PureChain(one_subnet(**SMALL))
        self.known_hash = self.chain.hash

    @rule(source=st.sampled_from(COLD), dest=st.sampled_from(COLD), amount=amounts, keep=st.booleans())
    def transfer(self, source: str, dest: str, amount: int, keep: bool) -> None:
        function = "transfer_keep_alive" if keep else "transfer_allow_death"
        self.chain.call(source, "Balances", function, dest=ss58(dest), value=amount)

    @rule(cold=st.sampled_from(COLD), hot=st.sampled_from(HOT))
    def register(self, cold: str, hot: str) -> None:
        self.chain.register(cold, hot)

    @rule(cold=st.sampled_from(COLD), hot=st.sampled_from(HOT), amount=amounts, netuid=st.sampled_from((0, 2, 9)))
    def stake(self, cold: str, hot: str, amount: int, netuid: int) -> None:
        hotkey = ss58(hot)
        self.chain.call(cold, "SubtensorModule", "add_stake", hotkey=hotkey, netuid=netuid, amount_staked=amount)
        self.chain.call(
            cold, "SubtensorModule", "remove_stake", hotkey=hotkey, netuid=netuid, amount_unstaked=amount // 2
        )

    @rule(hot=st.sampled_from(HOT), dests=uids, values=st.lists(st.integers(0, 65535), max_size=6))
    def weigh(self, hot: str, dests: list[int], values: list[int]) -> None:
        self.chain.weights(hot, dests, values)
        self.chain.weights(hot, dests, (values + [1] * len(dests))[: len(dests)])

    @rule(
        hot=st.sampled_from(HOT), ip=st.integers(0, 2**128 - 1), kind=st.sampled_from((4, 6, 7)), port=st.integers(0, 2)
    )
    def serve(self, hot: str, ip: int, kind: int, port: int) -> None:
        self.chain.serve(hot, ip=ip, ip_type=kind, port=port)

    @rule(hot=st.sampled_from(HOT), size=st.integers(0, 128), count=st.integers(0, 5))
    def commit(self, hot: str, size: int, count: int) -> None:
        self.chain.commit(hot, *[{f"Raw{size}": "0x" + "07" * size}] * count)

    @rule(count=st.integers(0, 3))
    def set_mechanisms(self, count: int) -> None:
        self.chain.admin("sudo_set_mechanism_count", mechanism_count=count)

    @rule(blocks=st.integers(1, 8))
    def wait(self, blocks: int) -> None:
        self.chain.step(blocks)

    @invariant()
    def issuance_is_the_sum_of_balances(self) -> None:
        state = self.chain.state
        held = sum(record["data"]["free"] for _, record in state.pairs(System.Account))
        assert held == state.get(Balances.TotalIssuance)

    @invariant()
    def no_account_is_below_the_existential_deposit(self) -> None:
        state = self.chain.state
        floor = accounts.existential_deposit(state)
        balances = [record["data"]["free"] for _, record in state.pairs(System.Account)]
        assert all(free == 0 or free >= floor for free in balances)

    @invariant()
    def every_seat_has_one_holder(self) -> None:
        state = self.chain.state
        for netuid in networks.netuids(state):
            seats = {uid: hotkey for (uid,), hotkey in state.pairs(Subtensor.Keys, netuid)}
            assert list(seats) == list(range(state.get(Subtensor.SubnetworkN, netuid)))
            assert {hotkey: uid for uid, hotkey in seats.items()} == {
                hotkey: uid for (hotkey,), uid in state.pairs(Subtensor.Uids, netuid)
            }
            for item in registry.PER_UID:
                assert len(state.get(item, netuid)) == len(seats)
            for mechanism in registry.mechanisms(state, netuid):
                assert len(state.get(Subtensor.LastUpdate, storage_index(netuid, mechanism))) == len(seats)

    @invariant()
    def stake_adds_up(self) -> None:
        state = self.chain.state
        totals: dict[tuple[str, int], int] = {}
        for (hotkey, _, netuid), amount in state.pairs(Local.Stake):
            assert amount > 0
            totals[hotkey, netuid] = totals.get((hotkey, netuid), 0) + amount
        for (hotkey, netuid), amount in state.pairs(Subtensor.TotalHotkeyAlpha):
            assert totals.get((hotkey, netuid), 0) == amount

    @invariant()
    def proportions_are_proportions(self) -> None:
        state = self.chain.state
        for vector in (Subtensor.Incentive, Subtensor.Dividends):
            for _, values in state.pairs(vector):
                assert all(0 <= value <= 65535 for value in values)
                assert sum(values) <= 65535

    @invariant()
    def the_metagraph_can_always_be_read(self) -> None:
        graph = views.runtime_call(self.chain.state, "SubnetInfoRuntimeApi", "get_metagraph", [2])
        assert len(graph["hotkeys"]) == graph["num_uids"]

    @invariant()
    def blocks_go_on(self) -> None:
        assert self.chain.state.get(System.Number) == self.chain.number


TestChain = ChainMachine.TestCase
TestChain.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


# State ----------------------------------------------------------------------------------------------------------------

ITEM = Item("Test", "Item", 2, 0)
changes = st.dictionaries(
    st.tuples(st.just(ITEM), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    st.one_of(st.integers(1, 9), st.just(ABSENT)),
    max_size=4,
)


@given(blocks=st.lists(changes, max_size=12), horizon=st.integers(-1, 12))
def test_history_is_every_block_as_it_was(blocks: list[Changes], horizon: int) -> None:
    history, model = History(), [dict[Any, Any]()]
    for number, change in enumerate(blocks):
        history.record(number, change)
        merged = {**model[-1], **change}
        model.append({at: value for at, value in merged.items() if value is not ABSENT})
    history.forget(horizon)
    for number in range(max(0, horizon), len(blocks)):
        state, expected = State(history, number), model[number + 1]
        assert {(ITEM, key): value for key, value in state.pairs(ITEM)} == expected
        for first in range(3):
            below = {key[1:]: value for (_, key), value in expected.items() if key[0] == first}
            assert dict(state.pairs(ITEM, first)) == below


@given(outer=changes, inner=changes, fails=st.booleans())
def test_a_failed_layer_leaves_no_trace(outer: Changes, inner: Changes, fails: bool) -> None:
    state = State(History(), 0)
    with state.layer() as collected:
        _write(state, outer)
        try:
            with state.layer():
                _write(state, inner)
                if fails:
                    raise LookupError
        except LookupError:
            pass
        visible = {(ITEM, key): value for key, value in state.pairs(ITEM)}
    expected = outer if fails else {**outer, **inner}
    assert collected == expected
    assert visible == {at: value for at, value in expected.items() if value is not ABSENT}


def _write(state: State, change: Changes) -> None:
    for (item, key), value in change.items():
        if value is ABSENT:
            state.remove(item, *key)
        else:
            state.put(item, *key, value)


# Wire and disk --------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**128), 2**128) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(values)
def test_the_wire_keeps_every_value_and_type(value: Any) -> None:
    again = wire.loads(wire.dumps(value))
    assert again == value
    assert repr(again) == repr(value) or isinstance(value, dict | list | tuple)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(HOT), st.integers(1, 4)), max_size=8))
def test_a_reopened_store_is_the_same_chain(script: list[tuple[str, int]]) -> None:
    genesis = one_subnet(**SMALL)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "chain.sqlite", Genesis.model_validate(genesis))
        pure, runtime = PureChain(genesis), Runtime(store.genesis_hash, signature_is_fine)
        try:
            for hot, pause in script:
                extrinsic = pure.sign("//Bob", "SubtensorModule", "burned_register", netuid=2, hotkey=ss58(hot))
                for batch in ([extrinsic], *[[]] * pause):
                    state = State(store.history, store.number)
                    store.commit(runtime.build(state, store.hash, batch, 1000 * (store.number + 1)))
                    pure.produce(*batch)
        finally:
            store.close()
        reopened = Store(Path(folder) / "chain.sqlite", Genesis.model_validate(genesis))
        try:
            assert (reopened.number, reopened.hash) == (pure.number, pure.hash)
            for number in range(pure.number + 1):
                before, after = State(pure.history, number), State(reopened.history, number)
                assert all(before.pairs(item) == after.pairs(item) for item in PUBLIC.values())
        finally:
            reopened.close()
