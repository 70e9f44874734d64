"""`orchestra ledger import`: an OpenAPI document as a change of an entry, shown before anybody is asked to believe it.

The document is a file, or a URL that is fetched once and under the rules for subnets' addresses; what it refers to is
never fetched. What it says, what was guessed, what it does not say and what could not be expressed are shown apart. The
entry goes to a seed file, from which a proposal, or a local network, takes it. The command line mounts it beside the
commands of `orchestra.ledger_cli`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra import flags
from orchestra.ledger_cli import AsJson, check_capability, read_entries, safe, write_seed
from orchestra.one_line import one_line_errors

if TYPE_CHECKING:
    from ledger.entry import SubnetEntry
    from ledger.entry_diff import EntryDifference
    from ledger.openapi import OpenApi, Proposal

EPILOG = "Example: orchestra ledger import https://api.example.com/openapi.json --entry example --netuid 7"
FETCH_S = 20.0
_URL = re.compile(r"https?://", re.IGNORECASE)
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def import_command(
    source: Annotated[str, typer.Argument(metavar="FILE|URL", help="An OpenAPI 3.0 or 3.1 document, JSON or YAML.")],
    entry: Annotated[str, typer.Option("--entry", metavar="ID", help="The entry that it describes, known or new.")],
    netuid: Annotated[
        int | None, typer.Option("--netuid", min=0, max=65535, help="The subnet's netuid; a new entry needs it.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Its name. Default: the known one, or the title.")] = "",
    description: Annotated[str, typer.Option("--description", help="What it does, in your own words.")] = "",
    capability: Annotated[
        str, typer.Option("--capability", help="What its new operations do. Default: a guess, marked as one.")
    ] = "",
    url: Annotated[
        str, typer.Option("--url", help="Where a FILE is published, for servers that it names relative to that.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the entry to this file, for --ledger.seed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    ledger_seed: flags.LedgerSeed = None,
    network: Annotated[
        str, typer.Option("--network", envvar="BT_NETWORK", help="orchestra-local allows a URL on this machine.")
    ] = "finney",
    as_json: AsJson = False,
) -> None:
    """Turn an OpenAPI document into operations of an entry, and show what would change.

    Nothing is sent to anybody. Exits with 1 when the document is refused.
    """
    with one_line_errors():
        from ledger.entry_diff import difference
        from ledger.openapi import Origin, ProposalFailed, propose
        from orchestra.settings import SettingsError

        _check(entry, name, description, capability)
        published_at = source if _URL.match(source) else url
        api = _read(source, published_at, network)
        known = next((each for each in read_entries(ledger_seed) if each.id == entry), None)
        origin = Origin(_named(api, published_at), datetime.now(UTC).date().isoformat(), published_at)
        given: dict[str, Any] = {"netuid": netuid, "name": name, "description": description, "capability": capability}
        try:
            proposal = propose(api, known, origin, entry_id=entry, **given)
        except ProposalFailed as failed:
            raise SettingsError(str(failed)) from None
        found = difference(known, proposal.entry)
        if out is not None:
            write_seed(out, [proposal.entry], force=force)
        if as_json:
            typer.echo(json.dumps(_document(proposal, found)))
            return
        for line in _lines(proposal, found):
            typer.echo(safe(line))
        if out is not None:
            typer.echo(f"the entry is in {out}")


def _check(entry: str, name: str, description: str, capability: str) -> None:
    from orchestra.settings import SettingsError

    if _ID.fullmatch(entry) is None:
        raise SettingsError(f"{entry[:80]!r} is no entry id: small letters, digits, - and _, at most 64")
    if len(name) > 128 or len(description) > 1024:
        raise SettingsError("a name has at most 128 characters, a description 1024")
    if capability:
        check_capability(capability)


def _read(source: str, published_at: str, network: str) -> OpenApi:
    """The operations of the document.

    Raises:
        SettingsError: it cannot be read or fetched, or is refused.
    """
    from ledger.openapi import DocumentRefused, read_document, read_operations
    from orchestra.settings import SettingsError

    try:
        raw = _fetched(source, network) if _URL.match(source) else Path(source).expanduser().read_bytes()
        return read_operations(read_document(raw), published_at=published_at)
    except OSError as error:
        raise SettingsError(f"cannot read {source[:200]}: {error.strerror}") from None
    except DocumentRefused as refused:
        raise SettingsError(f"{source[:200]} is no usable OpenAPI document ({refused})") from None


def _fetched(url: str, network: str) -> bytes:
    from orchestra.settings import SettingsError
    from orchestra.transport import TransportError, run

    try:
        status, body = run(_fetch(url, network))
    except TransportError as error:
        raise SettingsError(f"cannot fetch {url[:200]}: {error}") from None
    if status != 200:
        raise SettingsError(f"cannot fetch {url[:200]}: it answers {status}")
    return body


async def _fetch(url: str, network: str) -> tuple[int, bytes]:
    from ledger.openapi.document import MAX_BYTES
    from orchestra.local_files import is_local
    from orchestra.transport import OutboundClient

    async with OutboundClient(allow_loopback=is_local(network)) as client:
        answer = await client.request("GET", url, timeout_s=FETCH_S, max_bytes=MAX_BYTES)
    return answer.status, answer.body


def _named(api: OpenApi, published_at: str) -> str:
    """How a claim names the document."""
    return published_at or " ".join(("OpenAPI document of", api.title or "no title", api.version)).strip()


def _document(proposal: Proposal, found: EntryDifference) -> dict[str, Any]:
    return {
        "entry": _dumped(proposal.entry),
        "difference": found.document(),
        "imported": [asdict(each) for each in proposal.imported],
        "skipped": [asdict(each) for each in proposal.skipped],
    }


def _dumped(entry: SubnetEntry) -> dict[str, Any]:
    return {**entry.model_dump(mode="json"), "digest": entry.digest}


def _lines(proposal: Proposal, found: EntryDifference) -> Iterator[str]:
    yield from found.lines()
    for each in proposal.imported:
        for what, said in (("guessed", each.guessed), ("not said", each.not_said), ("remark", each.remarks)):
            if said:
                yield f"{each.name}: {what}: {'; '.join(said)}"
    for each in proposal.skipped:
        yield f"skipped: {each.method} {each.path}: {each.reason}"
