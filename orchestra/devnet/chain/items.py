"""The storage items the local chain keeps: the real pallets' names, key counts and defaults (runtime spec 461).

A test compares every entry with the runtime's own metadata, and every value ever stored survives encoding with the real
type, so a name or default that drifts is found there. `Local` holds what the real chain keeps in shapes that only its
share pools need; nothing outside the process can read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

NOBODY: Final = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"
"""The all-zero account: what an `AccountId` item without an entry decodes to."""

U16_MAX: Final = 65535
U64_MAX: Final = 2**64 - 1
GLOBAL_MAX_SUBNET_COUNT: Final = 4096
"""Mechanism m of netuid n is stored at index `m * 4096 + n`."""

NEW_ACCOUNT: Final[dict[str, Any]] = {
    "nonce": 0,
    "consumers": 0,
    "providers": 0,
    "sufficients": 0,
    "data": {"free": 0, "reserved": 0, "frozen": 0, "flags": 2**127},
}


@dataclass(frozen=True, eq=False, slots=True)
class Item:
    """One storage item: `keys` is the number of map keys, `default` what a missing entry reads as."""

    pallet: str
    name: str
    keys: int
    default: Any = None


def _subtensor(name: str, keys: int, default: Any = None) -> Item:
    return Item("SubtensorModule", name, keys, default)


class System:
    Account = Item("System", "Account", 1, NEW_ACCOUNT)
    Number = Item("System", "Number", 0, 0)
    ParentHash = Item("System", "ParentHash", 0, "0x" + "00" * 32)


class Timestamp:
    Now = Item("Timestamp", "Now", 0, 0)


class Balances:
    TotalIssuance = Item("Balances", "TotalIssuance", 0, 0)


class Commitments:
    CommitmentOf = Item("Commitments", "CommitmentOf", 2)
    LastCommitment = Item("Commitments", "LastCommitment", 2)
    RevealedCommitments = Item("Commitments", "RevealedCommitments", 2)
    UsedSpaceOf = Item("Commitments", "UsedSpaceOf", 2)
    MaxSpace = Item("Commitments", "MaxSpace", 0, 3100)


class MevShield:
    NextKey = Item("MevShield", "NextKey", 0)


class Subtensor:
    # the chain
    BlockEmission = _subtensor("BlockEmission", 0, 10**9)
    TaoWeight = _subtensor("TaoWeight", 0, 971718665099567868)
    StakeThreshold = _subtensor("StakeThreshold", 0, 0)
    SubnetLimit = _subtensor("SubnetLimit", 0, 128)
    SubnetOwnerCut = _subtensor("SubnetOwnerCut", 0, 11796)
    TotalNetworks = _subtensor("TotalNetworks", 0, 0)
    TotalStake = _subtensor("TotalStake", 0, 0)
    NetworkRateLimit = _subtensor("NetworkRateLimit", 0, 7200)
    NetworkMinLockCost = _subtensor("NetworkMinLockCost", 0, 10**12)
    NetworkLastLockCost = _subtensor("NetworkLastLockCost", 0, 10**12)
    NetworkLockReductionInterval = _subtensor("NetworkLockReductionInterval", 0, 100800)
    TxRateLimit = _subtensor("TxRateLimit", 0, 1000)
    AdminFreezeWindow = _subtensor("AdminFreezeWindow", 0, 10)
    OwnerHyperparamRateLimit = _subtensor("OwnerHyperparamRateLimit", 0, 2)
    MaxMechanismCount = _subtensor("MaxMechanismCount", 0, 2)
    CommitRevealWeightsVersion = _subtensor("CommitRevealWeightsVersion", 0, 4)

    # keys
    Owner = _subtensor("Owner", 1, NOBODY)
    OwnedHotkeys = _subtensor("OwnedHotkeys", 1, [])
    StakingHotkeys = _subtensor("StakingHotkeys", 1, [])
    Delegates = _subtensor("Delegates", 1, 11796)
    LastTxBlock = _subtensor("LastTxBlock", 1, 0)
    IdentitiesV2 = _subtensor("IdentitiesV2", 1)
    TotalHotkeyAlpha = _subtensor("TotalHotkeyAlpha", 2, 0)
    TotalAlphaStaked = _subtensor("TotalAlphaStaked", 1, 0)
    IsNetworkMember = _subtensor("IsNetworkMember", 2, False)

    # a subnet: identity and life
    NetworksAdded = _subtensor("NetworksAdded", 1, False)
    NetworkRegisteredAt = _subtensor("NetworkRegisteredAt", 1, 0)
    SubnetOwner = _subtensor("SubnetOwner", 1, NOBODY)
    SubnetOwnerHotkey = _subtensor("SubnetOwnerHotkey", 1, NOBODY)
    SubnetIdentitiesV3 = _subtensor("SubnetIdentitiesV3", 1)
    SubnetLocked = _subtensor("SubnetLocked", 1, 0)
    SubnetTAO = _subtensor("SubnetTAO", 1, 0)
    SubnetAlphaIn = _subtensor("SubnetAlphaIn", 1, 0)
    SubnetAlphaOut = _subtensor("SubnetAlphaOut", 1, 0)
    TokenSymbol = _subtensor("TokenSymbol", 1, "𝜏")
    FirstEmissionBlockNumber = _subtensor("FirstEmissionBlockNumber", 1)
    SubtokenEnabled = _subtensor("SubtokenEnabled", 1, False)
    SubnetMechanism = _subtensor("SubnetMechanism", 1, 0)
    SubnetEmissionEnabled = _subtensor("SubnetEmissionEnabled", 1, True)
    MechanismCountCurrent = _subtensor("MechanismCountCurrent", 1, 1)
    MechanismEmissionSplit = _subtensor("MechanismEmissionSplit", 1)
    RAORecycledForRegistration = _subtensor("RAORecycledForRegistration", 1, 0)
    RegistrationsThisBlock = _subtensor("RegistrationsThisBlock", 1, 0)
    MinerBurned = _subtensor("MinerBurned", 1, {"bits": 0})

    # a subnet: hyperparameters
    Tempo = _subtensor("Tempo", 1, 10)
    Rho = _subtensor("Rho", 1, 10)
    Kappa = _subtensor("Kappa", 1, 32767)
    ImmunityPeriod = _subtensor("ImmunityPeriod", 1, 4096)
    MinAllowedWeights = _subtensor("MinAllowedWeights", 1, 1024)
    MaxWeightsLimit = _subtensor("MaxWeightsLimit", 1, U16_MAX)
    MaxAllowedUids = _subtensor("MaxAllowedUids", 1, 256)
    MinAllowedUids = _subtensor("MinAllowedUids", 1, 64)
    MaxAllowedValidators = _subtensor("MaxAllowedValidators", 1, 128)
    MaxRegistrationsPerBlock = _subtensor("MaxRegistrationsPerBlock", 1, 1)
    TargetRegistrationsPerInterval = _subtensor("TargetRegistrationsPerInterval", 1, 2)
    AdjustmentInterval = _subtensor("AdjustmentInterval", 1, 100)
    AdjustmentAlpha = _subtensor("AdjustmentAlpha", 1, 0)
    WeightsVersionKey = _subtensor("WeightsVersionKey", 1, 0)
    WeightsSetRateLimit = _subtensor("WeightsSetRateLimit", 1, 100)
    ServingRateLimit = _subtensor("ServingRateLimit", 1, 50)
    ActivityCutoff = _subtensor("ActivityCutoff", 1, 5000)
    ActivityCutoffFactorMilli = _subtensor("ActivityCutoffFactorMilli", 1, 13889)
    BondsMovingAverage = _subtensor("BondsMovingAverage", 1, 900000)
    BondsPenalty = _subtensor("BondsPenalty", 1, U16_MAX)
    BondsResetOn = _subtensor("BondsResetOn", 1, False)
    CommitRevealWeightsEnabled = _subtensor("CommitRevealWeightsEnabled", 1, True)
    RevealPeriodEpochs = _subtensor("RevealPeriodEpochs", 1, 1)
    LiquidAlphaOn = _subtensor("LiquidAlphaOn", 1, False)
    Yuma3On = _subtensor("Yuma3On", 1, False)
    AlphaValues = _subtensor("AlphaValues", 1, (45875, 58982))
    NetworkRegistrationAllowed = _subtensor("NetworkRegistrationAllowed", 1, True)
    NetworkPowRegistrationAllowed = _subtensor("NetworkPowRegistrationAllowed", 1, True)
    Burn = _subtensor("Burn", 1, 10**8)
    MinBurn = _subtensor("MinBurn", 1, 500_000)
    MaxBurn = _subtensor("MaxBurn", 1, 10**11)
    BurnHalfLife = _subtensor("BurnHalfLife", 1, 360)
    BurnIncreaseMult = _subtensor("BurnIncreaseMult", 1, {"bits": 23242897532874035200})
    CollateralLockShare = _subtensor("CollateralLockShare", 1, 0)
    Difficulty = _subtensor("Difficulty", 1, 10_000_000)
    MinDifficulty = _subtensor("MinDifficulty", 1, 10_000_000)
    MaxDifficulty = _subtensor("MaxDifficulty", 1, U64_MAX // 4)
    TransferToggle = _subtensor("TransferToggle", 1, True)
    OwnerCutEnabled = _subtensor("OwnerCutEnabled", 1, True)
    ImmuneOwnerUidsLimit = _subtensor("ImmuneOwnerUidsLimit", 1, 1)

    # a subnet: epochs
    LastEpochBlock = _subtensor("LastEpochBlock", 1, 0)
    PendingEpochAt = _subtensor("PendingEpochAt", 1, 0)
    SubnetEpochIndex = _subtensor("SubnetEpochIndex", 1, 0)
    LastMechansimStepBlock = _subtensor("LastMechansimStepBlock", 1, 0)
    BlocksSinceLastStep = _subtensor("BlocksSinceLastStep", 1, 0)

    # a subnet: neurons
    SubnetworkN = _subtensor("SubnetworkN", 1, 0)
    Uids = _subtensor("Uids", 2)
    Keys = _subtensor("Keys", 2, NOBODY)
    BlockAtRegistration = _subtensor("BlockAtRegistration", 2, 0)
    Axons = _subtensor("Axons", 2)
    Prometheus = _subtensor("Prometheus", 2)
    Active = _subtensor("Active", 1, [])
    Consensus = _subtensor("Consensus", 1, [])
    Incentive = _subtensor("Incentive", 1, [])
    Dividends = _subtensor("Dividends", 1, [])
    Emission = _subtensor("Emission", 1, [])
    LastUpdate = _subtensor("LastUpdate", 1, [])
    ValidatorTrust = _subtensor("ValidatorTrust", 1, [])
    ValidatorPermit = _subtensor("ValidatorPermit", 1, [])
    StakeWeight = _subtensor("StakeWeight", 1, [])
    Weights = _subtensor("Weights", 2, [])
    Bonds = _subtensor("Bonds", 2, [])
    TimelockedWeightCommits = _subtensor("TimelockedWeightCommits", 2, [])

    # newer than spec 461: the selector of Null consensus, which SetWeights reads first
    SubnetEpochConsensus = _subtensor("SubnetEpochConsensus", 1, "Yuma")


class Local:
    """Not readable from outside."""

    Spec = Item("Local", "Spec", 0, {})
    Stake = Item("Local", "Stake", 3, 0)  # (hotkey, coldkey, netuid) -> rao of alpha (TAO on netuid 0)
    EmissionFrom = Item("Local", "EmissionFrom", 1, 0)  # netuid -> first block not yet paid out
    LastOwnerSet = Item("Local", "LastOwnerSet", 2, 0)  # (netuid, call) -> block
    LastNetworkRegistration = Item("Local", "LastNetworkRegistration", 1, 0)  # coldkey -> block
    NetworkLockAt = Item("Local", "NetworkLockAt", 0, 0)  # block of the last subnet registration


def _all(*groups: type) -> dict[tuple[str, str], Item]:
    items = (value for group in groups for value in vars(group).values() if isinstance(value, Item))
    return {(item.pallet, item.name): item for item in items}


PUBLIC: Final = _all(System, Timestamp, Balances, Commitments, MevShield, Subtensor)
ALL: Final = {**PUBLIC, **_all(Local)}


def storage_index(netuid: int, mechanism: int) -> int:
    """Where mechanism `mechanism` of `netuid` keeps its weights, bonds, incentive and last updates."""
    return mechanism * GLOBAL_MAX_SUBNET_COUNT + netuid
