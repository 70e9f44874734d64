"""Lasting trouble is one line when it starts, changes and ends, whatever the number of looks at it."""

from __future__ import annotations

import logging

import pytest

from neurons.notes import Notes


def test_trouble_is_said_when_it_starts_changes_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes(logging.getLogger("orchestra.test"))
    caplog.set_level(logging.INFO, "orchestra.test")
    for message in ("", "down", "down", "down for 5 s", "", "", "down"):
        notes.trouble("link", message, over="up again")
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [("WARNING", "down"), ("WARNING", "down for 5 s"), ("INFO", "up again"), ("WARNING", "down")]


def test_topics_do_not_hide_each_other(caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes(logging.getLogger("orchestra.test"))
    for topic in ("link", "ledger", "link"):
        notes.trouble(topic, f"{topic} down")
    notes.trouble("link", "")
    assert [record.getMessage() for record in caplog.records] == ["link down", "ledger down"]
