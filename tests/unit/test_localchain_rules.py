"""The local chain's rules, call by call, under the runtime's own error names."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.devnet.chain import accounts, errors, stake
from orchestra.devnet.chain.items import Balances, Commitments, Subtensor
from tests.chainproc import TAO, one_subnet, ss58
from tests.localchain import PureChain, succeed

SUB = "SubtensorModule"
FEE = 124_414


@pytest.fixture
def chain() -> PureChain:
    return PureChain()


def crowded(**rules: Any) -> PureChain:
    """A subnet with as many seats as neurons."""
    return PureChain(one_subnet(max_allowed_uids=5, min_allowed_uids=1, **rules))


# Money ----------------------------------------------------------------------------------------------------------------


def free(chain: PureChain, uri: str) -> int:
    return accounts.free(chain.state, ss58(uri))


def test_a_transfer_moves_money_and_burns_the_fee(chain: PureChain) -> None:
    alice, bob, issued = free(chain, "//Alice"), free(chain, "//Bob"), chain.get(Balances.TotalIssuance)
    succeed(chain.call("//Alice", "Balances", "transfer_keep_alive", dest=ss58("//Bob"), value=5 * TAO))
    assert free(chain, "//Alice") == alice - 5 * TAO - FEE
    assert free(chain, "//Bob") == bob + 5 * TAO
    assert chain.get(Balances.TotalIssuance) == issued - FEE


@pytest.mark.parametrize(
    ("function", "value", "error"),
    [
        ("transfer_keep_alive", 20_000 * TAO, "FundsUnavailable"),
        ("transfer_keep_alive", 10_000 * TAO - FEE, "NotExpendable"),
        ("transfer_keep_alive", 10_000 * TAO - FEE - 499, "NotExpendable"),
        ("transfer_keep_alive", 10_000 * TAO - FEE - 500, None),
        ("transfer_allow_death", 10_000 * TAO - FEE - 499, None),
        ("transfer_allow_death", 10_000 * TAO - FEE, None),
    ],
)
def test_the_existential_deposit(chain: PureChain, function: str, value: int, error: str | None) -> None:
    before = chain.get(Balances.TotalIssuance)
    assert chain.call("//Alice", "Balances", function, dest=ss58("//Bob"), value=value) == error
    alice, dust = free(chain, "//Alice"), 10_000 * TAO - FEE - value
    if function == "transfer_allow_death":
        assert alice == 0
        assert chain.get(Balances.TotalIssuance) == before - FEE - dust


def test_a_new_account_needs_the_existential_deposit(chain: PureChain) -> None:
    new = ss58("//nobody")
    assert chain.call("//Alice", "Balances", "transfer_keep_alive", dest=new, value=499) == "BelowMinimum"
    assert chain.call("//Alice", "Balances", "transfer_keep_alive", dest=new, value=500) is None


def test_transfer_all_leaves_what_it_must(chain: PureChain) -> None:
    succeed(chain.call("//Alice", "Balances", "transfer_all", dest=ss58("//Bob"), keep_alive=True))
    assert free(chain, "//Alice") == 500
    succeed(chain.call("//Bob", "Balances", "transfer_all", dest=ss58("//m0//cold"), keep_alive=False))
    assert free(chain, "//Bob") == 0


def test_a_failed_call_still_pays_and_uses_its_nonce(chain: PureChain) -> None:
    before = free(chain, "//Alice")
    assert chain.call("//Alice", "Balances", "transfer_keep_alive", dest=ss58("//Bob"), value=10**14) is not None
    assert free(chain, "//Alice") == before - FEE
    assert accounts.nonce(chain.state, ss58("//Alice")) == 1


def test_who_cannot_pay_does_not_enter_the_pool(chain: PureChain) -> None:
    assert chain.call("//nobody", "Balances", "transfer_keep_alive", dest=ss58("//Bob"), value=1) == errors.PAYMENT
    assert chain.number == 0


def test_the_coldkey_pays_for_its_hotkey(chain: PureChain) -> None:
    before = free(chain, "//m0//cold")
    succeed(chain.serve("//m0"))
    assert free(chain, "//m0//cold") == before - FEE


# Order ----------------------------------------------------------------------------------------------------------------


def test_nonces_are_strictly_sequential(chain: PureChain) -> None:
    move = {"dest": ss58("//Bob"), "value": TAO}
    first = chain.sign("//Alice", "Balances", "transfer_keep_alive", **move)
    later = chain.sign("//Alice", "Balances", "transfer_keep_alive", ahead=2, **move)
    chain.runtime.validate(chain.state, first)
    with pytest.raises(errors.PoolError, match="future"):
        chain.runtime.validate(chain.state, later)
    assert len(chain.produce(first, later, first).outcomes) == 1
    with pytest.raises(errors.PoolError, match="outdated"):
        chain.runtime.validate(chain.state, first)


def test_an_extrinsic_lives_as_long_as_its_period(chain: PureChain) -> None:
    mortal = chain.sign("//Alice", "Balances", "transfer_keep_alive", dest=ss58("//Bob"), value=TAO)
    chain.step(127)
    chain.runtime.validate(chain.state, mortal)
    chain.step()
    with pytest.raises(errors.PoolError, match="ancient birth block"):
        chain.runtime.validate(chain.state, mortal)


@pytest.mark.parametrize(
    ("module", "function", "params"),
    [
        ("Sudo", "sudo", {}),
        ("Balances", "transfer_keep_alive", {"dest": "not an address", "value": 1}),
        ("Balances", "transfer_keep_alive", {"dest": ss58("//Bob"), "value": -1}),
        ("Balances", "transfer_keep_alive", {"dest": ss58("//Bob"), "value": 2**64}),
        ("Balances", "transfer_keep_alive", {"dest": ss58("//Bob"), "value": True}),
        ("Balances", "transfer_keep_alive", {"dest": ss58("//Bob")}),
        ("Balances", "transfer_keep_alive", {"dest": ss58("//Bob"), "value": 1, "memo": "hi"}),
        (SUB, "set_weights", {"netuid": 2, "dests": [70000], "weights": [1], "version_key": 0}),
        ("Commitments", "set_commitment", {"netuid": 2, "info": {"fields": [{"Raw5": "0x00"}]}}),
        ("Commitments", "set_commitment", {"netuid": 2, "info": {"fields": [{"Raw129": "0x" + "00" * 129}]}}),
    ],
)
def test_what_does_not_decode_is_refused_at_the_pool(
    chain: PureChain, module: str, function: str, params: dict[str, Any]
) -> None:
    assert (chain.call("//Alice", module, function, **params) or "").startswith(errors.CALL)


# Neurons --------------------------------------------------------------------------------------------------------------


def test_registration_burns_a_price_that_rises_and_decays(chain: PureChain) -> None:
    price, before = chain.get(Subtensor.Burn, 2), free(chain, "//Bob")
    succeed(chain.register("//Bob", "//new"))
    assert free(chain, "//Bob") == before - price - FEE
    assert chain.get(Subtensor.Uids, 2, ss58("//new")) == 5
    raised = chain.get(Subtensor.Burn, 2)
    assert raised == int(price * 1.26)
    chain.step(360)
    assert chain.get(Subtensor.Burn, 2) == price  # the floor: half of the raised price would be below it


def test_a_hotkey_registers_once_and_for_one_coldkey(chain: PureChain) -> None:
    assert chain.register("//Bob", "//m0") == "HotKeyAlreadyRegisteredInSubNet"
    succeed(chain.register("//Bob", "//new"))
    assert chain.register("//Alice", "//Alice//hot") is None
    genesis = one_subnet()
    genesis["subnets"].append({**genesis["subnets"][0], "netuid": 3, "neurons": []})
    two = PureChain(genesis)
    assert two.register("//Bob", "//m0", netuid=3) == "NonAssociatedColdKey"
    assert two.register("//m0//cold", "//m0", netuid=3) is None


@pytest.mark.parametrize(("netuid", "error"), [(0, "RegistrationNotPermittedOnRootSubnet"), (77, "SubnetNotExists")])
def test_registration_needs_a_subnet(chain: PureChain, netuid: int, error: str) -> None:
    assert chain.register("//Bob", "//new", netuid=netuid) == error


def test_registration_may_be_closed_or_unaffordable(chain: PureChain) -> None:
    succeed(chain.admin("sudo_set_max_burn", max_burn=10**15), chain.admin("sudo_set_min_burn", min_burn=9 * 10**13))
    chain.step()
    dear = PureChain(one_subnet(min_burn=10**14, max_burn=10**15))
    assert dear.register("//Bob", "//new") == "NotEnoughBalanceToStake"
    succeed(chain.admin("sudo_set_network_registration_allowed", registration_allowed=False))
    assert chain.register("//Bob", "//new") == "SubNetRegistrationDisabled"


def test_one_registration_a_block(chain: PureChain) -> None:
    both = [
        chain.sign("//Bob", SUB, "burned_register", netuid=2, hotkey=ss58("//n1")),
        chain.sign("//Alice", SUB, "burned_register", netuid=2, hotkey=ss58("//n2")),
    ]
    assert [outcome.error for outcome in chain.produce(*both).outcomes] == [None, "TooManyRegistrationsThisBlock"]


def test_a_full_subnet_gives_away_the_lowest_emission() -> None:
    chain = crowded(immunity_period=0)
    succeed(chain.serve("//m1"), chain.weights("//v0", [2, 4], [9, 5]), chain.weights("//v1", [2, 4], [9, 5]))
    chain.step(12)
    emission = chain.get(Subtensor.Emission, 2)
    assert emission[3] == 0 < min(emission[2], emission[4])
    succeed(chain.register("//Bob", "//new"))
    assert chain.get(Subtensor.Uids, 2, ss58("//new")) == 3
    assert chain.get(Subtensor.Uids, 2, ss58("//m1")) is None
    assert chain.get(Subtensor.Axons, 2, ss58("//m1")) is None
    assert chain.get(Subtensor.IsNetworkMember, ss58("//m1"), 2) is False
    assert chain.get(Subtensor.SubnetworkN, 2) == 5
    assert chain.get(Subtensor.BlockAtRegistration, 2, 3) == chain.number


def test_immunity_protects_and_a_subnet_of_immune_neurons_is_closed() -> None:
    chain = crowded(immunity_period=50)
    assert chain.register("//Bob", "//new") == "NoNeuronIdAvailable"
    chain.step(50)
    succeed(chain.register("//Bob", "//new"))


def test_the_owner_keeps_its_seat() -> None:
    genesis = one_subnet(max_allowed_uids=6, min_allowed_uids=1, immunity_period=0)
    owner = {"hotkey": ss58("//Alice//hot"), "coldkey": ss58("//Alice")}
    genesis["subnets"][0]["neurons"].insert(0, owner)
    chain = PureChain(genesis)
    succeed(chain.register("//Bob", "//new"))
    assert chain.get(Subtensor.Keys, 2, 0) == ss58("//Alice//hot")
    assert chain.get(Subtensor.Uids, 2, ss58("//new")) == 1


def test_weights_on_an_evicted_neuron_do_not_pay_its_successor() -> None:
    chain = crowded(immunity_period=0)
    succeed(chain.weights("//v0", [2, 3], [9, 5]), chain.weights("//v1", [2, 3], [9, 5]))
    chain.step(12)
    succeed(chain.register("//Bob", "//new"))
    assert chain.get(Subtensor.Uids, 2, ss58("//new")) == 4
    succeed(chain.register("//Bob", "//newer"))
    uid = chain.get(Subtensor.Uids, 2, ss58("//newer"))
    chain.step(12)
    assert chain.get(Subtensor.Emission, 2)[uid] == 0


# Serving --------------------------------------------------------------------------------------------------------------

LOOPBACK_4, LOOPBACK_6 = 0x7F000001, 1


@pytest.mark.parametrize(
    ("ip", "ip_type", "error"),
    [
        (LOOPBACK_4, 4, "InvalidIpAddress"),
        (LOOPBACK_6, 6, "InvalidIpAddress"),
        (LOOPBACK_4 + 1, 4, None),
        (2**32 - 1, 4, "InvalidIpAddress"),
        (2**32, 4, "InvalidIpAddress"),
        (2**128 - 1, 6, "InvalidIpAddress"),
        (LOOPBACK_4, 6, None),
        (5, 5, "InvalidIpType"),
    ],
)
def test_which_addresses_may_be_served(chain: PureChain, ip: int, ip_type: int, error: str | None) -> None:
    assert chain.serve("//m0", ip=ip, ip_type=ip_type) == error


def test_serving_needs_a_port_a_seat_and_patience(chain: PureChain) -> None:
    assert chain.serve("//m0", port=0) == "InvalidPort"
    assert chain.serve("//m0", netuid=9) == "SubnetNotExists"
    assert chain.serve("//Bob") == "HotKeyNotRegisteredInNetwork"
    succeed(chain.serve("//m0"))
    assert chain.serve("//m0", port=2) == "ServingRateLimitExceeded"
    chain.step(3)
    succeed(chain.serve("//m0", port=2))
    assert chain.get(Subtensor.Axons, 2, ss58("//m0"))["port"] == 2


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signer", "arguments", "error"),
    [
        ("//v0", {"dests": [2], "values": [1], "netuid": 9}, "CommitRevealEnabled"),  # the default of a missing subnet
        ("//v0", {"dests": [2], "values": [1], "mecid": 1}, "MechanismDoesNotExist"),
        ("//v0", {"dests": [2], "values": [1, 2]}, "WeightVecNotEqualSize"),
        ("//v0", {"dests": [0, 1, 2, 3, 4, 5], "values": [1] * 6}, "UidsLengthExceedUidsInSubNet"),
        ("//Bob", {"dests": [2], "values": [1]}, "HotKeyNotRegisteredInSubNet"),
        ("//m0", {"dests": [3], "values": [1]}, "NeuronNoValidatorPermit"),
        ("//m0", {"dests": [2], "values": [1]}, None),
        ("//v0", {"dests": [2, 2], "values": [1, 1]}, "DuplicateUids"),
        ("//v0", {"dests": [5], "values": [1]}, "UidVecContainInvalidOne"),
        ("//v0", {"dests": [2, 3], "values": [1, 2]}, None),
    ],
)
def test_who_may_set_which_weights(chain: PureChain, signer: str, arguments: dict[str, Any], error: str | None) -> None:
    assert chain.weights(signer, **arguments) == error


def test_weights_need_the_version_the_number_and_the_limit() -> None:
    chain = PureChain(
        one_subnet(weights_version=7, min_allowed_weights=2, max_weights_limit=40000, weights_rate_limit=0)
    )
    assert chain.weights("//v0", [2, 3], [1, 1], key=6) == "IncorrectWeightVersionKey"
    assert chain.weights("//v0", [2], [1], key=7) == "WeightVecLengthIsLow"
    assert chain.weights("//v0", [2, 3], [1, 9], key=8) == "MaxWeightExceeded"
    assert chain.weights("//v0", [2, 3], [4, 5], key=7) is None
    assert chain.weights("//v0", [0], [5], key=7) is None  # a self-weight is exempt from both


def test_weights_are_stored_upscaled_and_rate_limited(chain: PureChain) -> None:
    succeed(chain.weights("//v0", [2, 3], [1, 3]))
    assert chain.get(Subtensor.Weights, 2, 0) == [(2, 21845), (3, 65535)]
    assert chain.weights("//v0", [2], [1]) == "SettingWeightsTooFast"
    chain.step(3)
    assert chain.weights("//v0", [2], [1]) is None


def test_the_chain_may_ask_for_stake() -> None:
    genesis = one_subnet()
    genesis["chain"]["stake_threshold"] = 2000 * TAO
    assert PureChain(genesis).weights("//v0", [2], [1]) == "NotEnoughStakeToSetWeights"


def test_commit_reveal_and_plain_weights_exclude_each_other(chain: PureChain) -> None:
    def commit(signer: str, version: int = 4, size: int = 50) -> str | None:
        return chain.call(
            signer, SUB, "commit_timelocked_mechanism_weights", netuid=2, mecid=0, commit="0x" + "f1" * size,
            reveal_round=5, commit_reveal_version=version,
        )  # fmt: skip

    assert commit("//v0") == "CommitRevealDisabled"
    succeed(chain.admin("sudo_set_commit_reveal_weights_enabled", enabled=True))
    assert chain.weights("//v0", [2], [1]) == "CommitRevealEnabled"
    assert commit("//v0", version=3) == "IncorrectCommitRevealVersion"
    assert commit("//v0", size=5001) == "CommitPayloadTooLarge"
    succeed(commit("//v0"))
    assert commit("//v0") == "CommittingWeightsTooFast"
    epoch = chain.get(Subtensor.SubnetEpochIndex, 2)
    ((hotkey, _, sealed, reveal_round),) = chain.get(Subtensor.TimelockedWeightCommits, 2, epoch)
    assert (hotkey, sealed, reveal_round) == (ss58("//v0"), "0x" + "f1" * 50, 5)
    chain.step(40)
    assert chain.get(Subtensor.TimelockedWeightCommits, 2, epoch) == []


# Commitments ----------------------------------------------------------------------------------------------------------

HELLO = {"Raw5": "0x68656c6c6f"}


def test_a_commitment_has_one_slot_and_at_most_three_fields(chain: PureChain) -> None:
    assert chain.commit("//Bob", HELLO) == "AccountNotAllowedCommit"
    assert chain.commit("//m0", HELLO, HELLO, HELLO, HELLO) == "TooManyFieldsInCommitmentInfo"
    assert chain.commit("//m0", {"TimelockRevealFailed": None}) == "TimelockRevealFailedNotAllowed"
    succeed(chain.commit("//m0", HELLO, {"Sha256": "0x" + "AB" * 32}), chain.commit("//m0", "None"))
    record = chain.get(Commitments.CommitmentOf, 2, ss58("//m0"))
    assert record == {"deposit": 0, "block": chain.number, "info": {"fields": ["None"]}}


def test_thirty_one_small_commitments_an_epoch() -> None:
    chain = PureChain(one_subnet(tempo=200))
    succeed(*(chain.commit("//m0", HELLO) for _ in range(31)))
    assert chain.commit("//m0", HELLO) == "SpaceLimitExceeded"
    succeed(chain.commit("//m1", HELLO))
    chain.step(200)
    succeed(chain.commit("//m0", HELLO))


def test_a_large_commitment_uses_what_it_weighs(chain: PureChain) -> None:
    large = {"Raw128": "0x" + "00" * 128}
    succeed(chain.commit("//m0", large, large, large))
    assert chain.get(Commitments.UsedSpaceOf, 2, ss58("//m0"))["used_space"] == 1 + 3 * 129


# Stake ----------------------------------------------------------------------------------------------------------------


def test_stake_is_bought_and_sold_at_one_tao(chain: PureChain) -> None:
    before = free(chain, "//Bob")
    succeed(chain.call("//Bob", SUB, "add_stake", hotkey=ss58("//v0"), netuid=2, amount_staked=3 * TAO))
    assert stake.stake_of(chain.state, ss58("//v0"), ss58("//Bob"), 2) == 3 * TAO
    assert chain.get(Subtensor.TotalHotkeyAlpha, ss58("//v0"), 2) == 1003 * TAO
    over = chain.call("//Bob", SUB, "remove_stake", hotkey=ss58("//v0"), netuid=2, amount_unstaked=4 * TAO)
    assert over == "NotEnoughStakeToWithdraw"
    succeed(chain.call("//Bob", SUB, "remove_stake", hotkey=ss58("//v0"), netuid=2, amount_unstaked=3 * TAO))
    assert free(chain, "//Bob") == before - 3 * FEE
    assert stake.stakers(chain.state, ss58("//v0"), 2) == [(ss58("//v0//cold"), 1000 * TAO)]


@pytest.mark.parametrize(
    ("hotkey", "netuid", "amount", "error"),
    [
        ("//v0", 9, TAO, "SubnetNotExists"),
        ("//unknown", 2, TAO, "HotKeyAccountNotExists"),
        ("//v0", 2, 1_999_999, "AmountTooLow"),
        ("//v0", 2, 10**14, "NotEnoughBalanceToStake"),
        ("//v0", 0, TAO, None),
    ],
)
def test_what_can_be_staked(chain: PureChain, hotkey: str, netuid: int, amount: int, error: str | None) -> None:
    result = chain.call("//Bob", SUB, "add_stake", hotkey=ss58(hotkey), netuid=netuid, amount_staked=amount)
    assert result == error


def test_root_stake_counts_at_the_tao_weight(chain: PureChain) -> None:
    succeed(chain.call("//Bob", SUB, "add_stake", hotkey=ss58("//m0"), netuid=0, amount_staked=100 * TAO))
    share = chain.get(Subtensor.TaoWeight) / 2**64
    assert stake.stake_weight(chain.state, ss58("//m0"), 2) == pytest.approx(100 * TAO * share)


# Subnets --------------------------------------------------------------------------------------------------------------


def test_a_subnet_is_bought_started_and_described(chain: PureChain) -> None:
    before = free(chain, "//Bob")
    succeed(chain.call("//Bob", SUB, "register_network", hotkey=ss58("//Bob//hot")))
    assert free(chain, "//Bob") == before - 1000 * TAO - FEE
    assert chain.get(Subtensor.SubnetOwner, 1) == ss58("//Bob")
    assert chain.get(Subtensor.Keys, 1, 0) == ss58("//Bob//hot")
    assert chain.call("//Bob", SUB, "add_stake", hotkey=ss58("//v0"), netuid=1, amount_staked=TAO) == "SubtokenDisabled"
    assert chain.call("//Alice", SUB, "start_call", netuid=1) == "NotSubnetOwner"
    succeed(chain.call("//Bob", SUB, "start_call", netuid=1))
    assert chain.call("//Bob", SUB, "start_call", netuid=1) == "FirstEmissionBlockNumberAlreadySet"
    assert chain.call("//Bob", SUB, "start_call", netuid=44) == "SubnetNotExists"


def test_subnets_have_a_price_a_pace_and_a_delay() -> None:
    genesis = one_subnet()
    genesis["chain"] |= {"start_call_delay": 5, "network_rate_limit": 10, "lock_cost": 2000 * TAO}
    chain = PureChain(genesis)
    succeed(chain.call("//Bob", SUB, "register_network", hotkey=ss58("//b1")))
    assert chain.call("//Bob", SUB, "start_call", netuid=1) == "NeedWaitingMoreBlocksToStarCall"
    assert chain.call("//Bob", SUB, "register_network", hotkey=ss58("//b2")) == "NetworkTxRateLimitExceeded"
    chain.step(10)
    assert chain.call("//Bob", SUB, "start_call", netuid=1) is None
    succeed(chain.call("//Bob", SUB, "register_network", hotkey=ss58("//b2")))
    assert chain.get(Subtensor.SubnetLocked, 3) > 3990 * TAO  # doubled, and a little decayed
    assert chain.call("//v0//cold", SUB, "register_network", hotkey=ss58("//Bob//hot9")) is None
    assert chain.call("//v1//cold", SUB, "register_network", hotkey=ss58("//c")) == "CannotAffordLockCost"


def test_only_the_owner_sets_and_only_within_bounds(chain: PureChain) -> None:
    assert chain.admin("sudo_set_tempo", owner="//Bob", tempo=360) == "NotSubnetOwner"
    assert chain.admin("sudo_set_tempo", netuid=50, tempo=360) == "SubnetDoesNotExist"
    assert chain.admin("sudo_set_tempo", tempo=359) == "TempoOutOfBounds"
    assert chain.admin("sudo_set_max_allowed_uids", max_allowed_uids=63) == "MaxAllowedUidsLessThanMinAllowedUids"
    assert chain.admin("sudo_set_max_allowed_uids", max_allowed_uids=257) == (
        "MaxAllowedUidsGreaterThanDefaultMaxAllowedUids"
    )
    assert chain.admin("sudo_set_bonds_moving_average", bonds_moving_average=975_001) == "BondsMovingAverageMaxReached"
    assert chain.admin("sudo_set_activity_cutoff_factor", factor_milli=999) == "ActivityCutoffFactorMilliOutOfBounds"
    assert chain.admin("sudo_set_commit_reveal_weights_interval", interval=0) == "RevealPeriodTooSmall"
    assert chain.admin("sudo_set_min_burn", min_burn=10**12) == "ValueNotInBounds"
    succeed(chain.admin("sudo_set_tempo", tempo=360), chain.admin("sudo_set_serving_rate_limit", serving_rate_limit=9))
    assert (chain.get(Subtensor.Tempo, 2), chain.get(Subtensor.ServingRateLimit, 2)) == (360, 9)


def test_owner_changes_are_slow_and_not_before_an_epoch() -> None:
    genesis = one_subnet(tempo=20)
    genesis["chain"] |= {"owner_hyperparam_rate_limit": 2, "admin_freeze_window": 5}
    chain = PureChain(genesis)
    succeed(chain.admin("sudo_set_immunity_period", immunity_period=7))
    assert chain.admin("sudo_set_immunity_period", immunity_period=8) == "TxRateLimitExceeded"
    succeed(chain.admin("sudo_set_weights_version_key", weights_version_key=3))
    chain.step(14)
    frozen = chain.admin("sudo_set_min_allowed_weights", min_allowed_weights=2)
    assert frozen == "AdminActionProhibitedDuringWeightsWindow"
    chain.step(28)
    succeed(chain.admin("sudo_set_immunity_period", immunity_period=8))


def test_mechanisms_and_their_split() -> None:
    chain = PureChain(one_subnet(max_allowed_uids=64, min_allowed_uids=1, weights_rate_limit=0))
    count, split = "sudo_set_mechanism_count", "sudo_set_mechanism_emission_split"
    assert PureChain().admin(count, mechanism_count=2) == "TooManyUIDsPerMechanism"
    assert chain.admin(count, mechanism_count=0) == "InvalidValue"
    assert chain.admin(count, mechanism_count=3) == "InvalidValue"
    assert chain.admin(split, maybe_split=[39321, 26214]) == "InvalidValue"
    succeed(chain.admin(count, mechanism_count=2), chain.weights("//v0", [2], [1], mecid=1))
    assert chain.admin(split, maybe_split=[39321, 26213]) == "InvalidValue"
    succeed(chain.admin(split, maybe_split=[39321, 26214]))
    assert chain.get(Subtensor.MechanismEmissionSplit, 2) == [39321, 26214]
    succeed(chain.admin(count, mechanism_count=1))
    assert chain.get(Subtensor.MechanismEmissionSplit, 2) is None
    assert chain.get(Subtensor.Weights, 4098, 0) == []
    assert chain.weights("//v0", [2], [1], mecid=1) == "MechanismDoesNotExist"


# Epochs ---------------------------------------------------------------------------------------------------------------


def test_emission_splits_41_41_18() -> None:
    chain = PureChain(one_subnet(tempo=10))
    succeed(chain.weights("//v0", [2, 3], [3, 1]), chain.weights("//v1", [2, 3], [3, 1]))
    before = {
        uri: stake.total_alpha(chain.state, ss58(uri), 2) for uri in ("//v0", "//v1", "//m0", "//m1", "//Alice//hot")
    }
    chain.step(8)
    earned = {uri: stake.total_alpha(chain.state, ss58(uri), 2) - was for uri, was in before.items()}
    assert chain.get(Subtensor.LastEpochBlock, 2) == 10
    total = 10 * TAO  # genesis was active from block 1 on
    assert sum(earned.values()) == pytest.approx(total, rel=1e-6)
    assert earned["//Alice//hot"] == pytest.approx(0.18 * total, rel=1e-4)
    assert earned["//m0"] + earned["//m1"] == pytest.approx(0.41 * total, rel=1e-4)
    assert earned["//m0"] == pytest.approx(3 * earned["//m1"], rel=1e-3)
    assert earned["//v0"] == pytest.approx(0.205 * total, rel=1e-4)


def test_two_mechanisms_pay_60_40() -> None:
    chain = PureChain(one_subnet(tempo=20, max_allowed_uids=64, min_allowed_uids=1))
    succeed(
        chain.admin("sudo_set_mechanism_count", mechanism_count=2),
        chain.admin("sudo_set_mechanism_emission_split", maybe_split=[39321, 26214]),
        *(chain.weights(validator, [2], [1]) for validator in ("//v0", "//v1")),
        *(chain.weights(validator, [3], [1], mecid=1) for validator in ("//v0", "//v1")),
    )
    chain.step(20)
    first, second = (stake.total_alpha(chain.state, ss58(uri), 2) for uri in ("//m0", "//m1"))
    assert first / (first + second) == pytest.approx(0.6, abs=1e-4)
    assert chain.get(Subtensor.Incentive, 2)[2] == chain.get(Subtensor.Incentive, 4098)[3] == 65535


def test_a_nominator_shares_in_dividends_after_the_take(chain: PureChain) -> None:
    succeed(chain.call("//Bob", SUB, "add_stake", hotkey=ss58("//v0"), netuid=2, amount_staked=1000 * TAO))
    succeed(chain.weights("//v0", [2], [1]))
    chain.step(9)
    nominator = stake.stake_of(chain.state, ss58("//v0"), ss58("//Bob"), 2) - 1000 * TAO
    owner = stake.stake_of(chain.state, ss58("//v0"), ss58("//v0//cold"), 2) - 1000 * TAO
    assert nominator / (nominator + owner) == pytest.approx(0.41, abs=1e-3)


def test_the_owners_miner_incentive_is_burned() -> None:
    genesis = one_subnet()
    genesis["subnets"][0]["neurons"].append({"hotkey": ss58("//Alice//hot"), "coldkey": ss58("//Alice")})
    chain = PureChain(genesis)
    succeed(chain.weights("//v0", [2, 5], [1, 1]), chain.weights("//v1", [2, 5], [1, 1]))
    chain.step(9)
    assert chain.get(Subtensor.MinerBurned, 2)["bits"] / 2**64 == pytest.approx(0.5, abs=1e-3)
    assert stake.total_alpha(chain.state, ss58("//Alice//hot"), 2) == pytest.approx(0.18 * 10 * TAO, rel=1e-3)


def test_permits_come_with_an_epoch_and_activity_expires() -> None:
    chain = PureChain(one_subnet(max_validators=2, activity_cutoff_factor=1000))
    succeed(chain.call("//Bob", SUB, "add_stake", hotkey=ss58("//m0"), netuid=2, amount_staked=5000 * TAO))
    assert chain.get(Subtensor.ValidatorPermit, 2) == [True, True, False, False, False]
    chain.step(10)
    assert chain.get(Subtensor.ValidatorPermit, 2) == [True, False, True, False, False]
    chain.step(20)
    assert not any(chain.get(Subtensor.Active, 2))
    succeed(chain.weights("//v0", [3], [1]))
    chain.step(10)
    assert chain.get(Subtensor.Active, 2)[0]


def test_an_inactive_subnet_earns_nothing() -> None:
    genesis = one_subnet()
    genesis["subnets"][0]["active"] = False
    chain = PureChain(genesis)
    succeed(chain.weights("//v0", [2], [1]))
    chain.step(30)
    assert stake.total_alpha(chain.state, ss58("//m0"), 2) == 0
    assert chain.get(Subtensor.SubnetEpochIndex, 2) == 3


def test_the_same_calls_make_the_same_chain() -> None:
    def play() -> str:
        chain = PureChain()
        succeed(chain.serve("//m0"), chain.weights("//v0", [2, 3], [1, 2]), chain.register("//Bob", "//new"))
        chain.step(15)
        return chain.hash

    assert play() == play()
