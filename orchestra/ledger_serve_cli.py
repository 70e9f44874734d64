"""`orchestra ledger serve` and `orchestra ledger keys`: run the Ledger API over a database, and say who may ask it.

One database holds the Ledger, the keys and the counts: a file, or PostgreSQL when several machines serve. With `--data`
the Ledger is that of a node which runs beside: its changes, its newest checkpoint and a snapshot that ends there are
served as they come, its folder is only read, and the database holds keys and counts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from orchestra import flags
from orchestra.one_line import one_line_errors

if TYPE_CHECKING:
    from ledger.accounts import Account, Accounts
    from ledger.serving.edition import Attach
    from orchestra.transport import Address

T = TypeVar("T")
DEFAULT_PORT = 8095
_FOLDER = ".orchestra"
_FILE = "ledger-api.sqlite"
LEDGER, CHECKPOINTS = "ledger.sqlite", "checkpoints.sqlite"
"""A neuron's databases that are served."""

app = typer.Typer(no_args_is_help=True, add_completion=False)
keys = typer.Typer(
    name="keys",
    no_args_is_help=True,
    help="Keys of the Ledger API: new, list, revoke.",
    epilog='Example: orchestra ledger keys new "Ada" --tier developer',
)
app.add_typer(keys)

Database = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="ORCHESTRA_LEDGER_DATABASE",
        metavar="URL",
        help="sqlite:///FILE or postgresql://USER@HOST/NAME. Default: ~/.orchestra/ledger-api.sqlite.",
    ),
]


@app.command("serve", epilog="Example: orchestra ledger serve --ledger.seed seed.json --port 8095")
def serve_command(
    ledger_seed: flags.LedgerSeed = None,
    database: Database = "",
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Serve the Ledger of the neuron that runs on this folder."),
    ] = None,
    ip: Annotated[str, typer.Option("--ip", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    tao_usd: flags.TaoUsd = flags.DEFAULT_TAO_USD,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="Signed checkpoint to serve; followed."),
    ] = None,
    snapshot: Annotated[
        Path | None, typer.Option("--snapshot", metavar="FILE", help="Signed snapshot to serve; followed.")
    ] = None,
    webhook_timeout: Annotated[
        float, typer.Option("--webhook-timeout", min=0.1, max=60, help="Seconds that a webhook may take to answer.")
    ] = 10.0,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Take callers' addresses from the proxy's X-Forwarded-For.")
    ] = False,
    local_webhooks: Annotated[
        bool, typer.Option("--local-webhooks", help="Let webhooks go to this machine, for trying them out.")
    ] = False,
) -> None:
    """Serve the Ledger API: the Ledger that the database holds (an empty one starts from a seed or the catalogue), or
    that of a running neuron.
    """
    from orchestra.settings import read_rate

    with one_line_errors():
        asked = _Serving(
            url=_url(database),
            seed=ledger_seed,
            ip=ip,
            port=port,
            tao_usd=read_rate(tao_usd),
            behind_proxy=behind_proxy,
            local_webhooks=local_webhooks,
            webhook_timeout_s=webhook_timeout,
            attached=(checkpoint, snapshot),
            node=_node(data, ledger_seed, checkpoint, snapshot),
        )
        _run(_serve(asked))


@keys.command("new", epilog='Example: orchestra ledger keys new "Ada" --tier developer')
def new_command(
    owner: Annotated[str, typer.Argument(help="Who gets the key, for your own records.")],
    tier: Annotated[
        Literal["free", "developer", "production", "enterprise"], typer.Option("--tier", help="What the key may do.")
    ] = "developer",
    database: Database = "",
) -> None:
    """Make a key and show it, this once."""
    with one_line_errors():
        key, account = _with_accounts(database, lambda accounts: accounts.issue(owner, tier))
        typer.echo(key)
        typer.echo(f"{account.id}: {tier} for {owner}. The key is not shown again; only its hash is kept.", err=True)


@keys.command("list", epilog="Example: orchestra ledger keys list")
def list_command(database: Database = "") -> None:
    """List the keys that were made, without the keys themselves."""
    with one_line_errors():
        for account in _with_accounts(database, lambda accounts: accounts.all()):
            typer.echo(_line(account))


@keys.command("revoke", epilog="Example: orchestra ledger keys revoke 1f2e3d4c")
def revoke_command(
    account: Annotated[str, typer.Argument(metavar="ID", help="A key's id, as listed.")], database: Database = ""
) -> None:
    """Take a key back for good. Running servers follow within seconds."""
    from orchestra.settings import SettingsError

    with one_line_errors():
        if not _with_accounts(database, lambda accounts: accounts.revoke(account)):
            raise SettingsError(f"no key {account[:40]!r} that is not revoked: see orchestra ledger keys list")
        typer.echo(f"{account} is revoked")


@dataclass(frozen=True)
class _Serving:
    """The flags of `serve`, checked."""

    url: str
    seed: Path | None
    ip: str
    port: int
    tao_usd: Decimal
    behind_proxy: bool
    local_webhooks: bool
    webhook_timeout_s: float
    attached: tuple[Path | None, Path | None]
    node: Path | None

    @property
    def ledger_url(self) -> str:
        from ledger.database import sqlite_url

        return sqlite_url(self.node / LEDGER) if self.node else self.url


async def _serve(asked: _Serving) -> None:
    from ledger.service import serving_ledger
    from orchestra.settings import transaction_marker
    from orchestra.transport import OutboundClient, serve
    from orchestra.webhook_sender import WebhookSender

    if asked.node is None:
        await _plant(asked.url, asked.seed)
    async with (
        AsyncExitStack() as stack,
        OutboundClient(allow_loopback=asked.local_webhooks) as client,
        serving_ledger(
            asked.url,
            WebhookSender(client),
            ledger_url=asked.ledger_url,
            attachments=await _attaching(asked, stack),
            tao_usd=asked.tao_usd,
            behind_proxy=asked.behind_proxy,
            marker=transaction_marker(),
            webhook_timeout_s=asked.webhook_timeout_s,
        ) as service,
    ):
        edition = service.reader.edition
        assert edition is not None

        def started(address: Address) -> None:
            typer.echo(f"Ledger {edition.version} with {len(edition.entries)} entries at {address.url}")

        await serve(service.app, asked.ip, asked.port, started=started)


async def _attaching(asked: _Serving, stack: AsyncExitStack) -> Attach:
    """Where checkpoint and snapshot come from: the node's databases, or files."""
    from ledger.cosigning import CheckpointStore
    from ledger.database import sqlite_url
    from ledger.serving.attached import Attached, Watched
    from ledger.serving.node_copy import NodeCopy
    from ledger.store import LedgerStore

    if asked.node is None:
        return Attached(*map(Watched, asked.attached))
    checkpoints = await stack.enter_async_context(await CheckpointStore.open(sqlite_url(asked.node / CHECKPOINTS)))
    return NodeCopy(checkpoints, await stack.enter_async_context(await LedgerStore.open(asked.ledger_url)))


async def _plant(url: str, seed: Path | None) -> None:
    """Give an empty Ledger its first entries."""
    from ledger import catalogue
    from ledger.store import LedgerConflict, LedgerStore
    from orchestra.ledger_cli import seed_entries

    async with await LedgerStore.open(url) as store:
        if not await store.changes(0, limit=1):
            try:
                await store.append(catalogue.load() if seed is None else seed_entries(seed), onto=0, block=0)
            except LedgerConflict:
                return  # another server planted it


def _with_accounts(database: str, use: Callable[[Accounts], Coroutine[Any, Any, T]]) -> T:
    from ledger.accounts import Accounts
    from ledger.database import open_engine
    from ledger.serving import tables

    async def used() -> T:
        engine = await open_engine(_url(database), tables.metadata, migrations=tables.MIGRATIONS)
        try:
            return await use(Accounts(engine))
        finally:
            await engine.dispose()

    return _run(used())


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run on an event loop of ours; what a database says against it is one line."""
    from sqlalchemy.exc import SQLAlchemyError

    from ledger.store import LedgerCorrupt
    from ledger.upgrade import DatabaseTooNew
    from orchestra.settings import SettingsError
    from orchestra.transport import ServeError, run

    try:
        return run(work)
    except (SQLAlchemyError, OSError) as error:
        first = str(error.__cause__ or error).splitlines()[0]
        raise SettingsError(f"cannot use the database ({first[:200]}): check --database") from None
    except (DatabaseTooNew, LedgerCorrupt, ServeError, ValueError) as error:
        raise SettingsError(str(error).splitlines()[0]) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _node(folder: Path | None, *others: Path | None) -> Path | None:
    from orchestra.settings import SettingsError

    if folder is None:
        return None
    if any(others):
        raise SettingsError("--data says where all of it comes from: leave --ledger.seed, --checkpoint, --snapshot out")
    for name in (LEDGER, CHECKPOINTS):
        if not (folder / name).exists():
            raise SettingsError(f"--data: no {folder / name}; name the folder of a neuron that has run")
    return folder


def _url(given: str) -> str:
    from ledger.database import database_url, sqlite_url
    from orchestra.settings import SettingsError

    if given:
        try:
            url = database_url(given)
        except ValueError as error:
            raise SettingsError(f"--database: {error}") from None
        file = url.partition("sqlite+aiosqlite:///")[2]
        if file and not Path(file).parent.is_dir():
            raise SettingsError(f"--database: there is no folder {Path(file).parent}")
        return url
    folder = Path.home() / _FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(f"cannot make {folder} ({error.strerror}): name a file with --database") from None
    return sqlite_url(folder / _FILE)


def _line(account: Account) -> str:
    made = datetime.fromtimestamp(account.created_ms / 1000, UTC).date().isoformat()
    ended = "" if account.revoked_ms is None else ", revoked"
    return f"{account.id}  {account.tier.name:<10}  {made}{ended}  {account.owner}"
