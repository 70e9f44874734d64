"""How answers, scores and weights look in a terminal: pure functions from JSON documents to rich renderables.

Most of what is shown was written by strangers (pages, miners), so every text passes `plain`: no control characters, no
markup, nothing that turns the terminal or the reading direction.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from rich import box
from rich.console import Console, Group, RenderableType
from rich.json import JSON
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ledger.types import RAO_PER_TAO
from orchestra.money import tao
from orchestra.schema import PointerError, resolve_pointer
from orchestra.validation.components import WEIGHTS

Document = Mapping[str, Any]
COMPONENT_WEIGHTS: Mapping[str, float] = {str(name): weight for name, weight in WEIGHTS.items()}

_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_HEADS = {
    "hash_verification": "hash",
    "schema_compliance": "schem",
    "completeness": "compl",
    "routing": "route",
    "latency": "time",
    "update_accuracy": "accur",
    "discovery": "disco",
    "freshness": "fresh",
    "coverage": "cover",
}
_WHOLE = frozenset({"step", "subnet", "latency", "cost in TAO", "proof", "miner", "neuron", "total", "stake", "role"})
"""Columns whose cells stay on one line."""
MOST_TEXT = 300
LEAST_WIDTH = 80
"""A narrower terminal folds our lines itself: tables made for it would lose digits."""


def console(*, stderr: bool = False, quiet: bool = False, piped_width: int | None = None) -> Console:
    """Where tables go: as wide as the terminal, or as `piped_width` where there is none, but never narrower than they
    are.
    """
    made = Console(stderr=stderr, quiet=quiet)
    width = made.width if made.is_terminal or piped_width is None else piped_width
    made.width = max(width, LEAST_WIDTH)
    return made


def plain(text: object, most: int = MOST_TEXT) -> str:
    """Text of a stranger as one may show it: at most `most` characters, what controls a terminal made visible."""
    shown = _UNSAFE.sub("\ufffd", str(text))
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def result_panel(document: Document) -> Panel:
    """The result as JSON, with what it took below: who answered, cost, time, verdict."""
    body = JSON(plain(json.dumps(document["result"], ensure_ascii=False), 1 << 20), indent=2)
    body.text.no_wrap, body.text.overflow = False, "fold"
    complete = document["status"] == "complete"
    verdict = str(document["verification"]["verdict"])
    cost, seconds = document["cost_tao"], int(document["latency_ms"]) / 1000
    foot = f"{verdict} · {cost} TAO · {seconds:.1f} s · miner {short(document['miner'])}"
    return Panel(
        body,
        title=Text("result" if complete else "partial result"),
        subtitle=Text(foot, style="green" if verdict == "verified" else "yellow"),
        border_style="green" if complete else "yellow",
    )


def summary_panel(document: Document) -> Panel:
    """What the answer says in words."""
    return Panel(Text(plain(document["summary"], 4000) or "(no summary)"), title="summary", border_style="blue")


_PARTLY = (
    "partly verified: sealed and traced, but not every call behind it was shown to have been made: by its provider's"
    " receipt, or by making it again (allow that with --allow-replay)"
)


def verdict_note(document: Document) -> RenderableType | None:
    """What `partly verified` means, and the first findings behind it; None for other verdicts, which say it all."""
    if document["verification"]["verdict"] != "partly verified":
        return None
    found = ", ".join(str(each["code"]) for each in document["verification"]["findings"][:3])
    return Text(plain(f"{_PARTLY}: {found}" if found else _PARTLY), style="yellow")


def gaps_list(gaps: Sequence[Document]) -> RenderableType:
    """What is missing, and why."""
    return Group(*(Text.assemble(("missing  ", "yellow"), _gap(gap)) for gap in gaps))


def _gap(gap: Document) -> str:
    what = ", ".join(gap.get("fields") or ()) or gap.get("capability") or "the rest"
    return plain(f"{what}: {gap['reason']}")


def pipeline_table(pipeline: Sequence[Document]) -> Table:
    """One row for every attempt, failed ones too: step, subnet, task, latency, cost, proof."""
    heads = ("step", "subnet", "task", "latency", "cost in TAO", "proof")
    table = _table("pipeline", *heads, right=("step", "latency", "cost in TAO"))
    for step in pipeline:
        error = step["error"]
        table.add_row(
            str(step["step"]),
            Text(plain(f"{step['subnet']} {step['entry']}" if step["subnet"] != "local" else "local")),
            Text(plain(step["task"], 60)),
            f"{step['latency_ms']} ms",
            tao(step["cost"]),
            Text(f"failed: {error['kind']}", style="red") if error else _proof(step),
        )
    return table


def _proof(step: Document) -> Text:
    signed = " + receipt" if step["receipt"] else ""
    return Text.assemble((short(step["hash"]), "cyan"), (signed, "green"))


def provenance_table(provenance: Document, result: Document, count: int = 3) -> Table:
    """Where `count` of the values come from; one that was computed is among them where there is one."""
    shown = chosen(provenance, count)
    table = _table(f"where {len(shown)} of {len(provenance)} values come from", "field", "value", "source")
    for pointer in shown:
        table.add_row(
            Text(plain(pointer, 80)), Text(_value(result, pointer)), Text(plain(source_text(provenance[pointer])))
        )
    return table


def chosen(provenance: Document, count: int) -> list[str]:
    """At most `count` pointers: the first computed value, then others spread over the result, in its order."""
    pointers = list(provenance)
    computed = [pointer for pointer in pointers if isinstance(provenance[pointer], Mapping)][:1]
    rest = [pointer for pointer in pointers if not isinstance(provenance[pointer], Mapping)]
    wanted = max(0, count - len(computed))
    spread = [rest[at * len(rest) // wanted] for at in range(wanted)] if len(rest) > wanted else rest
    return [pointer for pointer in pointers if pointer in {*computed, *spread}]


def source_text(source: Any) -> str:
    """`step 2 /records/0/price`, or a computation over such."""
    if isinstance(source, Mapping):
        derived = cast("Document", source)
        inner = source_text(derived["of"])
        return f"{derived['by']} × {inner}" if derived["op"] == "scale" else f"{derived['op']}({inner})"
    cited: Sequence[Document] = source
    return ", ".join(f"step {each['step']} {each['pointer']}" for each in cited)


def _value(result: Document, pointer: str) -> str:
    try:
        return plain(json.dumps(resolve_pointer(dict(result), pointer), ensure_ascii=False), 80)
    except PointerError:
        return "(not in the result)"


def scores_table(scores: Sequence[Document], names: Mapping[str, str] | None = None, *, legend: bool = True) -> Table:
    """A row for every miner, a column for every component; `-` where there is no evidence yet.

    The total is the sum over the components of what each is worth, which is the first row, times its value; the legend
    says so.
    """
    parts: list[str] = list(scores[0]["components"]) if scores else []
    heads = [_HEADS.get(part, part) for part in parts]
    table = _table("scores by component", "miner", *heads, "total", right=(*heads, "total"))
    table.padding = 0
    if legend and parts:
        table.caption = (
            "total: sum of worth x value; 0 when refuted. -: no evidence yet, counts 0\n"
            f"columns: {', '.join(part.replace('_', ' ') for part in parts)} (docs/scoring.md)"
        )
    if parts:
        table.add_row("worth", *(f"{COMPONENT_WEIGHTS.get(part, 0.0):.2f}" for part in parts), "1.000", style="dim")
    for score in scores:
        refuted = bool(score["refuted"])
        table.add_row(
            Text(_name(score["hotkey"], names)),
            *(_component(score["components"][part]) for part in parts),
            Text(f"{score['total']:.3f}" + (" refuted" if refuted else ""), style="bold red" if refuted else "bold"),
        )
    return table


def _component(part: Document) -> Text:
    return Text(f"{part['value']:.2f}") if part["events"] else Text("-", style="dim")


def reasons_list(scores: Sequence[Document], names: Mapping[str, str] | None = None, most: int = 3) -> RenderableType:
    """Why a score is not full: up to `most` reasons for each miner."""
    lines = [
        Text.assemble((f"{_name(score['hotkey'], names)}  ", "bold"), plain(reason))
        for score in scores
        for reason in score["reasons"][:most]
    ]
    return Group(*lines)


def weights_table(
    neurons: Sequence[Document], weights: Mapping[str, float], names: Mapping[str, str] | None = None
) -> Table:
    """The subnet as the chain has it, beside the weights (by hotkey) of the validator that was asked."""
    heads = ("uid", "neuron", "role", "stake", "weight", "incentive", "dividends")
    table = _table("on chain", *heads, right=("uid", "stake", "weight", "incentive", "dividends"))
    table.caption = "stake in alpha; weight, incentive, dividends: shares of 1"
    for neuron in neurons:
        judges = neuron["role"] == "validator"
        table.add_row(
            str(neuron["uid"]),
            Text(_name(neuron["hotkey"], names)),
            plain(neuron["role"]),
            f"{Decimal(neuron['stake_rao']) / RAO_PER_TAO:,.2f}",
            "" if judges else f"{weights.get(str(neuron['hotkey']), 0.0):.3f}",
            f"{neuron['incentive']:.3f}",
            f"{neuron['dividends']:.3f}",
        )
    return table


def attempts_table(attempts: Sequence[Document]) -> Table:
    """How setting weights went, latest first."""
    table = _table("setting weights", "tempo", "mechanism", "block", "tries", "state", "said")
    for attempt in attempts:
        said = plain(f"{attempt['code']} {attempt['message']}".strip(), 100)
        table.add_row(
            *(str(attempt[name]) for name in ("tempo", "mechid", "block", "tries")), plain(attempt["state"]), Text(said)
        )
    return table


def short(text: str) -> str:
    """A hash or address that one can still tell from another."""
    shown = plain(text)
    return shown if len(shown) <= 12 else f"{shown[:6]}…{shown[-4:]}"


def _name(hotkey: str, names: Mapping[str, str] | None) -> str:
    return plain((names or {}).get(hotkey) or short(hotkey), 40)


def _table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """Narrow: it has to fit into 80 columns, with a blank between two."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        caption_style="dim",
        header_style="dim",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for column in columns:
        table.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in _WHOLE
        )
    return table
