"""Who may call, by what the chain said last and how long ago that was."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from orchestra.chain.types import BlockRef, Metagraph
from orchestra.transport import AllowedCallers, AnyCaller, MetagraphPolicy, Refused, Snapshot
from orchestra.transport.policy import CallerPolicy, Members
from tests.fakes.clock import VirtualClock


@dataclass(frozen=True)
class Neuron:
    permit: bool
    stake_rao: int


class Subnet:
    def __init__(self, **neurons: Neuron) -> None:
        self._neurons = neurons

    def by_hotkey(self, hotkey: str) -> Neuron | None:
        return self._neurons.get(hotkey)


SUBNET = Subnet(whale=Neuron(True, 1000), poor=Neuron(True, 999), miner=Neuron(False, 5000))


def verdict(policy: CallerPolicy, hotkey: str) -> str:
    try:
        policy.check(hotkey)
    except Refused as refused:
        return f"{refused.problem.status} {refused.problem.code}"
    return "ok"


def test_permit_and_stake() -> None:
    clock = VirtualClock()
    snapshot = Snapshot(SUBNET, clock.now())
    policy = MetagraphPolicy(source=lambda: snapshot, require_permit=True, min_stake_rao=1000, clock=clock)
    assert verdict(policy, "whale") == "ok"
    assert verdict(policy, "poor") == "403 stake_too_low"
    assert verdict(policy, "miner") == "403 no_permit"
    assert verdict(policy, "stranger") == "403 hotkey_unknown"
    open_policy = MetagraphPolicy(source=lambda: snapshot, require_permit=False, clock=clock)
    assert verdict(open_policy, "miner") == "ok"


def test_a_snapshot_is_good_up_to_its_bound_and_then_nobody_may() -> None:
    clock = VirtualClock()
    snapshot = Snapshot(SUBNET, clock.now())
    policy = MetagraphPolicy(source=lambda: snapshot, require_permit=True, max_staleness_s=60, clock=clock)
    clock.advance(60)
    assert verdict(policy, "whale") == "ok"
    clock.advance(0.001)
    assert verdict(policy, "whale") == "503 metagraph_stale"
    assert verdict(policy, "stranger") == "503 metagraph_stale"


def test_before_the_first_snapshot_nobody_may() -> None:
    policy = MetagraphPolicy(source=lambda: None, require_permit=False, clock=VirtualClock())
    with pytest.raises(Refused) as caught:
        policy.check("whale")
    assert caught.value.problem.code == "metagraph_stale"
    assert caught.value.response().headers["retry-after"] == "12"


def test_fixed_lists() -> None:
    assert verdict(AnyCaller(), "anybody") == "ok"
    assert verdict(AllowedCallers({"whale"}), "whale") == "ok"
    assert verdict(AllowedCallers({"whale"}), "poor") == "403 hotkey_unknown"


def test_the_chain_facade_s_metagraph_is_a_source() -> None:
    members: Members = Metagraph(2, BlockRef(1, "0x" + "0" * 64), 10, ())
    policy = MetagraphPolicy(source=lambda: Snapshot(members, 0.0), require_permit=True, clock=lambda: 0.0)
    assert verdict(policy, "whale") == "403 hotkey_unknown"
