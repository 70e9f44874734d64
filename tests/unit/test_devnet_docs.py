"""The page on local subnets names what there is: flags, control members, operations, keys, counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestra.devnet.content import clouds, posts, web_pages
from orchestra.devnet.entries import ENTRY_IDS, devnet_entries, drifting_operation
from orchestra.devnet.subnets.__main__ import NAMES, main
from orchestra.devnet.subnets.faults import MAX_CALLS, Control
from orchestra.devnet.subnets.keys import DEFAULT_KEYS
from orchestra.devnet.subnets.readings import all_series

PAGE = (Path(__file__).parents[2] / "docs" / "local-subnets.md").read_text(encoding="utf-8")
CODE = set(re.findall(r"`([^`\n]+)`", PAGE))


def test_every_service_key_and_control_member_is_documented() -> None:
    assert set(NAMES) <= CODE
    assert set(DEFAULT_KEYS.values()) <= CODE
    assert {field.alias or name for name, field in Control.model_fields.items()} <= CODE


def test_the_flags_are_those_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert {code for code in CODE if code.startswith("--")} == known


def test_every_operation_is_documented_with_its_wire() -> None:
    for entry in devnet_entries(dict.fromkeys(ENTRY_IDS, "http://127.0.0.1:1"), "5F4"):
        for operation in entry.operations:
            row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{entry.id}/{operation.name}`"))
            assert f"`{operation.endpoint.method} {operation.endpoint.path}`" in row
        assert f"`{entry.id}/{drifting_operation(entry.id)}`" in PAGE.split("The operations that drift are")[1]


def test_the_figures_are_those_of_the_collections() -> None:
    assert f"The local web has {len(web_pages())} pages" in PAGE
    assert f"The posts ({len(posts())} of them)" in PAGE
    assert f"last {MAX_CALLS:,} calls" in PAGE
    assert len(clouds()) == 7
    assert {"RunPod utilisation", "Vast.ai queue time"} <= CODE & {series.name for series in all_series()}
