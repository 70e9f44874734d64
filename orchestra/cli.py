"""`orchestra`: ask an objective, run a local network, look at a running one, keep wallets.

Everything heavy is imported inside the command that needs it, so that `--help` answers at once. What a person needs to
know goes to stderr while it happens; the answer goes to stdout, as tables or with `--json` as one document. A failure
is one line that says what to type next, and exit code 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from orchestra import (
    flags,
    ledger_challenge_cli,
    ledger_cli,
    ledger_credit_cli,
    ledger_import_cli,
    ledger_propose_cli,
    wallet_cli,
)

if TYPE_CHECKING:
    from rich.console import Console

    from orchestra.client import Client
    from orchestra.gateway.messages import ObjectiveRequest, Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="One objective in, one verified structured result out: Bittensor's subnets behind one door.",
    epilog="Start here: `orchestra up` in one terminal, then in another\n\n"
    '`orchestra run \'Compare RunPod and Lambda on A100 price\' --schema \'{"offers": [{"name": "str"}]}\'`',
)
app.add_typer(ledger_cli.app)
ledger_cli.app.command("import", epilog=ledger_import_cli.EPILOG)(ledger_import_cli.import_command)
ledger_cli.app.command("propose", epilog=ledger_propose_cli.EPILOG)(ledger_propose_cli.propose_command)
ledger_cli.app.command("challenge", epilog=ledger_challenge_cli.EPILOG)(ledger_challenge_cli.challenge_command)
ledger_cli.app.command("credit", epilog=ledger_credit_cli.CREDIT_EPILOG)(ledger_credit_cli.credit_command)
ledger_cli.app.command("credits", epilog=ledger_credit_cli.CREDITS_EPILOG)(ledger_credit_cli.credits_command)
app.add_typer(wallet_cli.app)

Gateway = Annotated[
    str | None,
    typer.Option(
        "--gateway",
        envvar="ORCHESTRA_GATEWAY",
        metavar="URL",
        help="Gateway to ask. Default: that of `orchestra up`, otherwise http://127.0.0.1:8400.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


class CommandFailed(Exception):
    """One line: what is wrong and what to type next."""


def main() -> None:
    """The console script."""
    app(prog_name="orchestra")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"orchestra {version('orchestra-subnet')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing to do before a command; `--version` ends here."""


@app.command("run", epilog='Example: orchestra run "Which subnets detect deepfakes?" --schema subnets.json --json')
def run_command(
    objective: Annotated[str, typer.Argument(help="What you want to know, in your own words.")],
    schema: Annotated[
        str,
        typer.Option(
            "--schema",
            metavar="FILE|JSON",
            help='The shape of the answer: {"competitors": [{"name": "str", "price": "float"}]} or a JSON Schema.',
        ),
    ],
    gateway: Gateway = None,
    as_json: AsJson = False,
    deadline_ms: Annotated[int, typer.Option("--deadline-ms", min=1000, max=600_000, help="Time for all of it.")] = (
        30_000
    ),
    max_cost_tao: Annotated[str, typer.Option("--max-cost-tao", help="Most that it may cost, in TAO.")] = "0.01",
    allow_replay: Annotated[
        bool, typer.Option("--allow-replay", help="Let validators repeat calls to verify the answer: not for secrets.")
    ] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Plan and call the subnets in this process, without miners or a gateway.")
    ] = False,
    ledger_seed: flags.LedgerSeed = None,
    keys: flags.KeysFile = None,
    tao_usd: flags.TaoUsd = flags.DEFAULT_TAO_USD,
) -> None:
    """Answer an objective in the shape of a schema, and show where every value comes from.

    A partial answer exits with 0 and names what is missing; no answer exits with 1.
    """
    with _one_line_errors():
        from orchestra.client import Client, build_request
        from orchestra.transport import run

        asked, _ = build_request(objective, read_schema(schema), deadline_ms, max_cost_tao, allow_replay=allow_replay)
        console = _console(stderr=True, quiet=as_json)
        if local:
            from orchestra.alone import answer_alone

            document = run(
                answer_alone(asked, partial(_say, console), ledger_seed=ledger_seed, keys=keys, tao_usd=tao_usd)
            )
        else:
            document = run(_ask(Client(gateway), asked, console))
        if as_json:
            typer.echo(json.dumps(document))
        else:
            show_answer(document, _console())


async def _ask(client: Client, asked: ObjectiveRequest, console: Console) -> dict[str, Any]:
    from orchestra.gateway.messages import Progress

    with console.status(f"asking {client.gateway}"):
        async for each in client.astream(**asked.model_dump()):
            if not isinstance(each, Progress):
                return each.raw.model_dump(mode="json")
            _say(console, each)
    raise CommandFailed("the gateway gave no answer: try again")


def show_answer(document: Mapping[str, Any], console: Console) -> None:
    """An answer as a person reads it: result, pipeline, three sources, summary, and what is missing."""
    from orchestra import render

    console.print(render.result_panel(document))
    console.print(render.pipeline_table(document["pipeline"]))
    if document["provenance"]:
        console.print(render.provenance_table(document["provenance"], document["result"]))
    console.print(render.summary_panel(document))
    if note := render.verdict_note(document):
        console.print(note)
    if document["gaps"]:
        console.print(render.gaps_list(document["gaps"]))


def read_schema(given: str) -> dict[str, Any]:
    """The target_schema from a file, or from the JSON itself when it begins with a brace or bracket.

    Raises:
        CommandFailed: not readable, or not JSON.
        orchestra.schema.TargetSchemaError: not a target_schema.
    """
    from ledger.canonical import StrictJSONError, as_object, parse_strict
    from orchestra.protocol import MAX_REQUEST_BYTES
    from orchestra.schema import TargetSchema

    inline = given.lstrip()[:1] in ("", "{", "[")
    try:
        raw = given.encode() if inline else Path(given).expanduser().read_bytes()
        return TargetSchema.parse(as_object(parse_strict(raw, max_bytes=MAX_REQUEST_BYTES))).raw
    except OSError as error:
        hint = 'give a file, or the JSON itself: --schema \'{"name": "str"}\''
        raise CommandFailed(f"cannot read {given[:200]} ({error.strerror}): {hint}") from None
    except StrictJSONError as error:
        raise CommandFailed(f"{'--schema' if inline else given} is not usable JSON: {error.detail}") from None


@app.command("up", epilog="Example: orchestra up --block-time 12")
def up_command(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Its folder; started there again it goes on. Default: ~/.orchestra/local."),
    ] = None,
    block_time: Annotated[float, typer.Option("--block-time", min=0.1, help="Seconds between blocks.")] = 1.0,
) -> None:
    """Run a whole network on this machine until Ctrl-C: chain, subnets, miners, validators, gateway."""
    with _one_line_errors():
        from orchestra.devnet.up import keep_up
        from orchestra.transport import run

        run(keep_up(folder, block_time_s=block_time, console=_console()))


@app.command("status", epilog="Exits with 1 when no gateway answers or no weights were set for three tempos.")
def status_command(gateway: Gateway = None, as_json: AsJson = False) -> None:
    """Show block, neurons, scores by component and weights, and whether weights are being set."""
    with _one_line_errors():
        from orchestra.client import Client

        document = Client(gateway).status()
        if as_json:
            typer.echo(json.dumps(document))
        else:
            show_status(document, _console())
    if document.get("alarm"):
        since = document.get("tempos_since_weights")
        when = f"for {since} tempos" if since is not None else "since this validator started"
        typer.echo(f"alarm: no weights were set {when}: see the validator's log", err=True)
        raise typer.Exit(1)


def show_status(document: Mapping[str, Any], console: Console) -> None:
    """What a gateway says of itself, and of the network when a validator stands behind it."""
    from orchestra import render

    for name in ("role", "hotkey", "block", "ledger_version", "tempos_since_weights"):
        if name in document:
            console.print(f"{name.replace('_', ' '):<21}", render.plain(document[name]), highlight=False, markup=False)
    if "capabilities" in document:
        console.print(f"{'capabilities':<21}", render.plain(", ".join(document["capabilities"])), markup=False)
    if document.get("neurons"):
        console.print(render.weights_table(document["neurons"], document["shares"]))
    if document.get("scores"):
        console.print(render.scores_table(document["scores"]))
        console.print(render.reasons_list(document["scores"]))
    if document.get("weight_attempts"):
        console.print(render.attempts_table(document["weight_attempts"]))


def _console(*, stderr: bool = False, quiet: bool = False) -> Console:
    from orchestra import render

    return render.console(stderr=stderr, quiet=quiet)


def _say(console: Console, progress: Progress) -> None:
    from orchestra import render

    line = f"{progress.at_ms / 1000:5.1f} s  {render.plain(progress.message)}"
    console.print(line, style="dim", markup=False, highlight=False)


@contextmanager
def _one_line_errors() -> Generator[None]:
    """What was foreseen is one line on stderr and exit code 1; anything else is a bug and keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:
        line = _foreseen(error)
        if line is None:
            raise
        typer.echo(f"error: {line}", err=True)
        raise typer.Exit(1) from None


def _foreseen(error: BaseException) -> str | None:
    """What to say of an error, if it is one of ours; the first of them when they come as a group."""
    from orchestra.chain.errors import ChainError
    from orchestra.client import OrchestraError
    from orchestra.devnet.processes import ProcessFailed
    from orchestra.schema import TargetSchemaError
    from orchestra.settings import SettingsError

    if isinstance(error, BaseExceptionGroup):
        lines = [_foreseen(each) for each in cast("BaseExceptionGroup[BaseException]", error).exceptions]
        return None if None in lines else lines[0]
    ours = (CommandFailed, OrchestraError, TargetSchemaError, SettingsError, ProcessFailed, ChainError)
    return str(error) if isinstance(error, ours) else None


if __name__ == "__main__":
    sys.exit(main())
