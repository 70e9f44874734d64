"""Yuma consensus, version 2 (the chain's default): stake-weighted median clipping and an EMA of bonds.

Formulas and their order are those of `epoch_dense` (`Yuma3On` = false, liquid alpha off) in
`pallets/subtensor/src/epoch/run_epoch.rs` of opentensor/subtensor, commit 03f92770a0081475b69811334b0a7c7163157c1b,
with `math.rs` beside it:

    S'_i   = S_i where i is an active permit holder, normalised
    W_ij   = weights of permit holders; not on oneself (but the owner), not older than j's registration; rows sum to 1
    P_j    = sum_i S'_i W_ij                                             (prerank)
    C_j    = the largest w such that holders of more than kappa of S' put at least w on j   (weighted median)
    Wc_ij  = min(W_ij, C_j)
    R_j    = sum_i S'_i Wc_ij;  trust_j = R_j / P_j;  vtrust_i = sum_j Wc_ij;  incentive = R normalised
    Wb     = (1 - penalty) W + penalty Wc
    dB_ij  = Wb_ij S'_i, columns sum to 1
    B_ij   = alpha dB_ij + (1 - alpha) B_ij of the epoch before, columns sum to 1
    D_i    = sum_j B_ij incentive_j, normalised                          (dividends)
    emission_i = incentive_i and D_i, each over the sum of both: half to miners, half to validators

`alpha` is `1 - BondsMovingAverage / 10^6`. The chain computes in I32F32, rounding down; doubles agree with it to about
1e-9 of a proportion, and where rounding is carried from epoch to epoch (bonds, weights) it is repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]
Matrix: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

FRACTION = 2.0**32


@dataclass(frozen=True)
class Inputs:
    """What an epoch reads, for n neurons.

    `stake` (n,) is normalised to sum 1 (or all zero); `weights` (n, n) and `bonds` (n, n) are non-negative, row i by
    neuron i, bonds as stored (columns scaled to a maximum of 1); `active`, `permits` (n,) are masks; `last_update` and
    `registered` (n,) are blocks. `kappa`, `bonds_penalty`, `alpha` are fractions; `owner` keeps its self-weight.
    """

    stake: Vector
    weights: Matrix
    bonds: Matrix
    active: Mask
    permits: Mask
    last_update: NDArray[np.int64]
    registered: NDArray[np.int64]
    last_tempo: int
    kappa: float
    bonds_penalty: float
    alpha: float
    max_validators: int
    owner: int | None = None


@dataclass(frozen=True)
class Outputs:
    """What an epoch decides. Vectors are (n,), fractions in [0, 1]; `bonds` (n, n) have a column maximum of 1.

    `server_share` and `validator_share` together sum to 1 unless nobody has stake: what to multiply the emission with.
    """

    consensus: Vector
    rank: Vector
    trust: Vector
    validator_trust: Vector
    incentive: Vector
    dividends: Vector
    bonds: Matrix
    permits: Mask
    server_share: Vector
    validator_share: Vector


def fixed(values: Matrix) -> Matrix:
    """Round down to a multiple of 2^-32, as every operation on I32F32 does."""
    return np.floor(values * FRACTION) / FRACTION


def normalise(vector: Vector) -> Vector:
    """Divide by the sum; all-zero stays all-zero."""
    total = vector.sum()
    return vector / total if total > 0 else vector


def _rows_to_one(matrix: Matrix) -> Matrix:
    sums = matrix.sum(axis=1, keepdims=True)
    return fixed(np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0))


def _columns_to_one(matrix: Matrix) -> Matrix:
    return _rows_to_one(matrix.T).T


def top_k_nonzero(stake: Vector, k: int) -> Mask:
    """The k largest non-zero entries; among equals the lower uid wins (`is_topk_nonzero`)."""
    order = np.argsort(-stake, kind="stable")[:k]
    mask = np.zeros(len(stake), dtype=np.bool_)
    mask[order] = True
    return mask & (stake > 0)


def weighted_median(stake: Vector, scores: Vector, majority: float) -> float:
    """The score at which the stake ordered by score first exceeds the minority (`weighted_median_col`).

    `stake` is normalised over the holders of stake; scores of those without stake do not count.
    """
    held: Mask = stake > 0
    stake, scores = stake[held], scores[held]
    if not len(stake):
        return 0.0
    minority = float(np.sum(stake)) - majority
    order = np.argsort(scores, kind="stable")
    below = np.cumsum(stake[order], dtype=np.float64)
    # The chain walks from the lowest score and stops where the lower part would exceed the minority.
    position = min(int(np.searchsorted(below, minority, side="right")), len(order) - 1)
    return float(scores[int(order[position])])


def mask_weights(inputs: Inputs) -> Matrix:
    """The weights that count, rows normalised."""
    weights = inputs.weights * inputs.permits[:, None]
    diagonal = np.arange(len(weights))
    kept = np.where(diagonal == (-1 if inputs.owner is None else inputs.owner), np.diagonal(weights), 0.0)
    weights[diagonal, diagonal] = kept
    weights[inputs.last_update[:, None] <= inputs.registered[None, :]] = 0.0
    return _rows_to_one(weights)


def epoch(inputs: Inputs) -> Outputs:
    """Run one epoch."""
    active_stake = normalise(inputs.stake * inputs.active * inputs.permits)
    weights = mask_weights(inputs)
    preranks = active_stake @ weights
    medians = [weighted_median(active_stake, weights[:, uid], inputs.kappa) for uid in range(len(weights))]
    consensus = np.array(medians, dtype=np.float64)
    clipped = np.minimum(weights, consensus[None, :])
    ranks = active_stake @ clipped
    incentive = normalise(ranks)
    bonds = _ema_bonds(inputs, weights + inputs.bonds_penalty * (clipped - weights), active_stake)
    dividends = normalise(bonds @ incentive)
    server, validator = _shares(incentive, dividends, active_stake, inputs.stake)
    tops = bonds.max(axis=0, initial=0.0)
    return Outputs(
        consensus=consensus,
        rank=incentive,
        trust=np.divide(ranks, preranks, out=np.zeros_like(ranks), where=preranks > 0),
        validator_trust=clipped.sum(axis=1),
        incentive=incentive,
        dividends=dividends,
        bonds=fixed(np.divide(bonds, tops, out=np.zeros_like(bonds), where=tops > 0)),
        permits=top_k_nonzero(inputs.stake, inputs.max_validators),
        server_share=server,
        validator_share=validator,
    )


def _ema_bonds(inputs: Inputs, weights: Matrix, active_stake: Vector) -> Matrix:
    """Bonds after this epoch, columns summing to 1."""
    before = inputs.bonds * (inputs.last_tempo > inputs.registered)[None, :]
    delta = _columns_to_one(weights * active_stake[:, None])
    return _columns_to_one(fixed(inputs.alpha * delta) + fixed((1 - inputs.alpha) * _columns_to_one(before)))


def _shares(incentive: Vector, dividends: Vector, active_stake: Vector, stake: Vector) -> tuple[Vector, Vector]:
    """How the emission divides. Without any weights it goes to validators by stake."""
    total = incentive.sum() + dividends.sum()
    if total > 0:
        return incentive / total, dividends / total
    return np.zeros_like(incentive), active_stake if active_stake.any() else stake
