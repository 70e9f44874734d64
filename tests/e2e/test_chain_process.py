"""The SDK, unchanged, against a real chain process over a real socket."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import bittensor as bt
import pytest
from bittensor._transport.errors import StorageFunctionNotFound
from bittensor.result import ChainError, ConnectionNotReady, RpcConnectionError

from orchestra.chain.keys import dev_signer
from orchestra.chain.local import LocalSubstrate
from orchestra.devnet.chain.extrinsic import Extrinsic
from orchestra.devnet.chain.store import STATE_BLOCKS
from tests.chainproc import TAO, ChainProcess, one_subnet, running_chain, ss58

pytestmark = pytest.mark.e2e
SUB = bt.calls.SubtensorModule


def wallet(hot: str, cold: str | None = None) -> Any:
    coldkey = dev_signer(cold or f"{hot}//cold")
    return SimpleNamespace(coldkey=coldkey, coldkeypub=coldkey, hotkey=dev_signer(hot))


ALICE = wallet("//Alice//hot", "//Alice")
BOB = wallet("//Bob//hot", "//Bob")


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[ChainProcess]:
    async with running_chain(tmp_path) as running:
        yield running


@pytest.fixture
async def client(chain: ChainProcess) -> AsyncIterator[bt.Client]:
    async with bt.Client("local", substrate=chain.substrate) as opened:
        yield opened


def test_it_has_everything_the_sdk_may_call() -> None:
    for name, method in inspect.getmembers(bt.Substrate, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(LocalSubstrate, name)).parameters
            assert list(own) == list(inspect.signature(method).parameters), name


# Life of a neuron -----------------------------------------------------------------------------------------------------


async def test_register_serve_commit_and_be_weighed(chain: ChainProcess, client: bt.Client) -> None:
    new = wallet("//new", "//Bob")
    registered = await client.submit_call(SUB.burned_register(netuid=2, hotkey=ss58("//new")), new)
    assert registered.success, registered.message
    assert (await client.execute(bt.ServeAxon(netuid=2, ip="127.0.0.2", port=8091), new)).success
    hello = bt.calls.Commitments.set_commitment(
        netuid=2, info={"fields": [{"Sha256": "0x" + "11" * 32}, {"Raw5": b"hello"}]}
    )
    assert (await client.submit_call(hello, new, signer="hotkey")).success
    for validator in ("//v0", "//v1"):
        assert (await client.execute(bt.SetWeights(netuid=2, weights={5: 0.7, 2: 0.3}), wallet(validator))).success
    await chain.step(10)

    graph = await client.subnets.metagraph(2)
    assert graph is not None
    neuron = graph.by_hotkey(ss58("//new"))
    assert (neuron.uid, neuron.axon, neuron.coldkey) == (5, "127.0.0.2:8091", ss58("//Bob"))
    assert neuron.commitment.data == "hello\nsha256:0x" + "11" * 32
    assert neuron.incentive == pytest.approx(0.7, abs=1e-4)
    assert graph.neuron(2).incentive == pytest.approx(0.3, abs=1e-4)
    assert [n.dividends for n in graph.neurons[:2]] == [pytest.approx(0.5, abs=1e-4)] * 2
    assert neuron.emission.rao > 0
    assert graph.neuron(0).total_stake.rao > 1000 * TAO
    assert await client.weights.weights(2) == {
        uid: {2: pytest.approx(0.3, abs=1e-4), 5: pytest.approx(0.7, abs=1e-4)} for uid in (0, 1)
    }
    assert (await client.weights.bonds(2))[0] == {2: 1.0, 5: 1.0}
    assert (await client.subnets.commitments(2))[ss58("//new")].uid == 5


async def test_refusals_carry_the_sdks_codes(client: bt.Client) -> None:
    loopback = await client.execute(bt.ServeAxon(netuid=2, ip="127.0.0.1", port=8091), wallet("//m0"))
    assert (loopback.success, loopback.error.name, loopback.error.code) == (
        False, "InvalidIpAddress", bt.ErrorCode.INVALID_ARGUMENT,
    )  # fmt: skip
    assert loopback.block_hash is not None
    assert (await client.execute(bt.ServeAxon(netuid=2, ip="127.0.0.2", port=1), wallet("//m0"))).success
    again = await client.execute(bt.ServeAxon(netuid=2, ip="127.0.0.2", port=2), wallet("//m0"))
    assert again.error.code is bt.ErrorCode.RATE_LIMITED
    assert again.error.description is not None
    stranger = await client.execute(bt.ServeAxon(netuid=2, ip="127.0.0.2", port=2), wallet("//Bob", "//Bob"))
    assert stranger.error.code is bt.ErrorCode.NOT_REGISTERED
    assert (await client.execute(bt.SetWeights(netuid=2, weights={2: 1.0}), wallet("//v0"))).success
    with pytest.raises(ChainError, match="rate limit") as caught:
        await client.execute(bt.SetWeights(netuid=2, weights={2: 1.0}), wallet("//v0"))
    assert caught.value.code is bt.ErrorCode.RATE_LIMITED
    unpermitted = await client.execute(bt.SetWeights(netuid=2, weights={3: 1.0}), wallet("//m0"))
    assert unpermitted.error.name == "NeuronNoValidatorPermit"
    twice = await client.submit_call(SUB.burned_register(netuid=2, hotkey=ss58("//m0")), BOB)
    assert twice.error.code is bt.ErrorCode.ALREADY_EXISTS
    assert twice.message


async def test_timelocked_weights_are_composed_and_accepted(chain: ChainProcess, client: bt.Client) -> None:
    on = bt.SetHyperparameter(netuid=2, name="commit_reveal_weights_enabled", value=True)
    assert (await client.execute(on, ALICE)).success
    sent = await client.execute(bt.SetWeights(netuid=2, weights={2: 1.0}), wallet("//v0"))
    assert sent.success, sent.message
    assert sent.data["reveal_round"] > 0
    ((commit,),) = (await client.weights.timelocked_weight_commits(2)).values()
    assert commit["hotkey"] == ss58("//v0")
    assert await client.weights.weights(2) == {}


# Money and blocks -----------------------------------------------------------------------------------------------------


async def test_balances_and_transfers(client: bt.Client) -> None:
    before = await client.balances.get(ss58("//Bob"))
    sent = await client.execute(bt.Transfer(dest_ss58=ss58("//Bob"), amount_tao=12.5), ALICE)
    assert sent.success
    assert sent.fee.rao == 124_414
    assert (await client.balances.get(ss58("//Bob"))).rao == before.rao + 12_500_000_000
    many = await client.balances.get_many([ss58("//Bob"), ss58("//nobody")])
    assert many[ss58("//nobody")].rao == 0
    assert (await client.balances.existential_deposit()).rao == 500
    poor = await client.execute(bt.Transfer(dest_ss58=ss58("//Bob"), amount_tao=10**6), ALICE)
    assert poor.error.code is bt.ErrorCode.INSUFFICIENT_BALANCE
    stake = await client.execute(bt.AddStake(hotkey_ss58=ss58("//v0"), netuid=2, amount_tao=5), ALICE)
    assert stake.success, stake.message
    assert (await client.staking.get(ss58("//Alice"), ss58("//v0"), 2)).rao == 5 * TAO


async def test_a_plan_previews_without_submitting(client: bt.Client) -> None:
    plan = await client.plan(bt.Transfer(dest_ss58=ss58("//Bob"), amount_tao=1), ALICE)
    assert plan.ok
    assert plan.fee.rao == 124_414
    assert await client.block() == 0


async def test_blocks_events_and_timestamps(chain: ChainProcess, client: bt.Client) -> None:
    await client.execute(bt.Transfer(dest_ss58=ss58("//Bob"), amount_tao=1), ALICE)
    info = await client.block_info(1)
    assert info is not None
    assert info.hash == await chain.substrate.block_hash(1)
    assert info.header["parentHash"] == await chain.substrate.block_hash(0) == chain.genesis_hash
    calls = [extrinsic["call"]["call_function"] for extrinsic in info.extrinsics]
    assert calls == ["set", "transfer_keep_alive"]
    names = [event["event_id"] for event in await chain.substrate.events(info.hash)]
    assert names == ["Withdraw", "Transfer", "TransactionFeePaid", "ExtrinsicSuccess"]
    assert (await client.timestamp(0)).timestamp() < (await client.timestamp(1)).timestamp()
    assert await client.block_info(99) is None

    seen: list[int] = []
    async for header in client.blocks():
        seen.append(header.number)
        if len(seen) == 3:
            break
        await chain.step()
    assert seen == [1, 2, 3]


async def test_reads_are_pinned_to_their_block(chain: ChainProcess, client: bt.Client) -> None:
    await client.execute(bt.SetWeights(netuid=2, weights={2: 1.0}), wallet("//v0"))
    before = await client.subnets.metagraph(2)
    await chain.step(10)
    assert (await client.subnets.metagraph(2)).neuron(2).incentive > 0
    assert (await client.subnets.metagraph(2, block=before.block)) == before
    assert await client.query(("SubtensorModule", "BlocksSinceLastStep"), [2], block=1) == 1


async def test_old_state_is_discarded_and_missing_blocks_are_said_so(chain: ChainProcess, client: bt.Client) -> None:
    await chain.step(STATE_BLOCKS + 300)
    with pytest.raises(ChainError, match="State discarded"):
        await client.balances.get(ss58("//Bob"), block=1)
    assert (await client.balances.get(ss58("//Bob"), block=310)).rao == 10_000 * TAO
    with pytest.raises(ChainError, match="does not exist"):
        await client.balances.get(ss58("//Bob"), block=10**6)
    with pytest.raises(ChainError, match="Block not found"):
        await chain.substrate.query("SubtensorModule", "Tempo", [2], "0x" + "77" * 32)


async def test_what_is_not_there_is_named(chain: ChainProcess) -> None:
    with pytest.raises(StorageFunctionNotFound, match="NoSuchItem"):
        await chain.substrate.query("SubtensorModule", "NoSuchItem", [])
    with pytest.raises(StorageFunctionNotFound, match="no_such_method"):
        await chain.substrate.runtime_call("SubnetInfoRuntimeApi", "no_such_method", [])
    with pytest.raises(ValueError, match="takes 1 keys"):
        await chain.substrate.query("SubtensorModule", "Tempo", [])
    with pytest.raises(ValueError, match="takes netuid, hotkey"):
        await chain.substrate.compose(("SubtensorModule", "burned_register", {"netuid": 2, "hot_key": ss58("//x")}))
    assert await chain.substrate.constant("SubtensorModule", "NoSuchConstant") is None


READS: dict[str, dict[str, Any]] = {
    "subnet": {"netuid": 2}, "subnets": {}, "neurons": {"netuid": 2}, "burn": {"netuid": 2},
    "uid": {"netuid": 2, "hotkey_ss58": ss58("//v0")},
    "netuids_for_hotkey": {"hotkey_ss58": ss58("//v0")}, "hotkey_owner": {"hotkey_ss58": ss58("//v0")},
    "owned_hotkeys": {"coldkey_ss58": ss58("//Alice")}, "subnet_registration_cost": {}, "token_symbols": {},
    "weights_rate_limit": {"netuid": 2}, "immunity_period": {"netuid": 2}, "max_weight_limit": {"netuid": 2},
    "blocks_since_last_step": {"netuid": 2}, "blocks_until_next_epoch": {"netuid": 2},
    "blocks_since_last_update": {"netuid": 2, "uid": 0}, "stake_for_coldkey": {"coldkey_ss58": ss58("//v0//cold")},
    "stake_value_for_coldkey": {"coldkey_ss58": ss58("//v0//cold")}, "alpha_price": {"netuid": 2}, "alpha_prices": {},
    "quote_stake": {"netuid": 2, "amount_tao": 1.0}, "quote_unstake": {"netuid": 2, "amount_alpha": 1.0},
    "identity": {"coldkey_ss58": ss58("//Alice")}, "commitments": {"netuid": 2}, "timestamp": {}, "is_fast_blocks": {},
    "tx_rate_limit": {}, "mev_shield_next_key": {}, "subnet_names": {}, "metagraph": {"netuid": 2},
}  # fmt: skip


async def test_the_sdks_named_reads(client: bt.Client) -> None:
    for name, params in READS.items():
        value = await client.read(name, **params)
        assert value is not None or name in {"identity", "mev_shield_next_key"}, name


# The owner ------------------------------------------------------------------------------------------------------------


async def test_an_owner_creates_starts_and_configures_a_subnet(chain: ChainProcess, client: bt.Client) -> None:
    created = await client.execute(bt.RegisterSubnet(), BOB)
    assert created.success, created.message
    netuid = created.data["netuid"]
    assert created.data["registration_mode"] == "immediate"
    schedule = await client.subnets.subnet_start_schedule(netuid)
    assert schedule["earliest_start_block"] <= schedule["current_block"]
    assert (await client.execute(bt.StartCall(netuid=netuid), BOB)).success
    for name, value in (("max_allowed_uids", 64), ("immunity_period", 12), ("commit_reveal_weights_enabled", False)):
        done = await client.execute(bt.SetHyperparameter(netuid=netuid, name=name, value=value), BOB)
        assert done.success, f"{name}: {done.message}"
    assert (await client.execute(bt.SetMechanismCount(netuid=netuid, mechanism_count=2), BOB)).success
    split = bt.calls.AdminUtils.sudo_set_mechanism_emission_split(netuid=netuid, maybe_split=[39321, 26214])
    assert (await client.submit_call(split, BOB)).success
    assert (await client.execute(bt.SetSubnetIdentity(netuid=netuid, subnet_name="Orchestra τ"), BOB)).success

    assert await client.subnets.mechanism_count(netuid) == 2
    assert await client.subnets.mechanism_emission_split(netuid) == [39321, 26214]
    assert (await client.subnets.subnet_identity(netuid))["subnet_name"] == "Orchestra τ"
    rules = await client.read("subnet_hyperparameters", netuid=netuid)
    assert (rules["immunity_period"], rules["commit_reveal_weights_enabled"]) == (12, False)
    assert rules["subnet_is_active"] is True
    assert (await client.subnets.metagraph(netuid)).name == "Orchestra τ"
    assert sorted(info.netuid for info in await client.subnets.all()) == [0, netuid, 2]
    status = await client.epochs.epoch_status(netuid)
    assert status["next_epoch_start_block"] > status["block"]
    denied = await client.execute(bt.SetMechanismCount(netuid=netuid, mechanism_count=1), ALICE)
    assert denied.error.code is bt.ErrorCode.NOT_AUTHORIZED


# Signatures and order -------------------------------------------------------------------------------------------------


async def test_many_at_once_from_one_key_land_in_one_block(tmp_path: Path) -> None:
    async with running_chain(tmp_path, seal="manual") as chain, bt.Client("local", substrate=chain.substrate) as client:
        async with asyncio.TaskGroup() as group:
            sending = [
                group.create_task(client.execute(bt.Transfer(dest_ss58=ss58("//Bob"), amount_tao=1), ALICE))
                for _ in range(20)
            ]
            while await chain.substrate.account_next_index(ss58("//Alice")) < 20:
                await asyncio.sleep(0)
            await chain.step()
        assert {task.result().success for task in sending} == {True}
        assert {task.result().extrinsic_id for task in sending} == {f"1-{index:04d}" for index in range(1, 21)}


async def test_signatures_nonces_and_replays(chain: ChainProcess) -> None:
    substrate = chain.substrate
    call = await substrate.compose(bt.calls.Balances.transfer_keep_alive(dest=ss58("//Bob"), value=TAO))
    raw, extrinsic_hash = await substrate.sign_extrinsic(call, ALICE.coldkey, nonce=0, period=64)
    signed = Extrinsic.from_json(json.loads(raw))
    forged = await substrate.submit_signed(replace(signed, params={**signed.params, "value": 2}), None)
    assert (forged.success, forged.error.name) == (False, "BadProof")
    done = await substrate.submit_signed(signed, None)
    assert done.success
    again = await substrate.submit_signed(signed, None)
    assert (again.success, again.block_hash) == (True, done.block_hash)
    assert await substrate.find_extrinsic(extrinsic_hash, done.block_hash) is not None
    stale = await substrate.submit(call, ALICE.coldkey, nonce=0)
    assert (stale.success, stale.error.name) == (False, "Stale")
    future = await substrate.submit(call, ALICE.coldkey, nonce=9)
    assert future.error.name == "Future"
    assert await substrate.account_next_index(ss58("//Alice")) == 1


async def test_a_signature_for_one_network_is_worthless_on_another(tmp_path: Path) -> None:
    async with (
        running_chain(tmp_path / "a") as one,
        running_chain(tmp_path / "b", {**one_subnet(), "name": "another"}) as other,
    ):
        call = await one.substrate.compose(bt.calls.Balances.transfer_keep_alive(dest=ss58("//Bob"), value=TAO))
        raw, _ = await one.substrate.sign_extrinsic(call, ALICE.coldkey, nonce=0, period=64)
        assert (await other.substrate.submit_signed(raw, None)).error.name == "BadProof"


async def test_signing_elsewhere(chain: ChainProcess, client: bt.Client) -> None:
    call = bt.calls.Balances.transfer_keep_alive(dest=ss58("//Bob"), value=TAO)
    unsigned = await client.prepare_call(call, address=ss58("//Alice"))
    sent = await client.submit_signature(unsigned, ALICE.coldkey.sign(unsigned.payload))
    assert sent.success


async def test_not_waiting_and_finality(tmp_path: Path) -> None:
    async with (
        running_chain(tmp_path, finality_lag=3) as chain,
        bt.Client("local", substrate=chain.substrate) as client,
    ):
        call = bt.calls.Balances.transfer_keep_alive(dest=ss58("//Bob"), value=TAO)
        sent = await client.submit_call(call, ALICE, wait_for_inclusion=False, wait_for_finalization=False)
        assert (sent.success, sent.block_hash) == (True, None)
        assert (await client.block(), await client.finalized_block()) == (1, 0)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(client.submit_call(call, ALICE))
            while not waiting.done():
                await chain.step()
        included = int(waiting.result().extrinsic_id.split("-")[0])
        assert included + 3 <= await client.block()
        assert included <= await client.finalized_block()


# The process ----------------------------------------------------------------------------------------------------------


async def test_a_dead_chain_is_a_connection_error_and_a_restarted_one_goes_on(chain: ChainProcess) -> None:
    async with bt.Client("local", substrate=chain.substrate) as client:
        await client.execute(bt.Transfer(dest_ss58=ss58("//Bob"), amount_tao=1), ALICE)
        head = await chain.substrate.block_hash()
        await chain.kill()
        with pytest.raises(RpcConnectionError, match="orchestra up"):
            await client.block()
        with pytest.raises(RpcConnectionError):
            await client.execute(bt.Transfer(dest_ss58=ss58("//Bob"), amount_tao=1), ALICE)
        await chain.start()
        assert await chain.substrate.block_hash() == head
        assert (await client.execute(bt.Transfer(dest_ss58=ss58("//Bob"), amount_tao=1), ALICE)).success
        assert await client.block() == 2


async def test_what_a_restart_lost_was_never_acknowledged(tmp_path: Path) -> None:
    async with running_chain(tmp_path, seal="manual") as chain:
        substrate = chain.substrate
        call = await substrate.compose(bt.calls.Balances.transfer_keep_alive(dest=ss58("//Bob"), value=TAO))
        waiting = asyncio.create_task(substrate.submit(call, ALICE.coldkey))
        while await substrate.account_next_index(ss58("//Alice")) == 0:
            await asyncio.sleep(0)
        await chain.kill()
        with pytest.raises(RpcConnectionError, match=r"outcome of extrinsic 0x[0-9a-f]{64} is unknown") as caught:
            await waiting
        await chain.start()
        lost = str(caught.value).split("extrinsic ")[1].split(" ")[0]
        assert await substrate.find_extrinsic(lost, await substrate.block_hash()) is None
        assert await substrate.account_next_index(ss58("//Alice")) == 0


async def test_sigterm_ends_it_cleanly(chain: ChainProcess) -> None:
    headers = chain.substrate.blocks()
    assert (await anext(headers))["header"]["number"] == 0
    waiting = asyncio.ensure_future(anext(headers))
    await chain.substrate.block_number()
    assert await chain.stop() == 0
    with pytest.raises(RpcConnectionError):
        await waiting


async def test_it_does_not_outlive_a_killed_parent(chain: ChainProcess) -> None:
    assert chain.process is not None
    assert chain.process.stdin is not None
    chain.process.stdin.close()  # what the kernel does when the parent dies
    async with asyncio.timeout(60):
        assert await chain.process.wait() == 0


async def test_one_database_one_chain_one_genesis(chain: ChainProcess) -> None:
    second = ChainProcess(chain.database, chain.genesis, chain.options)
    with pytest.raises(AssertionError, match="did not start"):
        await second.start()
    assert await second._end(15) == 2
    await chain.stop()
    chain.genesis.write_text('{"name": "another"}')
    with pytest.raises(AssertionError, match="did not start"):
        await chain.start()
    assert await chain._end(15) == 2


async def test_a_clock_makes_blocks_and_can_be_stopped(tmp_path: Path) -> None:
    async with (
        running_chain(tmp_path, block_time=0.05) as chain,
        bt.Client("local", substrate=chain.substrate) as client,
    ):
        assert await client.block_time() == 0.05
        await client.wait_for_block(3, timeout=30)
        await chain.substrate.set_block_time(0)
        stopped = await client.block()
        assert await chain.step() == stopped + 1


async def test_the_server_bounds_what_it_reads(chain: ChainProcess) -> None:
    async with aiohttp.ClientSession() as session:

        async def post(body: bytes) -> tuple[int, str]:
            async with session.post(chain.endpoint, data=body) as response:
                return response.status, await response.text()

        assert (await post(b"x" * (1 << 21)))[0] == 413
        for body in (b"", b"[]", b"{", b'{"method": "no"}', b"[" * 100_000, b'{"method": "query", "params": {}}',
                     b'{"method": "submit", "params": {"extrinsic": {"module": 1}}}',
                     b'{"method": "query", "params": {"pallet": "SubtensorModule", "item": "Tempo", "keys": [[]]}}',
                     b'{"method": "step", "params": {"count": 1e99}}',
                     b'{"method": "step", "params": {"count": Infinity}}',
                     b'{"method": "block_hash", "params": {"number": 99999999999999999999}}',
                     b'{"method": "info", "params": ' + b'{"x":' * 900 + b"1" + b"}" * 901):  # fmt: skip
            status, text = await post(body)
            assert (status, '"bad-request"' in text) == (200, True), body[:60]
        status, text = await post(b'{"method": "query", "params": {"pallet": "Local", "item": "Spec", "keys": []}}')
        assert '"unknown"' in text
    assert await chain.step() == 1


async def test_something_else_on_the_port_is_not_a_chain() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        substrate = LocalSubstrate(f"http://127.0.0.1:{port}")
        with pytest.raises(RpcConnectionError, match="not a local chain"):
            await substrate.connect()
    with pytest.raises(ConnectionNotReady):
        await substrate.block_number()


async def test_a_chain_that_does_not_answer_is_a_connection_error_in_time() -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        substrate = LocalSubstrate(f"http://127.0.0.1:{port}", deadline=0.2)
        with pytest.raises(RpcConnectionError):
            await substrate.connect()
