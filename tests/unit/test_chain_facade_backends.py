"""One facade, two backends: what the local chain answers, encoded with the real runtime's types and served over the
SDK's RPC backend, reads the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestra.chain import Chain, dev_signer
from tests.chainproc import ChainProcess, one_subnet, running_chain, ss58
from tests.fakes.rpc_node import HEAD, RpcNode, running_node
from tests.metadata import runtime_codec

NETUID = 2
ITEMS = (
    "NetworksAdded",
    "Tempo",
    "WeightsSetRateLimit",
    "WeightsVersionKey",
    "MinAllowedWeights",
    "MaxWeightsLimit",
    "ServingRateLimit",
    "CommitRevealWeightsEnabled",
    "MechanismCountCurrent",
    "MechanismEmissionSplit",
    "MaxAllowedUids",
    "ImmunityPeriod",
    "ValidatorTrust",
    "Burn",
    "SubnetOwner",
)


async def mirrored(process: ChainProcess) -> RpcNode:
    """A node that holds what the local chain holds of one subnet, encoded with the real types."""
    codec, source = runtime_codec(), process.substrate
    node = RpcNode(codec, genesis="0x" + "33" * 32)
    output = codec.runtime_api_map["SubnetInfoRuntimeApi"]["get_metagraph"]["output"]
    graph = await source.runtime_call("SubnetInfoRuntimeApi", "get_metagraph", [NETUID])
    node.calls["SubnetInfoRuntimeApi_get_metagraph"] = "0x" + codec.encode(output, graph).hex()
    for item in ITEMS:
        value = await source.query("SubtensorModule", item, [NETUID])
        if value is not None:
            node.store(item, [NETUID], value)
    for pallet, item, prefix in (
        ("Commitments", "CommitmentOf", [NETUID]),
        ("SubtensorModule", "Uids", [NETUID]),
        ("SubtensorModule", "Weights", [NETUID]),
    ):
        for key, value in await source.query_map(pallet, item, prefix):
            node.store(item, [*prefix, key], value, pallet)
    account: dict[str, Any] = await source.query("System", "Account", [ss58("//Alice")])
    node.store("Account", [ss58("//Alice")], account, "System")
    return node


async def test_both_backends_read_the_same(tmp_path: Path) -> None:
    async with (
        running_chain(tmp_path, one_subnet()) as process,
        await Chain.open(f"orchestra-local:{process.port}") as local,
    ):
        await process.step(6)
        assert (await local.serve(dev_signer("//m0"), NETUID, "127.0.0.7", 8091)).ok
        assert (await local.commit(dev_signer("//m0"), NETUID, "o1|" + "7" * 200)).ok
        assert (await local.set_weights(dev_signer("//v0"), NETUID, {ss58("//m0"): 2.0, ss58("//m1"): 1.0})).ok
        await process.step(12)
        async with running_node(await mirrored(process)) as node, await Chain.open(node.url) as rpc:
            ours, theirs = await local.metagraph(NETUID), await rpc.metagraph(NETUID)
            assert (theirs.neurons, theirs.tempo, theirs.block.number) == (ours.neurons, ours.tempo, HEAD)
            assert ours.neurons[2].axon == "127.0.0.7:8091"
            assert ours.neurons[2].incentive > 0
            assert await rpc.hyperparameters(NETUID) == await local.hyperparameters(NETUID)
            assert await rpc.commitments(NETUID) == await local.commitments(NETUID)
            assert await rpc.weights(NETUID) == await local.weights(NETUID)
            assert await rpc.balance_rao(ss58("//Alice")) == await local.balance_rao(ss58("//Alice"))
            assert await rpc.registration_cost_rao(NETUID) == await local.registration_cost_rao(NETUID)
            assert await rpc.subnets_of(ss58("//Alice")) == await local.subnets_of(ss58("//Alice"))
            assert await rpc.uid(NETUID, ss58("//m1")) == await local.uid(NETUID, ss58("//m1")) == 3
            assert await rpc.uid(NETUID, ss58("//nobody")) is None


async def test_a_metagraph_costs_few_requests_because_public_endpoints_count_them(tmp_path: Path) -> None:
    async with running_chain(tmp_path, one_subnet()) as process:
        node = await mirrored(process)
    async with running_node(node), await Chain.open(node.url) as rpc:
        node.asked.clear()
        await rpc.metagraph(NETUID)
        assert sum(node.asked.values()) <= 12, node.asked
        node.asked.clear()
        await rpc.metagraph(NETUID)
        assert sum(node.asked.values()) <= 6, node.asked
