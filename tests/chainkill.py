"""Kill the chain process at drawn moments under traffic, restart it, and check that it kept its word.

What must hold after each kill: every acknowledged extrinsic is in exactly the block that was acknowledged; no extrinsic
is in two blocks; each account's nonce and balance are what its included extrinsics make them; the blocks form one
unbroken line. A pipe that outlives the process tells whether a write transaction was open when it died.

`python -m tests.chainkill --rounds 200 --seed 7` runs it at length and prints its figures as one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import bittensor as bt
from bittensor.result import ExtrinsicResult, RpcConnectionError

from orchestra.chain.keys import dev_signer
from tests.chainproc import TAO, ChainProcess, one_subnet, running_chain, ss58

SENDERS = ("//s0", "//s1", "//s2", "//s3")
FUNDS = 10_000 * TAO
FEE = 124_414
LONGEST_ROUND = 0.25


@dataclass
class KillReport:
    """Figures of a run; `acknowledged` counts extrinsics whose inclusion the chain confirmed before it died."""

    rounds: int = 0
    inside_transaction: int = 0
    acknowledged: int = 0
    included: int = 0
    blocks: int = 0
    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])

    @property
    def sound(self) -> bool:
        return not self.lost and not self.doubled


def genesis() -> dict[str, object]:
    document = one_subnet()
    document["accounts"] |= {ss58(uri): FUNDS for uri in SENDERS}
    return document


async def _send(chain: ChainProcess, uri: str, rng: random.Random, acknowledged: dict[str, ExtrinsicResult]) -> None:
    """Transfer after transfer until the chain is gone. Each amount is drawn, so that a doubled one would show."""
    substrate, key = chain.new_substrate(), dev_signer(uri)
    try:
        await substrate.connect()
        while True:
            call = bt.calls.Balances.transfer_keep_alive(dest=ss58("//Bob"), value=rng.randrange(1000, 10**6))
            result = await substrate.submit(await substrate.compose(call), key)
            acknowledged[f"{result.extrinsic_id}"] = result.raise_for_failure()
    except RpcConnectionError:
        return
    finally:
        await substrate.close()


def _drain(descriptor: int) -> bytes:
    """What the chain wrote into the transaction pipe so far."""
    marks = b""
    while True:
        try:
            marks += os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return marks


async def _check(chain: ChainProcess, acknowledged: dict[str, ExtrinsicResult], report: KillReport) -> None:
    substrate = chain.substrate
    head, seen, sent = await substrate.block_number(), {}, dict.fromkeys((ss58(uri) for uri in SENDERS), 0)
    spent = dict(sent)
    parent = chain.genesis_hash
    for number in range(1, head + 1):
        block = await substrate.get_block(block_number=number)
        assert block is not None
        assert (block["header"]["number"], block["header"]["parentHash"]) == (number, parent)
        parent = block["header"]["hash"]
        for index, extrinsic in enumerate(block["extrinsics"][1:], start=1):
            if extrinsic["extrinsic_hash"] in seen:
                report.doubled.append(extrinsic["extrinsic_hash"])
            seen[extrinsic["extrinsic_hash"]] = (f"{number}-{index:04d}", parent)
            assert extrinsic["nonce"] == sent[extrinsic["address"]]
            sent[extrinsic["address"]] += 1
            spent[extrinsic["address"]] += FEE + extrinsic["call"]["call_args"][1]["value"]
    placed = dict(seen.values())
    report.lost += [at for at, result in acknowledged.items() if placed.get(at) != result.block_hash]
    for address, count in sent.items():
        account = await substrate.query("System", "Account", [address])
        assert (account["nonce"], account["data"]["free"]) == (count, FUNDS - spent[address])
    report.included, report.blocks = len(seen), head


async def kill_rounds(directory: Path, rounds: int, seed: int) -> KillReport:
    """`rounds` kills of one chain, restarted each time on its own database; raises AssertionError on a broken chain."""
    rng, report = random.Random(seed), KillReport()
    acknowledged: dict[str, ExtrinsicResult] = {}
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    options = ["--transaction-fd", str(writing)]
    try:
        async with running_chain(directory, genesis(), options=options, pass_fds=[writing]) as chain:
            for _ in range(rounds):
                _drain(reading)
                async with asyncio.TaskGroup() as group:
                    for uri in SENDERS:
                        group.create_task(_send(chain, uri, random.Random(rng.random()), acknowledged))
                    await asyncio.sleep(rng.uniform(0, LONGEST_ROUND))
                    await chain.kill()
                report.rounds += 1
                report.inside_transaction += _drain(reading).endswith(b"B")
                await chain.start()
                await _check(chain, acknowledged, report)
    finally:
        os.close(reading)
        os.close(writing)
    report.acknowledged = len(acknowledged)
    return report


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(kill_rounds(Path(folder), arguments.rounds, arguments.seed))
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
