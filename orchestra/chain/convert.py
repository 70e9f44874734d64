"""From the SDK's values to ours. Pure functions: whatever the SDK renames is renamed here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import bittensor as bt
from bittensor.metagraph import MetagraphNeuron

from orchestra.chain.types import BlockRef, Metagraph, Neuron, TxOutcome

U16 = 65535


def metagraph(graph: bt.Metagraph, validator_trust: Sequence[int], block: BlockRef) -> Metagraph:
    """Our metagraph of the SDK's at `block`, with the chain's ValidatorTrust (u16 by uid), which the SDK leaves out."""
    trust = [value / U16 for value in validator_trust]
    trust += [0.0] * (len(graph.neurons) - len(trust))  # the chain writes the vector at epochs only
    neurons = tuple(_neuron(neuron, vtrust) for neuron, vtrust in zip(graph.neurons, trust, strict=False))
    return Metagraph(netuid=graph.netuid, block=block, tempo=graph.tempo, neurons=neurons)


def _neuron(neuron: MetagraphNeuron, vtrust: float) -> Neuron:
    return Neuron(
        uid=neuron.uid,
        hotkey=neuron.hotkey,
        coldkey=neuron.coldkey,
        permit=neuron.validator_permit,
        stake_rao=neuron.total_stake.rao,
        axon=neuron.axon,
        commitment=None if neuron.commitment is None else neuron.commitment.value,
        incentive=neuron.incentive,
        dividends=neuron.dividends,
        emission_rao=neuron.emission.rao,
        vtrust=vtrust,
        last_update=neuron.last_update,
        registered_at=neuron.block_at_registration,
        collateral_rao=None if neuron.collateral_locked is None else neuron.collateral_locked.rao,
    )


def outcome(result: bt.ExtrinsicResult, dropped: tuple[str, ...] = ()) -> TxOutcome:
    """What became of a transaction that was sent."""
    if result.success:
        return TxOutcome(True, None, result.message, None, result.block_hash, dropped)
    error = result.error or bt.ChainError(result.message)
    return TxOutcome(False, error.code.value, error.message, error.remediation, result.block_hash, dropped)


def refusal(error: bt.BittensorError, dropped: tuple[str, ...] = ()) -> TxOutcome:
    """What became of a transaction that the SDK declined to send."""
    if isinstance(error, bt.ChainError):
        return TxOutcome(False, error.code.value, error.message, error.remediation, None, dropped)
    return TxOutcome(False, bt.ErrorCode.INVALID_ARGUMENT.value, str(error), None, None, dropped)


def unchanged(message: str) -> TxOutcome:
    """The outcome of a transaction that was not needed."""
    return TxOutcome(True, None, message, None, None)
