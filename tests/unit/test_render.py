"""Tables and panels: what they show, that they fit, and that nothing a stranger wrote controls the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from orchestra import render
from orchestra.gateway.network import score_document
from orchestra.validation.components import COMPONENTS, WEIGHTS, Score, ScoreEvent, score
from tests.fakes.backend import HASH, MINER, result, step

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]bold[/red]\u202egnirts\r\x9b31m"


def shown(what: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def document(**changes: Any) -> dict[str, Any]:
    return result(**changes).model_dump(mode="json")


def scores(*values: dict[str, float], refuted: bool = False) -> list[dict[str, Any]]:
    made: list[Score] = []
    for number, each in enumerate(values):
        event = ScoreEvent(f"e{number}", f"5Miner{number}" + "x" * 30, "challenge", 1, each, refuted, ("because",))  # pyright: ignore[reportArgumentType]
        made.append(score(event.hotkey, [event]))
    return [score_document(each) for each in made]


def test_a_result_shows_value_price_time_and_verdict() -> None:
    text = shown(render.result_panel(document()))
    for part in ('"name": "Acme"', "1.5", "verified", "0.000003334 TAO", "0.1 s", render.short(MINER)):
        assert part in text
    assert "partial" not in text
    assert "partial result" in shown(render.result_panel(document(status="partial")))


def test_a_long_value_is_folded_and_not_cut() -> None:
    long = "word " * 60 + "END"
    assert "END" in shown(render.result_panel(document(result={"name": long})))


def test_every_attempt_is_a_row() -> None:
    receipt = {"key": MINER, "time_ms": 1, "request_hash": HASH, "signature": "0x" + "00" * 64}
    failed = step(2, error={"kind": "timeout", "detail": "", "status": None}, cost="0")
    local = step(3, subnet="local", entry="local", receipt=receipt)
    text = shown(render.pipeline_table([step(), failed, local]))
    assert "SN22 desearch" in text
    assert "failed: timeout" in text
    assert "0.000003334" in text
    assert "12 ms" in text
    assert "+ receipt" in text
    assert render.short(HASH) in text
    assert max(map(len, text.splitlines())) <= 80


def test_where_values_come_from() -> None:
    source = [{"step": 4, "pointer": "/data/0/price"}, {"step": 8, "pointer": "/data/0/price"}]
    lowest = {"op": "min", "of": source, "by": None}
    provenance = {"/a": source[:1], "/b": {"op": "scale", "of": lowest, "by": "0.9"}, "/nowhere": source[:1]}
    text = shown(render.provenance_table(provenance, {"a": "x", "b": 1.305}), 120)
    assert "step 4 /data/0/price" in text
    assert "0.9 × min(step 4 /data/0/price, step 8 /data/0/price)" in text
    assert "1.305" in text
    assert "(not in the result)" in text


def test_which_values_are_shown() -> None:
    cited = [{"step": 1, "pointer": ""}]
    many: dict[str, Any] = {f"/{number}": cited for number in range(10)}
    assert render.chosen(many, 3) == ["/0", "/3", "/6"]
    assert render.chosen(many | {"/last": {"op": "min"}}, 3) == ["/0", "/5", "/last"], "one that was computed is shown"
    assert render.chosen({}, 3) == []
    assert render.chosen({"/only": cited}, 3) == ["/only"]


def test_a_score_explains_its_total() -> None:
    full = dict.fromkeys(COMPONENTS, 1.0)
    text = shown(render.scores_table(scores(full, {"hash_verification": 0.25})))
    assert "1.000" in text
    assert "0.25" in text
    assert "0.050" in text, "0.20 of 0.25"
    worth = next(line for line in text.splitlines() if line.startswith("worth")).split()[1:-1]
    assert [float(each) for each in worth] == list(WEIGHTS.values())
    assert text.count(" - ") >= 3, "no evidence is not a zero"
    assert max(map(len, text.splitlines())) <= 80
    assert "0.000 refuted" not in text
    assert "0.000 refuted" in shown(render.scores_table(scores(full, refuted=True)))
    assert "because" in shown(render.reasons_list(scores(full)))


def test_the_score_table_says_how_to_read_it_and_breaks_no_heading() -> None:
    text = shown(render.scores_table(scores(dict.fromkeys(COMPONENTS, 1.0), refuted=True)))
    heads = next(line for line in text.splitlines() if line.startswith("miner"))
    assert heads.split()[1:] == ["hash", "schem", "compl", "route", "time", "accur", "disco", "fresh", "cover", "total"]
    assert "0.000 refuted" in text
    assert "total: sum of worth x value" in text
    assert "no evidence yet, counts 0" in text
    said = " ".join(text.split())
    assert ", ".join(name.replace("_", " ") for name in COMPONENTS) in said
    assert "sum of worth" not in shown(render.scores_table(scores({"latency": 1.0}), legend=False))


def test_a_terminal_too_narrow_loses_no_digit_and_no_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    render.console().print(render.pipeline_table([step(task="find pages")]))
    assert "0.000003334" in (text := capsys.readouterr().out)
    assert "find pages" in text
    monkeypatch.setenv("COLUMNS", "200")
    assert render.console().width == 200
    assert render.console(piped_width=140).width == 140


def test_a_title_counts_what_is_there() -> None:
    provenance = {"/a": [{"step": 1, "pointer": ""}]}
    assert "where 1 of 1 values" in shown(render.provenance_table(provenance, {"a": 1}))


def test_a_verdict_short_of_verified_is_explained() -> None:
    verification = {"verdict": "partly verified", "hash_credit": 0.5, "findings": []}
    assert render.verdict_note(document() | {"verification": verification | {"verdict": "verified"}}) is None
    note = render.verdict_note(document() | {"verification": verification})
    assert note is not None
    assert "--allow-replay" in shown(note)
    found = verification | {"findings": [{"code": "value_unsourced"}]}
    note = render.verdict_note(document() | {"verification": found})
    assert note is not None
    assert "value_unsourced" in shown(note)


def test_names_go_before_addresses() -> None:
    hotkey = scores({"latency": 1.0})[0]["hotkey"]
    assert "forger" in shown(render.scores_table(scores({"latency": 1.0}), {hotkey: "forger"}))
    assert render.short(hotkey) in shown(render.scores_table(scores({"latency": 1.0})))


def test_no_scores_is_an_empty_table() -> None:
    assert "miner" in shown(render.scores_table([]))


def test_what_the_chain_says() -> None:
    neuron = {
        "uid": 3,
        "hotkey": MINER,
        "role": "miner",
        "permit": False,
        "stake_rao": "10010250050722",
        "incentive": 0.412,
        "dividends": 0.0,
    }
    judge = neuron | {"uid": 0, "role": "validator", "permit": True, "hotkey": "5Judge"}
    text = shown(render.weights_table([judge, neuron], {MINER: 0.31}))
    for part in ("10,010.25", "0.310", "0.412", "validator", "miner"):
        assert part in text


def test_how_setting_weights_went() -> None:
    attempt = {
        "tempo": 2,
        "mechid": 0,
        "block": 25,
        "tries": 1,
        "state": "failed",
        "code": "SettingWeightsTooFast",
        "message": "wait",
    }
    text = shown(render.attempts_table([attempt]))
    assert "SettingWeightsTooFast wait" in text
    assert "failed" in text


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        ({"fields": ["/a", "/b"], "capability": "x", "reason": "why"}, "/a, /b: why"),
        ({"fields": [], "capability": "image_generation", "reason": "no subnet"}, "image_generation: no subnet"),
        ({"fields": [], "capability": "", "reason": "late"}, "the rest: late"),
    ],
)
def test_what_is_missing_and_why(gap: dict[str, Any], said: str) -> None:
    assert said in shown(render.gaps_list([gap]))


def everything(text: str) -> list[RenderableType]:
    """Every renderable with a stranger's text wherever one can write."""
    hostile = document(
        result={"name": text, text or "k": 1},
        summary=text,
        provenance={f"/{text}": [{"step": 1, "pointer": f"/{text}"}]},
        pipeline=(step(task=text, entry=text, hash=text),),
        gaps=({"fields": [text], "capability": text, "reason": text},),
        miner=text,
    )
    made = scores({"latency": 1.0})
    made[0] |= {"hotkey": text, "reasons": [text]}
    neuron = {
        "uid": 1,
        "hotkey": text,
        "role": text,
        "permit": False,
        "stake_rao": "1",
        "incentive": 0.0,
        "dividends": 0.0,
    }
    attempt = {"tempo": 1, "mechid": 0, "block": 1, "tries": 1, "state": text, "code": text, "message": text}
    return [
        render.result_panel(hostile),
        render.summary_panel(hostile),
        render.pipeline_table(hostile["pipeline"]),
        render.provenance_table(hostile["provenance"], hostile["result"]),
        render.gaps_list(hostile["gaps"]),
        render.scores_table(made),
        render.reasons_list(made),
        render.weights_table([neuron], {}),
        render.attempts_table([attempt]),
    ]


def test_nothing_that_a_stranger_wrote_controls_the_terminal() -> None:
    for each in everything(HOSTILE):
        text = shown(each, 200)
        assert not set(text) & set("\x1b\x07\x9b\r\u202e")
    assert "[red]" in shown(render.summary_panel(document(summary=HOSTILE)), 200), "markup is text"


@given(st.text(max_size=30))
def test_whatever_is_written_it_is_shown(text: str) -> None:
    for each in everything(text):
        assert not any(ord(c) < 32 and c != "\n" for c in shown(each))
