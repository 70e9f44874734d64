"""A real chain process for tests: started on a free port, talked to over its socket, always stopped.

```python
async with running_chain(tmp_path, genesis=one_subnet()) as chain:
    async with bt.Client(substrate=chain.substrate) as client: ...
    await chain.step(10)
```

The default chain makes a block for each extrinsic and otherwise stands still, so nothing depends on time.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.chain.keys import dev_signer
from orchestra.chain.local import LocalSubstrate

START_DEADLINE = 30.0
STOP_DEADLINE = 10.0


@dataclass
class ChainProcess:
    """A chain process and how to reach it. `substrate` is connected; `new_substrate()` gives further ones."""

    database: Path
    genesis: Path
    options: Sequence[str]
    pass_fds: Sequence[int] = ()
    port: int = 0
    genesis_hash: str = ""
    process: asyncio.subprocess.Process | None = None
    substrate: LocalSubstrate = field(init=False)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start (again); the second time on the same port, with the same database."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "orchestra.devnet.chain", "--db", str(self.database), "--genesis", str(self.genesis),
            "--port", str(self.port), "--tied-to-stdin", *self.options,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=self.pass_fds,
        )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(START_DEADLINE):
            ready = await self.process.stdout.readline()
        assert ready, "the chain process did not start"
        line = json.loads(ready)
        self.port, self.genesis_hash = line["port"], line["genesis_hash"]

    async def stop(self) -> int:
        """SIGTERM, as an operator would; the exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        with suppress(ProcessLookupError):  # it has ended, and nobody has told this loop yet
            if self.process.returncode is None:
                os.kill(self.process.pid, number)
        async with asyncio.timeout(STOP_DEADLINE):
            return await self.process.wait()

    async def step(self, count: int = 1) -> int:
        """Make blocks; the new head's number."""
        return await self.substrate.step(count)

    def new_substrate(self, **options: Any) -> LocalSubstrate:
        return LocalSubstrate(self.endpoint, **options)


@asynccontextmanager
async def running_chain(
    directory: Path,
    genesis: dict[str, Any] | None = None,
    block_time: float = 0,
    *,
    seal: str = "instant",
    finality_lag: int = 0,
    options: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[ChainProcess]:
    """A chain process in `directory`, from a genesis as `orchestra/devnet/chain/genesis.py` describes it."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "genesis.json"
    file.write_text(json.dumps(one_subnet() if genesis is None else genesis))
    arguments = ["--block-time", str(block_time), "--seal", seal, "--finality-lag", str(finality_lag), *options]
    chain = ChainProcess(directory / "chain.sqlite", file, arguments, pass_fds)
    try:
        await chain.start()
        chain.substrate = LocalSubstrate(chain.endpoint)
        await chain.substrate.connect()
        try:
            yield chain
        finally:
            await chain.substrate.close()
    finally:
        if chain.process is not None and chain.process.returncode is None:
            await chain.kill()


def ss58(uri: str) -> str:
    """The address of a development key, `//Alice` and the like."""
    return dev_signer(uri).ss58_address


TAO = 10**9


def one_subnet(
    netuid: int = 2,
    validators: Sequence[str] = ("//v0", "//v1"),
    miners: Sequence[str] = ("//m0", "//m1", "//m2"),
    **rules: Any,
) -> dict[str, Any]:
    """A genesis with one active subnet, owned by //Alice, whose neurons' coldkeys are funded.

    A neuron's coldkey is its own URI with `//cold` appended. `rules` are hyperparameters.
    """
    seated = [*((uri, 1000 * TAO, True) for uri in validators), *((uri, 0, False) for uri in miners)]
    neurons = [
        {"hotkey": ss58(uri), "coldkey": ss58(f"{uri}//cold"), "stake_rao": stake, "permit": permit}
        for uri, stake, permit in seated
    ]
    hyperparameters = {
        "tempo": 10, "weights_rate_limit": 5, "serving_rate_limit": 5, "immunity_period": 20,
        "commit_reveal_weights_enabled": False, "min_allowed_weights": 1, **rules,
    }  # fmt: skip
    funded = [ss58("//Alice"), ss58("//Bob"), *(neuron["coldkey"] for neuron in neurons)]
    return {
        "accounts": dict.fromkeys(funded, 10000 * TAO),
        "chain": {"owner_hyperparam_rate_limit": 0},
        "subnets": [
            {
                "netuid": netuid, "owner_coldkey": ss58("//Alice"), "owner_hotkey": ss58("//Alice//hot"),
                "hyperparameters": hyperparameters, "neurons": neurons,
            }
        ],
    }  # fmt: skip
