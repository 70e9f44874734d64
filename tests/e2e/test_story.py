"""A governed network, end to end: the story of `./scripts/story` happens, and what it says is so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


def test_a_ledger_stays_true_with_nobody_in_charge(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "orchestra.devnet.story",
            "--json",
            "--block-time",
            "0.6",
            "--keep",
            str(tmp_path / "net"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    assert seen["changed_at"] <= seen["proposed_at"] <= seen["anchored"] <= seen["accepted"]["revealed"]
    assert seen["accepted"]["outcome"] == "accepted"
    assert seen["known_everywhere_after"] <= 4
    assert {offer["name"]: offer["price"] for offer in seen["answer"]["offers"]} == {"RunPod": 1.99, "Lambda": 1.89}
    assert (seen["copied"]["outcome"], seen["copied"]["lost"]) == ("copy", "0")
    assert (seen["lied"]["outcome"], seen["lied"]["lost"]) == ("false", "50000")
    assert seen["came"]["outcome"] == "accepted"
    assert (seen["died"]["about"], seen["died"]["outcome"]) == ("deprecation", "accepted")
    assert set(seen["webhooks"]) == {"desearch", "data-universe"}
    verified = json.loads(seen["verified"])
    assert 3 * int(verified["on_chain"]["this"]) > 2 * int(verified["on_chain"]["total"])
    assert 3 * int(verified["stake"]["signed"]) > 2 * int(verified["stake"]["total"])
