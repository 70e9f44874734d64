"""The same facade over a real chain process: what it writes it reads back, under the chain's own rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestra.chain import Chain, ChainUnreachable, SubnetMissing, calls, dev_signer, owner
from orchestra.chain.local import DEFAULT_LOCAL_PORT
from orchestra.chain.networks import LOCAL_PORT, resolve
from tests.chainproc import TAO, ChainProcess, one_subnet, running_chain, ss58

NETUID = 2


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ChainProcess]:
    async with running_chain(tmp_path, one_subnet()) as running:
        yield running


@pytest.fixture
async def chain(process: ChainProcess) -> AsyncIterator[Chain]:
    async with await Chain.open(f"orchestra-local:{process.port}") as opened:
        yield opened


def test_the_local_network_has_one_default_port() -> None:
    assert LOCAL_PORT == DEFAULT_LOCAL_PORT
    assert resolve("orchestra-local").local
    assert not resolve("test").local


async def test_a_neurons_life(chain: Chain, process: ChainProcess) -> None:
    cold, hot = dev_signer("//Bob"), dev_signer("//new")
    assert await chain.uid(NETUID, hot.ss58_address) is None
    cost, before = await chain.registration_cost_rao(NETUID), await chain.balance_rao(cold.ss58_address)
    assert (await chain.register(cold, NETUID, hotkey=hot.ss58_address)).ok
    assert before - await chain.balance_rao(cold.ss58_address) >= cost
    assert "already registered" in (await chain.register(cold, NETUID, hotkey=hot.ss58_address)).message

    served = await chain.serve(hot, NETUID, "127.0.0.9", 9100)
    assert served.ok, served
    assert (await chain.serve(hot, NETUID, "127.0.0.9", 9100)).block_hash is None
    too_soon = await chain.serve(hot, NETUID, "127.0.0.9", 9101)
    assert (too_soon.ok, too_soon.code) == (False, "rate_limited")

    assert (await chain.commit(hot, NETUID, "o1|" + "x" * 200)).ok
    graph = await chain.metagraph(NETUID)
    neuron = graph.by_hotkey(hot.ss58_address)
    assert neuron is not None
    assert (neuron.uid, neuron.coldkey, neuron.axon) == (5, cold.ss58_address, "127.0.0.9:9100")
    assert neuron.commitment == "o1|" + "x" * 200
    assert (await chain.commitments(NETUID))[hot.ss58_address] == neuron.commitment
    assert graph.block.hash == await chain.block_hash(graph.block.number)
    assert [holder.hotkey for holder in graph.permit_holders()] == [ss58("//v0"), ss58("//v1")]
    assert graph.tempo == 10


async def test_weights_reach_incentive_and_vtrust(chain: Chain, process: ChainProcess) -> None:
    await process.step(6)
    wish = {ss58("//m0"): 0.75, ss58("//m1"): 0.25, ss58("//stranger"): 1.0}
    for validator in ("//v0", "//v1"):
        outcome = await chain.set_weights(dev_signer(validator), NETUID, wish)
        assert outcome.ok, outcome
        assert outcome.dropped == (ss58("//stranger"),)
    again = await chain.set_weights(dev_signer("//v0"), NETUID, wish)
    assert (again.ok, again.code) == (False, "rate_limited")
    rows = await chain.weights(NETUID)
    assert rows.keys() == {0, 1}
    assert rows[0] == pytest.approx({2: 0.75, 3: 0.25}, abs=1e-4)

    await process.step(12)
    graph = await chain.metagraph(NETUID)
    m0, m1, m2 = (graph.by_hotkey(ss58(uri)) for uri in ("//m0", "//m1", "//m2"))
    assert m0 is not None
    assert m1 is not None
    assert m2 is not None
    assert m0.incentive == pytest.approx(0.75, abs=1e-3)
    assert m1.incentive == pytest.approx(0.25, abs=1e-3)
    assert m2.incentive == 0
    assert [graph.neurons[uid].vtrust for uid in (0, 1)] == [1.0, 1.0]


async def test_a_miner_may_not_weigh_others(chain: Chain) -> None:
    outcome = await chain.set_weights(dev_signer("//m0"), NETUID, {ss58("//m1"): 1.0})
    assert (outcome.ok, outcome.code) == (False, "not_authorized")
    assert outcome.remediation


async def test_what_the_owner_wants_is_sent_once(chain: Chain) -> None:
    alice = dev_signer("//Alice")
    wanted = {name: rule.value for name, rule in owner.LOCAL.items()}
    todo = [
        *await owner.configuration(chain, NETUID, wanted),
        *await owner.mechanisms(chain, NETUID, [60, 40]),
        *await owner.identity(chain, NETUID, owner.IDENTITY),
    ]
    assert todo
    for call in todo:
        outcome = await chain.submit(call, alice)
        assert outcome.ok, (call, outcome)
    assert await owner.activation(chain, NETUID) == []
    assert await owner.configuration(chain, NETUID, wanted) == []
    assert await owner.mechanisms(chain, NETUID, [60, 40]) == []
    assert await owner.identity(chain, NETUID, owner.IDENTITY) == []
    rules = await chain.hyperparameters(NETUID)
    assert (rules.mechanism_count, rules.mechanism_split, rules.max_uids) == (2, (39321, 26214), 128)
    assert await chain.subnets_of(alice.ss58_address) == (NETUID,)
    assert [call.function for call in await owner.mechanisms(chain, NETUID, [100])] == ["sudo_set_mechanism_count"]


async def test_a_stranger_owns_nothing(chain: Chain) -> None:
    outcome = await chain.submit(calls.set_mechanism_count(NETUID, 2), dev_signer("//Bob"))
    assert not outcome.ok
    assert await chain.subnets_of(ss58("//Bob")) == ()


async def test_a_new_subnet_is_created_started_and_named(chain: Chain) -> None:
    alice = dev_signer("//Alice")
    cost = await chain.subnet_cost_rao()
    assert 0 < cost <= 10_000 * TAO
    assert (await chain.submit(calls.register_subnet(ss58("//Alice//second")), alice)).ok
    (created,) = set(await chain.subnets_of(alice.ss58_address)) - {NETUID}
    newest = (await chain.finalized()).number
    assert await chain.owners(block=newest) == {**await chain.owners(block=0), created: alice.ss58_address}
    (start,) = await owner.activation(chain, created)
    assert (await chain.submit(start, alice)).ok
    assert await owner.activation(chain, created) == []


async def test_money_moves_and_a_poor_sender_is_told(chain: Chain) -> None:
    before = await chain.balance_rao(ss58("//somebody"))
    assert (await chain.transfer(dev_signer("//Alice"), ss58("//somebody"), 5 * TAO)).ok
    assert await chain.balance_rao(ss58("//somebody")) == before + 5 * TAO
    poor = await chain.transfer(dev_signer("//somebody"), ss58("//Alice"), 6 * TAO)
    assert (poor.ok, poor.code) == (False, "insufficient_balance")


async def test_a_subnet_that_is_not_there(chain: Chain) -> None:
    with pytest.raises(SubnetMissing):
        await chain.metagraph(77)
    with pytest.raises(SubnetMissing):
        await chain.hyperparameters(77)
    assert not await chain.is_main()


async def test_a_chain_that_dies_and_comes_back_is_the_same_chain(chain: Chain, process: ChainProcess) -> None:
    await process.step(3)
    before = await chain.head()
    await process.kill()
    for _ in range(4):
        with pytest.raises(ChainUnreachable):
            await chain.head()
    await process.start()
    assert await chain.head() == before
    assert chain.link.rebuilds >= 1


async def test_many_callers_share_the_connection(chain: Chain) -> None:
    graphs = await asyncio.gather(*(chain.metagraph(NETUID) for _ in range(16)))
    assert len(set(graphs)) == 1


async def test_the_past_is_read_at_its_block(chain: Chain, process: ChainProcess) -> None:
    await chain.commit(dev_signer("//m0"), NETUID, "first")
    then = await chain.head()
    await process.step(2)
    await chain.commit(dev_signer("//m0"), NETUID, "second")
    assert (await chain.commitments(NETUID, block=then.number))[ss58("//m0")] == "first"
    assert (await chain.commitments(NETUID))[ss58("//m0")] == "second"
    old = (await chain.metagraph(NETUID, block=then.number)).by_hotkey(ss58("//m0"))
    assert old is not None
    assert old.commitment == "first"
