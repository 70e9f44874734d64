"""The facade against a real subtensor node, for who has one: only on request, because it leaves this machine."""

from __future__ import annotations

import os

import pytest

from orchestra.chain import Chain, dev_signer, runtime
from tests.fakes.substrate import BOB

ENDPOINT = os.environ.get("ORCHESTRA_CHAIN_ENDPOINT", "")

pytestmark = pytest.mark.skipif(not ENDPOINT, reason="opt in with ORCHESTRA_CHAIN_ENDPOINT=ws://127.0.0.1:9944")


async def test_the_runtime_takes_our_calls_and_answers_our_reads() -> None:
    async with await Chain.open(ENDPOINT, call_deadline_s=60) as chain:
        assert await chain.spec_version() > 0
        assert (await chain.finalized()).number <= (await chain.head()).number
        graph = await chain.metagraph(1)
        assert graph.netuid == 1
        assert (await chain.hyperparameters(1)).tempo == graph.tempo
        assert await chain.link.run("metadata", lambda session: runtime.difference(session.substrate)) is None


async def test_alice_pays_bob_on_a_local_node() -> None:
    async with await Chain.open(ENDPOINT, call_deadline_s=60) as chain:
        if await chain.is_main():
            pytest.skip("Alice owns nothing on finney")
        before = await chain.balance_rao(BOB)
        assert (await chain.transfer(dev_signer("//Alice"), BOB, 10**6)).ok
        assert await chain.balance_rao(BOB) == before + 10**6
