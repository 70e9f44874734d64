"""Kills the Ledger API at drawn moments under load, starts it again, and counts what it counted and told.

What must hold. Of lookups with a name: each that was answered is counted, none is counted twice, and when all were
repeated until they were answered, as many are counted as there are names. Of lookups without: at least those answered
and at most those sent. Of webhooks: every change is told to everybody, and what is told twice has the same id. A pipe
that outlives the process tells whether a write transaction was open when it died.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.accounts import Accounts
from ledger.database import open_engine
from ledger.serving.tables import MIGRATIONS, metadata
from ledger.store import LedgerStore
from ledger.webhook_signature import is_genuine
from ledger.webhook_store import WebhookStore
from orchestra.transport import OutboundClient, TransportError, serving
from tests.builders import entry
from tests.databases import rows
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[1]
LONGEST_ROUND_S = 0.9
WORKERS = 8
LISTENERS = 3


@dataclass
class KillReport:
    """Figures of a run. `repeats`: webhook messages that arrived once more, with the same id."""

    kills: int = 0
    inside_transaction: int = 0
    lookups_answered: int = 0
    lookups_counted: int = 0
    changes_told: int = 0
    repeats: int = 0
    wrong: list[str] = field(default_factory=list[str])


@dataclass
class Receiver:
    """Hears webhooks. By listener: which message told of which changes of the log."""

    secrets: dict[str, str] = field(default_factory=dict[str, str])
    told: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict[str, dict[str, tuple[int, ...]]])
    repeats: int = 0
    wrong: list[str] = field(default_factory=list[str])

    async def hear(self, request: Request) -> Response:
        name, body = request.path_params["name"], await request.body()
        headers = dict(request.headers)
        message, now_s = headers["webhook-id"], int(headers["webhook-timestamp"])
        if not is_genuine(self.secrets[name], headers, body, now_s=now_s):
            self.wrong.append(f"{message} is not signed")
        heard = self.told.setdefault(name, {})
        told = tuple(change["index"] for change in json.loads(body)["data"]["changes"])
        self.repeats += message in heard
        if heard.setdefault(message, told) != told:
            self.wrong.append(f"{message} said something else before")
        return Response(status_code=204)


@dataclass
class Server:
    """The API as a process that is forked anew for each start."""

    forks: asyncio.subprocess.Process
    arguments: list[str]
    pid: int = 0
    url: str = ""

    async def start(self) -> None:
        assert self.forks.stdin is not None
        assert self.forks.stdout is not None
        self.forks.stdin.write(json.dumps(self.arguments).encode() + b"\n")
        line = b"its predecessor's address, which it may have said with its last breath"
        while not line.strip().isdigit():
            line = await self.forks.stdout.readline()
            assert line, "the forks have ended"
        self.pid = int(line)

    async def ready(self) -> None:
        """Until it serves; its line names the address."""
        assert self.forks.stdout is not None
        line = (await self.forks.stdout.readline()).decode()
        self.url = line.rsplit(" ", 1)[-1].strip()
        assert self.url.startswith("http"), line

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@dataclass
class Load:
    """Lookups with names and without, and what became of them."""

    client: OutboundClient
    named_key: str
    other_key: str
    unanswered: set[str] = field(default_factory=set[str])
    named: int = 0
    others_sent: int = 0
    others_answered: int = 0

    async def work(self, url: str) -> None:
        """Look up until the server is gone."""
        while True:
            name = self._new_name()
            self.unanswered.add(name)
            if not await self._ask(url, self.named_key, {"x-request-id": name}):
                return
            self.unanswered.remove(name)
            self.others_sent += 1
            if not await self._ask(url, self.other_key, {}):
                return
            self.others_answered += 1

    async def settle(self, url: str) -> None:
        """Ask again, under the same name, for all that is unanswered."""
        for name in list(self.unanswered):
            assert await self._ask(url, self.named_key, {"x-request-id": name})
            self.unanswered.remove(name)

    @property
    def answered(self) -> int:
        return self.named - len(self.unanswered)

    def _new_name(self) -> str:
        self.named += 1
        return f"lookup-{self.named}"

    async def _ask(self, url: str, key: str, headers: dict[str, str]) -> bool:
        sent = {**headers, "authorization": f"Bearer {key}"}
        try:
            answer = await self.client.request("GET", f"{url}/v1/subnets/first", headers=sent, timeout_s=20)
        except TransportError:
            return False
        assert answer.status == 200, answer.body
        return True


async def kill_rounds(url: str, rounds: int, seed: int) -> KillReport:
    """`rounds` kills of one server over one empty database."""
    dice, report, receiver = random.Random(seed), KillReport(), Receiver()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    hook = Starlette(routes=[Route("/{name}", receiver.hear, methods=["POST"])])
    try:
        async with (
            await LedgerStore.open(url) as ledger,
            serving(hook) as address,
            OutboundClient(allow_loopback=True) as client,
            _forks(writing) as forks,
        ):
            await ledger.append([entry("first", netuid=1)], onto=0, block=0)
            keys = await _prepare(url, receiver, address.url)
            server = Server(forks, ["--database", url, "--port", "0", "--webhook-timeout", "1", "--local-webhooks"])
            load = Load(client, *keys)
            await server.start()
            await server.ready()
            for number in range(rounds):
                if number % 2:  # the moment may be one of the start, when changes are announced
                    server.kill()
                    await server.start()
                changed = [entry(f"e{number}", netuid=2), entry("first", netuid=1, notes=str(number))]
                await ledger.append(changed, onto=1 + 2 * number, block=number)
                moment_s = dice.uniform(0, LONGEST_ROUND_S)
                report.inside_transaction += await _round(server, load, moment_s, reading, started=number % 2 == 0)
                report.kills += 1
                await server.start()
                await server.ready()
                await load.settle(server.url)
            await _all_told(receiver, 1 + 2 * rounds)
            await _check(url, load, receiver, report)
            server.kill()
    finally:
        os.close(reading)
        os.close(writing)
    return report


async def _round(server: Server, load: Load, moment_s: float, pipe: int, *, started: bool) -> bool:
    """Work, and kill after `moment_s`. True when it died inside a transaction."""

    async def work() -> None:
        if not started:
            await server.ready()
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(load.work(server.url))

    _drain(pipe)
    working = asyncio.create_task(work())
    await asyncio.sleep(moment_s)
    server.kill()
    marks = _drain(pipe)
    working.cancel()
    await asyncio.wait([working])
    return marks.count(b"B") > marks.count(b"E")


@asynccontextmanager
async def _forks(pipe: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.ledger_forks",
        cwd=ROOT, env={**os.environ, "ORCHESTRA_TRANSACTION_FD": str(pipe)}, pass_fds=[pipe],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        await process.wait()


async def _prepare(url: str, receiver: Receiver, address: str) -> tuple[str, str]:
    """Two keys, and listeners that hear everything."""
    engine = await open_engine(url, metadata, migrations=MIGRATIONS)
    try:
        accounts, store = Accounts(engine), WebhookStore(engine)
        named, listening = await accounts.issue("named", "production")
        other, _ = await accounts.issue("other", "production")
        await store.start(1)
        for number in range(LISTENERS):
            made = await store.add(listening.id, f"{address}/l{number}", (), most=LISTENERS)
            assert made is not None
            receiver.secrets[f"l{number}"] = made[0]
    finally:
        await engine.dispose()
    return named, other


async def _all_told(receiver: Receiver, size: int) -> None:
    async def told() -> bool | None:
        heard = [sum(map(len, messages.values())) for messages in receiver.told.values()]
        return True if len(heard) == LISTENERS and min(heard) >= size - 1 else None

    await until("every change to be told to every listener", told)


async def _check(url: str, load: Load, receiver: Receiver, report: KillReport) -> None:
    report.wrong += receiver.wrong
    expected = sorted(range(1, 1 + 2 * report.kills))
    for name, messages in receiver.told.items():
        if sorted(index for told in messages.values() for index in told) != expected:
            report.wrong.append(f"{name} was told of a change under two ids, or not at all")
    counts = dict(await rows(url, "SELECT owner, lookups FROM api_usage JOIN api_keys ON id = key_id"))
    receipts = (await rows(url, "SELECT count(*) FROM api_receipts"))[0][0]
    if not counts["named"] == receipts == load.answered == load.named:
        report.wrong.append(f"{load.named} named lookups, {counts['named']} counted, {receipts} receipts")
    if not load.others_answered <= counts["other"] <= load.others_sent:
        report.wrong.append(f"{load.others_answered} of {load.others_sent} answered, {counts['other']} counted")
    report.lookups_answered = load.answered + load.others_answered
    report.lookups_counted = counts["named"] + counts["other"]
    report.changes_told, report.repeats = LISTENERS * len(expected), receiver.repeats


def _drain(pipe: int) -> bytes:
    heard = b""
    while True:
        try:
            heard += os.read(pipe, 65536)
        except BlockingIOError:
            return heard
