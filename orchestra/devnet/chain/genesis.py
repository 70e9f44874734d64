"""A whole network in one JSON file: who has money, which subnets exist, who sits on them, and by which rules.

```json
{
  "name": "orchestra-local",                    // any text; two files that differ in it are two networks
  "timestamp": 1767225600000,                   // unix ms of block 0; stepped chains count from here
  "accounts": {"5Grw...": "1000000000000"},     // free balance in rao (an integer, or its digits as a string)
  "chain": {                                    // all optional; the values shown are the defaults
    "existential_deposit": 500, "fee": 124414, "start_call_delay": 0, "lock_cost": 1000000000000,
    "network_rate_limit": 0, "owner_hyperparam_rate_limit": 2, "admin_freeze_window": 0, "stake_threshold": 0,
    "block_emission": 1000000000, "tempo_bounds": [360, 50400],
    "new_subnet": {}                            // hyperparameters of subnets registered later
  },
  "subnets": [{
    "netuid": 2,
    "owner_coldkey": "5...", "owner_hotkey": "5...",   // the owner's hotkey need not sit on the subnet
    "active": true,                             // as if start_call had been made; default true
    "identity": {"subnet_name": "Orchestra"},   // optional; the other fields default to ""
    "hyperparameters": {"tempo": 10},           // optional; names of `HYPERPARAMETERS` in networks.py
    "neurons": [{"hotkey": "5...", "coldkey": "5...", "stake_rao": "100000000000", "permit": true}]
  }]
}
```

Neurons get uids in the order given. Permits exist from block 0, because a validator without one could not act until the
first epoch; from then on the chain computes them. Stake is granted, not bought. Unknown fields are refused.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestra.devnet.chain import accounts, networks, registry, stake
from orchestra.devnet.chain.address import is_address
from orchestra.devnet.chain.errors import DispatchError, ensure
from orchestra.devnet.chain.items import Item, Local, Subtensor, System, Timestamp
from orchestra.devnet.chain.state import Changes, History, State
from orchestra.devnet.chain.wire import digest


def _check_address(text: str) -> str:
    if not is_address(text):
        raise ValueError("not an SS58 address")
    return text


def _check_names(values: dict[str, Any]) -> dict[str, Any]:
    unknown = values.keys() - networks.HYPERPARAMETERS.keys()
    if unknown:
        raise ValueError(f"unknown hyperparameters: {', '.join(sorted(unknown))}")
    return values


Address = Annotated[str, AfterValidator(_check_address)]
Rao = Annotated[int, Field(ge=0, lt=2**63)]
Hyperparameters = Annotated[dict[str, int | bool | list[int]], AfterValidator(_check_names)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NeuronGenesis(_Strict):
    hotkey: Address
    coldkey: Address
    stake_rao: Rao = 0
    permit: bool = False


class SubnetGenesis(_Strict):
    netuid: int = Field(ge=1, lt=4096)
    owner_coldkey: Address
    owner_hotkey: Address
    active: bool = True
    identity: dict[str, str] | None = None
    hyperparameters: Hyperparameters = Field(default_factory=dict)
    neurons: list[NeuronGenesis] = Field(default_factory=list[NeuronGenesis], max_length=256)


class ChainGenesis(_Strict):
    existential_deposit: Rao = 500
    fee: Rao = 124_414
    start_call_delay: int = Field(default=0, ge=0)
    lock_cost: Rao = 10**12
    network_rate_limit: int = Field(default=0, ge=0)
    owner_hyperparam_rate_limit: int = Field(default=2, ge=0)
    admin_freeze_window: int = Field(default=0, ge=0)
    stake_threshold: Rao = 0
    block_emission: Rao = 10**9
    tempo_bounds: tuple[int, int] = (360, 50_400)
    new_subnet: Hyperparameters = Field(default_factory=dict)


class Genesis(_Strict):
    """The whole file."""

    name: str = "orchestra-local"
    timestamp: int = Field(default=1_767_225_600_000, ge=0)
    accounts: dict[Address, Rao] = Field(default_factory=dict)
    chain: ChainGenesis = ChainGenesis()
    subnets: list[SubnetGenesis] = Field(default_factory=list[SubnetGenesis], max_length=128)

    @property
    def hash(self) -> str:
        """Names the network: every signature is bound to it."""
        return digest(self.model_dump(mode="json"))


IDENTITY_FIELDS = (
    "subnet_name", "github_repo", "subnet_contact", "subnet_url", "discord", "description", "logo_url", "additional"
)  # fmt: skip


def build(genesis: Genesis) -> Changes:
    """Block 0: every entry that exists before the first block. Raises ValueError for a state no chain could be in."""
    try:
        return _build(genesis)
    except DispatchError as error:
        raise ValueError(f"the genesis breaks a rule of the chain: {error.name}") from None


def _build(genesis: Genesis) -> Changes:
    state = State(History(), 0)
    with state.layer() as changes:
        state.put(Local.Spec, genesis.chain.model_dump(mode="json"))
        for item, value in _chain_items(genesis):
            state.put(item, value)
        for address, amount in genesis.accounts.items():
            accounts.mint(state, address, amount)
        _add_root(state)
        for subnet in genesis.subnets:
            _add_subnet(state, subnet)
    return changes


def _chain_items(genesis: Genesis) -> list[tuple[Item, int]]:
    chain = genesis.chain
    return [
        (System.Number, 0),
        (Timestamp.Now, genesis.timestamp),
        (Subtensor.NetworkMinLockCost, chain.lock_cost),
        (Subtensor.NetworkLastLockCost, chain.lock_cost),
        (Subtensor.NetworkRateLimit, chain.network_rate_limit),
        (Subtensor.OwnerHyperparamRateLimit, chain.owner_hyperparam_rate_limit),
        (Subtensor.AdminFreezeWindow, chain.admin_freeze_window),
        (Subtensor.StakeThreshold, chain.stake_threshold),
        (Subtensor.BlockEmission, chain.block_emission),
    ]


def _add_root(state: State) -> None:
    """The root network: nobody is on it, but TAO can be staked there."""
    state.put(Subtensor.NetworksAdded, 0, True)
    state.put(Subtensor.TotalNetworks, 1)
    state.put(Subtensor.Tempo, 0, 0)


def _add_subnet(state: State, subnet: SubnetGenesis) -> None:
    netuid = subnet.netuid
    ensure(not networks.exists(state, netuid), f"netuid {netuid} twice")
    registry.claim_hotkey(state, subnet.owner_hotkey, subnet.owner_coldkey)
    networks.add(state, netuid, subnet.owner_coldkey, subnet.owner_hotkey, 0, dict(subnet.hyperparameters))
    for neuron in subnet.neurons:
        registry.claim_hotkey(state, neuron.hotkey, neuron.coldkey)
        ensure(state.get(Subtensor.Uids, netuid, neuron.hotkey) is None, "HotKeyAlreadyRegisteredInSubNet")
        uid = registry.register(state, netuid, neuron.hotkey, 0)
        registry.set_at(state, Subtensor.ValidatorPermit, netuid, uid, neuron.permit)
        if neuron.stake_rao:
            stake.add(state, neuron.hotkey, neuron.coldkey, netuid, neuron.stake_rao)
    if subnet.active:
        networks.start(state, netuid, 0)
    if subnet.identity is not None:
        identity = {name: subnet.identity.get(name, "") for name in IDENTITY_FIELDS}
        state.put(Subtensor.SubnetIdentitiesV3, netuid, identity)
