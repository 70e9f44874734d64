"""The chain as Orchestra sees it: plain immutable values, in rao and block numbers, without a trace of the SDK.

Everything above the facade works with these, so that a test builds a metagraph by naming its neurons and an SDK upgrade
cannot change a field under anyone's feet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block: its number and its hash (`0x` and 64 hex digits)."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Neuron:
    """One row of a metagraph.

    `stake_rao` is the total stake behind the hotkey on this subnet, in the subnet's own token (rao of alpha);
    `incentive`, `dividends` and `vtrust` are fractions in [0, 1]; `axon` is `"ip:port"`; `commitment` is what can be
    read of the hotkey's slot in the Commitments pallet; `collateral_rao` is None where the runtime has no collateral.
    """

    uid: int
    hotkey: str
    coldkey: str
    permit: bool
    stake_rao: int
    axon: str | None
    commitment: str | None
    incentive: float
    dividends: float
    emission_rao: int
    vtrust: float
    last_update: int
    registered_at: int
    collateral_rao: int | None


@dataclass(frozen=True, slots=True)
class Metagraph:
    """A subnet's neurons, ordered by uid, all read at `block`."""

    netuid: int
    block: BlockRef
    tempo: int
    neurons: tuple[Neuron, ...]

    def by_hotkey(self, hotkey: str) -> Neuron | None:
        """The neuron that this hotkey owns at this block, or None."""
        return next((neuron for neuron in self.neurons if neuron.hotkey == hotkey), None)

    def permit_holders(self) -> tuple[Neuron, ...]:
        """The neurons that may validate at this block, ordered by uid."""
        return tuple(neuron for neuron in self.neurons if neuron.permit)

    def validators(self, min_stake_rao: int) -> tuple[Neuron, ...]:
        """Permit holders with at least this stake. A permit alone says little: on a subnet with few validators, miners
        get one too as soon as they have earned something.
        """
        return tuple(neuron for neuron in self.permit_holders() if neuron.stake_rao >= min_stake_rao)

    def miners(self, min_stake_rao: int) -> tuple[Neuron, ...]:
        """Everybody who is not a validator by that measure."""
        judges = {neuron.uid for neuron in self.validators(min_stake_rao)}
        return tuple(neuron for neuron in self.neurons if neuron.uid not in judges)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The rules of one subnet that our code obeys.

    `tempo`, `weights_rate_limit`, `serving_rate_limit` and `immunity_period` are blocks; `max_weight_limit` is a u16
    (65535 means no cap); `mechanism_split` is u16 shares that sum to 65535, empty when the chain splits evenly.
    """

    tempo: int
    weights_rate_limit: int
    weights_version: int
    min_allowed_weights: int
    max_weight_limit: int
    serving_rate_limit: int
    commit_reveal: bool
    mechanism_count: int
    mechanism_split: tuple[int, ...]
    max_uids: int
    immunity_period: int


@dataclass(frozen=True, slots=True)
class TxOutcome:
    """What became of one transaction.

    `code` is the SDK's semantic error code (`rate_limited`, `not_registered`, ...), None on success; `dropped` names
    the hotkeys that were left out of a weight vector because they hold no uid any more. A no-op (the chain already says
    so) is `ok` with `block_hash` None.
    """

    ok: bool
    code: str | None
    message: str
    remediation: str | None
    block_hash: str | None
    dropped: tuple[str, ...] = ()
