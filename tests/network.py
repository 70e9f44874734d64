"""A running local network for end-to-end tests: real processes on free ports, with what a test wants to ask of it.

```python
async with running_network(tmp_path) as net:
    answer = await net.ask("Compare ...", {"offers": [{"name": "str"}]})
    await net.fault("atlas", latency_ms=5_000)
```
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ledger.database import sqlite_url
from neurons.running import Neuron, started
from orchestra.chain import verify_signature
from orchestra.client import Answer, Client, OrchestraError
from orchestra.devnet.network import MINERS, NETUID, SUBNETS, Layout, LocalNetwork, NeuronSpec
from orchestra.gateway.messages import ObjectiveResult
from orchestra.settings import neuron_settings
from orchestra.transport import OutboundClient
from orchestra.validation.components import Score, ScoreEvent, score
from orchestra.validation.store import ValidationStore

BLOCK_TIME_S = 0.5
MARK = "ORCHESTRA_TEST_MARK"
"""An environment variable that every descendant of a process inherits."""


@dataclass(frozen=True)
class Network:
    """A `LocalNetwork` with helpers. Names are those of its neurons and subnets."""

    local: LocalNetwork
    scratch: Path

    @property
    def validators(self) -> tuple[NeuronSpec, ...]:
        return self.local.validators

    @property
    def honest(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.local.miners if not spec.module)

    def hotkey(self, name: str) -> str:
        return self.local.address(name)

    async def ask(self, objective: str, schema: Mapping[str, Any], **options: Any) -> ObjectiveResult:
        """One objective through the first validator's gateway."""
        answer: Answer = await Client(self.local.gateway).arun(objective, schema, **options)
        return answer.raw

    async def status(self, validator: NeuronSpec) -> dict[str, Any] | None:
        """What `orchestra status` shows; None while the gateway does not answer."""
        with suppress(OrchestraError):
            return await Client(self.local.gateway_of(validator)).astatus()
        return None

    async def fault(self, subnet: str, **fields: Any) -> None:
        """Set fields of a subnet's control port; none of them: healthy again (a canary keeps its schema)."""
        healthy = {"latency_ms": 0, "error_rate": 0.0, "outage": None}
        async with OutboundClient(allow_loopback=True) as http:
            url = f"{self.local.control(subnet)}/control"
            answer = await http.request("POST", url, json=dict(healthy | fields))
        assert answer.status == 200, answer.body

    async def heal(self) -> None:
        for subnet in SUBNETS:
            await self.fault(subnet)

    async def events(self, validator: str, miner: str | None = None, *, since: int = 0) -> tuple[ScoreEvent, ...]:
        """What a validator has recorded, read beside it from its database."""
        database = self.local.layout.data(validator) / "validation.sqlite"
        async with await ValidationStore.open(sqlite_url(database)) as store:
            return await store.events(since=since, hotkey=self.hotkey(miner) if miner else None)

    async def score(self, validator: str, miner: str) -> Score:
        """A miner's score over everything that a validator has ever recorded of it."""
        return score(self.hotkey(miner), await self.events(validator, miner))

    @asynccontextmanager
    async def acting_as(self, name: str, *, empty: bool = False) -> AsyncIterator[Neuron]:
        """A second process' worth of one neuron, with its keys and state of its own, its Ledger up to date; or with
        an empty Ledger, which it has to get.
        """
        spec = next(each for each in (*self.local.validators, *self.local.miners) if each.name == name)
        settings = neuron_settings(
            netuid=NETUID,
            network=self.local.network,
            wallet=(name, "default", str(self.local.layout.wallets)),
            axon=(spec.host, "", 0),
            data=self.scratch / (f"empty-{name}" if empty else f"as-{name}"),
            ledger_seed=None if empty else self.local.layout.ledger,
            ledger_committer=self.local.settings["ledger_committer"],
            ledger_follow=True,
            keys=self.local.layout.keys,
            tao_usd="300",
            min_stake=1000,
        )
        async with started(settings) as neuron:
            sight = await neuron.watch.refresh()
            if empty:
                yield neuron
                return
            committer = settings.ledger_committer
            source = neuron.peer(committer)
            assert source is not None
            await neuron.ledger.follow(source, committer=committer, verify=verify_signature, block=sight.block.number)
            yield neuron


@asynccontextmanager
async def running_network(folder: Path, *, block_time_s: float = BLOCK_TIME_S) -> AsyncIterator[Network]:
    """The network of the demonstration, stopped at the end.

    Its blocks are many times as quick as a real chain's and challenges as frequent, so its miners take more at once.
    """
    miners = tuple(replace(spec, flags=(*spec.flags, "--challenges.at-once", "64")) for spec in MINERS)
    local = LocalNetwork(Layout(folder / "network"), block_time_s=block_time_s, miners=miners)
    await local.start()
    try:
        yield Network(local, folder)
    finally:
        await local.stop()


def alive(pids: Iterable[int]) -> list[int]:
    """Those of the processes that still run (one that nobody has waited for yet does not)."""
    return [pid for pid in pids if _state(pid) not in ("", "Z", "X")]


def marked(mark: str) -> list[int]:
    """Every running process that was started, through however many others, with this mark in its environment."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in alive(_pids()) if wanted in _environment(pid).split(b"\0")]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def _state(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""
