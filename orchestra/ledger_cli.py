"""`orchestra ledger`: look at the Ledger's entries, search them in plain words, write a seed from the catalogue.

Reads the catalogue that ships with Orchestra, or the entries of a seed file (`--ledger.seed`). Entries are written by
strangers, so every text is made safe to show. The command line mounts it with `cli.add_typer(ledger_cli.app)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra import flags, ledger_serve_cli, ledger_verify_cli
from orchestra.one_line import one_line_errors

if TYPE_CHECKING:
    from rich.table import Table

    from ledger.entry import Operation, SubnetEntry
    from ledger.search import Hit

app = typer.Typer(
    name="ledger",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="What the network knows about subnets: look it up, check a copy, propose a change, serve it.",
    epilog='Start here: `orchestra ledger search "detect deepfakes in a video"`',
)

app.add_typer(ledger_serve_cli.app)  # without a name: its commands stand beside those here

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@app.command("list", epilog="Example: orchestra ledger list --capability chat_completion --callable")
def list_command(
    capability: Annotated[str, typer.Option("--capability", help="Only entries that claim this capability.")] = "",
    callable_only: Annotated[bool, typer.Option("--callable", help="Only entries with operations.")] = False,
    ledger_seed: flags.LedgerSeed = None,
    as_json: AsJson = False,
) -> None:
    """List the entries: netuid, id, name, capabilities and how many operations are known."""
    with one_line_errors():
        entries = [each for each in read_entries(ledger_seed) if each.operations or not callable_only]
        if capability:
            check_capability(capability)
            entries = [each for each in entries if capability in each.capabilities]
        if as_json:
            typer.echo(json.dumps([_summary(each) for each in entries]))
        else:
            _print(_list_table(entries))


@app.command("show", epilog="Example: orchestra ledger show desearch")
def show_command(
    name: Annotated[str, typer.Argument(metavar="ID|NETUID", help="An entry's id, or a netuid.")],
    ledger_seed: flags.LedgerSeed = None,
    as_json: AsJson = False,
) -> None:
    """Show one entry: what it does, who says so, every operation with price, auth and notes."""
    with one_line_errors():
        entry = _find(read_entries(ledger_seed), name)
        if as_json:
            typer.echo(json.dumps({**entry.model_dump(mode="json"), "digest": entry.digest}))
        else:
            _show(entry)


@app.command("search", epilog='Example: orchestra ledger search "transcribe audio, costs under 0.001 TAO"')
def search_command(
    question: Annotated[list[str], typer.Argument(help="What is to be done, in plain words, limits included.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Most entries to show.")] = 5,
    ledger_seed: flags.LedgerSeed = None,
    tao_usd: flags.TaoUsd = flags.DEFAULT_TAO_USD,
    as_json: AsJson = False,
) -> None:
    """Find subnets for a question in plain words. Limits on cost, time, key and input are kept.

    Exits with 1 when nothing was found.
    """
    with one_line_errors():
        from ledger.search import search
        from ledger.view import LedgerView
        from orchestra.settings import read_rate

        view = LedgerView(read_entries(ledger_seed))
        hits = search(view, " ".join(question), limit=limit, tao_usd=read_rate(tao_usd))
        if as_json:
            typer.echo(json.dumps({"ledger_version": view.version, "hits": [_hit(each) for each in hits]}))
        elif hits:
            _print(_hits_table(hits))
        else:
            typer.echo("nothing found: say it in other words, or see them all with: orchestra ledger list", err=True)
    if not hits:
        raise typer.Exit(1)


@app.command("seed", epilog="Example: orchestra ledger seed --out seed.json --callable")
def seed_command(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write, for --ledger.seed.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these entries.")] = None,
    callable_only: Annotated[bool, typer.Option("--callable", help="Only entries with operations.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write catalogue entries to a seed file that neurons and `orchestra run --local` start from."""
    with one_line_errors():
        entries = read_entries(None)
        chosen = [_find(entries, name) for name in names] if names else entries
        written = [each for each in chosen if each.operations or not callable_only]
        write_seed(out, written, force=force)
        typer.echo(f"{len(written)} entries in {out}")


app.command("verify", epilog="Example: orchestra ledger verify snapshot.jsonl --trusted checkpoint.txt --max-age 1h")(
    ledger_verify_cli.verify_command
)
app.command("snapshot", epilog="Example: orchestra ledger snapshot --netuid 2 --out snapshot.jsonl")(
    ledger_verify_cli.snapshot_command
)


def write_seed(out: Path, entries: Iterable[SubnetEntry], *, force: bool) -> None:
    """Write entries to a seed file.

    Raises:
        SettingsError: it exists and is not to be overwritten, or cannot be written.
    """
    from orchestra.settings import SettingsError

    document = [each.model_dump(mode="json") for each in entries]
    try:
        with out.open("w" if force else "x", encoding="utf-8") as file:
            json.dump(document, file, indent=1, ensure_ascii=False)
    except FileExistsError:
        raise SettingsError(f"{out} exists: name another file, or overwrite it with --force") from None
    except OSError as error:
        raise SettingsError(f"cannot write {out}: {error.strerror}") from None


def read_entries(seed: Path | None) -> tuple[SubnetEntry, ...]:
    """The current entries of a seed file, or the catalogue.

    Raises:
        SettingsError: the file cannot be used.
    """
    if seed is None:
        from ledger import catalogue

        return catalogue.load()
    return seed_entries(seed)


def seed_entries(seed: Path) -> tuple[SubnetEntry, ...]:
    """The current entries of a seed file.

    Raises:
        SettingsError: the file cannot be used.
    """
    from orchestra.ledger_node import read_seed
    from orchestra.settings import SettingsError

    try:
        return tuple({each.id: each for each in read_seed(seed.read_bytes())}.values())
    except OSError as error:
        raise SettingsError(f"cannot read {seed}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{seed} is no Ledger seed: {str(error).splitlines()[0]}") from None


def _find(entries: Iterable[SubnetEntry], name: str) -> SubnetEntry:
    from orchestra.settings import SettingsError

    asked = name.lower().removeprefix("sn")
    for entry in entries:
        if entry.id == name.lower() or str(entry.netuid) == asked:
            return entry
    raise SettingsError(f"no entry {name[:80]!r}: give an id or a netuid, as listed by: orchestra ledger list")


def check_capability(name: str) -> None:
    """Raises `SettingsError` for a name that the vocabulary does not have, with the nearest that it has."""
    from rapidfuzz import process

    from ledger.catalogue import vocabulary
    from orchestra.settings import SettingsError

    if name not in vocabulary():
        nearest = process.extractOne(name, list(vocabulary()))
        hint = f"did you mean {nearest[0]}?" if nearest else "see docs/ledger.md"
        raise SettingsError(f"no capability {name[:80]!r} in the vocabulary: {hint}")


# Showing --------------------------------------------------------------------------------------------------------------


def _summary(entry: SubnetEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "netuid": entry.netuid,
        "name": entry.name,
        "status": entry.status,
        "capabilities": list(entry.capabilities),
        "operations": [each.name for each in entry.operations],
    }


def _hit(hit: Hit) -> dict[str, Any]:
    operations = [each.operation.name for each in hit.operations]
    return {**_summary(hit.entry), "operations": operations, "score": round(hit.score, 3), "why": list(hit.why)}


def _print(*shown: object) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for each in shown:
        console.print(each)


def _list_table(entries: Iterable[SubnetEntry]) -> Table:
    from rich.table import Table

    table = Table("netuid", "id", "name", "capabilities", "operations", box=None)
    for each in entries:
        name = f"{each.name} ({each.status})" if each.status != "active" else each.name
        tags = ", ".join(each.capabilities)
        table.add_row(str(each.netuid), each.id, safe(name), tags, str(len(each.operations) or "-"))
    return table


def _hits_table(hits: Iterable[Hit]) -> Table:
    from rich.table import Table

    table = Table("netuid", "id", "what it does", "call", "why", box=None)
    for each in hits:
        operations = "\n".join(ref.operation.name for ref in each.operations) or "-"
        why = safe("; ".join(each.why))
        table.add_row(str(each.entry.netuid), each.entry.id, safe(each.entry.description), operations, why)
    return table


def _show(entry: SubnetEntry) -> None:
    head = _grid()
    since = f" (seen at block {entry.netuid_since})" if entry.netuid_since else ""
    head.add_row("entry", f"{entry.id} · {safe(entry.name)} · netuid {entry.netuid}{since} · {entry.status}")
    head.add_row("does", safe(entry.description))
    head.add_row("capabilities", ", ".join(entry.capabilities))
    for name, text in (("known as", ", ".join(entry.aliases)), ("notes", entry.notes)):
        if text:
            head.add_row(name, safe(text))
    for claim in entry.claims:
        checked = claim.verification
        found = f", {checked.result} by {checked.by} on {checked.at} ({checked.how})" if checked else ", not checked"
        head.add_row(f"claim {claim.about}", safe(f"{claim.authority}: {claim.source} ({claim.as_of}){found}"))
    for surface in entry.surfaces:
        head.add_row(surface.kind, safe(surface.url))
    head.add_row("digest", entry.digest)
    _print(head)
    for operation in entry.operations:
        _print("", _operation(operation))


def _grid() -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    return grid


def _operation(operation: Operation) -> Table:
    endpoint = operation.endpoint
    rows = [
        (operation.name, f"{operation.role}: {operation.capability}, {operation.protocol}"),
        ("call", f"{endpoint.method} {endpoint.base_url or '(everybody has their own)'}{endpoint.path}"),
        ("takes", ", ".join(operation.input_schema.get("properties", {})) or "nothing"),
        ("price, auth", f"{_price(operation)}, {_auth(operation)}"),
    ]
    if operation.notes:
        rows.append(("notes", operation.notes))
    table = _grid()
    for name, text in rows:
        table.add_row(name, safe(text))
    return table


def _price(operation: Operation) -> str:
    price = operation.price
    if price is None:
        return "price not known"
    if not Decimal(price.amount):
        return "free"
    count = f"{price.per:,} " if price.per > 1 else ""
    return f"{price.amount} {price.currency} / {count}{price.unit}"


def _auth(operation: Operation) -> str:
    auth = operation.auth
    if auth.kind in ("header", "query"):
        return f"{auth.secret} in {auth.name}" + (" (optional)" if auth.optional else "")
    return "no key" if auth.kind == "none" else auth.kind


def safe(text: str) -> str:
    """A stranger's text as one may show it."""
    from orchestra.render import plain

    return plain(text, 2000)
