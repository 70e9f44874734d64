"""`./scripts/demo`: a whole network works on an objective while you watch, and is gone afterwards.

The steps are those a subnet lives by: start, challenge, score, answer, set weights, epoch. Everything that is printed
is read back from the running processes and from the chain; nothing here computes a result or a score.
"""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from orchestra import render
from orchestra.chain import Chain, ChainError, Metagraph
from orchestra.cli import CommandFailed, read_schema
from orchestra.client import Answer, Client, OrchestraError, build_request
from orchestra.devnet.network import NETUID, STAKE_RAO, Layout, LocalNetwork, NeuronSpec
from orchestra.devnet.processes import ProcessFailed
from orchestra.devnet.up import alone_in
from orchestra.gateway.network import neuron_documents
from orchestra.schema import TargetSchemaError
from orchestra.settings import SettingsError
from orchestra.transport import run

T = TypeVar("T")

OBJECTIVE = (
    "Research cloud GPU pricing from RunPod, Vast.ai, and Lambda. Recommend a price point for our new inference API."
)
SCHEMA: dict[str, Any] = {
    "competitors": [{"name": "str", "pricing": "dict", "strengths": "list"}],
    "recommendation": {"price_point": "float", "rationale": "str"},
}
PATIENCE_S = 120.0
"""For blocks of a second or less."""
POLL_S = 0.4
TELL_EVERY_S = 15.0
WIDTH = 140
"""Columns when nobody's terminal says how many it has."""


class DemoFailed(RuntimeError):
    """The network did not do what it should in time. The message says what it was waiting for."""


FORESEEN = (ProcessFailed, DemoFailed, CommandFailed, SettingsError, OrchestraError, TargetSchemaError, ChainError)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits for what comes with the blocks: longer where these are slow, and never silent for long."""

    block_time_s: float
    say: Callable[[str], None]

    async def until(self, what: str, ready: Callable[[], Awaitable[T | None]]) -> T:
        """What `ready` finds, asked again and again.

        Raises:
            DemoFailed: it found nothing in time.
        """
        now = asyncio.get_running_loop().time
        began = told = now()
        patience_s = PATIENCE_S * max(1.0, self.block_time_s)
        while now() - began < patience_s:
            if (found := await ready()) is not None:
                return found
            await asyncio.sleep(POLL_S)
            if now() - told >= TELL_EVERY_S:
                told = now()
                self.say(f"  still waiting for {what}")
        hint = "run again with --keep FOLDER and see its logs"
        raise DemoFailed(f"gave up after {patience_s:g} s waiting for {what}; {hint}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    objective: Annotated[str, typer.Option(help="What to find out.")] = OBJECTIVE,
    schema: Annotated[
        str | None,
        typer.Option(metavar="FILE|JSON", help="The shape of the answer: a target_schema, or a file with it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
    block_time: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between blocks.")] = 1.0,
    keep: Annotated[Path | None, typer.Option(help="Run in this folder and leave it (logs, databases).")] = None,
) -> None:
    """Start a network (chain, 4 subnets, 4 miners, 2 validators, gateway), answer an objective, score, pay, stop."""
    console = render.console(stderr=as_json, piped_width=WIDTH)
    try:
        wanted = SCHEMA if schema is None else read_schema(schema)
        build_request(objective, wanted)
        with tempfile.TemporaryDirectory(prefix="orchestra-demo-") as folder:
            document = run(_interruptible(_demo(keep or Path(folder), objective, wanted, block_time, console)))
    except FORESEEN as error:
        typer.echo(f"demo: {error}", err=True)
        raise typer.Exit(1) from None
    except asyncio.CancelledError:
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(document, indent=2))


async def _interruptible(work: Any) -> dict[str, Any]:
    """Run `work`; SIGINT and SIGTERM cancel it, so that it stops its processes."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


async def _demo(
    folder: Path, objective: str, schema: dict[str, Any], block_time: float, console: Console
) -> dict[str, Any]:
    began = time.monotonic()

    def say(message: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.1f} s[/dim]  {message}", highlight=False)

    with alone_in(folder):
        network = LocalNetwork(Layout(folder), block_time_s=block_time, progress=say)
        say("starting a network: everything below is a process of its own")
        try:
            await network.start()
            async with await Chain.open(network.network) as chain:
                return await _show(network, chain, objective, schema, say, console)
        finally:
            await network.stop()
            say("everything is stopped")


async def _show(
    network: LocalNetwork,
    chain: Chain,
    objective: str,
    schema: dict[str, Any],
    say: Callable[[str], None],
    console: Console,
) -> dict[str, Any]:
    waiting = Waiting(network.block_time_s, say)
    say("validators challenge the miners ...")
    await waiting.until("every miner to be scored by both validators", lambda: _everybody_scored(network))
    say(f"objective: {objective}")
    answer = await _ask(network, objective, schema, say)
    told = answer.raw.model_dump(mode="json")
    for part in (render.result_panel(told), render.gaps_list(told["gaps"]), render.pipeline_table(told["pipeline"])):
        console.print(part)
    if told["provenance"]:
        console.print(render.provenance_table(told["provenance"], told["result"], count=3))
    say("waiting for weights and an epoch ...")
    members = await waiting.until("weights on chain and an epoch after them", lambda: _paid(network, chain))
    statuses = await waiting.until("both validators' scores", lambda: _statuses(network))
    document = await _document(network, chain, members, answer, statuses)
    names = {network.address(spec.name): spec.name for spec in (*network.validators, *network.miners)}
    for number, (validator, scores) in enumerate(document["scores_by_validator"].items(), start=1):
        console.print(f"as {validator} sees it:", style="bold")
        console.print(render.scores_table(scores, names, legend=number == len(network.validators)))
    console.print(render.reasons_list(list(document["scores"].values()), names, most=2))
    by_hotkey = {each["hotkey"]: document["weights"][each["name"]] for each in document["miners"]}
    console.print(render.weights_table(document["neurons"], by_hotkey, names))
    return document


async def _ask(network: LocalNetwork, objective: str, schema: dict[str, Any], say: Callable[[str], None]) -> Answer:
    names = {network.address(spec.name): spec.name for spec in network.miners}

    async for news in Client(network.gateway).astream(objective, schema, allow_replay=True):
        if isinstance(news, Answer):
            return news
        text = news.message
        for hotkey, name in names.items():
            text = text.replace(hotkey, name)
        say(f"  {news.stage}: {text}")
    raise DemoFailed("the gateway ended its answer without a result")


async def _statuses(network: LocalNetwork) -> dict[str, dict[str, Any]] | None:
    """What each validator says of the network; None while one does not answer."""
    with suppress(OrchestraError):
        return {spec.name: await Client(network.gateway_of(spec)).astatus() for spec in network.validators}
    return None


async def _everybody_scored(network: LocalNetwork) -> dict[str, dict[str, Any]] | None:
    """Statuses in which every validator has events of every miner, and every honest one stands above every forger."""
    statuses = await _statuses(network)
    return statuses if statuses and all(_told_apart(network, each) for each in statuses.values()) else None


def _told_apart(network: LocalNetwork, status: dict[str, Any]) -> bool:
    scores = {each["hotkey"]: each for each in status["scores"]}
    totals = {spec.name: scores.get(network.address(spec.name), {}).get("total") for spec in network.miners}
    if any(total is None for total in totals.values()):
        return False
    honest = [totals[spec.name] for spec in network.miners if role(spec) == "honest"]
    others = [totals[spec.name] for spec in network.miners if role(spec) != "honest"]
    return all(total > 0 for total in honest) and all(total == 0 for total in others)


async def _paid(network: LocalNetwork, chain: Chain) -> Metagraph | None:
    """The metagraph once an epoch has turned both validators' weights into incentive for every honest miner only."""
    members = await chain.metagraph(NETUID)
    weights = await chain.weights(NETUID)
    if any(_uid(network, members, spec) not in weights for spec in network.validators):
        return None
    incentive = {spec.name: _incentive(network, members, spec) for spec in network.miners}
    honest = all(incentive[spec.name] > 0 for spec in network.miners if role(spec) == "honest")
    cheats = all(incentive[spec.name] == 0 for spec in network.miners if role(spec) != "honest")
    return members if honest and cheats else None


async def _document(
    network: LocalNetwork, chain: Chain, members: Metagraph, answer: Answer, statuses: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    weights = await chain.weights(NETUID)
    rows = {spec.name: weights.get(_uid(network, members, spec), {}) for spec in network.validators}
    first = {each["hotkey"]: each for each in statuses[network.validators[0].name]["scores"]}
    miners: list[dict[str, Any]] = []
    for spec in network.miners:
        uid = _uid(network, members, spec)
        miners.append(
            {
                "name": spec.name,
                "role": role(spec),
                "kind": spec.kind,
                "hotkey": network.address(spec.name),
                "uid": uid,
                "weights": {validator: row.get(uid, 0.0) for validator, row in rows.items()},
                "incentive": _incentive(network, members, spec),
            }
        )
    return {
        **answer.raw.model_dump(mode="json"),
        "miners": miners,
        "scores": {each["name"]: {"role": each["role"], **first[each["hotkey"]]} for each in miners},
        "scores_by_validator": {name: status["scores"] for name, status in statuses.items()},
        "weights": {each["name"]: sum(each["weights"].values()) / len(rows) for each in miners},
        "incentive": {each["name"]: each["incentive"] for each in miners},
        "neurons": neuron_documents(members, STAKE_RAO // 2),
        "block": members.block.number,
        "ledger": statuses[network.validators[0].name]["ledger_version"],
    }


def role(spec: NeuronSpec) -> str:
    """`honest` or `forger`."""
    return spec.module or "honest"


def _uid(network: LocalNetwork, members: Metagraph, spec: NeuronSpec) -> int:
    neuron = members.by_hotkey(network.address(spec.name))
    return neuron.uid if neuron else -1


def _incentive(network: LocalNetwork, members: Metagraph, spec: NeuronSpec) -> float:
    neuron = members.by_hotkey(network.address(spec.name))
    return neuron.incentive if neuron else 0.0


if __name__ == "__main__":
    app(prog_name="./scripts/demo")
