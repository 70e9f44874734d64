"""The facade over a strict fake chain: what it reads, what it sends, and what it makes of the answers."""

from __future__ import annotations

from pathlib import Path

import bittensor as bt
import pytest
from bittensor._transport.errors import StorageFunctionNotFound

from orchestra.chain import (
    BlockRef,
    Chain,
    ChainError,
    ChainRejected,
    Hyperparameters,
    NotRegistered,
    RuntimeTooOld,
    SubnetMissing,
    TxOutcome,
    WalletMissing,
    create_wallet,
    dev_signer,
    open_wallet,
)
from tests.fakes.substrate import ALICE, BOB, CHARLIE, FakeSubstrate, hash_of, network, seat, with_subnet

NETUID = 2


def subnet() -> FakeSubstrate:
    seats = [seat(ALICE, permit=True, total_stake=5_000, dividends=65535), seat(BOB, axon="127.0.0.3:8091")]
    return with_subnet(FakeSubstrate(), seats, netuid=NETUID)


async def opened(substrate: FakeSubstrate) -> Chain:
    return await Chain.open(network(substrate))


async def test_head_and_finalized_name_a_block_by_number_and_hash() -> None:
    async with await opened(FakeSubstrate(head=12, finalized=9)) as chain:
        assert await chain.head() == BlockRef(12, hash_of(12))
        assert await chain.finalized() == BlockRef(9, hash_of(9))
        assert await chain.block_hash(3) == hash_of(3)
        assert await chain.spec_version() == 462


async def test_a_metagraph_is_plain_values_read_at_one_block() -> None:
    fake = subnet()
    fake.store("ValidatorTrust", [NETUID], [32768])
    info = {"fields": [{"Raw5": "0x" + b"hello".hex()}]}
    fake.store_map("CommitmentOf", [NETUID], [(BOB, {"info": info, "block": 3, "deposit": 0})], "Commitments")
    async with await opened(fake) as chain:
        graph = await chain.metagraph(NETUID)
    alice, bob = graph.neurons
    assert (graph.netuid, graph.block, graph.tempo) == (NETUID, BlockRef(1000, hash_of(1000)), 360)
    assert (alice.uid, alice.hotkey, alice.permit, alice.stake_rao, alice.dividends) == (0, ALICE, True, 5_000, 1.0)
    assert alice.vtrust == 32768 / 65535
    assert bob.vtrust == 0.0  # registered after the last epoch: the chain's vector does not have it yet
    assert (bob.axon, bob.commitment, alice.axon, alice.commitment) == ("127.0.0.3:8091", "hello", None, None)
    assert graph.by_hotkey(BOB) == bob
    assert graph.by_hotkey(CHARLIE) is None
    assert graph.permit_holders() == (alice,)
    assert set(fake.at) == {hash_of(1000)}


async def test_a_metagraph_of_the_past_is_read_at_that_block_throughout() -> None:
    fake = subnet()
    async with await opened(fake) as chain:
        assert (await chain.metagraph(NETUID, block=900)).block == BlockRef(900, hash_of(900))
    assert set(fake.at) == {hash_of(900)}


async def test_a_subnet_that_is_not_there_says_how_to_create_it() -> None:
    fake = subnet()
    fake.runtime[("SubnetInfoRuntimeApi", "get_metagraph")] = None
    fake.store("NetworksAdded", [NETUID], False)
    async with await opened(fake) as chain:
        with pytest.raises(SubnetMissing, match="scripts/subnet create"):
            await chain.metagraph(NETUID)
        with pytest.raises(SubnetMissing):
            await chain.hyperparameters(NETUID)


async def test_hyperparameters_are_read_at_one_block() -> None:
    fake = subnet()
    async with await opened(fake) as chain:
        rules = await chain.hyperparameters(NETUID)
    assert rules == Hyperparameters(
        tempo=360,
        weights_rate_limit=100,
        weights_version=7,
        min_allowed_weights=1,
        max_weight_limit=65535,
        serving_rate_limit=50,
        commit_reveal=False,
        mechanism_count=2,
        mechanism_split=(39321, 26214),
        max_uids=128,
        immunity_period=4096,
    )
    assert set(fake.at) == {hash_of(1000)}


async def test_weights_are_resolved_to_uids_at_submission_and_strangers_are_dropped_by_name() -> None:
    fake = subnet()
    fake.accept()
    async with await opened(fake) as chain:
        outcome = await chain.set_weights(dev_signer("//Alice"), NETUID, {BOB: 0.7, ALICE: 0.3, CHARLIE: 0.5})
    assert outcome == TxOutcome(True, None, "Success", None, hash_of(1001), (CHARLIE,))
    (sent,) = fake.sent
    assert (sent.call.module, sent.call.function, sent.signer) == ("SubtensorModule", "set_mechanism_weights", ALICE)
    assert sent.call.params == {
        "netuid": NETUID,
        "mecid": 0,
        "dests": [0, 1],
        "weights": [28086, 65535],
        "version_key": 0,
    }


async def test_a_uid_that_changed_hands_is_not_paid() -> None:
    fake = subnet()
    fake.accept()
    async with await opened(fake) as chain:
        await chain.metagraph(NETUID)  # scores were made when uid 1 was BOB
        with_subnet(fake, [seat(ALICE, permit=True), seat(CHARLIE)], netuid=NETUID)
        outcome = await chain.set_weights(dev_signer("//Alice"), NETUID, {BOB: 1.0, ALICE: 1.0})
    assert outcome.dropped == (BOB,)
    assert fake.sent[0].call.params["dests"] == [0]


async def test_weights_for_nobody_are_an_outcome_and_are_not_sent() -> None:
    fake = subnet()
    async with await opened(fake) as chain:
        outcome = await chain.set_weights(dev_signer("//Alice"), NETUID, {CHARLIE: 1.0})
    assert (outcome.ok, outcome.code, outcome.dropped, fake.sent) == (False, "invalid_argument", (CHARLIE,), [])


async def test_all_zero_weights_are_an_outcome_and_are_not_sent() -> None:
    fake = subnet()
    async with await opened(fake) as chain:
        outcome = await chain.set_weights(dev_signer("//Alice"), NETUID, {BOB: 0.0})
    assert (outcome.ok, outcome.code, fake.sent) == (False, "invalid_argument", [])


async def test_the_second_mechanism_has_its_own_rate_limit() -> None:
    fake = subnet()
    fake.store("LastUpdate", [4096 + NETUID], [990, 0])
    fake.accept()
    async with await opened(fake) as chain:
        assert (await chain.set_weights(dev_signer("//Alice"), NETUID, {BOB: 1.0}, mechid=0, version_key=7)).ok
        second = await chain.set_weights(dev_signer("//Alice"), NETUID, {BOB: 1.0}, mechid=1)
    assert (second.ok, second.code) == (False, "rate_limited")
    assert "wait" in (second.remediation or "")
    assert fake.sent[0].call.params["version_key"] == 7


async def test_an_unregistered_validator_gets_the_code_and_what_to_do() -> None:
    fake = subnet()
    fake.store("Uids", [NETUID, CHARLIE], None)
    async with await opened(fake) as chain:
        outcome = await chain.set_weights(dev_signer("//Charlie"), NETUID, {BOB: 1.0})
    assert (outcome.ok, outcome.code) == (False, "not_registered")
    assert outcome.remediation


async def test_a_rejection_in_the_block_carries_the_chains_code() -> None:
    fake = subnet()
    fake.reject("NeuronNoValidatorPermit")
    async with await opened(fake) as chain:
        outcome = await chain.set_weights(dev_signer("//Alice"), NETUID, {BOB: 1.0})
    assert (outcome.ok, outcome.code, outcome.block_hash) == (False, "not_authorized", None)
    assert outcome.remediation


async def test_a_runtime_without_what_the_sdk_reads_is_named_with_its_version() -> None:
    fake = subnet()
    fake.spec = 461
    fake.broken["query SubnetEpochConsensus"] = [
        StorageFunctionNotFound("storage function SubtensorModule.SubnetEpochConsensus not found")
    ]
    async with await opened(fake) as chain:
        with pytest.raises(RuntimeTooOld, match=r"spec 461.*SubnetEpochConsensus") as caught:
            await chain.set_weights(dev_signer("//Alice"), NETUID, {BOB: 1.0})
    assert caught.value.spec_version == 461


async def test_weights_on_chain_are_shares() -> None:
    fake = subnet()
    fake.store_map("Weights", [NETUID], [(0, [(0, 65535), (1, 21845)])])
    async with await opened(fake) as chain:
        assert await chain.weights(NETUID) == {0: {0: 0.75, 1: 0.25}}
        assert await chain.weights(NETUID, 1) == {}


async def test_serving_is_sent_once() -> None:
    fake = subnet()
    fake.accept()
    async with await opened(fake) as chain:
        first = await chain.serve(dev_signer("//Bob"), NETUID, "127.0.0.3", 9000)
        again = await chain.serve(dev_signer("//Bob"), NETUID, "127.0.0.3", 8091)
    assert first.ok
    assert again.ok
    assert again.block_hash is None
    (sent,) = fake.sent
    assert (sent.call.function, sent.signer) == ("serve_axon", BOB)
    assert (sent.call.params["ip"], sent.call.params["port"]) == (0x7F000003, 9000)


async def test_serving_unregistered_says_how_to_register() -> None:
    async with await opened(subnet()) as chain:
        with pytest.raises(NotRegistered, match=r"orchestra register --netuid 2"):
            await chain.serve(dev_signer("//Charlie"), NETUID, "127.0.0.3", 9000)


async def test_registering_is_in_the_clear_and_idempotent() -> None:
    fake = subnet()
    fake.store("Uids", [NETUID, CHARLIE], None)
    fake.accept()
    async with await opened(fake) as chain:
        assert (await chain.register(dev_signer("//Alice"), NETUID, hotkey=CHARLIE)).ok
        already = await chain.register(dev_signer("//Alice"), NETUID, hotkey=BOB)
        assert await chain.registration_cost_rao(NETUID) == 100_000_000
    assert already.ok
    (sent,) = fake.sent
    assert sent.call == ("SubtensorModule", "burned_register", {"netuid": NETUID, "hotkey": CHARLIE})
    assert sent.signer == ALICE


async def test_registering_is_shielded_where_part_of_the_price_is_a_trade() -> None:
    fake = subnet()
    fake.store("Uids", [NETUID, CHARLIE], None)
    fake.store("CollateralLockShare", [NETUID], 6553)
    fake.accept()
    async with await opened(fake) as chain:
        with pytest.raises(ChainRejected, match="NextKey"):
            await chain.register(dev_signer("//Alice"), NETUID, hotkey=CHARLIE)
        fake.shield_key = bytes(1184)
        assert (await chain.register(dev_signer("//Alice"), NETUID, hotkey=CHARLIE)).ok
    (sent,) = fake.sent
    assert (sent.call.module, sent.call.function) == ("MevShield", "submit_encrypted")


async def test_commitments_split_into_fields_and_read_back() -> None:
    fake = subnet()
    fake.accept()
    text = "o1|" + "7" * 140
    async with await opened(fake) as chain:
        assert (await chain.commit(dev_signer("//Bob"), NETUID, text)).ok
        (sent,) = fake.sent
        info = sent.call.params["info"]
        assert [list(field) for field in info["fields"]] == [["Raw128"], ["Raw15"]]
        pairs = [(BOB, {"info": info, "block": 3, "deposit": 0})]
        fake.store_map("CommitmentOf", [NETUID], pairs, "Commitments")
        assert await chain.commitments(NETUID, block=990) == {BOB: text}
        assert fake.at[-1] == hash_of(990)
        for wrong in ("", "x" * 385):
            with pytest.raises(ValueError, match="1 to 384 bytes"):
                await chain.commit(dev_signer("//Bob"), NETUID, wrong)


async def test_money_moves_in_rao() -> None:
    fake = FakeSubstrate()
    fake.store("Account", [BOB], {"data": {"free": 12_345}}, pallet="System")
    fake.accept()
    async with await opened(fake) as chain:
        assert (await chain.transfer(dev_signer("//Alice"), BOB, 7)).ok
        assert await chain.balance_rao(BOB) == 12_345
    assert fake.sent[0].call == ("Balances", "transfer_keep_alive", {"dest": BOB, "value": 7})


async def test_an_error_of_the_chain_is_typed_and_keeps_its_code() -> None:
    fake = subnet()
    fake.broken["query Burn"] = [bt.ChainError("no such subnet", "SubnetNotExists")]
    async with await opened(fake) as chain:
        with pytest.raises(ChainRejected, match="no such subnet") as caught:
            await chain.registration_cost_rao(NETUID)
    assert caught.value.code == "subnet_not_exists"


async def test_subnets_of_an_owner() -> None:
    fake = FakeSubstrate()
    fake.store_map("SubnetOwner", [], [(7, ALICE), (3, ALICE), (4, BOB)])
    async with await opened(fake) as chain:
        assert await chain.subnets_of(ALICE) == (3, 7)
        assert await chain.subnets_of(CHARLIE) == ()


async def test_owners_are_those_of_the_block() -> None:
    fake = FakeSubstrate()
    fake.store_map("SubnetOwner", [], [(7, ALICE), (3, BOB)])
    async with await opened(fake) as chain:
        assert await chain.owners(block=640) == {3: BOB, 7: ALICE}
        assert fake.at[-1] == hash_of(640), "not as they are now"
        fake.broken["query_map SubnetOwner"] = [OSError("the node is gone")] * 9
        with pytest.raises(ChainError):
            await chain.owners(block=640)


async def test_a_wallet_on_disk_signs_with_the_right_key_and_a_missing_file_is_not_a_broken_chain(
    tmp_path: Path,
) -> None:
    made = create_wallet("w", "h", str(tmp_path), password=None)
    wallet = open_wallet("w", "h", str(tmp_path))
    fake = with_subnet(FakeSubstrate(), [seat(made.hotkeys["h"] or "", permit=True)], netuid=NETUID)
    async with await opened(fake) as chain:
        fake.accept()
        assert (await chain.serve(wallet, NETUID, "127.0.0.4", 8091)).ok
        fake.accept()
        assert (await chain.transfer(wallet, BOB, 1)).ok
        assert [sent.signer for sent in fake.sent] == [made.hotkeys["h"], made.coldkey]
        nobody = open_wallet("nobody", "h", str(tmp_path))
        for attempt in (chain.transfer(nobody, BOB, 1), chain.serve(nobody, NETUID, "127.0.0.4", 1)):
            with pytest.raises(WalletMissing, match="orchestra wallet new"):
                await attempt
    assert fake.closed == 1
