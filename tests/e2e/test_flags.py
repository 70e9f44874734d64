"""Every flag of both neurons does what docs/operators.md says, and every start that cannot work says what to type next.

The neurons are the scripts that an operator runs, as processes on a real chain. `EXERCISED` holds every flag that a
command line here used; the last test compares it with the neurons' own --help.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web

from orchestra.chain import Chain
from orchestra.devnet.entries import devnet_entries
from orchestra.peers import PeerFailed
from orchestra.protocol import EvidenceRequest, OrchestraResponse, OrchestraSynapse, QuoteRequest
from tests.chainproc import ss58
from tests.neuronproc import IP, ROOT, NeuronProcess, NeuronStand, neuron_stand
from tests.waiting import until

pytestmark = pytest.mark.e2e

OBJECTIVE = "What does Acme cost?"
SCHEMA = {"offers": [{"name": "str", "price": "float"}]}
SCRIPTS = ("miner", "validator")


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[NeuronStand]:
    async with neuron_stand(tmp_path) as found:
        yield found


# a start that cannot work ---------------------------------------------------------------------------------------------

USUAL = ("--axon.ip", IP, "--axon.port", "0", "--no-ledger.follow")


def write(path: Path, text: str, mode: int = 0o600) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def folder_with(home: Path, database: str) -> str:
    return str(Path(write(home / f"bad-{database}" / f"{database}.sqlite", "not a database at all, not at all")).parent)


class Case(NamedTuple):
    """Script, further flags (the last of its kind wins), what its one line says, and how large files may become."""

    script: str
    flags: Callable[[NeuronStand], Sequence[str]]
    expected: str
    file_size: int | None = None


REFUSED: dict[str, Case] = {
    "a hotkey that is not registered": Case(
        "miner",
        lambda s: ["--name", "stranger", "--hotkey", "default"],
        r"not registered on subnet 2 .*run: orchestra register --netuid 2 --network \S+ --wallet\.name stranger",
    ),
    "a validator that is not registered": Case(
        "validator", lambda s: ["--wallet.name", "stranger"], "orchestra register"
    ),
    "a chain that is not there": Case(
        "miner",
        lambda s: ["--network", "orchestra-local:1"],
        r"orchestra-local:1 is unreachable .*Connection refused\): start it with: orchestra up$",
    ),
    "an endpoint that is not there": Case(
        "validator",
        lambda s: ["--subtensor.network", "ws://127.0.0.1:1"],
        "ws://127.0.0.1:1 is unreachable .*check --network",
    ),
    "a wallet that is not there": Case(
        "miner",
        lambda s: ["--wallet.name", "nobody"],
        r"No hotkey in wallet 'nobody' .*run: orchestra wallet new --wallet\.name nobody",
    ),
    "a hotkey that is not there": Case(
        "miner",
        lambda s: ["--wallet.hotkey", "other"],
        r"orchestra wallet new --wallet\.name joined --wallet\.hotkey other",
    ),
    "a hotkey that is locked": Case("miner", lambda s: ["--wallet.name", "locked"], "set BT_WALLET_PASSWORD"),
    "a hotkey that is damaged": Case(
        "miner",
        lambda s: ["--wallet.path", write(s.home / "w" / "joined" / "hotkeys" / "default", "{") and str(s.home / "w")],
        "Cannot read the hotkey of wallet 'joined' .*put a backup in place of",
    ),
    "a network that is none": Case(
        "miner",
        lambda s: ["--network", "nowhere"],
        "Unknown network 'nowhere': pass --network finney, test",
    ),
    "a subnet that is none": Case("miner", lambda s: ["--netuid", "77"], "Subnet 77 does not exist .*check --netuid"),
    "a rate that is none": Case("miner", lambda s: ["--tao-usd", "abc"], "write for example --tao-usd 300"),
    "a price that is none": Case(
        "validator",
        lambda s: ["--challenge.max-cost", "much"],
        r"write for example --challenge\.max-cost 0\.01",
    ),
    "looks of a price that is none": Case(
        "miner",
        lambda s: ["--upkeep.max-cost", "-1"],
        r"write for example --upkeep\.max-cost 0\.0001",
    ),
    "keys that others can read": Case(
        "miner",
        lambda s: ["--keys", write(s.home / "open.json", "{}", 0o644)],
        r"others can read .*run chmod 600 \S+open\.json",
    ),
    "keys that are not there": Case("miner", lambda s: ["--keys", str(s.home / "none.json")], "check --keys"),
    "keys that are none": Case("miner", lambda s: ["--keys", write(s.home / "k.json", "[1]")], "ORCHESTRA_KEY_SN22"),
    "a Ledger seed that is none": Case(
        "miner",
        lambda s: ["--ledger.seed", write(s.home / "seed.json", "{}x")],
        r"pass another with --ledger\.seed",
    ),
    "nobody to follow": Case("miner", lambda s: ["--ledger.follow"], r"Pass --ledger\.committer HOTKEY"),
    "somebody to follow who is nobody": Case(
        "validator",
        lambda s: ["--ledger.follow", "--ledger.committer", "5Committer"],
        r"'5Committer' is no hotkey's address: .*--ledger\.committer 5",
    ),
    "every address to listen on and none to publish": Case(
        "miner",
        lambda s: ["--axon.ip", "0.0.0.0"],
        r"Pass --axon\.external_ip IP",
    ),
    "an address that chains refuse": Case(
        "miner", lambda s: ["--axon.ip", "127.0.0.1"], r"pass --axon\.ip 127\.0\.0\.2"
    ),
    "an address that is none": Case(
        "miner",
        lambda s: ["--axon.external_ip", "example.com"],
        r"write for example --axon\.external_ip 203\.0\.113\.7",
    ),
    "a folder that cannot be made": Case(
        "miner", lambda s: ["--data", write(s.home / "file", "")], "folder with --data"
    ),
    "a Ledger that is damaged": Case(
        "miner",
        lambda s: ["--data", folder_with(s.home, "ledger")],
        r"ledger\.sqlite \(file",
    ),
    "nonces that are damaged": Case(
        "miner", lambda s: ["--data", folder_with(s.home, "nonces")], r"nonces\.sqlite \(file"
    ),
    "evidence that is damaged": Case(
        "miner", lambda s: ["--data", folder_with(s.home, "evidence")], "put a backup in its"
    ),
    "scores that are damaged": Case(
        "validator",
        lambda s: ["--data", folder_with(s.home, "validation")],
        r"validation\.sqlite \(file is not a database\): .*put a backup in its place",
    ),
    "a port that is taken": Case(
        "miner",
        lambda s: ["--axon.ip", "127.0.0.1", "--axon.external_ip", IP, "--axon.port", str(s.chain.port)],
        r"cannot listen on 127\.0\.0\.1:\d+ \(Address already in use\): .* with --axon\.port",
    ),
    "a gateway's port that is taken": Case(
        "validator", lambda s: ["--gateway.port", str(s.chain.port)], r"\(Address already in use\): .* --gateway\.port"
    ),
    "an address that is not this machine's": Case(
        "miner", lambda s: ["--axon.ip", "203.0.113.7"], r"\(Cannot assign requested address\): .* --axon\.port"
    ),
    "a disk that is full": Case("miner", lambda s: [], r"cannot use \S+\.sqlite \(.*\): make room if the disk", 6000),
}
if Path("/proc").is_dir():  # a folder that not even root can write to
    REFUSED["a folder that cannot be written"] = Case(
        "miner", lambda s: ["--data", "/proc"], "cannot write to /proc .*choose another folder with --data"
    )


async def test_every_start_that_cannot_work_is_one_line_that_says_what_to_type(stand: NeuronStand) -> None:
    starts = [
        {"script": script, "arguments": [*stand.wallet(), *USUAL, *flags(stand)], "file_size": size}
        for script, flags, _, size in REFUSED.values()
    ]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "tests.neuron_forks"], cwd=ROOT, env=stand.environment(),
        input="".join(json.dumps(each) + "\n" for each in starts), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [
        (name, said)
        for (name, (_, _, expected, _)), said in zip(REFUSED.items(), answers, strict=True)
        if (said["code"], said["out"]) != (1, "") or not re.fullmatch(rf"error: .*(?:{expected}).*\n", said["err"])
    ]
    assert wrong == []


@pytest.mark.parametrize("importable", [False, True])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_python_without_orchestra_says_what_to_run(script: str, *, importable: bool) -> None:
    """`-S` is this Python without what is installed for it; the checkout alone is not enough either."""
    bare = {**os.environ, "PYTHONPATH": str(ROOT) if importable else ""}
    done = subprocess.run(
        [sys.executable, "-S", f"neurons/{script}.py"], cwd=ROOT, env=bare, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r".*run \./scripts/demo once, then \.venv/bin/python\n", done.stderr)


# what works -----------------------------------------------------------------------------------------------------------


def seed_file(home: Path, origin: str) -> str:
    entries = devnet_entries({"desearch": origin}, ss58("//Atlas"))
    return write(home / "seed.json", json.dumps([entry.model_dump(mode="json") for entry in entries]))


def quote_request() -> QuoteRequest:
    return QuoteRequest(
        challenge_id="0x" + os.urandom(32).hex(), target_schema=SCHEMA, deadline_ms=5000, max_cost=10**6
    )


def synapse(ledger_version: str) -> OrchestraSynapse:
    return OrchestraSynapse.model_validate(
        {
            "challenge_id": "0x" + os.urandom(32).hex(),
            "objective": OBJECTIVE,
            "target_schema": SCHEMA,
            "issued_block": 1,
            "beacon": "0x" + "11" * 32,
            "max_cost": 10**9,
            "ledger_version": ledger_version,
            "tag": "0x" + "22" * 32,
        }
    )


async def ledger_version(stand: NeuronStand, neuron: NeuronProcess) -> str:
    """What its Ledger is at, from a signed audit of nothing."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*neuron.ready["url"].removeprefix("http://").split(":"))
        writer.write(b"GET /v1/health HTTP/1.1\r\nHost: neuron\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    return str(document["ledger_version"])


async def published(stand: NeuronStand) -> str | None:
    async with await Chain.open(stand.network) as chain:
        neuron = (await chain.metagraph(2)).by_hotkey(stand.hotkey("joined"))
        return neuron.axon if neuron else None


async def until_published(stand: NeuronStand, address: str) -> None:
    async def there() -> bool | None:
        return await published(stand) == address or None

    await until(f"{address} on chain", there)


AS_FLAGS = {
    "BT_NETUID": "--netuid",
    "BT_NETWORK": "--network",
    "BT_WALLET": "--wallet.name",
    "BT_WALLET_HOTKEY": "--wallet.hotkey",
    "BT_WALLET_PATH": "--wallet.path",
    "BT_AXON_IP": "--axon.ip",
    "BT_AXON_EXTERNAL_IP": "--axon.external_ip",
    "BT_AXON_PORT": "--axon.port",
    "ORCHESTRA_DATA": "--data",
    "ORCHESTRA_LEDGER_SEED": "--ledger.seed",
    "ORCHESTRA_LEDGER_COMMITTER": "--ledger.committer",
    "ORCHESTRA_LEDGER_FOLLOW": "--ledger.follow",
    "ORCHESTRA_KEYS": "--keys",
    "ORCHESTRA_TAO_USD": "--tao-usd",
    "ORCHESTRA_VALIDATOR_MIN_STAKE": "--validator.min-stake",
}
"""Every setting that both neurons take, by both of its names."""


def settings(stand: NeuronStand, port: int) -> dict[str, str]:
    """A value for each, none of them the default."""
    return {
        "BT_NETUID": "2",
        "BT_NETWORK": stand.network,
        "BT_WALLET": "joined",
        "BT_WALLET_HOTKEY": "default",
        "BT_WALLET_PATH": str(stand.home / "wallets"),
        "BT_AXON_IP": IP,
        "BT_AXON_EXTERNAL_IP": "127.0.0.77",
        "BT_AXON_PORT": str(port),
        "ORCHESTRA_DATA": str(stand.home / "kept"),
        "ORCHESTRA_LEDGER_SEED": seed_file(stand.home, "http://127.0.0.1:9"),
        "ORCHESTRA_LEDGER_COMMITTER": ss58("//v1"),
        "ORCHESTRA_LEDGER_FOLLOW": "1",
        "ORCHESTRA_KEYS": write(stand.home / "keys.json", json.dumps(KEYS)),
        "ORCHESTRA_TAO_USD": "412.5",
        "ORCHESTRA_VALIDATOR_MIN_STAKE": "1000000",
    }


KEYS = {"ORCHESTRA_KEY_SN22": {"key": "k", "origin": "http://127.0.0.1:9"}}


def free_port() -> int:
    with socket.create_server((IP, 0)) as listener:
        return int(listener.getsockname()[1])


def on_the_command_line(chosen: dict[str, str]) -> list[str]:
    """The settings as flags."""
    given = {AS_FLAGS[name]: value for name, value in chosen.items()}
    del given["--ledger.follow"]
    return ["--ledger.follow", *(part for pair in given.items() for part in pair)]


@pytest.mark.parametrize("how", ["flags", "environment"])
async def test_a_miner_does_as_it_is_told(stand: NeuronStand, how: str) -> None:
    port = free_port()
    chosen = settings(stand, port)
    arguments = on_the_command_line(chosen) if how == "flags" else []
    environment = {} if how == "flags" else chosen
    extra = ("--challenges.at-once", "1", "--upkeep.max-cost", "0", "--logging.debug")
    async with stand.neuron("miner", *arguments, *extra, env=environment) as miner:
        assert (miner.ready["hotkey"], miner.ready["url"]) == (stand.hotkey("joined"), f"http://{IP}:{port}")
        await until_published(stand, f"127.0.0.77:{port}")
        assert (await ledger_version(stand, miner)).startswith("1:"), "the seed has one entry"
        assert {path.name for path in (stand.home / "kept").glob("*.sqlite")} >= {"ledger.sqlite", "evidence.sqlite"}
        with pytest.raises(PeerFailed, match="stake_too_low"):  # //v0 has little more than 1,000
            await stand.peer(miner).quote(quote_request())
        assert await miner.stop() == 0
    assert "published 127.0.0.77" in miner.log


async def test_the_committer_that_is_followed_is_named_once_when_it_does_not_serve(stand: NeuronStand) -> None:
    """A validator follows at every block; the log gets one line, not one a block."""
    flags = [*stand.wallet(), *USUAL, "--ledger.follow", "--ledger.committer", ss58("//v1")]
    async with stand.neuron("validator", *flags, "--logging.debug") as validator:
        line = await validator.says("the Ledger stays at size 0")
        assert ss58("//v1") in line
        before = (await block(stand)) + 4
        await until("four more blocks", lambda: at_block(stand, before))
        assert await validator.stop() == 0
    assert sum("the Ledger stays" in line for line in validator.lines) == 1


async def block(stand: NeuronStand) -> int:
    return await stand.chain.substrate.block_number()


async def at_block(stand: NeuronStand, number: int) -> bool | None:
    return await block(stand) >= number or None


async def test_a_validator_does_as_it_is_told(stand: NeuronStand) -> None:
    chosen = settings(stand, free_port())
    own = ["--gateway.port", "0", "--canary.control", "http://127.0.0.1:1", "--challenge.max-cost", "0.02"]
    async with stand.neuron("validator", *on_the_command_line(chosen), *own, "--logging.debug") as validator:
        await until_published(stand, f"127.0.0.77:{chosen['BT_AXON_PORT']}")
        assert (await ledger_version(stand, validator)).startswith("1:")
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "orchestra.cli", "status", "--json", "--gateway", validator.ready["gateway"]],
            env=stand.environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert json.loads(done.stdout)["hotkey"] == stand.hotkey("joined"), done.stderr
        assert await validator.stop() == 0
    assert (stand.home / "kept" / "validation.sqlite").exists()


# traffic, stops and restarts ------------------------------------------------------------------------------------------


class SlowSubnet:
    """A subnet that says when it is asked, and answers when it is told."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked.set()
        await self.answer.wait()
        return web.json_response({"data": []})


@asynccontextmanager
async def slow_subnet() -> AsyncIterator[tuple[SlowSubnet, str]]:
    subnet, app = SlowSubnet(), web.Application()
    app.router.add_route("*", "/{path:.*}", subnet.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield subnet, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        subnet.answer.set()
        await runner.cleanup()


def loaded(stand: NeuronStand, origin: str, port: int) -> tuple[list[str], dict[str, str]]:
    """A miner that calls the slow subnet with a key from the environment, one challenge at a time."""
    flags = ["--axon.ip", IP, "--axon.port", str(port), "--no-ledger.follow", "--challenges.at-once", "1"]
    flags += ["--ledger.seed", seed_file(stand.home, origin), "--data", str(stand.home / "kept")]
    return [*stand.wallet(), *flags], {"ORCHESTRA_KEY_SN22": "k", "ORCHESTRA_KEY_SN22_ORIGIN": origin}


async def test_a_stopped_miner_finishes_what_it_has_in_hand_and_goes_on_after_a_restart(stand: NeuronStand) -> None:
    port = free_port()
    async with slow_subnet() as (subnet, origin):
        flags, environment = loaded(stand, origin, port)
        async with stand.neuron("miner", *flags, env=environment) as miner:
            peer = stand.peer(miner)
            asked = synapse(await ledger_version(stand, miner))
            answering = asyncio.create_task(peer.challenge(asked))
            await subnet.asked.wait()
            assert not (await peer.quote(quote_request())).accepts, "one at a time"
            with pytest.raises(PeerFailed, match="busy"):
                await peer.challenge(synapse(asked.ledger_version))
            miner.process.send_signal(signal.SIGTERM)

            async def closed() -> bool | None:
                try:
                    (await asyncio.open_connection(IP, port))[1].close()
                except ConnectionRefusedError:
                    return True
                return None

            await until("the miner to take no new connections", closed)
            assert not answering.done()
            subnet.answer.set()
            answer = OrchestraResponse.from_wire((await answering).body, max_bytes=1 << 22)
            assert (answer.challenge_id, len(answer.task_pipeline) > 0) == (asked.challenge_id, True)
            assert await miner.stop() == 0
        async with stand.neuron("miner", *flags, env=environment) as again:
            peer = stand.peer(again)
            evidence = await peer.evidence(EvidenceRequest(challenge_id=asked.challenge_id, steps=(1,)))
            assert evidence.steps, "what was answered before the stop can still be shown"
            with pytest.raises(PeerFailed, match="already_answered"):
                await peer.challenge(asked)
            assert await again.stop() == 0
        assert "Traceback" not in miner.log + again.log


async def test_a_second_miner_is_told_off(stand: NeuronStand) -> None:
    """On the same folder, on the same port, and with the same hotkey elsewhere."""
    port = free_port()
    usual = [*stand.wallet(), "--axon.ip", IP, "--no-ledger.follow"]
    async with stand.neuron("miner", *usual, "--axon.port", str(port)) as first:
        await until_published(stand, f"{IP}:{port}")
        line = await stand.refused("miner", *usual, "--axon.port", "0")
        assert f"another neuron (process {first.process.pid}) runs on" in line
        other = ["--data", str(stand.home / "other")]
        assert "already in use" in (await stand.refused("miner", *usual, *other, "--axon.port", str(port)))
        await first.says("published")
        async with stand.neuron("miner", *usual, *other, "--axon.port", "0") as twin:
            theirs = f"{IP}:{twin.ready['port']}"
            await until_published(stand, theirs)
            line = await first.says("a second neuron runs with it")
            assert f"the chain has {theirs} for our hotkey, no longer {IP}:{port}" in line
            head = (await block(stand)) + 4
            await until("four more blocks", lambda: at_block(stand, head))
            assert await published(stand) == theirs, "they do not take it from each other"
            assert (await twin.stop(), await first.stop()) == (0, 0)
    assert sum("second neuron" in line for line in first.lines) == 1


async def test_a_disk_that_fills_up_costs_answers_and_no_more(stand: NeuronStand) -> None:
    """A miner that cannot keep evidence answers nobody, says why in one line, and goes on when there is room again."""
    async with slow_subnet() as (subnet, origin):
        subnet.answer.set()
        flags, environment = loaded(stand, origin, 0)
        async with stand.neuron("miner", *flags, env=environment) as miner:
            peer = stand.peer(miner)
            version = await ledger_version(stand, miner)
            _, hard = resource.prlimit(miner.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(miner.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
            for _ in range(3):
                with pytest.raises(PeerFailed, match="nonce_store_failed"):
                    await peer.challenge(synapse(version))
            resource.prlimit(miner.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            response = await peer.challenge(synapse(version))
            assert OrchestraResponse.from_wire(response.body, max_bytes=1 << 22).task_pipeline
            assert await miner.stop() == 0
    said = [re.sub(r"^.*neurons\.running: ", "", line) for line in miner.lines if "neurons.running" in line]
    assert [line.partition(":")[0] for line in said if "published" not in line] == [
        "every request is refused",
        "requests are answered again",
    ], miner.log
    assert "Traceback" not in miner.log


# nothing is left out --------------------------------------------------------------------------------------------------


def helped(script: str) -> Iterator[tuple[str, str]]:
    """Every (flag, environment name) in a neuron's own --help."""
    shown = subprocess.run(
        [sys.executable, f"neurons/{script}.py", "--help"],
        cwd=ROOT, env={**os.environ, "COLUMNS": "400", "NO_COLOR": "1"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    for row in re.findall(r"^\W+(--.*)$", shown.stdout, re.MULTILINE):
        environment = re.search(r"\[env var: (\w+)\]", row)
        for flag in re.findall(r"--[\w.-]+", row.split(" <")[0]):
            yield flag, environment.group(1) if environment else ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_flag_and_environment_name_is_used_by_a_test_here(script: str) -> None:
    text = Path(__file__).read_text() + (ROOT / "tests" / "neuronproc.py").read_text()
    known = dict(helped(script))
    unused = {flag for flag in known if f'"{flag}"' not in text}
    assert unused == set()
    assert {name for name in known.values() if name} == set(AS_FLAGS)
