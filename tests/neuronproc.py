"""A neuron as an operator starts it: the script, with flags or environment names, as a process on a small real chain.

```python
async with neuron_stand(tmp_path) as stand:
    async with stand.neuron("miner", "--axon.ip", "127.0.0.2") as miner:
        quote = await stand.peer(miner).quote(...)
```

The chain ticks by itself, because neurons follow blocks. `joined` holds a registered hotkey,
`stranger` one that is not, `locked` one that is encrypted. `//v0` has a permit and 1,000 alpha.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestra.chain import create_wallet, dev_signer, open_wallet, wallet_address
from orchestra.peers import Peer
from orchestra.transport import SignedClient
from tests.chainproc import TAO, ChainProcess, one_subnet, running_chain, ss58
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[1]
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 60.0
IP = "127.0.0.2"
VALIDATOR = "//v0"


@dataclass
class NeuronProcess:
    """One running neuron. `ready` is the JSON line that it printed; `log` what it wrote to stderr."""

    process: asyncio.subprocess.Process
    log_file: Path
    ready: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def lines(self) -> list[str]:
        return self.log.splitlines()

    async def says(self, text: str) -> str:
        """The first line of its log with `text`, once it is there."""

        async def found() -> str | None:
            assert self.process.returncode is None, self.log
            return next((line for line in self.lines if text in line), None)

        return await until(f"the neuron to say {text!r}", found)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        async with asyncio.timeout(STOP_DEADLINE_S):
            return await self.process.wait()


@dataclass
class NeuronStand:
    """A chain, wallets, and a home for neurons to run in."""

    home: Path
    chain: ChainProcess
    client: SignedClient
    started: int = 0

    @property
    def network(self) -> str:
        return f"orchestra-local:{self.chain.port}"

    def hotkey(self, wallet: str) -> str:
        return wallet_address("hotkey", wallet, "default", str(self.home / "wallets"))

    def wallet(self, name: str = "joined") -> list[str]:
        """The flags every neuron here needs: network and wallet."""
        flags = ["--network", self.network, "--wallet.path", str(self.home / "wallets"), "--wallet.name", name]
        return ["--netuid", "2", *flags]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """A clean one: no setting of whoever runs the tests reaches a neuron."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BT_", "ORCHESTRA_"))}
        local = str(self.home / "no-local-network")
        return {**kept, "HOME": str(self.home), "ORCHESTRA_LOCAL": local, "COLUMNS": "200", **(extra or {})}

    async def launch(self, script: str, *arguments: str, env: Mapping[str, str] | None = None) -> NeuronProcess:
        """Start `python neurons/SCRIPT.py ARGUMENTS` from the checkout, and wait for nothing."""
        self.started += 1
        log = self.home / f"{script}-{self.started}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, f"neurons/{script}.py", *arguments,
                cwd=ROOT, env=self.environment(env), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=file,
            )  # fmt: skip
        return NeuronProcess(process, log)

    @asynccontextmanager
    async def neuron(
        self, script: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[NeuronProcess]:
        """A neuron that serves; gone afterwards, whatever happens."""
        neuron = await self.launch(script, *arguments, env=env)
        try:
            assert neuron.process.stdout is not None
            async with asyncio.timeout(START_DEADLINE_S):
                line = await neuron.process.stdout.readline()
            assert line, f"it ended before it served:\n{neuron.log}"
            neuron.ready = json.loads(line)
            yield neuron
        finally:
            if neuron.process.returncode is None:
                neuron.process.kill()
                await neuron.process.wait()

    async def refused(self, script: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """The one line with which a neuron refuses to start."""
        neuron = await self.launch(script, *arguments, env=env)
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                said, _ = await neuron.process.communicate()
        finally:
            if neuron.process.returncode is None:
                neuron.process.kill()
                await neuron.process.wait()
        assert (neuron.process.returncode, said) == (1, b""), neuron.log
        assert len(neuron.lines) == 1, neuron.log
        return neuron.lines[0]

    def peer(self, neuron: NeuronProcess) -> Peer:
        """The neuron as the validator `//v0` asks it."""
        return Peer(neuron.ready["hotkey"], neuron.ready["url"], self.client)


@asynccontextmanager
async def neuron_stand(home: Path, *, block_time: float = 0.25) -> AsyncIterator[NeuronStand]:
    """A chain with `//v0`, `//v1` and the wallet `joined` on subnet 2, and the wallets of the module's docstring."""
    wallets = str(home / "wallets")
    for name in ("joined", "stranger"):
        create_wallet(name, "default", wallets, password=None)
    open_wallet("locked", "default", wallets).create_new_hotkey(
        use_password=True, hotkey_password="not-for-services", on_mnemonic=lambda _: None
    )
    joined = wallet_address("hotkey", "joined", "default", wallets)
    coldkey = wallet_address("coldkey", "joined", "default", wallets)
    genesis = one_subnet(miners=(), serving_rate_limit=1)
    genesis["subnets"][0]["neurons"].append({"hotkey": joined, "coldkey": coldkey, "stake_rao": 0, "permit": False})
    genesis["accounts"] |= {coldkey: TAO, ss58(VALIDATOR): TAO}
    async with (
        running_chain(home / "chain", genesis, block_time=block_time) as chain,
        SignedClient(dev_signer(VALIDATOR), allow_loopback=True) as client,
    ):
        yield NeuronStand(home, chain, client)
