"""`orchestra ledger verify` and `orchestra ledger snapshot`: check a copy of the Ledger, and write one.

Scripts read the exit code: 0 believed, 1 refused (one line says why, with its stable code), 2 nothing could be checked.
`orchestra.ledger_cli` mounts both commands.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestra import flags
from orchestra.wallet_cli import Network, WalletHotkey, WalletName

if TYPE_CHECKING:
    from ledger.checkpoint import Verified
    from ledger.snapshot import SnapshotRefused
    from orchestra.ledger_check import Checked, Stakes

REFUSED, NOT_CHECKED = 1, 2
_AGE = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def verify_command(
    snapshot: Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="The copy to check.")],
    trusted: Annotated[Path, typer.Option("--trusted", metavar="CHECKPOINT", help="A checkpoint believed already.")],
    max_age: Annotated[str, typer.Option("--max-age", help="Refuse older signatures: 90s, 30m, 1h, 7d.")] = "",
    network: Annotated[str, typer.Option("--network", help="Read stakes and commitments from this chain.")] = "",
    netuid: flags.Netuid = 2,
    stakes: Annotated[
        Path | None, typer.Option("--stakes", metavar="FILE", help='Stakes without a chain: {"5...": "rao"}.')
    ] = None,
    remember: Annotated[
        Path | None,
        typer.Option(
            "--remember", metavar="FILE", help="Where the last believed checkpoint is kept. Default: ~/.orchestra."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a copy of the Ledger: every change, the signatures, the stake behind them, its age, its history.

    Exits with 0 when it is believed, 1 when it is refused, 2 when it could not be checked.
    """
    from ledger.snapshot import SnapshotRefused
    from orchestra import ledger_check
    from orchestra.chain import ChainError
    from orchestra.ledger_memory import MemoryUnusable

    try:
        known = ledger_check.read_trusted_file(trusted)
        weights = _stakes(network, netuid, stakes)
        now_ms, most = time.time_ns() // 1_000_000, read_age(max_age)
        with snapshot.open("rb") as file:
            found = ledger_check.check(file, known, weights, max_age_ms=most, now_ms=now_ms, remember=remember)
    except SnapshotRefused as error:
        _refuse(error, as_json=as_json)
    except OSError as error:
        _cannot(f"cannot read {snapshot} ({error.strerror})", as_json=as_json)
    except (ledger_check.CannotCheck, MemoryUnusable, ChainError) as error:
        _cannot(str(error), as_json=as_json)
    else:
        typer.echo(json.dumps(document(found, now_ms)) if as_json else "\n".join(lines(found, now_ms)))


def snapshot_command(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")],
    network: Network = "finney",
    netuid: flags.Netuid = 2,
    wallet_name: WalletName = "default",
    wallet_hotkey: WalletHotkey = "default",
    data: flags.DataDir = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a copy of this node's Ledger, with the last checkpoint that it signed or believed."""
    from orchestra import ledger_export
    from orchestra.settings import data_folder
    from orchestra.transport import run

    folder = data_folder(data, network=network, netuid=netuid, hotkey=f"{wallet_name}-{wallet_hotkey}")
    try:
        checkpoint = run(ledger_export.export(folder, out, force=force))
    except ledger_export.CannotExport as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{checkpoint.size} changes of {checkpoint.origin} in {out}")


def read_age(text: str) -> int | None:
    """Milliseconds of `90s`, `30m`, `1h` or `7d`; None of nothing.

    Raises:
        CannotCheck: anything else.
    """
    from orchestra.ledger_check import CannotCheck

    if not text:
        return None
    found = _AGE.fullmatch(text)
    if found is None:
        raise CannotCheck(f"--max-age {text[:20]!r} is no time: write for example --max-age 1h")
    return int(found[1]) * _UNIT_MS[found[2]]


def _stakes(network: str, netuid: int, file: Path | None) -> Stakes:
    from orchestra import ledger_check
    from orchestra.transport import run

    if network and file is not None:
        raise ledger_check.CannotCheck("stakes come from --network or from --stakes, not from both")
    if network:
        return run(ledger_check.stakes_from_chain(network, netuid))
    return ledger_check.NOT_CHECKED if file is None else ledger_check.stakes_from_file(file)


def _refuse(error: SnapshotRefused, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"believed": False, "code": error.code, "reason": error.detail}))
    else:
        typer.echo(f"refused: {error}", err=True)
    raise typer.Exit(REFUSED)


def _cannot(reason: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"believed": None, "code": "not_checked", "reason": reason}))
    else:
        typer.echo(f"error: {reason}", err=True)
    raise typer.Exit(NOT_CHECKED)


# Showing --------------------------------------------------------------------------------------------------------------


def document(found: Checked, now_ms: int) -> dict[str, Any]:
    """The result for a program. Stakes are rao as strings; without stakes, keys are counted."""
    verified, stakes, chain = found.snapshot.verified, found.stakes, found.on_chain
    return {
        "believed": True,
        "origin": verified.checkpoint.origin,
        "ledger_version": verified.checkpoint.version,
        "signed_at": _instant(verified.time_ms),
        "age_s": (now_ms - verified.time_ms) // 1000,
        "signers": [each.hotkey for each in verified.signers],
        "continues": [each.version for each in found.continues],
        "stake": {
            "from": stakes.source,
            "block": stakes.block,
            **({} if stakes.source == "not checked" else _parts(signed=verified.stake, total=verified.total)),
        },
        "on_chain": chain
        and _parts(
            total=chain.total, this=chain.this, earlier=chain.earlier, unknown=chain.unknown, silent=chain.silent
        ),
    }


def _parts(**parts: int) -> dict[str, str]:
    return {name: str(value) for name, value in parts.items()}


def lines(found: Checked, now_ms: int) -> list[str]:
    """The result for a person."""
    verified = found.snapshot.verified
    age = max(0, now_ms - verified.time_ms) // 1000
    shown = [
        f"believed: {verified.checkpoint.version} of {verified.checkpoint.origin}",
        f"signed {age} s ago ({_instant(verified.time_ms)}) by {_by(verified, found.stakes)}",
        "continues " + " and ".join(each.version for each in found.continues),
    ]
    if found.on_chain is not None:
        chain = found.on_chain
        parts = {
            "to this root": chain.this,
            "to an earlier one of this log": chain.earlier,
            "to something that is not in this log": chain.unknown,
            "to nothing": chain.silent,
        }
        told = [f"{_share(stake, chain.total)} of stake has committed {what}" for what, stake in parts.items() if stake]
        shown.append("on chain: " + ", ".join(told))
    return shown


def _by(verified: Verified, stakes: Stakes) -> str:
    if stakes.source == "not checked":
        return f"{verified.stake} of the {verified.total} keys of the trusted checkpoint; stake not checked"
    who = f"{len(verified.signers)} hotkeys with {_share(verified.stake, verified.total)} of the stake"
    where = "as the file says" if stakes.source == "file" else f"at block {stakes.block}"
    return f"{who} {where}"


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.1f} %"


def _instant(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
