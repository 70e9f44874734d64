"""The slot on chain follows the log: nothing is sent twice, nothing that was refused is forgotten."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.canonical import sha256
from ledger.database import sqlite_url
from orchestra.anchoring import ChainSlot, Envelope, OwnLog
from orchestra.chain import dev_signer
from tests.fakes.validation import NumberedChain, neuron

ME = dev_signer("//me")
A, B = sha256(b"a"), sha256(b"b")


@pytest.fixture
async def slot(tmp_path: Path) -> AsyncIterator[tuple[ChainSlot, NumberedChain]]:
    chain = NumberedChain((neuron(0, ME.ss58_address),))
    async with await OwnLog.open(sqlite_url(tmp_path / "own.sqlite")) as log:
        yield ChainSlot(log, chain, ME, 2), chain


async def test_an_empty_log_costs_nothing(slot: tuple[ChainSlot, NumberedChain]) -> None:
    kept, chain = slot
    await kept.keep(chain.at(1))
    assert chain.commits == []


async def test_a_state_is_committed_once_and_vouches_for_its_digests(
    slot: tuple[ChainSlot, NumberedChain],
) -> None:
    kept, chain = slot
    await kept.log.fix(A)
    before = chain.at(1)
    await kept.keep(before)
    await kept.keep(before)  # the same block again: it cannot show what was just sent
    await kept.keep(chain.at(2))
    assert chain.commits == [str(Envelope(kept.log.version))]
    assert not kept.covers(before, A)
    assert kept.covers(chain.at(2), A)
    assert not kept.covers(chain.at(2), B)
    await kept.log.fix(B)
    assert kept.covers(chain.at(2), A), "an older root still vouches for what was in it"
    assert not kept.covers(chain.at(2), B)


async def test_a_vote_goes_out_with_the_log(slot: tuple[ChainSlot, NumberedChain]) -> None:
    kept, chain = slot
    kept.vote = f"7:{B}"
    await kept.keep(chain.at(1))
    assert chain.commits == [f"o1|{kept.log.version}|7:{B}"]
    kept.vote = f"8:{B}"
    await kept.keep(chain.at(2))
    assert chain.commits[-1].endswith(f"|8:{B}")


async def test_what_was_refused_is_tried_again_and_said_once(
    slot: tuple[ChainSlot, NumberedChain], caplog: pytest.LogCaptureFixture
) -> None:
    kept, chain = slot
    await kept.log.fix(A)
    chain.refuses_commits = True
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            await kept.keep(chain.at(number))
    assert len(chain.commits) == 3
    assert [record.message for record in caplog.records] == [
        "the chain did not take our commitment (rate_limited): tried again with the next block"
    ]


async def test_what_was_taken_and_never_seen_is_sent_again(slot: tuple[ChainSlot, NumberedChain]) -> None:
    kept, chain = slot
    await kept.log.fix(A)
    for number in range(4):
        await kept.keep(replace(chain.at(number), neurons=(neuron(0, ME.ss58_address),)))  # a fork lost it
    assert len(chain.commits) == 2
