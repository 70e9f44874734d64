"""`kill -9` of validator, miner and chain at drawn moments under challenge traffic: nothing is lost or doubled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestra.devnet.network import MINERS, Layout, LocalNetwork
from tests.figures import count, record
from tests.network_kill import KINDS, TARGETS, flat, kill_rounds, lost_on_chain, still_works

ROUNDS = count("network_kills", short=20, long=200)
SEED = 1

pytestmark = [pytest.mark.e2e, pytest.mark.soak]


async def test_every_kill_leaves_everything_that_was_committed(tmp_path: Path) -> None:
    pipes = {name: os.pipe() for name in TARGETS}
    network = LocalNetwork(Layout(tmp_path / "network"), block_time_s=0.5, miners=MINERS[:2])
    network.report_transactions_to = {name: writing for name, (_, writing) in pipes.items()}
    try:
        await network.start()
        report = await kill_rounds(network, ROUNDS, SEED, {name: reading for name, (reading, _) in pipes.items()})
        uids = await still_works(network)
    finally:
        await network.stop()
        for descriptor in (end for pipe in pipes.values() for end in pipe):
            os.close(descriptor)
    report.lost += lost_on_chain(network, uids, report.blocks)
    assert report.blocks
    record("network_kill", **flat(report))
    assert report.lost == []
    assert set(report.compared) == KINDS
    assert min(report.kills[name] for name in TARGETS) >= ROUNDS // len(TARGETS)
