"""Brings a database to the newest step of a store (`ledger.migrations`), inside the caller's transaction.

Alembic keeps the steps' order and which were taken; its usual `env.py` is left out, because that works through globals
and two stores that open at once on one event loop would get each other's. Whoever opens a database first upgrades it:
SQLite holds its write lock for the whole transaction, PostgreSQL an advisory lock, so that servers that start together
take each step once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from sqlalchemy import Connection, text

_LOCK = 0x6F72636865737472
"""Of PostgreSQL's advisory locks the one that is ours: "orchestr"."""


class DatabaseTooNew(RuntimeError):
    """A newer release of Orchestra has upgraded this database: run that one, or restore a copy from before."""


def upgrader(package: str) -> Callable[[Connection], None]:
    """What takes the missing steps of a package such as `ledger.migrations.changes`, on a connection in a transaction.

    Raises:
        DatabaseTooNew: the database is at a step that this release does not have.
    """
    return lambda connection: _upgrade(connection, package)


def _upgrade(connection: Connection, package: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    script = _script(package)

    def missing(heads: tuple[str, ...], _context: MigrationContext) -> Iterable[RevisionStep]:
        return _missing(script, heads)

    options = {"fn": missing, "version_table": version_table(package)}
    context = MigrationContext.configure(connection, opts=options)
    context.run_migrations(op=Operations(context))


def version_table(package: str) -> str:
    """Where a store's newest step is kept: `migrated_ledger_migrations_changes`."""
    return f"migrated_{package.replace('.', '_')}"


def _missing(script: ScriptDirectory, heads: tuple[str, ...]) -> list[RevisionStep]:
    try:
        steps = list(script.iterate_revisions("head", heads or "base"))
    except ResolutionError:
        newest = script.get_current_head()
        raise DatabaseTooNew(f"the database is at step {heads[0]}, this release knows up to {newest}") from None
    return [MigrationStep.upgrade_from_script(script.revision_map, step) for step in reversed(steps)]


@cache
def _script(package: str) -> ScriptDirectory:
    folder = str(files(package))
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", folder.replace("%", "%%"))
    return ScriptDirectory.from_config(config)
