"""How a command ends when something was foreseen: one line on stderr that says what to type next, and exit code 1."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import typer


@contextmanager
def one_line_errors() -> Generator[None]:
    """For settings, wallets and chains; anything else is a bug and keeps its traceback."""
    try:
        yield
    except Exception as error:
        from orchestra.chain.errors import ChainError
        from orchestra.settings import SettingsError

        if not isinstance(error, SettingsError | ChainError):
            raise
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
