"""`./scripts/story`: how a Ledger stays true with nobody in charge, told by a network that does it, in blocks.

A subnet changes its answer; a miner that works with it notices, proposes, and the validators check, agree and write it
down. A newcomer is added, somebody lies, somebody copies, a subnet dies. Every line is read back from the running
processes, their databases and the chain.
"""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from ledger.changes import BatchHeader, Bond, Change
from ledger.checkpoint import parse_checkpoint
from ledger.database import sqlite_url
from ledger.entry import SubnetEntry
from ledger.snapshot import read_note
from ledger.store import LedgerStore
from orchestra.chain import Chain, ChainError
from orchestra.client import Answer, Client, OrchestraError
from orchestra.devnet.network import MINERS, NETUID, Layout, LocalNetwork, NeuronSpec
from orchestra.devnet.processes import ProcessFailed
from orchestra.devnet.subscriber import Subscriber, subscribed
from orchestra.governing.drafts import Draft, DraftStore
from orchestra.transport import OutboundClient, run

T = TypeVar("T")

COUNCIL = tuple(
    NeuronSpec(f"validator-{number}", "validator", "of the council", f"127.0.0.1{number}") for number in (1, 2, 3)
)
FINDER, COPIER = MINERS[:2]
NEWCOMER = "chutes"
CHANGING = "desearch"
DYING = "data-universe"
PRICES = ("Compare RunPod and Lambda on A100 price", {"offers": [{"name": "str", "price": "float"}]})
POSTS = ("What do people say on X about Kestrel Cloud?", {"posts": [{"text": "str", "url": "url"}]})
PATIENCE_BLOCKS = 120
POLL_S = 0.3


class StoryFailed(RuntimeError):
    """Something that should happen did not, within `PATIENCE_BLOCKS`. The message says what."""


def main(
    block_time: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between blocks.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Run in this folder and leave it (logs, databases).")] = None,
) -> None:
    """Start a network whose validators agree on the Ledger, change the world under it, and tell what happens."""
    console = Console(stderr=as_json, soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory(prefix="orchestra-story-") as folder:
            told = run(_interruptible(tell(keep or Path(folder), block_time, console)))
    except (ProcessFailed, StoryFailed, OrchestraError, ChainError) as error:
        raise SystemExit(f"story: {error}") from None
    except asyncio.CancelledError:
        raise SystemExit(130) from None
    if as_json:
        print(json.dumps(told, indent=2))


async def _interruptible(work: Any) -> dict[str, Any]:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


async def tell(folder: Path, block_time: float, console: Console) -> dict[str, Any]:
    """The whole story; returns what was seen, by name, with block numbers."""
    network = LocalNetwork(
        Layout(folder),
        block_time_s=block_time,
        governed=True,
        left_out=(NEWCOMER,),
        validators=COUNCIL,
        miners=(FINDER, COPIER),
        progress=lambda what: console.print(f"[dim]up  {what}[/dim]", highlight=False),
    )
    try:
        await network.start()
        async with await Chain.open(network.network) as chain, OutboundClient(allow_loopback=True) as http:
            node, keys = network.layout.data(COUNCIL[0].name), network.layout.root / "ledger-api.sqlite"
            async with subscribed(node, keys, http) as subscriber:
                story = Story(network, chain, http, console, subscriber)
                await story.tell()
                return story.seen
    finally:
        await network.stop()


@dataclass(slots=True)
class Story:
    """What happens, step by step. `seen` collects the facts."""

    network: LocalNetwork
    chain: Chain
    http: OutboundClient
    console: Console
    subscriber: Subscriber
    seen: dict[str, Any] = field(default_factory=dict[str, Any])

    async def tell(self) -> None:
        await self._until("every node to serve", self._all_serve)
        await self._until("the council to be sitting", self._council_sits)
        await self._say("the council sits: 3 validators of equal stake; a batch is final with more than two thirds")
        await self.change()
        await self.copy_and_lie_and_come()
        await self.die()
        await self.check()

    # chapters

    async def change(self) -> None:
        """A subnet changes its output schema."""
        await self._control(CHANGING, {"schema": "drifted"})
        self.seen["changed_at"] = await self._say(f"{CHANGING} (SN22) answers in another shape from now on")
        await self._ask(*PRICES)
        draft = await self._until("the miner to notice", lambda: self._draft(FINDER, CHANGING))
        self.seen["proposed_at"] = await self._say(f"{FINDER.name} noticed, and fixes a proposal on chain")
        self._show(draft)
        self.seen["anchored"] = await self._until("the anchor", lambda: self._anchored(FINDER, CHANGING))

    async def copy_and_lie_and_come(self) -> None:
        """One copies, one lies, one is new: all in the same windows."""
        draft = (await self._drafts(FINDER, CHANGING))[0]
        await self._say(f"the proposal is on chain and shown; {COPIER.name} copies it word for word")
        claim = draft.proposal.model_dump(mode="json", exclude={"proposer", "base", "salt", "evidence"})
        await self._want(COPIER, claim)
        await self._lie()
        await self._newcomer()
        accepted = await self._settled(FINDER, CHANGING)
        self.seen["accepted"] = accepted.model_dump(mode="json")
        self.seen["known_everywhere_after"] = await self._spread()
        await self._told(CHANGING)
        answer = await self._until("an answer by the new schema", self._answered)
        self.seen["answer"] = answer.result
        await self._say(f"{CHANGING} is called by its new schema: the answer is complete again")
        for name, node, entry, kind in (
            ("copied", COPIER, CHANGING, "schema_update"),
            ("lied", COPIER, DYING, "schema_update"),
            ("came", FINDER, NEWCOMER, "new_subnet"),
        ):
            self.seen[name] = (await self._settled(node, entry, kind)).model_dump(mode="json")
        await self._spread()

    async def _lie(self) -> None:
        entry = next(each for each in self.network.entries() if each.id == DYING)
        schema = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
        operation = entry.operations[0].name
        await self._want(
            COPIER, {"kind": "schema_update", "entry": DYING, "operation": operation, "output_schema": schema}
        )
        await self._say(f"{COPIER.name} also proposes a schema for {DYING} that it made up")

    async def _newcomer(self) -> None:
        entry = next(each for each in self.network.entries() if each.id == NEWCOMER)
        file = self.network.layout.root / f"{NEWCOMER}.json"
        file.write_text(json.dumps([entry.model_dump(mode="json")]))
        await self._command(
            *("ledger", "propose", str(file), "--data", str(self.network.layout.data(FINDER.name))),
            *("--network", self.network.network, "--netuid", str(NETUID)),
            *("--wallet.path", str(self.network.layout.wallets), "--owner.wallet", "owner"),
        )
        await self._say(f"the owner of SN{entry.netuid} signs an entry for {NEWCOMER}, and {FINDER.name} carries it")

    async def die(self) -> None:
        """A subnet stops answering."""
        await self._control(DYING, {"outage": "refuse"})
        self.seen["died_at"] = await self._say(f"{DYING} (SN13) is gone: connections are refused")
        draft = await self._until("the miner to give it up", self._given_up)
        await self._say(f"{FINDER.name} had no answer ten times in a row")
        self._show(draft)
        bond = await self._settled(FINDER, DYING, "deprecation")
        self.seen["died"] = bond.model_dump(mode="json")
        await self._told(DYING)
        await self._spread()

    async def check(self) -> None:
        """Somebody with a copy and the chain, and nobody's word."""
        self.seen["verified"] = await self._until("a copy that more than two thirds voted for", self._checked)
        self.seen["log"] = await self._log()
        await self._say("the subscriber's copy of the Ledger was checked against the chain: " + self._verdict())

    async def _checked(self) -> str | None:
        """What `orchestra ledger verify` says of the subscriber's copy. It is older than the votes on chain while the
        next batch is voted on: then it is fetched again.
        """
        root = self.network.layout.root
        copy, note = root / "copy.jsonl", root / "checkpoint.txt"
        copy.write_bytes(await self._until("the subscriber's copy of all of it", self._copied))
        note.write_bytes(_note_of(copy))
        said = await self._command(
            *("ledger", "verify", str(copy), "--trusted", str(note), "--network", self.network.network),
            *("--netuid", str(NETUID), "--remember", str(root / "remembered"), "--json"),
        )
        chain = json.loads(said)["on_chain"]
        return said if 3 * int(chain["this"]) > 2 * int(chain["total"]) else None

    def _verdict(self) -> str:
        found = json.loads(self.seen["verified"])
        stake, chain = found["stake"], found["on_chain"]
        signed = int(stake["signed"]) * 100 // int(stake["total"])
        voted = int(chain["this"]) * 100 // int(chain["total"])
        return (
            f"{found['ledger_version'][:14]}... is believed: {signed} % of the stake signed it, {voted} % voted for it"
        )

    # what is looked at

    async def _all_serve(self) -> bool | None:
        members = await self.chain.metagraph(NETUID)
        return all(each.axon for each in members.neurons) or None

    async def _council_sits(self) -> bool | None:
        """Past the first window, in which nobody votes."""
        return (await self.chain.head()).number >= 12 or None

    async def _drafts(self, node: NeuronSpec, entry: str, kind: str = "") -> list[Draft]:
        async with await DraftStore.open(sqlite_url(self.network.layout.data(node.name) / "proposals.sqlite")) as store:
            found = await store.all()
        return [each for each in found if each.proposal.entry == entry and kind in ("", each.proposal.kind)]

    async def _draft(self, node: NeuronSpec, entry: str) -> Draft | None:
        return next(iter(await self._drafts(node, entry)), None)

    async def _anchored(self, node: NeuronSpec, entry: str) -> int | None:
        found = [each for each in await self._drafts(node, entry) if each.state != "fixed"]
        return found[0].block if found else None

    async def _given_up(self) -> Draft | None:
        found = await self._drafts(FINDER, DYING, "deprecation")
        if not found:
            await self._ask(*POSTS)
        return found[0] if found else None

    async def _answered(self) -> Answer | None:
        answer = await self._ask(*PRICES)
        return answer if answer is not None and answer.status == "complete" else None

    async def _settled(self, node: NeuronSpec, entry: str, kind: str = "schema_update") -> Bond:
        """What the log says of a node's proposal, as soon as it says something."""
        hotkey = self.network.address(node.name)

        async def look() -> tuple[Bond, int] | None:
            for change, block in await self._changes():
                wanted = (hotkey, entry, kind)
                if isinstance(change, Bond) and (change.proposer, change.entry, change.about) == wanted:
                    return change, block
            return None

        bond, block = await self._until(f"the council's word on the {kind} of {entry}", look)
        lost = f", {bond.lost} of {bond.at_stake} rao of the bond are lost" if bond.lost != "0" else ""
        self.console.print(
            f"block {block:4}  the {kind} of {entry} by {node.name}: [bold]{bond.outcome}[/bold]"
            f" (anchored at {bond.anchor}, revealed at {bond.revealed}){lost}",
            highlight=False,
        )
        return bond

    async def _changes(self) -> tuple[tuple[Change, int], ...]:
        """The first validator's log with the block at which each change became final."""
        path = self.network.layout.data(COUNCIL[0].name) / "ledger.sqlite"
        async with await LedgerStore.open(sqlite_url(path)) as store:
            return await store.dated()

    async def _log(self) -> list[dict[str, Any]]:
        return [
            {
                "kind": type(change).__name__,
                "about": change.id if isinstance(change, SubnetEntry) else "",
                "block": block,
            }
            for change, block in await self._changes()
            if not isinstance(change, BatchHeader)
        ]

    async def _spread(self) -> int:
        """Wait until every node has the first validator's version; how many blocks that took."""
        began = (await self.chain.head()).number

        async def same() -> str | None:
            versions = await asyncio.gather(*map(self._version, (*COUNCIL, FINDER, COPIER)))
            return versions[0] if len(set(versions)) == 1 else None

        version = await self._until("every node to have the same Ledger", same)
        after = (await self.chain.head()).number - began
        await self._say(f"every node has the Ledger {version[:14]}..., {after} blocks later")
        return after

    async def _told(self, entry: str) -> None:
        async def look() -> dict[str, Any] | None:
            return self.subscriber.told_of(entry)

        delivered = await self._until(f"the webhook about {entry}", look)
        self.seen.setdefault("webhooks", {})[entry] = delivered
        await self._say(f"a subscriber's webhook was told of {entry}, signed")

    async def _copied(self) -> bytes | None:
        """A copy as the API hands it out, of the version that the council is at."""
        copy = await self.subscriber.fetch("/v1/snapshot")
        checkpoint, _ = parse_checkpoint(read_note(io.BytesIO(copy)))
        return copy if checkpoint.version == await self._version(COUNCIL[0]) else None

    async def _version(self, node: NeuronSpec) -> str:
        answer = await self.http.request(
            "GET", f"http://{node.host}:{self.network.settings['ports'][node.name]}/v1/health"
        )
        return str(json.loads(answer.body)["ledger_version"])

    # what is done

    async def _ask(self, objective: str, schema: dict[str, Any]) -> Answer | None:
        with suppress(OrchestraError):
            return await Client(self.network.gateway).arun(objective, schema)
        return None

    async def _control(self, subnet: str, state: dict[str, Any]) -> None:
        await self.http.request("POST", f"{self.network.control(subnet)}/control", json=state)

    async def _want(self, node: NeuronSpec, claim: dict[str, Any]) -> None:
        async with await DraftStore.open(sqlite_url(self.network.layout.data(node.name) / "proposals.sqlite")) as store:
            await store.want([claim])

    async def _command(self, *arguments: str) -> str:
        """`orchestra ...`, as anybody would type it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orchestra.cli", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        if process.returncode:
            raise StoryFailed(f"orchestra {' '.join(arguments[:2])} failed: {err.decode().strip()}")
        return out.decode()

    async def _until(self, what: str, look: Callable[[], Awaitable[T | None]]) -> T:
        first = (await self.chain.head()).number
        while (found := await look()) is None:
            if (await self.chain.head()).number > first + PATIENCE_BLOCKS:
                raise StoryFailed(
                    f"waited {PATIENCE_BLOCKS} blocks for {what}; logs in {self.network.layout.root}/logs"
                )
            await asyncio.sleep(POLL_S)
        return found

    async def _say(self, what: str) -> int:
        block = (await self.chain.head()).number
        self.console.print(f"block {block:4}  {what}", highlight=False)
        return block

    def _show(self, draft: Draft) -> None:
        plain = draft.proposal.model_dump(
            mode="json", exclude_none=True, exclude={"salt", "evidence", "proposer", "base"}
        )
        self.console.print(f"[dim]            {json.dumps(plain)}[/dim]", highlight=False)


def _note_of(copy: Path) -> bytes:
    """The checkpoint that a copy begins with."""
    with copy.open("rb") as file:
        return read_note(file)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="./scripts/story")
