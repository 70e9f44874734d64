"""Child processes that cannot outlive us: started in order, ready when they say so, stopped in reverse.

A child says that it is ready with one JSON line on stdout; everything else it says goes to its log file. Should we be
killed outright, the kernel ends the children (PR_SET_PDEATHSIG, Linux only).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
_PR_SET_PDEATHSIG = 1


class ProcessFailed(RuntimeError):
    """A child did not come up. The message names it, says why, and where its log is."""


@dataclass(slots=True)
class Child:
    """One running process. `ready` is what it said when it was."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    inherit: tuple[int, ...]
    log: Path
    log_from: int
    process: asyncio.subprocess.Process
    ready: dict[str, Any]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, and SIGKILL when that takes too long. Returns the exit code."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                async with asyncio.timeout(timeout_s):
                    await self.process.wait()
            except TimeoutError:
                await self.kill()
        return self.process.returncode or 0

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of what it wrote to its log, which goes on from run to run."""
        if not self.log.exists():
            return ""
        said = self.log.read_bytes()[self.log_from :].decode(errors="replace")
        return "\n".join(said.splitlines()[-lines:])


@dataclass(slots=True)
class Processes:
    """The children of one network, in the order in which they were started."""

    logs: Path
    children: dict[str, Child] = field(default_factory=dict[str, Child])

    async def start(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
        timeout_s: float = READY_TIMEOUT_S,
    ) -> Child:
        """Start `python -m module` and wait for its JSON line. It also gets the descriptors in `inherit`.

        Raises:
            ProcessFailed: it ended, or said nothing in time.
        """
        argv = (sys.executable, "-m", module, *arguments)
        return await self._launch(name, argv, {**_inherited(), **(environment or {})}, tuple(inherit), timeout_s)

    async def restart(self, name: str, *, timeout_s: float = READY_TIMEOUT_S) -> Child:
        """Start a child again as it was started before; the old process must have ended."""
        old = self.children[name]
        return await self._launch(name, old.argv, old.environment, old.inherit, timeout_s)

    async def _launch(
        self,
        name: str,
        argv: tuple[str, ...],
        environment: Mapping[str, str],
        inherit: tuple[int, ...],
        timeout_s: float,
    ) -> Child:
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{name}.log"
        with path.open("ab") as log:
            began = log.tell()
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=dict(environment),
                start_new_session=True,
                pass_fds=inherit,
                preexec_fn=_die_with_parent,
            )
        child = Child(name, argv, environment, inherit, path, began, process, {})
        self.children[name] = child
        try:
            async with asyncio.timeout(timeout_s):
                child.ready = await _ready_line(child)
        except TimeoutError:
            await child.kill()
            raise ProcessFailed(f"{name} was not ready in {timeout_s:g} s; see {path}\n{child.tail()}") from None
        return child

    async def stop(self, *, waves: Sequence[Sequence[str]] = ()) -> dict[str, int]:
        """Stop all: wave by wave, each at once, and then the others. Returns exit codes by name."""
        named = {name for wave in waves for name in wave}
        codes: dict[str, int] = {}
        for wave in (*waves, [name for name in self.children if name not in named]):
            present = [name for name in wave if name in self.children]
            ended = await asyncio.gather(*(self.children[name].stop() for name in present))
            codes |= dict(zip(present, ended, strict=True))
        return codes

    def ended(self) -> list[Child]:
        """Children that are no longer running."""
        return [child for child in self.children.values() if not child.running]


async def _ready_line(child: Child) -> dict[str, Any]:
    assert child.process.stdout is not None
    while line := await child.process.stdout.readline():
        with contextlib.suppress(json.JSONDecodeError):
            message = json.loads(line)
            if isinstance(message, dict):
                return message  # pyright: ignore[reportUnknownVariableType] - strict readers follow
    code = await child.process.wait()
    last = child.tail() or "it wrote nothing: is the disk full?"
    raise ProcessFailed(f"{child.name} ended with {code} before it was ready; see {child.log}\n{last}")


def _inherited() -> dict[str, str]:
    """Our environment without settings meant for one neuron, and with output that is not held back."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("BT_", "ORCHESTRA_KEY"))}
    return {**ours, "PYTHONUNBUFFERED": "1"}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
