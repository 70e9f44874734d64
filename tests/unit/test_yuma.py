"""Yuma against the chain's own tests: `tests/fixtures/yuma_epoch.json` says where each number comes from.

Proportions agree to 1e-7, which is what I32F32 leaves after the chain's sums, and stored u16 values to one unit. Bonds
are stored as u16 and carried into the next epoch, so that one unit there (1.5e-5) is what later dividends agree to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestra.devnet.chain import yuma

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "yuma_epoch.json").read_text())
U16 = 65535
FIXED_POINT = 1e-7
CARRIED_BONDS = 1e-5


def matrix(rows: list[list[list[int]]], count: int) -> yuma.Matrix:
    dense = np.zeros((count, count))
    for uid, row in enumerate(rows):
        for target, value in row:
            dense[uid, target] = value
    return dense / U16


def inputs(case: dict[str, Any], step: dict[str, Any], bonds: yuma.Matrix) -> yuma.Inputs:
    merged = {**case, **step}
    last_update = np.array(merged["last_update"], dtype=np.int64)
    return yuma.Inputs(
        stake=yuma.normalise(np.array(merged["stake"], dtype=np.float64)),
        weights=matrix(merged["weights"], len(last_update)),
        bonds=bonds,
        active=last_update + merged["activity_cutoff"] >= merged["block"],
        permits=np.array(merged["permits"]),
        last_update=last_update,
        registered=np.array(merged["registered"], dtype=np.int64),
        last_tempo=merged["block"] - merged["tempo"] if merged["block"] > merged["tempo"] else 0,
        kappa=GOLDEN["kappa"] / U16,
        bonds_penalty=merged["bonds_penalty"] / U16,
        alpha=1 - GOLDEN["bonds_moving_average"] / 10**6,
        max_validators=merged["max_validators"],
    )


def stored(bonds: yuma.Matrix) -> yuma.Matrix:
    """Bonds as they come back from storage in the next epoch."""
    return np.floor(bonds * U16) / U16


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["test"])
def test_agrees_with_the_chains_own_epoch_tests(case: dict[str, Any]) -> None:
    count = len(case["stake"])
    bonds = np.zeros((count, count))
    for number, step in enumerate(case["steps"]):
        given = inputs(case, step, bonds)
        output = yuma.epoch(given)
        expected = step["expect"]
        where = f"{case['test']} step {number}"
        carried = CARRIED_BONDS if number else FIXED_POINT
        for name in ("consensus", "validator_trust", "trust", "incentive", "dividends"):
            if name in expected:
                atol = carried if name == "dividends" else FIXED_POINT
                np.testing.assert_allclose(getattr(output, name), expected[name], atol=atol, err_msg=f"{where}: {name}")
        if "active" in expected:
            assert list(given.active) == expected["active"], where
        if "emission" in expected:
            emission = (output.server_share + output.validator_share) * GOLDEN["emission"]
            np.testing.assert_allclose(emission, expected["emission"], atol=carried * 1e9, err_msg=where)
        bonds = stored(output.bonds)
        for validator, server, value in expected.get("bonds", []):
            assert bonds[validator, server] * U16 == pytest.approx(value, abs=1.01), (
                f"{where}: bond {validator}-{server}"
            )


def test_512_neurons_agree() -> None:
    graph = GOLDEN["graph_512"]
    count, validators = graph["neurons"], graph["validators"]
    weights = np.zeros((count, count))
    weights[:validators, validators:] = 1.0
    stake = np.array([graph["stake_per_validator"]] * validators + [0] * (count - validators), dtype=np.float64)
    bonds = np.zeros((count, count))
    ones = np.ones(count, dtype=np.int64)
    for _ in range(graph["epochs"]):
        output = yuma.epoch(
            yuma.Inputs(
                stake=yuma.normalise(stake), weights=weights, bonds=bonds, active=np.ones(count, dtype=np.bool_),
                permits=stake > 0, last_update=ones, registered=ones * 0, last_tempo=1, kappa=GOLDEN["kappa"] / U16,
                bonds_penalty=1.0, alpha=0.1, max_validators=validators,
            )
        )  # fmt: skip
        bonds = stored(output.bonds)
    emission = (output.server_share + output.validator_share) * GOLDEN["emission"]
    for part, uids in (("validators", slice(0, validators)), ("servers", slice(validators, count))):
        expected = graph["expect"][part]
        for name in ("incentive", "consensus", "dividends", "trust"):
            if name in expected:
                got = np.floor(getattr(output, name)[uids] * U16)
                np.testing.assert_allclose(got, expected[name], atol=1.01, err_msg=f"{part}: {name}")
        np.testing.assert_allclose(np.floor(emission[uids]), expected["emission"], atol=1.01)
    assert bonds[0, 0] == graph["expect"]["validators"]["bond_on_validator"]
    assert set(bonds[:validators, validators] * U16) == {graph["expect"]["validators"]["bond_on_server"]}


@pytest.mark.parametrize("size", GOLDEN["validator_permits"]["sizes"], ids=str)
def test_permits_go_to_the_highest_stake(size: list[int]) -> None:
    """`test_validator_permits`, blockwise: validators hold n + i, servers i; then servers get 2n more and take over."""
    count, validators = size
    stake = np.array([i + count if i < validators else i for i in range(count)], dtype=np.float64)
    assert list(yuma.top_k_nonzero(stake, validators)) == [i < validators for i in range(count)]
    stake[validators:] += 2 * count
    assert list(yuma.top_k_nonzero(stake, validators)) == [i >= validators for i in range(count)]


def test_no_permit_without_stake_and_ties_go_to_the_lower_uid() -> None:
    assert list(yuma.top_k_nonzero(np.array([1.0, 1.0, 1.0, 0.0]), 2)) == [True, True, False, False]
    assert list(yuma.top_k_nonzero(np.array([0.0, 0.0, 1.0, 0.0]), 3)) == [False, False, True, False]


def test_the_owner_may_weigh_itself() -> None:
    """`test_can_set_self_weight_as_subnet_owner`: half on itself, half on the other, equal incentive."""
    base = inputs(
        {"stake": [1, 0], "registered": [0, 0], "permits": [True, False], "max_validators": 2, "tempo": 1,
         "activity_cutoff": 5000, "bonds_penalty": U16},
        {"block": 2, "last_update": [2, 0], "weights": [[[0, 32767], [1, 32767]], []]},
        np.zeros((2, 2)),
    )  # fmt: skip
    assert list(yuma.epoch(base).incentive) == [0.0, 1.0]
    owned = yuma.epoch(yuma.Inputs(**{**base.__dict__, "owner": 0}))
    assert owned.incentive[0] == owned.incentive[1] == 0.5
